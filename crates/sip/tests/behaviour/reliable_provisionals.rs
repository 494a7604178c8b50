//! RFC 3262 from both ends.

use std::time::Duration;

use sip::*;

use crate::world::*;

#[test]
fn a_reliable_provisional_is_acknowledged_once_and_in_order() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    assert!(header(&sent, "Supported").contains("100rel"));
    let rel = |rseq| format!("{CONTACT}Require: 100rel\r\nRSeq: {rseq}\r\n");
    let first = reply(&sent, 183, "b", &rel(10), "early");
    solo.receive(&first);
    let prack = solo.one();
    assert!(prack.starts_with("PRACK sip:200@192.0.2.2:5060 "));
    assert_eq!(header(&prack, "RAck"), "10 1 INVITE");
    assert_eq!(header(&prack, "CSeq"), "2 PRACK");
    solo.receive(&reply(&prack, 200, "", "", ""));
    solo.receive(&first);
    solo.receive(&reply(&sent, 180, "b", &rel(12), ""));
    assert!(solo.wire.is_empty(), "a copy and a gap are not acknowledged");
    solo.receive(&reply(&sent, 180, "b", &rel(11), ""));
    assert_eq!(header(&solo.one(), "RAck"), "11 1 INVITE");
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    let ack = solo.one();
    assert_eq!(header(&ack, "CSeq"), "1 ACK");
    solo.hang_up(1);
    assert_eq!(header(&solo.one(), "CSeq"), "4 BYE", "PRACKs count");
    assert_eq!(solo.said(), ["183 early", "180", "answered answer", "ended by Us"]);
}

fn incoming(solo: &mut Solo) -> LegId {
    let extra = format!("{CONTACT}Require: 100rel\r\n");
    solo.receive(&request(&Outside { extra: &extra, body: "offer", ..Outside::default() }));
    assert_eq!(solo.sent_kinds(), ["100"]);
    match solo.events.pop_back() {
        Some(Event::Incoming { leg, .. }) => leg,
        other => panic!("{other:?}"),
    }
}

fn prack(provisional: &str, cseq: u32) -> String {
    let rack = format!("RAck: {} 1 INVITE\r\n", header(provisional, "RSeq"));
    let to = header(provisional, "To").to_owned();
    request(&Outside {
        method: "PRACK",
        to: &to,
        cseq,
        branch: &format!("p{cseq}"),
        extra: &rack,
        ..Outside::default()
    })
}

#[test]
fn what_follows_a_reliable_provisional_waits_for_its_prack() {
    let mut solo = Solo::new(open());
    let leg = incoming(&mut solo);
    solo.command(Command::Progress { leg, body: Some(Body::sdp("early")) });
    let progress = solo.one();
    assert_eq!(header(&progress, "Require"), "100rel");
    solo.command(Command::Ring { leg, body: None });
    solo.command(Command::Answer { leg, body: None });
    assert!(solo.wire.is_empty());
    solo.pass(Duration::from_millis(1600));
    assert_eq!(solo.sent(), [progress.clone(), progress.clone()], "again at 0.5 and 1.5 s");
    solo.receive(&prack(&progress, 2));
    let sent = solo.sent();
    assert_eq!(sent.iter().map(|m| kind(m)).collect::<Vec<_>>(), ["200", "180"]);
    solo.receive(&prack(&sent[1], 3));
    assert_eq!(solo.sent_kinds(), ["200", "200"]);
}

#[test]
fn without_a_prack_the_call_is_refused() {
    let mut solo = Solo::new(open());
    let leg = incoming(&mut solo);
    solo.command(Command::Ring { leg, body: None });
    solo.pass(Duration::from_secs(33));
    assert_eq!(solo.said(), ["ended by Timeout(NoPrack)"]);
    assert!(solo.sent_kinds().contains(&"504".to_owned()));
    solo.assert_empty();
}
