//! A fresh core takes up what an earlier process left on disk.

use std::time::Duration;

use sip::*;

use crate::world::*;

/// What the process before wrote before its first byte left.
fn stored() -> (Box<Wire>, String) {
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::Prepare(Box::new(invite(1))));
    let Some(Event::Prepared { wire, .. }) = solo.events.pop_front() else {
        panic!("not prepared")
    };
    let wire = Wire::from_bytes(&wire.to_bytes()).unwrap();
    let sent = text(&wire.bytes);
    (Box::new(wire), sent)
}

#[test]
fn resume_sends_the_same_bytes_and_the_leg_lives_on() {
    let (wire, sent) = stored();
    let mut solo = Solo::new(Policy::default());
    let bytes = wire.bytes.clone();
    solo.command(Command::Resume { wire, credentials: None });
    assert_eq!(solo.wire[0].bytes, bytes);
    solo.sent();
    solo.receive(&reply(&sent, 180, "b", "", ""));
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    solo.receive(&in_dialog(&sent, "b", "BYE", 1, "", ""));
    assert_eq!(solo.sent_kinds(), ["200"]);
    assert_eq!(solo.said(), ["180", "answered answer", "ended by Peer"]);
    solo.assert_empty();
}

#[test]
fn a_resumed_call_may_still_be_challenged() {
    let (wire, sent) = stored();
    let mut solo = Solo::new(Policy::default());
    let credentials =
        Some(Credentials { username: "u".to_owned(), password: "p".to_owned(), realm: None });
    solo.command(Command::Resume { wire, credentials });
    let extra = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    solo.receive(&reply(&sent, 401, "b", extra, ""));
    solo.command(Command::Send { leg: LegId(1) });
    let again = solo.sent().pop().unwrap();
    assert_eq!(header(&again, "CSeq"), "2 INVITE");
    assert!(again.contains("\r\nAuthorization: Digest "));
}

#[test]
fn an_invite_of_an_earlier_process_is_sent_again_for_a_few_seconds_only() {
    let (wire, _) = stored();
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::Resume { wire, credentials: None });
    solo.pass(Duration::from_secs(4));
    assert_eq!(solo.sent_kinds(), ["INVITE"; 4]);
    solo.pass(Duration::from_secs(27));
    assert!(solo.sent().is_empty(), "the far side may have forgotten it, and would ring anew");
    solo.pass(Duration::from_secs(2));
    assert_eq!(solo.sent_kinds().first().map(String::as_str), Some("CANCEL"));
}

#[test]
fn credentials_that_were_good_before_the_crash_are_not_renewed() {
    let login = Credentials { username: "u".to_owned(), password: "p".to_owned(), realm: None };
    let mut before = Solo::new(Policy::default());
    let sent = before.dial(Invite { credentials: Some(login.clone()), ..invite(1) });
    let extra = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    before.receive(&reply(&sent, 401, "b", extra, ""));
    let wire = before.events.iter().find_map(|event| match event {
        Event::Challenged { wire, .. } => Some(wire.clone()),
        _ => None,
    });

    let mut solo = Solo::new(Policy::default());
    let wire = wire.unwrap();
    solo.command(Command::Resume { wire, credentials: Some(login) });
    let again = solo.one();
    solo.receive(&reply(&again, 401, "b", extra, ""));
    assert_eq!(solo.sent_kinds(), ["ACK"], "no new INVITE: it would ring a second time");
    assert_eq!(solo.said(), ["ended by Peer"]);
    solo.assert_empty();
}

#[test]
fn an_invite_of_an_earlier_process_that_nothing_answers_is_taken_back() {
    let (wire, _) = stored();
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::Resume { wire, credentials: None });
    solo.pass(Duration::from_secs(31));
    assert!(solo.sent_kinds().iter().all(|kind| kind == "INVITE"));
    solo.pass(Duration::from_secs(2));
    let cancel = solo.sent();
    assert_eq!(kind(&cancel[0]), "CANCEL", "its phone may be ringing, and the 180 was lost");
    solo.receive(&reply(&cancel[0], 200, "b", "", ""));
    solo.pass(Duration::from_secs(32));
    assert_eq!(solo.said(), ["ended by Timeout(NoResponseToCancel)"]);
    solo.assert_empty();
}

#[test]
fn a_refusal_is_acknowledged_once_the_caller_has_it_on_disk() {
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::HoldRefusals);
    let sent = solo.dial(invite(1));
    let busy = reply(&sent, 486, "b", "", "");
    solo.receive(&busy);
    solo.receive(&busy);
    assert_eq!(solo.said(), ["ended by Peer 486"]);
    assert!(solo.sent().is_empty(), "not on disk yet");
    solo.command(Command::Settle { leg: LegId(1) });
    solo.receive(&busy);
    assert_eq!(solo.sent_kinds(), ["ACK", "ACK"]);
    solo.assert_empty();
}

/// The stored INVITE is taken back: itself, and the CANCEL.
fn abandoned() -> (Solo, String, String) {
    let (wire, sent) = stored();
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::Abandon { wire });
    let cancel = solo.one();
    (solo, sent, cancel)
}

fn answers_and_is_hung_up(solo: &mut Solo, sent: &str) {
    solo.receive(&reply(sent, 200, "b", CONTACT, "answer"));
    let bye = solo.sent();
    assert_eq!(bye.iter().map(|m| kind(m)).collect::<Vec<_>>(), ["ACK", "BYE"]);
    solo.receive(&reply(&bye[1], 200, "", "", ""));
    assert_eq!(solo.said(), ["ended by Us"]);
    solo.assert_empty();
}

#[test]
fn abandon_cancels_on_the_stored_branch() {
    let (mut solo, sent, cancel) = abandoned();
    assert_eq!(kind(&cancel), "CANCEL");
    assert_eq!(header(&cancel, "Via"), header(&sent, "Via"));
    assert_eq!(header(&cancel, "Call-ID"), "call-1");
    solo.receive(&reply(&cancel, 200, "b", "", ""));
    solo.receive(&reply(&sent, 487, "b", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    assert_eq!(solo.said(), ["ended by Us 487"]);
    solo.assert_empty();
}

#[test]
fn an_answer_to_an_abandoned_call_is_acknowledged_and_hung_up() {
    let (mut solo, sent, cancel) = abandoned();
    solo.receive(&reply(&cancel, 481, "b", "", ""));
    answers_and_is_hung_up(&mut solo, &sent);
}

#[test]
fn an_abandoned_call_that_nobody_knows_ends_by_itself() {
    let (wire, _) = stored();
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::Abandon { wire });
    solo.pass(Duration::from_secs(40));
    assert_eq!(solo.said(), ["ended by Timeout(NoResponseToCancel)"]);
    solo.assert_empty();
}

#[test]
fn an_invite_that_never_left_is_over_soon_after_the_far_side_has_said_that_it_knows_none() {
    let (mut solo, _, cancel) = abandoned();
    solo.receive(&reply(&cancel, 481, "b", "", ""));
    solo.pass(Duration::from_secs(9));
    assert!(solo.said().is_empty(), "an answer whose ACK is missing would be repeated");
    solo.pass(Duration::from_secs(2));
    assert_eq!(solo.said(), ["ended by Timeout(NoResponseToCancel)"]);
    solo.assert_empty();
}

#[test]
fn who_had_answered_before_the_crash_and_knows_of_no_invite_any_more_is_hung_up_all_the_same() {
    let (mut solo, sent, cancel) = abandoned();
    solo.receive(&reply(&cancel, 481, "b", "", ""));
    solo.pass(Duration::from_secs(8));
    answers_and_is_hung_up(&mut solo, &sent);
}

#[test]
fn a_stored_dialog_is_acknowledged_and_hung_up() {
    let mut before = Solo::new(Policy::default());
    let sent = before.dial(invite(1));
    before.receive(&reply(
        &sent,
        200,
        "b",
        &format!("{CONTACT}Record-Route: <sip:192.0.2.9;lr>\r\n"),
        "answer",
    ));
    let dialog = before.events.iter().find_map(|event| match event {
        Event::Answered { dialog, .. } => Some(dialog.to_bytes()),
        _ => None,
    });
    let dialog = DialogSnapshot::from_bytes(&dialog.unwrap()).unwrap();

    let mut solo = Solo::new(Policy::default());
    solo.command(Command::HangUpDialog {
        dialog: Box::new(dialog),
        credentials: None,
        cause: HangUpCause::Failure,
    });
    let sent = solo.sent();
    assert_eq!(header(&sent[0], "CSeq"), "1 ACK");
    assert!(sent[1].starts_with("BYE sip:200@192.0.2.2:5060 "));
    assert_eq!(header(&sent[1], "Route"), "<sip:192.0.2.9;lr>");
    assert!(header(&sent[1], "To").ends_with(";tag=b"));
    assert!(header(&sent[1], "From").ends_with(";tag=tag-1"));
    solo.receive(&reply(&sent[1], 200, "", "", ""));
    assert_eq!(solo.said(), ["ended by Us"]);
    solo.assert_empty();
}

#[test]
fn records_that_do_not_fit_end_the_leg_with_a_reason() {
    let (wire, _) = stored();
    let elsewhere = Wire { local: addr("192.0.2.1:5099"), ..(*wire).clone() };
    let damaged = Wire { bytes: "INVITE".into(), ..*wire };
    for wire in [elsewhere, damaged] {
        let mut solo = Solo::new(Policy::default());
        solo.command(Command::Resume { wire: Box::new(wire), credentials: None });
        assert_eq!(solo.said(), ["ended by Core"]);
        assert!(solo.wire.is_empty());
    }
}
