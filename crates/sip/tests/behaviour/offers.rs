//! Re-INVITE and UPDATE, from both sides and at once.

use std::time::Duration;

use sip::*;

use crate::world::*;

#[test]
fn the_far_side_re_negotiates() {
    let mut solo = Solo::new(Policy::default());
    let (leg, sent) = solo.up(invite(1), "");
    let offer = in_dialog(&sent, "b", "INVITE", 5, "Contact: <sip:200@192.0.2.2:5099>\r\n", "hold");
    solo.receive(&offer);
    solo.receive(&offer);
    assert_eq!(solo.said(), ["offered hold"], "a copy is absorbed");
    solo.command(Command::AnswerOffer { leg, body: Some(Body::sdp("held")) });
    let ok = solo.one();
    assert_eq!(kind(&ok), "200");
    assert!(ok.ends_with("\r\n\r\nheld"));
    solo.pass(Duration::from_millis(1600));
    assert_eq!(solo.sent().len(), 2, "again until the ACK, at 0.5 and 1.5 s");
    solo.receive(&in_dialog(&sent, "b", "ACK", 5, "", ""));
    solo.pass(Duration::from_secs(10));
    assert!(solo.wire.is_empty());
    assert_eq!(solo.said(), ["confirmed"]);
    solo.hang_up(1);
    assert!(solo.one().starts_with("BYE sip:200@192.0.2.2:5099 "), "the target has moved");
}

#[test]
fn an_offer_is_refused_and_the_call_goes_on() {
    let mut solo = Solo::new(Policy::default());
    let (leg, sent) = solo.up(invite(1), "");
    solo.receive(&in_dialog(&sent, "b", "INVITE", 5, CONTACT, "video"));
    solo.command(Command::RefuseOffer { leg, status: 488 });
    assert_eq!(solo.sent_kinds(), ["488"]);
    solo.receive(&in_dialog(&sent, "b", "UPDATE", 6, CONTACT, "again"));
    solo.command(Command::AnswerOffer { leg, body: Some(Body::sdp("yes")) });
    assert_eq!(solo.sent_kinds(), ["200"]);
    assert_eq!(solo.said(), ["offered video", "offered again"]);
    solo.receive(&in_dialog(&sent, "b", "BYE", 7, "", ""));
    assert_eq!(solo.said(), ["ended by Peer"]);
}

#[test]
fn our_offer_is_answered_and_acknowledged() {
    let mut solo = Solo::new(Policy::default());
    let (leg, _) = solo.up(invite(1), "");
    solo.command(Command::Offer { leg, body: Body::sdp("hold") });
    let offer = solo.one();
    assert_eq!(header(&offer, "CSeq"), "2 INVITE");
    assert!(offer.ends_with("\r\n\r\nhold"));
    let ok = reply(&offer, 200, "", CONTACT, "held");
    solo.receive(&ok);
    let ack = solo.one();
    assert_eq!(header(&ack, "CSeq"), "2 ACK");
    assert_eq!(solo.said(), ["offer answered held"]);
    solo.receive(&ok);
    assert_eq!(solo.one(), ack);
}

#[test]
fn glare_is_refused_and_our_own_offer_tried_again() {
    let mut solo = Solo::new(Policy::default());
    let (leg, sent) = solo.up(invite(1), "");
    solo.command(Command::Offer { leg, body: Body::sdp("ours") });
    let offer = solo.one();
    solo.receive(&in_dialog(&sent, "b", "INVITE", 5, CONTACT, "theirs"));
    assert_eq!(solo.sent_kinds(), ["491"]);
    solo.receive(&in_dialog(&sent, "b", "ACK", 5, "", "").replace("z9hG4bKACK5", "z9hG4bKINVITE5"));
    solo.receive(&reply(&offer, 491, "", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    solo.pass(Duration::from_millis(2000));
    assert!(solo.wire.is_empty(), "who owns the Call-ID waits 2.1 to 4 s");
    solo.pass(Duration::from_millis(2100));
    let again = solo.sent().remove(0);
    assert_eq!(header(&again, "CSeq"), "3 INVITE");
    assert!(again.ends_with("\r\n\r\nours"));
    solo.receive(&reply(&again, 200, "", CONTACT, "at last"));
    assert_eq!(solo.said(), ["offer answered at last"]);
}

#[test]
fn a_far_side_that_lost_the_dialog_ends_the_call() {
    for status in [408, 481] {
        let mut solo = Solo::new(Policy::default());
        let (leg, _) = solo.up(invite(1), "");
        solo.command(Command::Offer { leg, body: Body::sdp("hold") });
        let offer = solo.one();
        solo.receive(&reply(&offer, status, "", "", ""));
        assert_eq!(solo.sent_kinds(), ["ACK", "BYE"]);
        assert_eq!(solo.said(), [format!("ended by Peer {status}")]);
    }
}

#[test]
fn two_offers_at_once_and_old_numbers_are_refused() {
    let mut solo = Solo::new(Policy::default());
    let (leg, sent) = solo.up(invite(1), "");
    solo.receive(&in_dialog(&sent, "b", "INVITE", 5, CONTACT, "one"));
    solo.receive(&in_dialog(&sent, "b", "UPDATE", 6, CONTACT, "two"));
    assert_eq!(solo.sent_kinds(), ["500"]);
    solo.receive(&in_dialog(&sent, "b", "BYE", 2, "", ""));
    assert_eq!(solo.sent_kinds(), ["500"], "an old CSeq");
    solo.command(Command::Offer { leg, body: Body::sdp("mine") });
    assert_eq!(solo.said(), ["offered one", "offer refused 491"]);
    let cancel = in_dialog(&sent, "b", "CANCEL", 5, "", "").replace("CANCEL5", "INVITE5");
    solo.receive(&cancel);
    assert_eq!(solo.sent_kinds(), ["200", "487"]);
}

#[test]
fn info_goes_both_ways() {
    let mut solo = Solo::new(Policy::default());
    let (leg, sent) = solo.up(invite(1), "");
    solo.receive(&in_dialog(&sent, "b", "INFO", 5, "", "Signal=5"));
    assert_eq!(solo.sent_kinds(), ["200"]);
    assert_eq!(solo.said(), ["info Signal=5"]);
    let body = Body { content_type: "application/dtmf-relay".to_owned(), bytes: "Signal=1".into() };
    solo.command(Command::Info { leg, body });
    let info = solo.one();
    assert_eq!(header(&info, "Content-Type"), "application/dtmf-relay");
    solo.receive(&reply(&info, 200, "", "", ""));
}

#[test]
fn what_is_not_for_a_call_is_refused_in_it() {
    let mut solo = Solo::new(Policy::default());
    let (_, sent) = solo.up(invite(1), "");
    let table = [
        ("REFER", "405"),
        ("MESSAGE", "405"),
        ("NOTIFY", "489"),
        ("OPTIONS", "200"),
        ("PRACK", "481"),
        ("FOO", "405"),
    ];
    for (cseq, (method, status)) in (5..).zip(table) {
        solo.receive(&in_dialog(&sent, "b", method, cseq, "", ""));
        assert_eq!(solo.sent_kinds(), [status], "{method}");
    }
    assert_eq!(solo.said(), [""; 0]);
}

#[test]
fn a_request_with_another_remote_tag_is_not_of_this_dialog() {
    let mut solo = Solo::new(Policy::default());
    let (_, sent) = solo.up(invite(1), "");
    solo.receive(&in_dialog(&sent, "guessed", "BYE", 5, "", ""));
    assert_eq!(solo.sent_kinds(), ["481"]);
    assert_eq!(solo.said(), [""; 0]);
}
