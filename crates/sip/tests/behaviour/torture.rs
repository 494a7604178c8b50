//! T-20: the messages of RFC 4475 and RFC 5118, whole, truncated at every offset, with LF only, and
//! headers with every kind of nonsense: nothing panics, and a call that is up goes on.

use sip::*;
use sipx_testkit::{rfc4475, rfc5118};

use crate::world::*;

fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let old = rfc4475::CASES.iter().map(|case| (case.name, case.bytes.to_vec()));
    let new = rfc5118::CASES.iter().map(|case| (case.name, case.wire().to_vec()));
    old.chain(new).collect()
}

fn feed(solo: &mut Solo, bytes: &[u8]) {
    let received = Received {
        transport: Transport::Udp,
        local: addr(OURS),
        remote: addr(THEIRS),
        flow: None,
        bytes: bytes.to_vec().into(),
    };
    solo.core.received(received, solo.now);
}

fn drain(solo: &mut Solo) -> Vec<String> {
    let sent = std::iter::from_fn(|| solo.core.poll()).filter_map(|output| match output {
        Output::Transmit(message) => Some(text(&message.bytes)),
        Output::Event(_) => None,
    });
    sent.collect()
}

fn still_up(solo: &mut Solo, sent: &str) {
    solo.receive(&in_dialog(sent, "b", "INFO", 900_000, "", "x"));
    assert_eq!(solo.sent_kinds().last().map(String::as_str), Some("200"));
}

#[test]
fn each_message_of_the_rfcs_gets_an_answer_or_is_counted() {
    assert!(corpus().len() >= 49 + 12);
    for (name, bytes) in corpus() {
        let mut solo = Solo::new(open());
        feed(&mut solo, &bytes);
        let answered = !drain(&mut solo).is_empty();
        let counters = solo.core.counters();
        let dropped = counters.malformed
            + counters.bare_line_feed
            + counters.stray_acks
            + counters.stray_responses
            + counters.oversize;
        assert!(answered || dropped == 1, "{name}: {counters:?}");
    }
}

#[test]
fn verdicts_of_rfc_4475() {
    let table = [
        // Well-formed; its To carries a tag of a dialog that nobody knows.
        ("wsinv", "481"),
        ("badvers", "505"),
        ("unkscm", "416"),
        ("mcl01", ""),
        ("bext01", "420"),
        ("mismatch01", "400"),
        ("scalar02", "400"),
        ("insuf", ""),
        ("ncl", ""),
        ("longreq", "100"),
        ("dblreq", "403"),
        ("bigcode", ""),
    ];
    for (name, expected) in table {
        let case = rfc4475::case(name).unwrap();
        let mut solo = Solo::new(open());
        feed(&mut solo, case.bytes);
        let sent = drain(&mut solo);
        let status = sent.first().map_or(String::new(), |message| kind(message));
        assert_eq!(status, expected, "{name}");
    }
}

#[test]
fn truncated_at_every_offset() {
    let mut solo = Solo::new(open());
    let (_, sent) = solo.up(invite(1), "");
    let mut cases = 0;
    for (_, bytes) in corpus() {
        for end in 0..bytes.len() {
            feed(&mut solo, &bytes[..end]);
            drain(&mut solo);
            cases += 1;
        }
    }
    assert!(cases >= 24_656, "{cases}: fewer than the RFCs' messages have bytes");
    still_up(&mut solo, &sent);
    assert_eq!(solo.core.counters().panics, 0);
}

/// What a stream makes of the bytes, in pieces as given.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Framed>, Option<FrameError>) {
    let mut framer = Framer::new(65_535);
    let mut out = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.pop() {
                Ok(Some(framed)) => out.push(framed),
                Ok(None) => break,
                Err(error) => return (out, Some(error)),
            }
        }
    }
    (out, None)
}

#[test]
fn over_a_stream_byte_by_byte_and_at_every_split() {
    let mut whole_messages = 0;
    for (name, bytes) in corpus() {
        let whole = frames([&bytes[..]].into_iter());
        whole_messages += whole.0.len();
        assert_eq!(frames(bytes.chunks(1)), whole, "{name}");
        for split in 0..bytes.len() {
            let (head, tail) = bytes.split_at(split);
            assert_eq!(frames([head, tail].into_iter()), whole, "{name} at {split}");
        }
        let mut solo = Solo::new(open());
        for framed in whole.0 {
            if let Framed::Message(message) = framed {
                feed(&mut solo, &message);
            }
        }
        drain(&mut solo);
        assert_eq!(solo.core.counters().panics, 0, "{name}");
    }
    assert!(whole_messages >= 45, "{whole_messages}");
}

#[test]
fn with_line_feeds_only() {
    let mut solo = Solo::new(open());
    let call = request(&Outside::default()).replace("\r\n", "\n");
    solo.receive(&call);
    assert!(solo.wire.is_empty());
    assert_eq!(solo.core.counters().bare_line_feed, 1);
    for (_, bytes) in corpus() {
        let bare: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'\r').collect();
        feed(&mut solo, &bare);
    }
    assert!(drain(&mut solo).is_empty());
}

/// Every header that the core reads, long and compact.
const NAMES: [&str; 34] = [
    "Via",
    "v",
    "From",
    "f",
    "To",
    "t",
    "Call-ID",
    "i",
    "CSeq",
    "Max-Forwards",
    "Contact",
    "m",
    "Content-Length",
    "l",
    "Content-Type",
    "c",
    "Content-Encoding",
    "Route",
    "Record-Route",
    "Require",
    "Supported",
    "k",
    "Session-Expires",
    "x",
    "Min-SE",
    "RAck",
    "RSeq",
    "Reason",
    "Expires",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Retry-After",
    "Allow",
];

#[test]
fn every_header_with_every_kind_of_nonsense() {
    let values = [
        "",
        "x",
        "-1",
        "%s%s%n",
        "4294967296",
        "4294967295",
        "4294967297",
        "-2147483649",
        "99999999999999999999",
        "\0",
        "\"",
        "<",
        "<sip:",
        ">;tag=",
        ";;;=;",
        "sip:@",
        "[::1",
        "\u{fffd}",
        "1 1 1",
        ",,,,",
        "Digest =\"",
        "a=\"b",
    ];
    let long = ["A".repeat(255), "A".repeat(8_000), "A".repeat(64_000), "<".repeat(500)];
    let values = values.iter().map(|v| v.as_bytes().to_vec());
    let overlong = vec![b'a', 0xc0, 0x80, 0xff, 0xfe];
    let values: Vec<Vec<u8>> =
        values.chain(long.map(String::into_bytes)).chain([overlong]).collect();
    let mut solo = Solo::new(open());
    let (_, sent) = solo.up(invite(1), "");
    let ringing = solo.dial(invite(2));
    let mut cases = 0;
    for method in ["INVITE", "BYE", "PRACK", "CANCEL", "REGISTER", "200"] {
        let base = match method {
            "200" => reply(&ringing, 180, "b", CONTACT, "body"),
            "INVITE" => request(&Outside { body: "body", ..Outside::default() }),
            method => in_dialog(&sent, "b", method, 3, CONTACT, "body"),
        };
        for name in NAMES {
            for value in &values {
                for repeat in [1, 2] {
                    feed(&mut solo, &with_header(&base, name, value, repeat));
                    drain(&mut solo);
                    cases += 1;
                }
            }
            feed(&mut solo, &with_header(&base, name, b"", 0));
            drain(&mut solo);
        }
    }
    assert!(cases >= 4_527, "{cases}: fewer than PROTOS had");
    assert_eq!(solo.core.counters().panics, 0);
}

#[test]
fn every_part_of_the_first_line_with_every_kind_of_nonsense() {
    let long = ["A".repeat(255), "A".repeat(64_000), "%".repeat(1_000)];
    let short = ["", " ", "-1", "%s%s%n", "4294967296", "\0", "\t", "<", "sip:", "*", "\u{fffd}"];
    let mut solo = Solo::new(open());
    let (_, sent) = solo.up(invite(1), "");
    let mut cases = 0;
    for base in [request(&Outside::default()), reply(&sent, 200, "b", CONTACT, "")] {
        let (line, rest) = base.split_once("\r\n").unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        for value in short.into_iter().chain(long.iter().map(String::as_str)) {
            for at in 0..words.len() {
                let mut changed = words.clone();
                changed[at] = value;
                for line in [changed.join(" "), format!("{line} {value}"), changed.join("  ")] {
                    feed(&mut solo, format!("{line}\r\n{rest}").as_bytes());
                    drain(&mut solo);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 2 * 14 * 3 * 3);
    assert_eq!(solo.core.counters().panics, 0);
    still_up(&mut solo, &sent);
}

/// The message with `name` put in `repeat` times in place of what it had.
fn with_header(message: &str, name: &str, value: &[u8], repeat: usize) -> Vec<u8> {
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let mut out = lines.next().unwrap().as_bytes().to_vec();
    for _ in 0..repeat {
        out.extend(format!("\r\n{name}: ").bytes());
        out.extend(value);
    }
    for line in lines.filter(|line| !line.starts_with(&format!("{name}:"))) {
        out.extend(b"\r\n");
        out.extend(line.bytes());
    }
    out.extend(b"\r\n\r\n");
    out.extend(body.bytes());
    out
}

#[test]
fn messages_of_calls_that_are_up_with_bytes_changed() {
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut draw = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 16).unwrap() % limit
    };
    for round in 0..40 {
        let mut solo = Solo::new(open());
        let (_, up) = solo.up(invite(1), "Session-Expires: 900;refresher=uac\r\n");
        let ringing = solo.dial(invite(2));
        let rel = format!("{CONTACT}Require: 100rel\r\nRSeq: 1\r\n");
        let templates = [
            request(&Outside { body: "offer", ..Outside::default() }),
            in_dialog(&up, "b", "INVITE", 5, CONTACT, "offer"),
            in_dialog(&up, "b", "UPDATE", 6, CONTACT, "offer"),
            in_dialog(&up, "b", "BYE", 7, "Reason: Q.850;cause=16\r\n", ""),
            in_dialog(&up, "b", "ACK", 5, "", "answer"),
            reply(&ringing, 183, "c", &rel, "early"),
            reply(&ringing, 200, "c", CONTACT, "answer"),
            reply(&ringing, 401, "c", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n", ""),
        ];
        for _ in 0..500 {
            let mut bytes = templates[draw(templates.len())].clone().into_bytes();
            for _ in 0..=draw(4) {
                let at = draw(bytes.len().max(1));
                match draw(4) {
                    0 if at < bytes.len() => bytes[at] = u8::try_from(draw(256)).unwrap(),
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    2 => bytes.insert(at, b"\r\n;,<>\"= :@%"[draw(12)]),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            feed(&mut solo, &bytes);
            drain(&mut solo);
        }
        assert_eq!(solo.core.counters().panics, 0, "round {round}");
        solo.pass(std::time::Duration::from_secs(2));
        solo.command(Command::Drain);
    }
}
