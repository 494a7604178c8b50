//! svcrack: ten thousand passwords of one extension, then so many of all that everybody is locked out but who is there.

use std::net::Ipv4Addr;

use super::*;
use crate::support::World;
use crate::two_legs::{PASSWORD, SOFTPHONE, setting};
use sim::CarrierConfig;

const GUESSES: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_guessed_passwords_let_nobody_in_and_lock_out_no_phone_that_is_there() {
    let world = World::with(setting("", ""), CarrierConfig::default()).await;
    let server = world.server.sip_udp;
    beside(move || {
        let mut attacker = Attacker::at(Ipv4Addr::new(127, 6, 0, 1), server);
        let mut challenge = attacker.challenge(SOFTPHONE);
        let guesses = (0..GUESSES).map(|guess| {
            // The right one is among them from the eleventh on, and comes too late.
            let right = guess >= 10 && guess % 100 == 10;
            let password = if right { PASSWORD.to_owned() } else { format!("guess{guess}") };
            attacker.login(&mut challenge, SOFTPHONE, &password)
        });
        let guesses: Vec<Asked> = guesses.collect();
        let answers = attacker.ask_all(guesses);
        let hits = answers.iter().filter(|answer| status(answer) != 401).count();
        assert_eq!((answers.len(), hits), (GUESSES, 0));

        let mut phone = Attacker::at(Ipv4Addr::new(127, 6, 0, 2), server);
        assert_eq!(registers(&mut phone), 200, "the phone itself is elsewhere");

        // So many wrong ones of all that nobody else is heard: 20 sources, 5 names of 10 guesses each.
        for source in 0..20 {
            let mut one = Attacker::at(Ipv4Addr::new(127, 6, 1, source), server);
            let mut challenge = one.challenge(SOFTPHONE);
            let wrong = (0..50).map(|n| one.login(&mut challenge, &format!("{}", n / 10), "x"));
            let wrong: Vec<Asked> = wrong.collect();
            one.ask_all(wrong);
        }
        let mut late = Attacker::at(Ipv4Addr::new(127, 6, 2, 1), server);
        assert_eq!(registers(&mut late), 401, "all together have a limit");
        assert_eq!(registers(&mut phone), 200, "who is there stays");
    })
    .await;
}

/// What a REGISTER with the right password gets.
fn registers(phone: &mut Attacker) -> u16 {
    let mut challenge = phone.challenge(SOFTPHONE);
    let login = phone.login(&mut challenge, SOFTPHONE, PASSWORD);
    status(&phone.ask(login))
}
