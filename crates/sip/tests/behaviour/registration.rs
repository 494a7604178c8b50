//! Registrations: kept up, refused, silent, taken back.

use std::time::Duration;

use sip::*;

use crate::world::*;

fn wanted() -> Command {
    Command::Register(Box::new(Registration {
        id: RegistrationId(4),
        registrar: Destination::new(addr(THEIRS), Transport::Udp),
        aor: Uri::parse("sip:100@example.com").unwrap(),
        contact_user: "100".to_owned(),
        credentials: Some(Credentials {
            username: "100".to_owned(),
            password: "p".to_owned(),
            realm: None,
        }),
        expires: 600,
    }))
}

const ASK: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";

#[test]
fn it_registers_answers_the_challenge_and_refreshes_with_the_same_call_id() {
    let mut solo = Solo::new(Policy::default());
    solo.command(wanted());
    let first = solo.one();
    assert!(first.starts_with("REGISTER sip:example.com SIP/2.0\r\n"));
    assert_eq!(header(&first, "Expires"), "600");
    solo.receive(&reply(&first, 401, "r", ASK, ""));
    let second = solo.one();
    assert!(header(&second, "Authorization").contains("uri=\"sip:example.com\""));
    let granted = "Contact: <sip:other@192.0.2.77>;expires=9\r\nContact: <sip:100@192.0.2.1:5060>;expires=120\r\n";
    solo.receive(&reply(&second, 200, "r", granted, ""));
    assert_eq!(solo.said(), ["registered 120"]);
    solo.pass(Duration::from_secs(89));
    assert!(solo.wire.is_empty());
    solo.pass(Duration::from_secs(1));
    let refresh = solo.one();
    assert_eq!(header(&refresh, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(header(&refresh, "CSeq"), "3 REGISTER");
    assert!(header(&refresh, "Authorization").contains("nc=00000002"), "the nonce is used on");
    solo.receive(&reply(&refresh, 401, "r", ASK, ""));
    let renewed = solo.one();
    solo.receive(&reply(&renewed, 200, "r", "Expires: 300\r\n", ""));
    assert_eq!(solo.said(), ["registered 300"]);
}

#[test]
fn refusals_and_silence_are_reported_and_tried_again_later_and_later() {
    let mut solo = Solo::new(Policy::default());
    solo.command(wanted());
    let first = solo.one();
    solo.receive(&reply(&first, 403, "r", "", ""));
    let retry_in = |event: Option<Event>| match event {
        Some(Event::RegistrationFailed { failure, .. }) => failure.retry_in,
        other => panic!("{other:?}"),
    };
    let wait = retry_in(solo.events.pop_back());
    assert!((30..=36).contains(&wait), "{wait}");
    solo.sent();
    solo.pass(Duration::from_secs(wait.into()));
    assert_eq!(solo.sent_kinds(), ["REGISTER"]);
    solo.pass(Duration::from_secs(32));
    let again = retry_in(solo.events.pop_back());
    assert!((60..=72).contains(&again), "{again}");
    solo.sent();
    solo.pass(Duration::from_secs(again.into()));
    let third = solo.one();
    solo.receive(&reply(&third, 503, "r", "Retry-After: 7\r\n", ""));
    assert!((7..=9).contains(&retry_in(solo.events.pop_back())));
}

#[test]
fn a_wrong_password_is_not_tried_again_at_once() {
    let mut solo = Solo::new(Policy::default());
    solo.command(wanted());
    let first = solo.one();
    solo.receive(&reply(&first, 401, "r", ASK, ""));
    let second = solo.one();
    solo.receive(&reply(&second, 401, "r", ASK, ""));
    assert!(solo.wire.is_empty());
    assert_eq!(solo.said(), ["registration failed Some(401)"]);
}

#[test]
fn a_lifetime_that_is_too_short_is_raised() {
    let mut solo = Solo::new(Policy::default());
    solo.command(wanted());
    let first = solo.one();
    solo.receive(&reply(&first, 423, "r", "Min-Expires: 3600\r\n", ""));
    assert_eq!(header(&solo.one(), "Expires"), "3600");
}

#[test]
fn it_is_taken_back() {
    let mut solo = Solo::new(Policy::default());
    solo.command(wanted());
    let first = solo.one();
    solo.receive(&reply(&first, 200, "r", "", ""));
    solo.command(Command::Unregister { id: RegistrationId(4) });
    let gone = solo.one();
    assert_eq!(header(&gone, "Expires"), "0");
    solo.receive(&reply(&gone, 401, "r", ASK, ""));
    let gone = solo.one();
    assert_eq!(header(&gone, "Expires"), "0");
    solo.receive(&reply(&gone, 200, "r", "", ""));
    assert_eq!(solo.said(), ["registered 600", "unregistered"]);
    solo.assert_empty();
}
