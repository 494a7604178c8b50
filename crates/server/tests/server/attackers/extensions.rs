//! svwar: a thousand extensions of which ten are phones. Neither what is answered nor how soon tells them apart.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::*;
use crate::support::{Setting, World};
use sim::CarrierConfig;

/// Rounds of measuring; one in which the two are alike proves it, since a difference that is there is there in each.
const ROUNDS: usize = 6;
/// In a round, of each kind.
const PROBES: usize = 1_000;
const ALIKE: f64 = 0.05;

/// Ten of 66666000 to 66666999.
fn phones() -> Vec<String> {
    (0..10).map(|n| format!("66666{:03}", n * 97 + 31)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_a_phone_is_answered_like_one_that_is_none_and_as_soon() {
    let real = phones();
    let softphones: Vec<String> = real
        .iter()
        .map(|number| format!("{{ number = \"{number}\", password = \"a password of {number}\" }}"))
        .collect();
    let tenant = format!("softphones = [{}]", softphones.join(", "));
    let world =
        World::with(Setting { tenant, ..Setting::default() }, CarrierConfig::default()).await;
    let server = world.server.sip_udp;
    let _alone = crate::rubbish::alone().await;
    beside(move || {
        let mut attacker = Attacker::at(Ipv4Addr::new(127, 6, 3, 1), server);
        let mut challenge = attacker.challenge("66666000");
        let all: Vec<String> = (0..1_000).map(|n| format!("66666{n:03}")).collect();
        assert!(real.iter().all(|user| all.contains(user)));
        let mut shapes = BTreeSet::new();
        for user in &all {
            let requests = vec![
                attacker.plain(user),
                attacker.login(&mut challenge, user, "wrong"),
                attacker.invite(user),
            ];
            let invite = requests[2].clone();
            let answers = attacker.ask_all(requests);
            attacker.acknowledge(&invite, &answers[2]);
            shapes.insert(answers.iter().map(|answer| shape(answer)).collect::<Vec<_>>());
        }
        assert_eq!(shapes.len(), 1, "{shapes:#?}");

        let unknown: Vec<&String> = all.iter().filter(|user| !real.contains(user)).collect();
        let mut differences = Vec::new();
        for _ in 0..ROUNDS {
            let (mut of_real, mut of_unknown) = (Vec::new(), Vec::new());
            for probe in 0..PROBES {
                // In turn, so that whatever else the machine does meets both alike.
                of_unknown.push(answer_time(&mut attacker, unknown[probe % unknown.len()]));
                of_real.push(answer_time(&mut attacker, &real[probe % real.len()]));
            }
            let difference = (median(of_real) / median(of_unknown) - 1.0).abs();
            if difference < ALIKE {
                return;
            }
            differences.push(difference);
        }
        panic!("the time of an answer tells phones from nothing: {differences:?}");
    })
    .await;
}

/// Of a REGISTER with a wrong password, in seconds.
fn answer_time(attacker: &mut Attacker, user: &str) -> f64 {
    let mut challenge = attacker.challenge(user);
    let login = attacker.login(&mut challenge, user, "wrong");
    let begun = Instant::now();
    attacker.ask(login);
    begun.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
