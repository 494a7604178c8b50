//! The registrar: RFC 3261 §10.3, and where a phone is reached after that.

use std::{collections::BTreeMap, time::Duration};

use sip::*;

use crate::phone::*;
use crate::world::*;

const HERE: &str = "198.51.100.7:40000";
const THERE: &str = "198.51.100.8:40000";
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_phone_registers_with_either_algorithm_and_is_reached_where_it_came_from() {
    for algorithm in [0, 1] {
        let mut solo = switchboard();
        let mut phone = Phone { algorithm, ..Phone::new("66666666", HERE) };
        // Behind NAT: what it knows of its own address leads nowhere.
        let contact = "Contact: <sip:66666666@192.168.1.5:5060;ob>\r\nUser-Agent: Tel 1\r\n";
        let answer = phone.register(&mut solo, contact);
        assert_eq!(kind(&answer), "200");
        let listed = header(&answer, "Contact");
        assert_eq!(listed, "<sip:66666666@192.168.1.5:5060;ob>;expires=600");
        let [binding] = &bindings(&mut solo)[..] else { panic!("one binding") };
        assert_eq!(binding.uri.to_string(), "sip:66666666@192.168.1.5:5060;ob");
        assert_eq!(binding.destination.addr, addr(HERE));
        assert_eq!(binding.user_agent.as_deref(), Some("Tel 1"));
    }
}

#[test]
fn a_phone_that_gives_up_over_sha_256_is_offered_md5_alone() {
    let offered = |answer: &str| all_headers(answer, "WWW-Authenticate").len();
    let mut solo = switchboard();
    // One that is not known for it comes again without a password.
    let mut phone = Phone::new("66666666", HERE);
    let first = phone.message("REGISTER", "sip:192.0.2.1", "");
    for _ in 0..2 {
        solo.receive_from(HERE, &first);
        assert_eq!(offered(&solo.one()), 2, "a copy is no second try");
    }
    solo.pass(Duration::from_secs(30));
    assert_eq!(offered(&phone.say(&mut solo, "REGISTER", "sip:192.0.2.1", "")), 1);
    assert_eq!(kind(&phone.bind(&mut solo, "")), "200");
    // One that understood is offered both each time.
    let mut other = Phone::new("66666667", THERE);
    for _ in 0..3 {
        other.challenge = None;
        assert_eq!(offered(&other.say(&mut solo, "REGISTER", "sip:192.0.2.1", "")), 2);
        assert_eq!(kind(&other.bind(&mut solo, "")), "200");
    }
    let known = "User-Agent: baresip v1.0.0 (x86_64/linux)\r\n";
    let mut baresip = Phone::new("66666667", "198.51.100.9:5060");
    assert_eq!(offered(&baresip.say(&mut solo, "REGISTER", "sip:192.0.2.1", known)), 1);
}

#[test]
fn a_phone_that_comes_again_late_is_met_as_if_for_the_first_time() {
    let offered = |answer: &str| all_headers(answer, "WWW-Authenticate").len();
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    let mut next = |solo: &mut _| {
        phone.challenge = None;
        offered(&phone.say(solo, "REGISTER", "sip:192.0.2.1", ""))
    };
    assert_eq!(next(&mut solo), 2);
    solo.pass(6 * MINUTE);
    assert_eq!(next(&mut solo), 2, "so long after it is no second try");
    solo.pass(Duration::from_secs(30));
    assert_eq!(next(&mut solo), 1, "this one is");
}

#[test]
fn a_phone_behind_nat_is_called_and_spoken_to_at_its_own_source_address() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", "10.0.0.7:40000");
    phone.register(&mut solo, "Contact: <sip:66666666@172.17.0.2:5060>\r\n");
    let [binding] = &bindings(&mut solo)[..] else { panic!("one binding") };
    let leg = LegId(1);
    let call =
        Invite { destination: binding.destination, request_uri: binding.uri.clone(), ..invite(1) };
    solo.command(Command::Prepare(Box::new(call)));
    solo.command(Command::Send { leg });
    assert_eq!(solo.wire[0].remote, addr(&phone.from));
    let sent = solo.one();
    assert!(sent.starts_with("INVITE sip:66666666@172.17.0.2:5060 SIP/2.0"), "{sent}");
    let contact = "Contact: <sip:66666666@172.17.0.2:5060>\r\n";
    solo.receive_from(&phone.from, &reply(&sent, 200, "b", contact, "answer"));
    solo.command(Command::Acknowledge { leg, body: None });
    solo.hang_up(1);
    assert!(solo.wire.iter().all(|message| message.remote == addr(&phone.from)));
    assert_eq!(solo.sent_kinds(), ["ACK", "BYE"]);
}

#[test]
fn a_phone_on_a_stream_is_reached_over_its_connection_until_that_is_gone() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut solo = switchboard();
        let mut phone = Phone::over("66666666", HERE, transport, 9);
        assert_eq!(kind(&phone.bind(&mut solo, "")), "200");
        let [binding] = &bindings(&mut solo)[..] else { panic!("one binding") };
        let destination = binding.destination;
        assert_eq!((destination.flow, destination.transport), (Some(FlowId(9)), transport));
        solo.lose_flow(8);
        assert_eq!(solo.said(), [""; 0], "somebody else's");
        solo.lose_flow(9);
        assert_eq!(solo.said(), ["bound 66666666"]);
        // It connects anew and is the same phone.
        phone.over.1 = Some(FlowId(10));
        phone.bind(&mut solo, "");
        assert_eq!(bindings(&mut solo)[0].destination.flow, Some(FlowId(10)));
    }
}

#[test]
fn the_events_of_one_phone() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    phone.bind(&mut solo, ";expires=120");
    assert_eq!(solo.said(), [format!("bound 66666666 sip:66666666@{HERE}")]);
    solo.pass(MINUTE);
    phone.bind(&mut solo, ";expires=120");
    assert_eq!(solo.said(), [""; 0], "a refresh changes nothing");
    solo.pass(2 * MINUTE - Duration::from_secs(1));
    assert_eq!(solo.said(), [""; 0]);
    solo.pass(Duration::from_secs(1));
    assert_eq!(solo.said(), ["bound 66666666"], "its life is over");
    phone.bind(&mut solo, "");
    let gone = phone.bind(&mut solo, ";expires=0");
    assert_eq!((kind(&gone).as_str(), header(&gone, "Contact")), ("200", ""));
    assert_eq!(solo.said().last().map(String::as_str), Some("bound 66666666"));
    solo.assert_empty();
}

#[test]
fn what_is_kept_of_a_phone_is_never_out_of_date_and_seldom_told() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    phone.bind(&mut solo, ";expires=600");
    assert!(kept(&mut solo).is_some_and(|kept| kept.has_datagrams()));
    let mut told = 0;
    for _ in 0..60 {
        solo.pass(MINUTE);
        phone.bind(&mut solo, ";expires=600");
        told += usize::from(kept(&mut solo).is_some());
    }
    assert!((9..=12).contains(&told), "told {told} times of 60 refreshes in six lifetimes");
    // Who refreshes at the last moment is told of each time.
    for _ in 0..3 {
        solo.pass(9 * MINUTE);
        phone.bind(&mut solo, ";expires=600");
        let kept = kept(&mut solo).expect("half of its time was over");
        assert!(!kept.clone().after(9 * MINUTE).is_empty());
        assert!(kept.after(10 * MINUTE).is_empty());
    }
    phone.bind(&mut solo, ";expires=0");
    assert_eq!(kept(&mut solo), Some(KeptBindings::default()));
    solo.assert_empty();
}

#[test]
fn a_phone_is_reached_after_a_restart_as_it_was_before_until_its_time_is_over() {
    let mut before = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    let named = ";+sip.instance=\"<urn:uuid:1>\";q=0.5;expires=600";
    phone.bind(&mut before, named);
    let was = before.events.iter().find_map(|event| match event {
        Event::Bound { bindings, .. } => Some(bindings.clone()),
        _ => None,
    });
    let kept = kept(&mut before).expect("it is to be kept");
    let kept = KeptBindings::from_bytes(&kept.to_bytes()).unwrap();

    let mut solo = switchboard();
    let restore = |kept: &KeptBindings| Command::Restore {
        user: "66666666".to_owned(),
        bindings: kept.clone().after(2 * MINUTE),
    };
    solo.command(restore(&kept));
    assert_eq!(Some(bindings(&mut solo)), was);
    // Its next REGISTER is a refresh.
    assert!(header(&phone.bind(&mut solo, named), "Contact").ends_with(";expires=600"));
    solo.command(restore(&kept));
    assert_eq!(solo.said(), [""; 0], "it is here already");

    let mut solo = switchboard();
    solo.command(restore(&kept));
    solo.pass(8 * MINUTE - Duration::from_secs(1));
    assert_eq!(solo.said().len(), 1);
    solo.pass(Duration::from_secs(1));
    assert_eq!(solo.said(), ["bound 66666666"], "its life is over");
    solo.assert_empty();
}

#[test]
fn nobody_is_restored_behind_a_connection_that_is_gone_or_as_somebody_who_is_no_user() {
    let mut before = switchboard();
    let mut phone = Phone::over("66666666", HERE, Transport::Tcp, 9);
    phone.bind(&mut before, "");
    let on_a_stream = kept(&mut before).expect("it is to be kept");
    assert!(!on_a_stream.is_empty() && !on_a_stream.has_datagrams());
    Phone::new("66666667", THERE).bind(&mut before, "");
    let of_another = kept(&mut before).expect("it is to be kept");

    let mut solo = switchboard();
    solo.command(Command::SetUser { user: "66666667".to_owned(), login: None });
    for (user, bindings) in [("66666666", on_a_stream), ("66666667", of_another)] {
        solo.command(Command::Restore { user: user.to_owned(), bindings });
    }
    assert!(solo.events.is_empty(), "what is on disk of them stays there");
    solo.assert_empty();
}

/// The last of what is to be kept, where something is.
fn kept(solo: &mut Solo) -> Option<KeptBindings> {
    let kept = solo.events.drain(..).filter_map(|event| match event {
        Event::Keep { bindings, .. } => Some(bindings),
        _ => None,
    });
    kept.last()
}

#[test]
fn lifetimes_have_bounds() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    let brief = phone.bind(&mut solo, ";expires=59");
    assert_eq!((kind(&brief).as_str(), header(&brief, "Min-Expires")), ("423", "60"));
    let lines = [
        (";expires=60", "", "60"),
        (";expires=86400", "", "600"),
        ("", "Expires: 90\r\n", "90"),
        (";expires=70", "Expires: 90\r\n", "70"),
        ("", "Expires: 99999999999999999999\r\n", "600"),
        ("", "", "600"),
    ];
    for (params, more, expected) in lines {
        let contact = format!("Contact: <sip:66666666@{HERE}>{params}\r\n{more}");
        let answer = phone.register(&mut solo, &contact);
        let expires = header(&answer, "Contact").rsplit_once("expires=").unwrap().1;
        assert_eq!(expires, expected, "{params} {more}");
    }
}

#[test]
fn several_phones_of_one_user_are_told_apart_and_the_preferred_comes_first() {
    let mut solo = switchboard();
    let mut desk = Phone::new("66666666", HERE);
    let mut mobile = Phone::over("66666666", THERE, Transport::Tls, 3);
    desk.bind(&mut solo, ";q=0.5");
    mobile.bind(&mut solo, ";q=0.8");
    let both = bindings(&mut solo);
    assert_eq!(both.iter().map(|b| b.preference).collect::<Vec<_>>(), [800, 500]);
    // A query lists them, and changes nothing.
    let listed = desk.register(&mut solo, "");
    assert_eq!(all_headers(&listed, "Contact").len(), 2);
    assert_eq!(solo.said(), [""; 0]);
    mobile.bind(&mut solo, ";expires=0");
    assert_eq!(bindings(&mut solo).len(), 1);
    mobile.bind(&mut solo, "");
    let all = desk.register(&mut solo, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!(all_headers(&all, "Contact"), [""; 0]);
    assert_eq!(bindings(&mut solo), []);
}

#[test]
fn the_same_instance_at_another_address_takes_its_own_place() {
    let mut solo = switchboard();
    let instance = ";+sip.instance=\"<urn:uuid:f81d4fae>\";reg-id=1";
    Phone::new("66666666", HERE).bind(&mut solo, instance);
    let first = bindings(&mut solo);
    Phone::new("66666666", THERE).bind(&mut solo, instance);
    let [now] = &bindings(&mut solo)[..] else { panic!("one binding") };
    assert_eq!((now.id, now.destination.addr), (first[0].id, addr(THERE)));
}

#[test]
fn of_more_than_five_the_one_that_was_not_refreshed_longest_goes() {
    let mut solo = switchboard();
    let mut phones: Vec<Phone> =
        (0..6).map(|n| Phone::new("66666666", &format!("198.51.100.{n}:5060"))).collect();
    for phone in &mut phones[..5] {
        phone.bind(&mut solo, "");
    }
    phones[0].bind(&mut solo, "");
    phones[5].bind(&mut solo, "");
    let mut left: Vec<u8> = bindings(&mut solo)
        .iter()
        .map(|binding| binding.uri.host().rsplit('.').next().unwrap().parse().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(left, [0, 2, 3, 4, 5]);
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    phone.bind(&mut solo, "");
    solo.said();
    for (extra, status) in [
        ("Contact: *\r\n", "400"),
        ("Contact: *\r\nExpires: 60\r\n", "400"),
        ("Contact: *, <sip:1@h>\r\nExpires: 0\r\n", "400"),
        ("Contact: <http://h/>\r\n", "400"),
        ("Contact: <sip:1@h>, <sip:2@h>;expires=5\r\n", "423"),
        ("Require: path\r\n", "420"),
    ] {
        assert_eq!(kind(&phone.register(&mut solo, extra)), status, "{extra}");
    }
    let many: String = (0..9).map(|n| format!("Contact: <sip:{n}@h>\r\n")).collect();
    assert_eq!(kind(&phone.register(&mut solo, &many)), "400");
    let long = format!("Contact: <sip:{}@h>\r\n", "1".repeat(600));
    assert_eq!(kind(&phone.register(&mut solo, &long)), "400");
    assert_eq!(solo.said(), [""; 0]);
}

#[test]
fn an_older_request_of_the_same_phone_is_refused_and_a_copy_answered_alike() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    phone.bind(&mut solo, "");
    let contact = format!("Contact: <sip:66666666@{HERE}>;expires=0\r\n");
    let late = phone.message("REGISTER", "sip:192.0.2.1", &contact);
    let refreshed = phone.message("REGISTER", "sip:192.0.2.1", &contact.replace("=0", "=90"));
    solo.receive_from(HERE, &refreshed);
    let answer = solo.one();
    assert!(header(&answer, "Contact").ends_with(";expires=90"));
    solo.receive_from(HERE, &refreshed);
    assert_eq!(solo.one(), answer, "a copy is answered by its transaction, not challenged anew");
    // The nonce count has moved on: the late one has to log in again, and is then too old.
    solo.receive_from(HERE, &late);
    assert!(header(&solo.one(), "WWW-Authenticate").contains("stale=true"));
    phone.cseq = 0;
    assert_eq!(kind(&phone.register(&mut solo, &contact)), "500");
    solo.said();
    assert_eq!(all_headers(&phone.register(&mut solo, ""), "Contact").len(), 1);
}

#[test]
fn nobody_registers_for_somebody_else() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    phone.register(&mut solo, "");
    let message = phone.message("REGISTER", "sip:192.0.2.1", "Contact: <sip:x@h>\r\n");
    let to = "To: <sip:66666666@192.0.2.1>\r\n";
    solo.receive_from(HERE, &message.replace(to, "To: <sip:66666667@192.0.2.1>\r\n"));
    assert_eq!(solo.sent_kinds(), ["403"]);
    assert_eq!(solo.said(), [""; 0]);
}

#[test]
fn who_is_removed_or_gets_another_password_is_gone_until_he_shows_it() {
    let mut solo = switchboard();
    let mut phone = Phone::new("66666666", HERE);
    phone.bind(&mut solo, "");
    solo.said();
    let set = |password: &str| Command::SetUser {
        user: "66666666".to_owned(),
        login: Some(user("66666666", password)),
    };
    solo.command(set(PASSWORD));
    assert_eq!(solo.said(), [""; 0], "the same as before");
    solo.command(set("another"));
    assert_eq!(solo.said(), ["bound 66666666"]);
    assert_eq!(kind(&phone.bind(&mut solo, "")), "401");
    phone.password = "another".to_owned();
    phone.bind(&mut solo, "");
    assert_eq!(bindings(&mut solo).len(), 1);
    let left = BTreeMap::from([("66666667".to_owned(), user("66666667", PASSWORD))]);
    solo.command(Command::SetUsers(left));
    assert_eq!(solo.said(), ["bound 66666666"]);
    assert_eq!(kind(&phone.bind(&mut solo, "")), "401");
}

#[test]
fn three_thousand_phones_register_and_leave_nothing_behind() {
    let mut solo = switchboard();
    let name = |n: u32| format!("7{n:07}");
    let users = (0..3_000).map(|n| (name(n), user(&name(n), PASSWORD)));
    solo.command(Command::SetUsers(users.collect()));
    for n in 0..3_000 {
        let from = format!("198.18.{}.{}:5060", n / 250, n % 250);
        let mut phone = Phone::new(&name(n), &from);
        assert_eq!(kind(&phone.bind(&mut solo, "")), "200");
        if n % 500 == 0 {
            solo.pass(Duration::from_secs(1));
        }
    }
    assert_eq!(solo.said().len(), 3_000);
    solo.pass(Duration::from_secs(601));
    assert_eq!(solo.said().len(), 3_000);
    solo.assert_empty();
}
