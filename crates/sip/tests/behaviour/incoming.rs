//! Calls that come in where the caller of the core decides: who gets before it, and what the leg does then.

use std::time::Duration;

use sip::*;

use crate::phone::*;
use crate::world::*;

/// As the calling application of contract §3 asks for it.
const APP: &str = "Contact: <sip:AnonymousCard@192.0.2.2:5060>\r\nSupported: timer\r\n\
                   Session-Expires: 90;refresher=uac\r\nMin-SE: 90\r\nAllow: INVITE, UPDATE, INFO\r\n";
const CODE: &str = "sip:179080024609291@192.0.2.1";

fn from_app() -> String {
    let from = "<sip:AnonymousCard@192.0.2.2:5060>;tag=far";
    request(&Outside { uri: CODE, from, extra: APP, body: "offer", ..Outside::default() })
}

/// An INVITE of the application that is before the caller.
fn rung(solo: &mut Solo) -> LegId {
    solo.receive(&from_app());
    assert_eq!(solo.sent_kinds(), ["100"]);
    let incoming = solo.events.drain(..).find_map(|event| match event {
        Event::Incoming { leg, request } => Some((leg, request)),
        _ => None,
    });
    let (leg, request) = incoming.expect("it is shown");
    assert_eq!((request.origin, request.request_user.as_str()), (Origin::Stranger, &CODE[4..19]));
    leg
}

/// A request of the far side inside the dialog that `ok` of ours confirms.
fn theirs(ok: &str, method: &str, cseq: u32, extra: &str, body: &str) -> String {
    request(&Outside {
        method,
        from: header(ok, "From"),
        to: header(ok, "To"),
        call_id: header(ok, "Call-ID"),
        cseq,
        branch: &format!("{method}{cseq}"),
        extra,
        body,
        ..Outside::default()
    })
}

/// The same leg, answered and confirmed: our 200.
fn up(solo: &mut Solo) -> (LegId, String) {
    let leg = rung(solo);
    solo.command(Command::PrepareAnswer { leg, body: Some(Body::sdp("answer")) });
    solo.command(Command::SendAnswer { leg });
    let ok = solo.one();
    solo.receive(&theirs(&ok, "ACK", 1, "", ""));
    assert_eq!(solo.said(), ["answering", "confirmed"]);
    (leg, ok)
}

#[test]
fn who_gets_before_the_caller_and_as_whom() {
    let mut solo = switchboard();
    solo.command(Command::Trust { sources: [addr("203.0.113.5:1").ip()].into() });
    let mut phone = Phone::new("66666666", "198.51.100.7:5060");
    phone.bind(&mut solo, "");
    solo.said();
    let table = [
        ("203.0.113.5:5060", "sip:alice@192.0.2.1", "100", Some(Origin::Trusted)),
        ("203.0.113.6:5060", "sip:179080024609291@192.0.2.1", "100", Some(Origin::Stranger)),
        ("203.0.113.6:5060", "sip:123456789012345678@192.0.2.1", "100", Some(Origin::Stranger)),
        ("203.0.113.6:5060", "sip:1234567890123456789@192.0.2.1", "404", None),
        ("203.0.113.6:5060", "sip:alice@192.0.2.1", "404", None),
        ("203.0.113.6:5060", "sip:+861380000@192.0.2.1", "404", None),
        ("203.0.113.6:5060", "sip:192.0.2.1", "404", None),
        ("198.51.100.7:5060", "sip:179080024609291@192.0.2.1", "401", None),
    ];
    for (n, (from, uri, status, expected)) in table.into_iter().enumerate() {
        let call_id = format!("who{n}");
        let invite = Outside { uri, call_id: &call_id, branch: &call_id, ..Outside::default() };
        solo.receive_from(from, &request(&invite));
        assert_eq!(solo.sent_kinds(), [status], "{from} {uri}");
        let origin = solo.events.drain(..).find_map(|event| match event {
            Event::Incoming { request, .. } => Some(request.origin),
            _ => None,
        });
        assert_eq!(origin, expected, "{from} {uri}");
    }
    phone.challenge = None;
    assert_eq!(kind(&phone.say(&mut solo, "INVITE", "sip:66666667@192.0.2.1", CONTACT)), "401");
    assert_eq!(kind(&phone.say(&mut solo, "INVITE", "sip:66666667@192.0.2.1", CONTACT)), "100");
    let Some(Event::Incoming { request, .. }) = solo.events.pop_back() else { panic!("not shown") };
    assert_eq!(request.origin.user(), Some("66666666"));
}

#[test]
fn an_answer_leaves_when_its_dialog_is_on_disk_and_ends_after_a_crash() {
    let mut solo = switchboard();
    let leg = rung(&mut solo);
    solo.command(Command::Ring { leg, body: None });
    assert_eq!(solo.sent_kinds(), ["180"]);
    solo.command(Command::SendAnswer { leg });
    assert!(solo.wire.is_empty(), "nothing was prepared");
    solo.command(Command::PrepareAnswer { leg, body: Some(Body::sdp("answer")) });
    assert!(solo.wire.is_empty());
    let dialog = solo.events.drain(..).find_map(|event| match event {
        Event::Answering { dialog, .. } => Some(dialog.to_bytes()),
        _ => None,
    });
    solo.command(Command::SendAnswer { leg });
    let ok = solo.one();
    assert!(ok.starts_with("SIP/2.0 200 ") && ok.ends_with("\r\n\r\nanswer"));
    solo.command(Command::SendAnswer { leg });
    assert!(solo.wire.is_empty(), "once");

    let mut next = switchboard();
    let dialog = DialogSnapshot::from_bytes(&dialog.unwrap()).unwrap();
    let (dialog, cause) = (Box::new(dialog), HangUpCause::Failure);
    next.command(Command::HangUpDialog { dialog, credentials: None, cause });
    let bye = next.one();
    assert!(bye.starts_with("BYE sip:AnonymousCard@192.0.2.2:5060 "), "{bye}");
    assert_eq!(header(&bye, "From"), header(&ok, "To"));
    assert_eq!(header(&bye, "To"), header(&ok, "From"));
    assert_eq!(header(&bye, "Call-ID"), header(&ok, "Call-ID"));
    next.receive(&reply(&bye, 200, "", "", ""));
    assert_eq!(next.said(), ["ended by Us"]);
    next.assert_empty();
}

#[test]
fn a_client_is_spoken_to_the_way_it_came_and_a_trunk_where_it_says() {
    for (trusted, expected) in [(false, "10.0.0.7:40000"), (true, "172.17.0.2:5060")] {
        let mut solo = switchboard();
        let from = addr("10.0.0.7:40000");
        let sources = trusted.then(|| from.ip()).into_iter().collect();
        solo.command(Command::Trust { sources });
        let contact = "Contact: <sip:app@172.17.0.2:5060>\r\n";
        let invite = Outside { uri: CODE, extra: contact, ..Outside::default() };
        solo.receive_from(&from.to_string(), &request(&invite));
        let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else { panic!("not shown") };
        solo.command(Command::Answer { leg, body: None });
        let ok = solo.sent().pop().unwrap();
        solo.receive_from(&from.to_string(), &theirs(&ok, "ACK", 1, "", ""));
        solo.command(Command::HangUp { leg, cause: HangUpCause::Normal });
        assert_eq!(solo.wire[0].remote, addr(expected), "trusted: {trusted}");
        assert!(solo.one().starts_with("BYE sip:app@172.17.0.2:5060 "));
    }
}

#[test]
fn a_cancel_that_comes_while_the_answer_is_written_to_disk_wins() {
    let mut solo = switchboard();
    let leg = rung(&mut solo);
    solo.command(Command::PrepareAnswer { leg, body: None });
    solo.receive(&from_app().replace("INVITE", "CANCEL"));
    assert_eq!(solo.sent_kinds(), ["200", "487"]);
    solo.command(Command::SendAnswer { leg });
    assert!(solo.wire.is_empty());
    assert_eq!(solo.said(), ["answering", "ended by Peer"]);
}

#[test]
fn a_cancel_that_crosses_the_200_is_too_late_and_the_call_is_up() {
    let mut solo = switchboard();
    let leg = rung(&mut solo);
    solo.command(Command::PrepareAnswer { leg, body: None });
    solo.command(Command::SendAnswer { leg });
    let ok = solo.one();
    solo.receive(&from_app().replace("INVITE", "CANCEL"));
    assert_eq!(solo.sent_kinds(), ["200"], "for the CANCEL alone");
    solo.receive(&theirs(&ok, "ACK", 1, "", ""));
    solo.receive(&theirs(&ok, "BYE", 2, "", ""));
    assert_eq!(solo.sent_kinds(), ["200"]);
    assert_eq!(solo.said(), ["answering", "confirmed", "ended by Peer"]);
    solo.assert_empty();
}

#[test]
fn early_media_goes_to_a_caller_before_the_answer() {
    let mut solo = switchboard();
    let leg = rung(&mut solo);
    solo.command(Command::Progress { leg, body: Some(Body::sdp("early")) });
    let progress = solo.one();
    assert!(progress.starts_with("SIP/2.0 183 ") && progress.ends_with("\r\n\r\nearly"));
    solo.command(Command::Ring { leg, body: Some(Body::sdp("early")) });
    assert!(solo.one().ends_with("\r\n\r\nearly"));
}

#[test]
fn the_session_timer_of_ninety_seconds_is_kept_by_the_caller_and_its_silence_ends_the_call() {
    let mut solo = switchboard();
    let (_, ok) = up(&mut solo);
    assert_eq!(header(&ok, "Session-Expires"), "90;refresher=uac");
    assert_eq!(header(&ok, "Require"), "timer");
    for cseq in 2..5 {
        solo.pass(Duration::from_secs(45));
        let extra = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
        solo.receive(&theirs(&ok, "UPDATE", cseq, extra, ""));
        assert_eq!(header(&solo.one(), "Session-Expires"), "90;refresher=uac");
        assert_eq!(solo.said(), ["refreshed"]);
    }
    solo.pass(Duration::from_secs(59));
    assert!(solo.wire.is_empty());
    solo.pass(Duration::from_secs(1));
    assert_eq!(solo.sent_kinds(), ["BYE"]);
    assert_eq!(solo.said(), ["ended by Timeout(SessionExpired)"]);
}

#[test]
fn where_the_caller_leaves_it_to_us_we_refresh() {
    let mut solo = switchboard();
    solo.receive(&from_app().replace("refresher=uac", "refresher=uas"));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else { panic!("not shown") };
    solo.sent();
    solo.command(Command::Answer { leg, body: Some(Body::sdp("answer")) });
    let ok = solo.one();
    assert_eq!(header(&ok, "Session-Expires"), "90;refresher=uas");
    solo.receive(&theirs(&ok, "ACK", 1, "", ""));
    for _ in 0..3 {
        solo.pass(Duration::from_secs(45));
        let update = solo.one();
        assert!(update.starts_with("UPDATE sip:AnonymousCard@192.0.2.2:5060 "), "{update}");
        assert_eq!(header(&update, "Session-Expires"), "90;refresher=uac");
        let extra = "Session-Expires: 90;refresher=uac\r\nRequire: timer\r\n";
        solo.receive(&reply(&update, 200, "", extra, ""));
    }
    assert_eq!(solo.said(), ["confirmed", "refreshed", "refreshed", "refreshed"]);
}

#[test]
fn a_caller_holds_by_re_invite_and_comes_back_by_update() {
    let mut solo = switchboard();
    let (leg, ok) = up(&mut solo);
    solo.receive(&theirs(&ok, "INVITE", 2, APP, "hold"));
    assert_eq!(solo.said(), ["offered hold"]);
    solo.command(Command::AnswerOffer { leg, body: Some(Body::sdp("held")) });
    let held = solo.one();
    assert!(held.ends_with("\r\n\r\nheld"));
    assert_eq!(header(&held, "Session-Expires"), "90;refresher=uac");
    solo.receive(&theirs(&ok, "ACK", 2, "", ""));
    solo.receive(&theirs(&ok, "UPDATE", 3, APP, "back"));
    solo.command(Command::AnswerOffer { leg, body: Some(Body::sdp("here")) });
    assert!(solo.one().ends_with("\r\n\r\nhere"));
    assert_eq!(solo.said(), ["confirmed", "offered back"]);
}

#[test]
fn our_offer_and_theirs_at_once_are_both_put_off() {
    let mut solo = switchboard();
    let (leg, ok) = up(&mut solo);
    solo.command(Command::Offer { leg, body: Body::sdp("ours") });
    let ours = solo.one();
    assert!(ours.starts_with("INVITE sip:AnonymousCard@192.0.2.2:5060 "));
    solo.receive(&theirs(&ok, "INVITE", 2, APP, "theirs"));
    assert_eq!(solo.sent_kinds(), ["491"]);
    solo.receive(&reply(&ours, 491, "", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    // We were called: up to 2 s.
    solo.pass(Duration::from_secs(2));
    let again = solo.sent().into_iter().find(|message| message.starts_with("INVITE "));
    solo.receive(&reply(&again.expect("it is tried again"), 200, "", CONTACT, "their answer"));
    assert_eq!(solo.said(), ["offer answered their answer"]);
}

#[test]
fn info_of_each_kind_is_answered_and_reported_before_and_after_the_answer() {
    let mut solo = switchboard();
    let leg = rung(&mut solo);
    solo.command(Command::Ring { leg, body: None });
    let ringing = solo.one();
    let kinds = ["application/dtmf-relay", "application/dtmf", "text/xml"];
    let mut cseq = 1;
    let mut info = |solo: &mut Solo, dialog: &str| {
        for kind in kinds {
            cseq += 1;
            let info =
                theirs(dialog, "INFO", cseq, "", "Signal=5").replace("application/sdp", kind);
            solo.receive(&info);
            assert_eq!(solo.sent_kinds(), ["200"], "{kind}");
            let seen = solo.events.drain(..).find_map(|event| match event {
                Event::Info { body, .. } => body,
                _ => None,
            });
            assert_eq!(seen.map(|body| body.content_type).as_deref(), Some(kind));
        }
    };
    info(&mut solo, &ringing);
    solo.command(Command::Answer { leg, body: None });
    let ok = solo.one();
    solo.receive(&theirs(&ok, "ACK", 1, "", ""));
    info(&mut solo, &ok);
}

#[test]
fn what_the_caller_says_nothing_about_is_bounded_in_number_and_time() {
    let policy = Policy {
        accept_invites: AcceptInvites::Ask,
        strangers: StrangerPolicy { max_undecided: 3, ..StrangerPolicy::default() },
        ..Policy::default()
    };
    let mut solo = Solo::new(policy);
    let mut legs = Vec::new();
    for n in 0..5 {
        let call_id = format!("waits{n}");
        let invite = Outside { call_id: &call_id, branch: &call_id, ..Outside::default() };
        solo.receive(&request(&invite));
        assert_eq!(solo.sent_kinds(), [if legs.len() < 3 { "100" } else { "503" }]);
        legs.extend(solo.events.drain(..).find_map(|event| match event {
            Event::Incoming { leg, .. } => Some(leg),
            _ => None,
        }));
    }
    solo.command(Command::Ring { leg: legs[0], body: None });
    solo.receive(&request(&Outside { call_id: "next", branch: "next", ..Outside::default() }));
    assert_eq!(solo.sent_kinds(), ["180", "100"], "one was decided, one gets in");
    solo.said();
    solo.pass(Duration::from_secs(10));
    let kinds: Vec<String> = solo.sent_kinds().into_iter().filter(|kind| kind == "480").collect();
    assert!(kinds.len() >= 3, "each is refused, and again until it is acknowledged");
    assert_eq!(solo.said(), ["ended by Us 480", "ended by Us 480", "ended by Us 480"]);
    assert_eq!(solo.core.load().0, 1, "the one that rings");
}

#[test]
fn each_leg_in_the_tap_begins_with_its_invite_and_has_an_end() {
    let begins = |solo: &mut Solo| {
        let taps = solo.events.drain(..).filter_map(|event| match event {
            Event::Message(tap) if tap.bytes.starts_with(b"INVITE ") => Some(tap.leg.is_some()),
            _ => None,
        });
        taps.collect::<Vec<bool>>()
    };
    let mut solo = switchboard();
    solo.receive(&from_app());
    let leg = solo.events.iter().find_map(|event| match event {
        Event::Incoming { leg, .. } => Some(*leg),
        _ => None,
    });
    assert_eq!(begins(&mut solo), [true]);
    solo.command(Command::TurnAway { leg: leg.unwrap() });
    solo.receive(&from_app());
    assert_eq!(begins(&mut solo), [false], "a copy that comes after the end");
    let brief = from_app().replace("Session-Expires: 90", "Session-Expires: 30");
    solo.receive(&brief.replace("z9hG4bK1", "z9hG4bK2").replace("far-call", "brief"));
    assert_eq!(solo.sent_kinds().pop().as_deref(), Some("422"));
    assert_eq!(begins(&mut solo), [false], "refused by the core alone");
}

#[test]
fn a_stranger_who_is_refused_for_another_reason_has_not_guessed() {
    let mut solo = switchboard();
    for n in 0..100 {
        let call_id = format!("busy{n}");
        let invite =
            Outside { uri: CODE, call_id: &call_id, branch: &call_id, ..Outside::default() };
        solo.receive(&request(&invite));
        let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else { panic!("not shown") };
        let (status, reason, headers) = (486, None, Vec::new());
        solo.command(Command::Refuse { leg, status, reason, headers });
        assert_eq!(solo.sent_kinds(), ["100", "486"]);
    }
}
