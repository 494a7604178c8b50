//! The first sign of life of an INVITE, and where a 3xx sends us.

use sip::*;

use crate::world::*;

fn tryings(solo: &Solo) -> usize {
    solo.events.iter().filter(|event| matches!(event, Event::Trying { .. })).count()
}

fn contacts(solo: &mut Solo) -> Vec<String> {
    let Some(Event::Ended { end, .. }) = solo.events.pop_back() else { panic!("it goes on") };
    end.contacts.iter().map(ToString::to_string).collect()
}

#[test]
fn the_first_response_is_reported_once_for_each_invite() {
    let mut solo = Solo::new(Policy::default());
    let credentials = Credentials { username: "u".into(), password: "p".into(), realm: None };
    let first = solo.dial(Invite { credentials: Some(credentials), ..invite(1) });
    assert_eq!(tryings(&solo), 0);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    solo.receive(&reply(&first, 100, "", "", ""));
    solo.receive(&reply(&first, 180, "b", CONTACT, ""));
    assert_eq!(tryings(&solo), 1);
    solo.receive(&reply(&first, 401, "b", challenge, ""));
    assert_eq!(tryings(&solo), 1);
    solo.sent();
    solo.command(Command::Send { leg: LegId(1) });
    let second = solo.one();
    solo.receive(&reply(&second, 486, "b", "", ""));
    assert_eq!(tryings(&solo), 2, "a refusal is a sign of life too");
}

#[test]
fn a_redirection_tells_where_it_leads_in_order_of_preference() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    let moved = "Contact: <sip:c@198.51.100.3>;q=0.2, \"B, too\" <sip:b@198.51.100.2:5070>;q=0.7\r\n\
                 Contact: tel:+4930, <mailto:x@example.com>, <sip:a@198.51.100.1>;expires=1\r\n";
    solo.receive(&reply(&sent, 302, "b", moved, ""));
    assert_eq!(
        contacts(&mut solo),
        [
            "sip:+4930@invalid",
            "sip:a@198.51.100.1",
            "sip:b@198.51.100.2:5070",
            "sip:c@198.51.100.3"
        ]
    );
}

#[test]
fn of_a_hundred_contacts_eight_are_reported_and_of_another_refusal_none() {
    let mut solo = Solo::new(Policy::default());
    let many: Vec<String> =
        (0..100).map(|n| format!("<sip:{n}@198.51.100.1>;q=0.{n:02}")).collect();
    let many = format!("Contact: {}\r\n", many.join(","));
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 300, "b", &many, ""));
    let found = contacts(&mut solo);
    assert_eq!(found.len(), 8);
    assert_eq!(found[0], "sip:99@198.51.100.1");
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    let sent = solo.dial(invite(2));
    solo.receive(&reply(&sent, 404, "b", &many, ""));
    assert_eq!(contacts(&mut solo), [""; 0]);
}
