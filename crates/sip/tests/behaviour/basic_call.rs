//! Dial, ring, answer, talk, hang up: from both ends, between two cores and over a scripted peer.

use std::time::Duration;

use sip::*;

use crate::world::*;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_call_between_two_cores_goes_up_and_ends_from_either_side() {
    for who_hangs_up in [0, 1] {
        let mut pair = Pair::new(0, 1);
        let next = |pair: &mut Pair, side| say(&pair.event(side, LIMIT).unwrap()).unwrap();
        pair.command(0, Command::Prepare(Box::new(invite(1))));
        pair.command(0, Command::Send { leg: LegId(1) });
        assert_eq!(next(&mut pair, 0), "prepared");
        let Some(Event::Incoming { leg, request }) = pair.event(1, LIMIT) else {
            panic!("no call came in")
        };
        assert!(leg.is_inbound());
        assert_eq!(request.request_user, "200");
        assert_eq!(request.from.display(), Some("Shop"));
        assert!(request.headers.contains(&("X-Serial".to_owned(), "7".to_owned())));
        pair.command(1, Command::Ring { leg, body: None });
        assert_eq!(next(&mut pair, 0), "180");
        let body = Some(Body::sdp("answer"));
        pair.command(1, Command::Answer { leg, body });
        assert_eq!(next(&mut pair, 0), "answered answer");
        pair.command(0, Command::Acknowledge { leg: LegId(1), body: None });
        assert_eq!(next(&mut pair, 1), "confirmed");
        let ours = if who_hangs_up == 0 { LegId(1) } else { leg };
        let cause = HangUpCause::Normal;
        pair.command(who_hangs_up, Command::HangUp { leg: ours, cause });
        assert_eq!(next(&mut pair, who_hangs_up), "ended by Us");
        assert_eq!(next(&mut pair, 1 - who_hangs_up), "ended by Peer q850=16");
        pair.pass(Duration::from_secs(120));
        for side in &mut pair.sides {
            assert_eq!(side.said(), [""; 0]);
            assert_eq!(side.core.load(), (0, 0, 0));
        }
    }
}

#[test]
fn nothing_leaves_before_send_and_the_wire_is_what_was_prepared() {
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::Prepare(Box::new(invite(1))));
    assert!(solo.wire.is_empty());
    let Some(Event::Prepared { wire, .. }) = solo.events.pop_front() else {
        panic!("not prepared")
    };
    solo.command(Command::Send { leg: LegId(1) });
    assert_eq!(solo.wire[0].bytes, wire.bytes);
    assert_eq!(Wire::from_bytes(&wire.to_bytes()), Ok(*wire));
    let sent = solo.one();
    assert_eq!(header(&sent, "From"), "\"Shop\" <sip:100@192.0.2.1>;tag=tag-1");
    assert_eq!(header(&sent, "Contact"), "<sip:100@192.0.2.1:5060>");
    assert!(header(&sent, "Via").starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"));
}

#[test]
fn a_prepared_call_that_is_hung_up_leaves_nothing_on_the_wire() {
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::Prepare(Box::new(invite(1))));
    solo.hang_up(1);
    assert_eq!(solo.said(), ["prepared", "ended by Us"]);
    assert!(solo.wire.is_empty());
    solo.assert_empty();
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is_sent() {
    let bad: [fn(&mut Invite); 6] = [
        |invite| invite.leg = LegId(1 << 63),
        |invite| invite.headers.push(("X-A".to_owned(), "1\r\nVia: x".to_owned())),
        |invite| invite.headers.push(("Via".to_owned(), "x".to_owned())),
        |invite| invite.call_id = "a b\r\n".to_owned(),
        |invite| invite.from_tag = "a;b".to_owned(),
        |invite| invite.destination.addr = addr("[::1]:5060"),
    ];
    for break_it in bad {
        let mut solo = Solo::new(Policy::default());
        let mut invite = invite(1);
        break_it(&mut invite);
        solo.command(Command::Prepare(Box::new(invite)));
        assert_eq!(solo.said(), ["ended by Core"]);
        assert!(solo.wire.is_empty());
    }
}

#[test]
fn a_refusal_tells_status_cause_and_retry_after() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 180, "b", "", ""));
    let extra = "Retry-After: 30 (later)\r\nReason: SIP;cause=503, Q.850;cause=34\r\n";
    solo.receive(&reply(&sent, 503, "b", extra, ""));
    let Some(Event::Ended { end, .. }) = solo.events.pop_back() else { panic!("not ended") };
    assert_eq!((end.status, end.q850, end.retry_after), (Some(503), Some(34), Some(30)));
    assert!(end.was_ringing);
    let ack = solo.one();
    assert!(ack.starts_with("ACK sip:200@192.0.2.2 SIP/2.0"));
    assert_eq!(header(&ack, "Via"), header(&sent, "Via"));
    assert!(header(&ack, "To").ends_with(";tag=b"));
    solo.receive(&reply(&sent, 503, "b", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    solo.assert_empty();
}

#[test]
fn a_2xx_is_absorbed_until_acknowledge_and_acknowledged_again_after() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    let ok = reply(&sent, 200, "b", CONTACT, "answer");
    solo.receive(&ok);
    solo.receive(&ok);
    assert!(solo.wire.is_empty());
    assert_eq!(solo.said(), ["answered answer"]);
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    let ack = solo.one();
    assert!(ack.starts_with("ACK sip:200@192.0.2.2:5060 SIP/2.0"));
    assert_eq!(header(&ack, "CSeq"), "1 ACK");
    assert_ne!(header(&ack, "Via"), header(&sent, "Via"));
    solo.receive(&ok);
    assert_eq!(solo.one(), ack);
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut solo = Solo::new(Policy::default());
    let mut late = invite(1);
    late.body = None;
    let sent = solo.dial(late);
    solo.receive(&reply(&sent, 200, "b", CONTACT, "their offer"));
    assert_eq!(solo.said(), ["answered their offer"]);
    let body = Some(Body::sdp("our answer"));
    solo.command(Command::Acknowledge { leg: LegId(1), body });
    assert!(solo.one().ends_with("\r\n\r\nour answer"));
}

#[test]
fn routes_are_followed_loose_and_strict() {
    for (record_route, uri, routes) in [
        (
            "<sip:p1@192.0.2.9;lr>, <sip:p2@192.0.2.8:5070;lr>",
            "sip:200@192.0.2.2:5060",
            vec!["<sip:p2@192.0.2.8:5070;lr>", "<sip:p1@192.0.2.9;lr>"],
        ),
        ("<sip:p1@192.0.2.9>", "sip:p1@192.0.2.9", vec!["<sip:200@192.0.2.2:5060>"]),
    ] {
        let mut solo = Solo::new(Policy::default());
        let sent = solo.dial(invite(1));
        let extra = format!("{CONTACT}Record-Route: {record_route}\r\n");
        solo.receive(&reply(&sent, 200, "b", &extra, "answer"));
        solo.command(Command::Acknowledge { leg: LegId(1), body: None });
        let ack = solo.one();
        assert!(ack.starts_with(&format!("ACK {uri} SIP/2.0")), "{ack}");
        assert_eq!(all_headers(&ack, "Route"), routes);
    }
}

#[test]
fn a_peer_behind_nat_is_reached_where_it_was_dialled() {
    let mut solo = Solo::new(Policy::default());
    let mut call = invite(1);
    call.destination.addr = addr("203.0.113.5:5062");
    let sent = solo.dial(call);
    let private = "Contact: <sip:200@10.0.0.7:5060>\r\n";
    solo.receive_from("203.0.113.5:5062", &reply(&sent, 200, "b", private, "answer"));
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    assert_eq!(solo.wire[0].remote, addr("203.0.113.5:5062"));
}

#[test]
fn every_message_is_tapped_with_its_leg() {
    let mut solo = Solo::new(Policy::default());
    let (leg, _) = solo.up(invite(1), "");
    solo.hang_up(1);
    let mut other = Solo::new(Policy::default());
    let sent = other.dial(invite(1));
    other.events.clear();
    other.receive(&reply(&sent, 486, "b", "", ""));
    let taps: Vec<_> = other
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Message(tap) => Some((tap.leg, tap.direction, kind(&text(&tap.bytes)))),
            _ => None,
        })
        .collect();
    let expected = [
        (Some(leg), Direction::Received, "486".to_owned()),
        (Some(leg), Direction::Sent, "ACK".to_owned()),
    ];
    assert_eq!(taps, expected);
}

#[test]
fn a_call_leaves_from_the_listener_that_was_chosen() {
    let mut config = config(OURS, Policy::default());
    let second = CoreListener {
        transport: Transport::Udp,
        bound: addr("10.9.9.9:5080"),
        public: addr("198.51.100.4:15080"),
    };
    config.listeners.push(second);
    let mut solo = Solo::new(Policy::default());
    solo.core = Core::new(config, 1, solo.now);
    let mut call = invite(1);
    call.destination.local = Some(second.bound);
    let leg = call.leg;
    solo.command(Command::Prepare(Box::new(call)));
    solo.command(Command::Send { leg });
    assert_eq!(solo.wire[0].local, second.bound);
    let sent = solo.one();
    assert!(header(&sent, "Via").starts_with("SIP/2.0/UDP 198.51.100.4:15080;"));
    assert_eq!(header(&sent, "Contact"), "<sip:100@198.51.100.4:15080>");
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    solo.command(Command::Acknowledge { leg, body: None });
    assert_eq!(solo.wire[0].local, second.bound);
}

#[test]
fn ipv6_addresses_are_bracketed_where_they_have_to_be() {
    let mut solo = Solo::new(Policy::default());
    solo.core = Core::new(config("[2001:db8::1]:5060", open()), 1, solo.now);
    let mut call = invite(1);
    call.destination.addr = addr("[2001:db8::2]:5060");
    call.request_uri = Uri::new("200", "2001:db8::2").unwrap();
    let sent = solo.dial(call);
    assert!(sent.starts_with("INVITE sip:200@[2001:db8::2] SIP/2.0\r\n"));
    assert!(header(&sent, "Via").starts_with("SIP/2.0/UDP [2001:db8::1]:5060;"));
    assert_eq!(header(&sent, "Contact"), "<sip:100@[2001:db8::1]:5060>");
    let contact = "Contact: <sip:200@[2001:db8::2]:5070>\r\n";
    solo.receive(&reply(&sent, 200, "b", contact, "answer"));
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    assert_eq!(solo.wire[0].remote, addr("[2001:db8::2]:5070"));
}

#[test]
fn a_core_calls_itself() {
    let mut solo = Solo::new(open());
    let deliver = |solo: &mut Solo| {
        while let Some(message) = solo.wire.pop_front() {
            solo.receive_from(OURS, &text(&message.bytes));
        }
    };
    let mut call = invite(1);
    call.destination.addr = addr(OURS);
    solo.command(Command::Prepare(Box::new(call)));
    solo.command(Command::Send { leg: LegId(1) });
    deliver(&mut solo);
    let inbound = solo.events.iter().find_map(|event| match event {
        Event::Incoming { leg, .. } => Some(*leg),
        _ => None,
    });
    let leg = inbound.unwrap();
    solo.command(Command::Ring { leg, body: None });
    deliver(&mut solo);
    solo.command(Command::Answer { leg, body: Some(Body::sdp("answer")) });
    deliver(&mut solo);
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    deliver(&mut solo);
    solo.hang_up(1);
    deliver(&mut solo);
    let expected = [
        "prepared",
        "incoming 200 offer",
        "180",
        "answered answer",
        "confirmed",
        "ended by Us",
        "ended by Peer q850=16",
    ];
    assert_eq!(solo.said(), expected);
    solo.assert_empty();
}
