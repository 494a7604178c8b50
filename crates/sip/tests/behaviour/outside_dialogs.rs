//! S-7: what each method gets from a stranger.

use std::time::Duration;

use sip::*;

use crate::world::*;

fn outside(method: &str) -> String {
    request(&Outside { method, call_id: method, ..Outside::default() })
}

#[test]
fn the_table_of_refusals() {
    let table = [
        ("OPTIONS", "200"),
        ("INVITE", "403"),
        ("REGISTER", "403"),
        ("REFER", "403"),
        ("MESSAGE", "405"),
        ("SUBSCRIBE", "405"),
        ("PUBLISH", "405"),
        ("NOTIFY", "481"),
        ("UPDATE", "481"),
        ("INFO", "481"),
        ("BYE", "481"),
        ("PRACK", "481"),
        ("CANCEL", "481"),
        ("FROBNICATE", "501"),
    ];
    let mut solo = Solo::new(Policy::default());
    for (method, status) in table {
        solo.receive(&outside(method));
        let answer = solo.one();
        assert_eq!(kind(&answer), status, "{method}");
        solo.receive(&outside(method));
        assert_eq!(solo.one(), answer, "a copy gets the same answer");
    }
    assert_eq!(solo.said(), [""; 0]);
    assert_eq!(solo.core.load(), (0, 0, 0), "nothing is kept for strangers");
    assert_eq!(solo.core.counters().refused, 24);
    solo.receive(&outside("ACK"));
    assert!(solo.wire.is_empty());
}

#[test]
fn a_dialog_that_nobody_knows_gets_481() {
    let mut solo = Solo::new(open());
    for method in ["INVITE", "BYE", "INFO", "UPDATE", "OPTIONS"] {
        let to = "<sip:100@192.0.2.1>;tag=unknown";
        solo.receive(&request(&Outside { method, to, ..Outside::default() }));
        assert_eq!(solo.sent_kinds(), ["481"], "{method}");
    }
}

#[test]
fn draining_refuses_options_and_invites_and_keeps_calls() {
    let mut solo = Solo::new(open());
    let (_, sent) = solo.up(invite(1), "");
    solo.command(Command::Drain);
    for method in ["OPTIONS", "INVITE"] {
        solo.receive(&outside(method));
        let answer = solo.one();
        assert_eq!(kind(&answer), "503");
        assert_eq!(header(&answer, "Retry-After"), "5");
    }
    solo.receive(&in_dialog(&sent, "b", "OPTIONS", 5, "", ""));
    assert_eq!(solo.sent_kinds(), ["200"]);
}

#[test]
fn the_same_invite_over_two_paths_is_merged() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside::default()));
    solo.receive(&request(&Outside { branch: "2", ..Outside::default() }));
    assert_eq!(solo.sent_kinds(), ["100", "482"]);
    assert_eq!(solo.said(), ["incoming 100"]);
}

#[test]
fn what_cannot_be_understood_is_refused_by_name() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside {
        extra: "Require: teleport, timer\r\n",
        ..Outside::default()
    }));
    let answer = solo.one();
    assert_eq!((kind(&answer).as_str(), header(&answer, "Unsupported")), ("420", "teleport"));
    let encoded = "Content-Encoding: gzip\r\n";
    solo.receive(&request(&Outside { extra: encoded, body: "x", ..Outside::default() }));
    assert_eq!(solo.sent_kinds(), ["415"]);
    solo.receive(&outside("OPTIONS").replace("sip:100@192.0.2.1:5060 ", "http://x/ "));
    assert_eq!(solo.sent_kinds(), ["416"]);
    solo.receive(&outside("OPTIONS").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"));
    assert_eq!(solo.sent_kinds(), ["400"]);
    solo.receive(&outside("OPTIONS").replace(" SIP/2.0\r\nVia", " SIP/7.0\r\nVia"));
    assert_eq!(solo.sent_kinds(), ["505"]);
}

#[test]
fn above_the_limit_of_legs_new_calls_get_503() {
    let mut config = config(OURS, open());
    config.max_legs = 1;
    let mut solo = Solo::new(open());
    solo.core = Core::new(config, 1, solo.now);
    solo.receive(&outside("INVITE"));
    solo.receive(&request(&Outside { call_id: "other", branch: "9", ..Outside::default() }));
    assert_eq!(solo.sent_kinds(), ["100", "503"]);
}

#[test]
fn answers_go_where_rport_says() {
    let mut solo = Solo::new(Policy::default());
    solo.receive_from("203.0.113.7:40000", &outside("OPTIONS"));
    assert_eq!(solo.wire[0].remote, addr("203.0.113.7:40000"));
    let answer = solo.one();
    assert!(header(&answer, "Via").ends_with(";rport=40000;received=203.0.113.7"));
    solo.receive_from("203.0.113.7:40000", &outside("OPTIONS").replace(";rport", ""));
    assert_eq!(solo.wire[0].remote, addr("203.0.113.7:5060"));
}

#[test]
fn a_register_that_policy_lets_in_is_answered_by_the_caller_or_times_out() {
    let policy = Policy { accept_register: AcceptRegister::Open, ..Policy::default() };
    let mut solo = Solo::new(policy);
    solo.receive(&outside("REGISTER"));
    let Some(Event::Request(register)) = solo.events.pop_back() else { panic!("no request") };
    assert_eq!(register.from.user(), "200");
    assert!(register.headers.iter().any(|(name, _)| name == "Contact"));
    let headers = vec![("Contact".to_owned(), "<sip:200@192.0.2.2:5060>;expires=60".to_owned())];
    solo.command(Command::Respond { request: register.id, status: 200, headers, body: None });
    let answer = solo.one();
    assert_eq!(header(&answer, "Contact"), "<sip:200@192.0.2.2:5060>;expires=60");
    solo.receive(&outside("REGISTER"));
    assert_eq!(solo.one(), answer, "the transaction answers copies");
    solo.said();

    let forgotten = Outside { method: "REGISTER", branch: "7", call_id: "7", ..Outside::default() };
    solo.receive(&request(&forgotten));
    solo.pass(Duration::from_secs(31));
    assert_eq!(solo.sent_kinds(), ["408"]);
    assert_eq!(solo.said(), ["request REGISTER"]);
    solo.assert_empty();
}
