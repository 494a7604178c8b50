//! S-8: the codes of anonymous calls are guessed over SIP, from many addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::*;
use crate::support::World;
use crate::two_legs::{CALLED, anonymous, ended, nothing_is_left, world_with};

/// Codes that are guessed; `cargo xtask guesses` has its own number.
fn guesses() -> usize {
    let given = std::env::var("OFFHOOK_GUESSES").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(2_000)
}

/// From here on nobody who is not known is heard for a minute (`engine/guesses.rs`).
const NOBODY_IS_HEARD: usize = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn codes_that_are_guessed_from_many_addresses_call_nobody() {
    let world = world_with(", code_lifetime_s = 60", "").await;
    let (serial, service, code) = anonymous::created(&world, CALLED).await;
    let server = world.server.sip_udp;
    let count = guesses();
    let begun = Instant::now();
    let shapes = beside(move || guess(server, count)).await;
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
    let calls = world.carrier.calls().len();
    println!("{{\"guesses\":{count},\"calls\":{calls},\"seconds\":{took:.1}}}");
    assert_eq!(calls, 0);
    if count < NOBODY_IS_HEARD {
        // Who has the code is heard all the same.
        let app = anonymous::app().await;
        let mut phone = app.dial(service, &code).await.expect("it dials");
        phone.until_answered().await.expect("it is answered");
        let _ = phone.hang_up().await;
        let record = ended(&world, &serial).await;
        assert_eq!(record["end"]["outcome"], "caller_hung_up", "{record}");
    } else {
        world.client.cancel(&serial).await.expect("a reply");
        ended(&world, &serial).await;
    }
    nothing_is_left(&world).await;
}

/// What was answered to so many codes, twenty from each address.
fn guess(server: SocketAddr, count: usize) -> BTreeSet<String> {
    let mut shapes = BTreeSet::new();
    for source in 0..count.div_ceil(20) {
        let [.., high, low] = (source as u32).to_be_bytes();
        let mut attacker = Attacker::at(Ipv4Addr::new(127, 7, high, low), server);
        let of_source = (0..20).map(|n| (source * 20 + n) as u64);
        let codes = of_source.map(|n| format!("2222201{:010}", n * 7_919 % 10_000_000_000));
        let invites: Vec<Asked> = codes.map(|code| attacker.invite(&code)).collect();
        let answers = attacker.ask_all(invites.clone());
        for (invite, answer) in invites.iter().zip(&answers) {
            attacker.acknowledge(invite, answer);
            shapes.insert(shape(answer));
        }
    }
    shapes
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_used_and_expired_codes_and_who_is_not_heard_get_the_same_bytes() {
    let world = world_with(", code_lifetime_s = 1", "").await;
    let (serial, service, used) = anonymous::created(&world, "1486").await;
    let app = anonymous::app().await;
    let mut phone = app.dial(service, &used).await.expect("it dials");
    assert!(phone.until_answered().await.is_err(), "the called party is busy");
    ended(&world, &serial).await;
    let (serial, _, expired) = anonymous::created(&world, CALLED).await;
    ended(&world, &serial).await;
    let shapes = answers(&world, vec![used, expired, "222220199999".into()]).await;
    assert!(shapes.len() == 1 && shapes.iter().all(|shape| shape.contains(" 404 ")), "{shapes:#?}");
}

/// Each code from an address of its own, and once more from one that guesses no more.
async fn answers(world: &World, codes: Vec<String>) -> BTreeSet<String> {
    let server = world.server.sip_udp;
    beside(move || {
        let mut shapes = BTreeSet::new();
        for (code, low) in codes.iter().zip(1..) {
            let mut attacker = Attacker::at(Ipv4Addr::new(127, 8, 0, low), server);
            for number in [code.clone()].into_iter().chain((0..40).map(|n| format!("9{n}"))) {
                let invite = attacker.invite(&number);
                let answer = attacker.ask(invite.clone());
                attacker.acknowledge(&invite, &answer);
                shapes.insert(shape(&answer));
            }
            let invite = attacker.invite(code);
            let answer = attacker.ask(invite.clone());
            attacker.acknowledge(&invite, &answer);
            shapes.insert(shape(&answer));
        }
        shapes
    })
    .await
}

/// On loopback another port stands for the forger, who sees no answer and so acknowledges none.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_at_an_address_that_others_forge_is_heard_when_he_dials_again() {
    let world = world_with("", "").await;
    let (_, _, code) = anonymous::created(&world, CALLED).await;
    let server = world.server.sip_udp;
    let answers = beside(move || {
        let at = Ipv4Addr::new(127, 9, 0, 1);
        let mut forger = Attacker::at(at, server);
        let forged: Vec<Asked> = (0..60).map(|n| forger.invite(&format!("22222019{n}"))).collect();
        forger.ask_all(forged);
        let mut app = Attacker::at(at, server);
        let first = app.invite(&code);
        let refusal = app.ask(first.clone());
        app.acknowledge(&first, &refusal);
        let second = app.invite(&code);
        [status(&refusal), status(&app.ask(second))]
    })
    .await;
    assert_eq!(answers, [404, 200]);
}
