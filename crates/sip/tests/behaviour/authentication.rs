//! Answering digest challenges, and not answering those that should get nothing (S-5).

use sip::*;

use crate::world::*;

fn credentials(realm: Option<&str>) -> Option<Credentials> {
    Some(Credentials {
        username: "Mufasa".to_owned(),
        password: "Circle of Life".to_owned(),
        realm: realm.map(str::to_owned),
    })
}

fn with_login(realm: Option<&str>) -> Invite {
    Invite { credentials: credentials(realm), ..invite(1) }
}

fn challenge(header: &str, realm: &str, rest: &str) -> String {
    format!("{header}: Digest realm=\"{realm}\", nonce=\"n1\", qop=\"auth\"{rest}\r\n")
}

fn param<'a>(header: &'a str, name: &str) -> &'a str {
    let start = header.find(&format!("{name}=")).unwrap() + name.len() + 1;
    let value = header[start..].split(',').next().unwrap();
    value.trim().trim_matches('"')
}

#[test]
fn a_challenge_is_answered_by_a_new_invite_that_waits_for_send() {
    for (status, asks, answers) in [
        (401, "WWW-Authenticate", "Authorization"),
        (407, "Proxy-Authenticate", "Proxy-Authorization"),
    ] {
        let mut solo = Solo::new(Policy::default());
        let first = solo.dial(with_login(None));
        let extra = challenge(asks, "here", ", algorithm=MD5");
        solo.receive(&reply(&first, status, "b", &extra, ""));
        assert_eq!(solo.sent_kinds(), ["ACK"]);
        let wire = solo.events.iter().find_map(|event| match event {
            Event::Challenged { wire, .. } => Some(wire.clone()),
            _ => None,
        });
        assert_eq!(solo.said(), ["challenged"]);
        solo.command(Command::Send { leg: LegId(1) });
        assert_eq!(solo.wire[0].bytes, wire.unwrap().bytes);
        let second = solo.one();
        assert_eq!(header(&second, "CSeq"), "2 INVITE");
        assert_ne!(header(&second, "Via"), header(&first, "Via"));
        assert_eq!(header(&second, "X-Serial"), "7");
        assert!(second.ends_with("\r\n\r\noffer"));
        let login = header(&second, answers);
        assert_eq!(param(login, "username"), "Mufasa");
        assert_eq!(param(login, "uri"), "sip:200@192.0.2.2");
        assert_eq!(param(login, "nc"), "00000001");
        solo.receive(&reply(&second, 200, "b", CONTACT, "answer"));
        assert_eq!(solo.said(), ["answered answer"]);
    }
}

#[test]
fn the_response_is_what_rfc_7616_computes() {
    // Recomputed here with hashes of another crate than the one that made it.
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_login(None));
    let both = format!(
        "{}{}",
        challenge("WWW-Authenticate", "here", ", algorithm=MD5"),
        challenge("WWW-Authenticate", "here", ", algorithm=SHA-256"),
    );
    solo.receive(&reply(&first, 401, "b", &both, ""));
    solo.command(Command::Send { leg: LegId(1) });
    let second = solo.sent().pop().unwrap();
    let login = header(&second, "Authorization");
    assert_eq!(param(login, "algorithm"), "SHA-256");
    let hash = |text: String| -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    };
    let ha1 = hash("Mufasa:here:Circle of Life".to_owned());
    let ha2 = hash("INVITE:sip:200@192.0.2.2".to_owned());
    let cnonce = param(login, "cnonce");
    let expected = hash(format!("{ha1}:n1:00000001:{cnonce}:auth:{ha2}"));
    assert_eq!(param(login, "response"), expected);
}

#[test]
fn the_tap_never_shows_credentials() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_login(None));
    solo.receive(&reply(&first, 401, "b", &challenge("WWW-Authenticate", "here", ""), ""));
    solo.command(Command::Send { leg: LegId(1) });
    let taps: Vec<String> = solo
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Message(tap) => Some(text(&tap.bytes)),
            _ => None,
        })
        .collect();
    let last = taps.last().unwrap();
    assert!(last.contains("\r\nAuthorization: (removed)\r\n"), "{last}");
    assert!(taps.iter().all(|tap| !tap.contains("Mufasa")));
}

#[test]
fn a_wrong_realm_a_wrong_address_or_a_wrong_password_gets_no_second_answer() {
    let cases: [(Option<&str>, &str, &str); 2] =
        [(Some("trunk"), "evil", THEIRS), (None, "here", "198.51.100.9:5060")];
    for (wanted, realm, from) in cases {
        let mut solo = Solo::new(Policy::default());
        let first = solo.dial(with_login(wanted));
        let extra = challenge("WWW-Authenticate", realm, "");
        solo.receive_from(from, &reply(&first, 401, "b", &extra, ""));
        assert_eq!(solo.said(), ["ended by Peer 401"]);
        solo.command(Command::Send { leg: LegId(1) });
        let sent = solo.sent();
        assert!(sent.iter().all(|message| !message.contains("uthorization")));
    }
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_login(None));
    solo.receive(&reply(&first, 401, "b", &challenge("WWW-Authenticate", "here", ""), ""));
    solo.command(Command::Send { leg: LegId(1) });
    let second = solo.sent().pop().unwrap();
    solo.receive(&reply(&second, 401, "b", &challenge("WWW-Authenticate", "here", ""), ""));
    assert_eq!(solo.said(), ["challenged", "ended by Peer 401"]);
    solo.assert_empty();
}

#[test]
fn a_stale_nonce_is_answered_once_more_and_then_no_more() {
    let mut solo = Solo::new(Policy::default());
    let mut invite = solo.dial(with_login(None));
    for _ in 0..2 {
        let extra = challenge("WWW-Authenticate", "here", ", stale=true");
        solo.receive(&reply(&invite, 401, "b", &extra, ""));
        assert_eq!(solo.said(), ["challenged"]);
        solo.command(Command::Send { leg: LegId(1) });
        invite = solo.sent().pop().unwrap();
    }
    solo.receive(&reply(
        &invite,
        401,
        "b",
        &challenge("WWW-Authenticate", "here", ", stale=true"),
        "",
    ));
    assert_eq!(solo.said(), ["ended by Peer 401"]);
}

#[test]
fn proxy_and_registrar_are_both_answered() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_login(None));
    solo.receive(&reply(&first, 407, "b", &challenge("Proxy-Authenticate", "proxy", ""), ""));
    solo.command(Command::Send { leg: LegId(1) });
    let second = solo.sent().pop().unwrap();
    solo.receive(&reply(&second, 401, "b", &challenge("WWW-Authenticate", "here", ""), ""));
    solo.command(Command::Send { leg: LegId(1) });
    let third = solo.sent().pop().unwrap();
    assert_eq!(param(header(&third, "Proxy-Authorization"), "nc"), "00000002");
    assert_eq!(param(header(&third, "Authorization"), "nc"), "00000001");
}

#[test]
fn a_challenged_call_that_is_hung_up_before_send_is_over() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_login(None));
    solo.receive(&reply(&first, 401, "b", &challenge("WWW-Authenticate", "here", ""), ""));
    solo.hang_up(1);
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    assert_eq!(solo.said(), ["challenged", "ended by Us"]);
    solo.assert_empty();
}

#[test]
fn a_challenged_bye_is_answered_only_towards_the_dialled_address() {
    for (contact, answered) in [
        ("Contact: <sip:200@192.0.2.2:5060>\r\n", true),
        ("Contact: <sip:200@198.51.100.9:5060>\r\n", false),
    ] {
        let mut solo = Solo::new(Policy::default());
        let sent = solo.dial(with_login(None));
        solo.receive(&reply(&sent, 200, "b", contact, "answer"));
        solo.command(Command::Acknowledge { leg: LegId(1), body: None });
        solo.sent();
        solo.hang_up(1);
        let bye = solo.one();
        solo.receive(&reply(&bye, 401, "", &challenge("WWW-Authenticate", "here", ""), ""));
        let again = solo.sent();
        assert_eq!(!again.is_empty(), answered);
        assert!(again.iter().all(|bye| bye.contains("\r\nAuthorization: Digest ")));
    }
}

/// Where a challenge comes from and what realm it names.
const WRONG: [(&str, &str); 3] =
    [(THEIRS, "evil"), ("198.51.100.9:5060", "trunk"), ("198.51.100.9:5060", "evil")];

fn asks(status: u16, realm: &str) -> String {
    let header = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    challenge(header, realm, "")
}

/// Nothing that was sent carries credentials.
fn says_nothing(solo: &mut Solo, what: &str) {
    for message in solo.sent() {
        assert!(!message.to_ascii_lowercase().contains("authorization"), "{what}: {message}");
    }
}

/// The BYE of a call that was up.
fn bye_of_a_call(solo: &mut Solo) -> String {
    let sent = solo.dial(with_login(Some("trunk")));
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    solo.sent();
    solo.hang_up(1);
    solo.one()
}

#[test]
fn no_request_of_a_call_answers_a_challenge_of_a_wrong_realm_or_from_a_wrong_address() {
    for status in [401, 407] {
        for (from, realm) in WRONG {
            let what = format!("{status} of {realm} from {from}");
            let mut solo = Solo::new(Policy::default());
            let sent = solo.dial(with_login(Some("trunk")));
            solo.receive_from(from, &reply(&sent, status, "b", &asks(status, realm), ""));
            solo.command(Command::Send { leg: LegId(1) });
            says_nothing(&mut solo, &format!("INVITE, {what}"));

            let mut solo = Solo::new(Policy::default());
            let bye = bye_of_a_call(&mut solo);
            solo.receive_from(from, &reply(&bye, status, "", &asks(status, realm), ""));
            says_nothing(&mut solo, &format!("BYE, {what}"));
        }
        // The same, right in both: it could have been answered.
        let mut solo = Solo::new(Policy::default());
        let bye = bye_of_a_call(&mut solo);
        solo.receive(&reply(&bye, status, "", &asks(status, "trunk"), ""));
        assert!(solo.one().contains("uthorization: Digest "), "{status}");
    }
}

#[test]
fn no_registration_answers_a_challenge_of_a_wrong_realm_or_from_a_wrong_address() {
    for status in [401, 407] {
        for (from, realm) in WRONG {
            let mut solo = Solo::new(Policy::default());
            solo.command(Command::Register(Box::new(Registration {
                id: RegistrationId(1),
                registrar: Destination::new(addr(THEIRS), Transport::Udp),
                aor: Uri::parse("sip:100@example.com").unwrap(),
                contact_user: "100".to_owned(),
                credentials: credentials(Some("trunk")),
                expires: 600,
            })));
            let sent = solo.one();
            solo.receive_from(from, &reply(&sent, status, "r", &asks(status, realm), ""));
            says_nothing(&mut solo, &format!("REGISTER, {status} of {realm} from {from}"));
        }
    }
}

#[test]
fn the_password_is_not_in_debug_output() {
    let shown = format!("{:?}", with_login(None));
    assert!(!shown.contains("Circle"), "{shown}");
}
