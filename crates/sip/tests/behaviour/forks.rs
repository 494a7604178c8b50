//! One INVITE, several phones.

use std::time::Duration;

use sip::*;

use crate::world::*;

#[test]
fn the_first_answer_wins_and_each_later_one_is_hung_up_in_its_own_dialog() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 180, "a", "", ""));
    solo.receive(&reply(&sent, 183, "b", "", "early b"));
    let contact = |port| format!("Contact: <sip:200@192.0.2.2:{port}>\r\n");
    solo.receive(&reply(&sent, 200, "a", &contact(5071), "answer a"));
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    assert_eq!(solo.said(), ["180", "183 early b", "answered answer a"]);
    assert!(header(&solo.one(), "To").ends_with(";tag=a"));

    let second = reply(&sent, 200, "b", &contact(5072), "answer b");
    solo.receive(&second);
    let surplus = solo.sent();
    assert!(surplus[0].starts_with("ACK sip:200@192.0.2.2:5072 "));
    assert!(surplus[1].starts_with("BYE sip:200@192.0.2.2:5072 "));
    for message in &surplus {
        assert!(header(message, "To").ends_with(";tag=b"));
    }
    solo.receive(&second);
    assert_eq!(solo.sent(), surplus[..1], "ACK again, BYE once");
    solo.receive(&reply(&surplus[1], 200, "", "", ""));

    assert_eq!(solo.said(), [""; 0], "the call that is up hears nothing of it");
    solo.hang_up(1);
    let bye = solo.one();
    assert!(bye.starts_with("BYE sip:200@192.0.2.2:5071 "));
    solo.receive(&reply(&bye, 200, "", "", ""));
    assert_eq!(solo.said(), ["ended by Us"]);
    solo.assert_empty();
}

#[test]
fn a_fork_that_answers_after_the_call_is_over_is_hung_up() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 180, "a", "", ""));
    solo.hang_up(1);
    let cancel = solo.one();
    solo.receive(&reply(&cancel, 200, "a", "", ""));
    solo.receive(&reply(&sent, 200, "a", CONTACT, ""));
    let bye = solo.sent().remove(1);
    solo.receive(&reply(&bye, 200, "", "", ""));
    solo.pass(Duration::from_secs(10));
    solo.receive(&reply(&sent, 200, "b", CONTACT, ""));
    let late = solo.sent();
    assert_eq!(late.iter().map(|m| kind(m)).collect::<Vec<_>>(), ["ACK", "BYE"]);
    assert!(header(&late[1], "To").ends_with(";tag=b"));
}

#[test]
fn endless_forks_are_bounded() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    for fork in 0..500 {
        solo.receive(&reply(&sent, 200, &format!("t{fork}"), CONTACT, ""));
    }
    assert_eq!(solo.sent().len(), 2 * 15);
}
