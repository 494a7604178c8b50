//! S-6 and S-8: who guesses passwords, extensions or codes learns nothing and gets nowhere.

use std::time::Duration;

use sip::*;

use crate::phone::*;
use crate::world::*;

const HERE: &str = "198.51.100.7:40000";

/// An answer without what is different in each: nonce, tags, and what is copied from the request.
fn shape(answer: &str) -> String {
    let varies = ["Via", "From", "To", "Call-ID", "CSeq"];
    let lines = answer
        .split("\r\n")
        .filter(|line| line.split_once(": ").is_none_or(|(name, _)| !varies.contains(&name)));
    let lines = lines.map(|line| match line.split_once("nonce=\"") {
        Some((before, rest)) => format!("{before}{}", rest.split_once('"').unwrap().1),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn ten_thousand_passwords_are_guessed_and_none_is_heard_after_the_tenth() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    for guess in 0..10_000 {
        // The right one is among them, and comes too late.
        let right = guess == 10 || guess == 9_999;
        phone.password = if right { PASSWORD.to_owned() } else { format!("guess{guess}") };
        let answer = phone.register(&mut solo, "");
        assert_eq!(kind(&answer), "401", "guess {guess}");
        if guess % 100 == 0 {
            solo.pass(Duration::from_millis(50));
        }
    }
    assert_eq!(solo.said(), [""; 0]);
    let mut elsewhere = Phone::new("66666666", "203.0.113.9:5060");
    assert_eq!(kind(&elsewhere.bind(&mut solo, "")), "200", "the phone itself is not locked out");
    solo.pass(Duration::from_secs(300));
    phone.password = PASSWORD.to_owned();
    assert_eq!(kind(&phone.bind(&mut solo, "")), "200", "five minutes later");
}

#[test]
fn guesses_in_somebodys_name_from_an_address_that_is_not_heard_lock_nobody_out() {
    let mut solo = switchboard();
    let mut attacker = Phone::new("66666666", "203.0.113.9:5060");
    attacker.password = "wrong".to_owned();
    attacker.register(&mut solo, "");
    // He has a nonce of his own, and sends as if from the phone's address.
    for _ in 0..100 {
        let message = attacker.message("REGISTER", "sip:192.0.2.1", "");
        solo.receive_from(HERE, &message);
    }
    solo.sent();
    assert_eq!(kind(&Phone::new("66666666", HERE).bind(&mut solo, "")), "200");
}

#[test]
fn a_thousand_guesses_of_everybody_stop_strangers_and_not_the_phones_that_are_here() {
    let mut solo = switchboard();
    let mut here = Phone::new("66666666", HERE);
    here.bind(&mut solo, "");
    for source in 0..110 {
        for name in 0..10 {
            let from = format!("203.0.113.{source}:5060");
            let mut attacker = Phone::new(&format!("6666{name}"), &from);
            attacker.password = "wrong".to_owned();
            assert_eq!(kind(&attacker.register(&mut solo, "")), "401");
        }
    }
    let mut other = Phone::new("66666667", "203.0.113.200:5060");
    assert_eq!(kind(&other.bind(&mut solo, "")), "401", "the cap of all together");
    assert_eq!(kind(&here.bind(&mut solo, "")), "200", "it refreshes as ever");
    solo.pass(Duration::from_secs(301));
    assert_eq!(kind(&other.bind(&mut solo, "")), "200");
}

#[test]
fn a_user_that_is_here_and_one_that_is_not_are_answered_alike() {
    let mut solo = switchboard();
    let mut answers = |name: &str, password: Option<&str>, algorithm: usize| {
        let mut phone = Phone { algorithm, ..Phone::new(name, HERE) };
        phone.password = password.unwrap_or_default().to_owned();
        let first = phone.say(&mut solo, "REGISTER", "sip:192.0.2.1", "");
        let second = password.map(|_| phone.say(&mut solo, "REGISTER", "sip:192.0.2.1", ""));
        [Some(first), second].map(|answer| answer.map(|answer| shape(&answer)))
    };
    for algorithm in [0, 1] {
        for password in [None, Some("wrong")] {
            let known = answers("66666666", password, algorithm);
            assert_eq!(known, answers("66666610", password, algorithm));
        }
    }
}

/// svwar: INVITEs to a thousand numbers of which ten are phones and one is the code of a task. The
/// caller of the core knows the code alone; for phones it has the answer of a wrong number.
#[test]
fn numbers_are_refused_alike_whether_they_are_phones_or_nothing() {
    let mut solo = switchboard();
    let users = (0..10).map(|n| (format!("666666{n}0"), user("x", PASSWORD))).collect();
    solo.command(Command::SetUsers(users));
    let mut shapes = std::collections::BTreeSet::new();
    for n in 0..1_000 {
        let uri = format!("sip:66666{n:03}@192.0.2.1");
        let from = format!("203.0.{}.{}:5060", n / 250, n % 250);
        let call = format!("scan{n}");
        let invite = Outside { uri: &uri, call_id: &call, branch: &call, ..Outside::default() };
        solo.receive_from(&from, &request(&invite));
        let Some(Event::Incoming { leg, request }) = solo.events.pop_back() else {
            panic!("{n} was not shown to the caller")
        };
        assert_eq!(request.origin, Origin::Stranger);
        solo.command(Command::TurnAway { leg });
        let sent = solo.sent();
        let kinds: Vec<String> = sent.iter().map(|message| kind(message)).collect();
        assert_eq!(kinds, ["100", "404"]);
        shapes.insert(shape(&sent[1]));
        solo.pass(Duration::from_secs(1));
        solo.sent();
    }
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
}

#[test]
fn thirty_thousand_guessed_codes_reach_the_caller_no_more_often_than_allowed() {
    let mut solo = switchboard();
    let mut shown = [0_usize; 2];
    for guess in 0..30_000_u64 {
        // First from one address, then from as many as there are.
        let phase = usize::from(guess >= 1_000);
        let source = if phase == 0 { 7 } else { guess };
        let from = format!("10.{}.{}.{}:5060", source >> 16, (source >> 8) & 255, source & 255);
        let uri = format!("sip:{:015}@192.0.2.1", guess * 7_919);
        let call = format!("guess{guess}");
        let invite = Outside { uri: &uri, call_id: &call, branch: &call, ..Outside::default() };
        solo.receive_from(&from, &request(&invite));
        let leg = solo.events.drain(..).find_map(|event| match event {
            Event::Incoming { leg, .. } => Some(leg),
            _ => None,
        });
        if let Some(leg) = leg {
            shown[phase] += 1;
            solo.command(Command::TurnAway { leg });
        }
        let last = solo.sent().pop().unwrap();
        let expected = if leg.is_some() || phase == 0 { "404" } else { "503" };
        assert_eq!(kind(&last), expected, "guess {guess}");
    }
    assert_eq!(shown, [20, 1_980], "per source, and in all");
    assert_eq!(solo.core.load().0, 0);
    solo.pass(Duration::from_secs(301));
    solo.sent();
    let invite = Outside { uri: "sip:179080024609291@192.0.2.1", ..Outside::default() };
    solo.receive(&request(&invite));
    assert_eq!(solo.sent_kinds(), ["100"], "five minutes later a stranger is heard again");
}

#[test]
fn who_takes_his_guess_back_at_once_has_guessed_all_the_same() {
    let mut solo = switchboard();
    let mut shown = 0;
    for guess in 0..100 {
        let uri = format!("sip:17908{guess:04}@192.0.2.1");
        let call = format!("guess{guess}");
        let invite = Outside { uri: &uri, call_id: &call, branch: &call, ..Outside::default() };
        let invite = request(&invite);
        solo.receive(&invite);
        solo.receive(&invite.replace("INVITE", "CANCEL"));
        shown += solo.said().iter().filter(|said| said.starts_with("incoming")).count();
    }
    assert_eq!(shown, 20);
}

/// Instructions cannot be counted here, so the clock has to do: medians of alternating samples, and
/// a bound that only work of another kind (a hash more or less) would pass.
#[test]
fn a_wrong_password_takes_as_long_for_a_user_that_is_not_here() {
    let mut solo = switchboard();
    let users = (0..1_000).map(|n| (format!("8{n:07}"), user("x", PASSWORD)));
    solo.command(Command::SetUsers(users.collect()));
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..4_000_u32 {
        let known = n % 2;
        let name =
            if known == 1 { format!("8{:07}", n % 1_000) } else { format!("9{:07}", n % 1_000) };
        let from = format!("10.9.{}.{}:5060", n / 250, n % 250);
        let mut phone = Phone::new(&name, &from);
        phone.password = "wrong".to_owned();
        phone.say(&mut solo, "REGISTER", "sip:192.0.2.1", "");
        let message = phone.message("REGISTER", "sip:192.0.2.1", "");
        let begun = std::time::Instant::now();
        solo.receive_from(&from, &message);
        times[known as usize].push(begun.elapsed());
        assert_eq!(solo.sent_kinds(), ["401"]);
        if n % 500 == 499 {
            solo.pass(Duration::from_secs(301));
            solo.sent();
        }
    }
    let [unknown, known] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64
    });
    let ratio = unknown / known;
    assert!((0.8..1.25).contains(&ratio), "medians {unknown} ns and {known} ns");
}

/// An INVITE to a code, from `from`; whether it got before the caller of the core, and the last answer.
fn guess(solo: &mut Solo, from: &str, number: u64, call: &str) -> (Option<Origin>, String) {
    let uri = format!("sip:{number:015}@192.0.2.1");
    let invite = Outside { uri: &uri, call_id: call, branch: call, ..Outside::default() };
    solo.receive_from(from, &request(&invite));
    let shown = solo.events.drain(..).find_map(|event| match event {
        Event::Incoming { leg, request } => Some((leg, request.origin)),
        _ => None,
    });
    let origin = shown.map(|(leg, origin)| {
        solo.command(Command::TurnAway { leg });
        origin
    });
    (origin, solo.sent().pop().expect("it is answered"))
}

/// The ACK of a refusal, as RFC 3261 §17.1.1.3 has it.
fn acknowledge(solo: &mut Solo, from: &str, number: u64, call: &str, refusal: &str) {
    let uri = format!("sip:{number:015}@192.0.2.1");
    let ack = Outside {
        method: "ACK",
        uri: &uri,
        call_id: call,
        branch: call,
        to: header(refusal, "To"),
        ..Outside::default()
    };
    solo.receive_from(from, &request(&ack));
}

#[test]
fn guesses_in_the_name_of_an_address_lock_out_nobody_who_answers_from_it() {
    let mut solo = switchboard();
    for n in 0..100 {
        let (_, refusal) = guess(&mut solo, HERE, 1_000 + n, &format!("forged{n}"));
        assert_eq!(kind(&refusal), "404");
        // Who forges does not see the tag, and guesses it.
        let made_up = refusal.replace("tag=", "tag=0");
        acknowledge(&mut solo, HERE, 1_000 + n, &format!("forged{n}"), &made_up);
    }
    let (origin, refusal) = guess(&mut solo, HERE, 7, "honest1");
    assert_eq!(origin, None, "the first call of whoever is there fails");
    assert_eq!(kind(&refusal), "404");
    acknowledge(&mut solo, HERE, 7, "honest1", &refusal);
    let (origin, _) = guess(&mut solo, HERE, 7, "honest2");
    assert_eq!(origin, Some(Origin::Reached), "the second is looked at");
    let elsewhere = HERE.replace("40000", "40001");
    assert_eq!(guess(&mut solo, &elsewhere, 7, "honest3").0, None, "its port is part of it");
}

#[test]
fn who_was_reached_at_his_address_has_no_more_guesses_than_others() {
    let mut solo = switchboard();
    let (mut as_stranger, mut as_reached) = (0, 0);
    for n in 0..200 {
        let call = format!("guess{n}");
        let (origin, refusal) = guess(&mut solo, HERE, 1_000 + n, &call);
        match origin {
            Some(Origin::Stranger) => as_stranger += 1,
            Some(Origin::Reached) => as_reached += 1,
            other => assert_eq!(other, None),
        }
        acknowledge(&mut solo, HERE, 1_000 + n, &call, &refusal);
        assert_eq!(kind(&refusal), "404");
    }
    assert_eq!((as_stranger, as_reached), (1, 20));
}

#[test]
fn an_acknowledgement_from_another_address_than_the_refusal_went_to_shows_nothing() {
    let mut solo = switchboard();
    let (_, refusal) = guess(&mut solo, "203.0.113.9:5060", 7, "own");
    acknowledge(&mut solo, HERE, 7, "own", &refusal);
    let (origin, _) = guess(&mut solo, HERE, 8, "forged");
    assert_eq!(origin, Some(Origin::Stranger));
}
