//! Which number does what. The operator's copy of this table is `docs/simulated-carrier.md`; a test compares them.

use std::time::Duration;

use crate::behaviour::{Behaviour, OddSdp};
use crate::random::Random;

/// One row of the table of reserved numbers.
#[derive(Debug)]
pub struct Reserved {
    /// The number; a trailing `s` for each digit of seconds, `h` for each of a frequency in Hz, `d…` for one to six digits to press, `ccc` for a status
    /// from 400 to 699, `x` for any digit.
    pub pattern: &'static str,
    /// What happens, in one sentence.
    pub meaning: &'static str,
    behaviour: fn(&str) -> Behaviour,
}

/// Every reserved number, most specific first. Any other number rings for 0.2 to 0.5 s and answers.
pub const RESERVED: &[Reserved] = &[
    row("8899", "rings 200 ms, answers, listens", answer_soon),
    row("88884432", "rings 200 ms, answers, listens", answer_soon),
    row("138xxxxxxxx", "rings 200 ms, answers, listens", answer_soon),
    row("1001", "answers at once", |_| Behaviour::Answer { ring: Duration::ZERO }),
    row("1002ss", "rings ss seconds, answers", |s| Behaviour::Answer { ring: seconds(s) }),
    row("1003ss", "answers, hangs up after ss seconds", |s| Behaviour::HangUp { talk: seconds(s) }),
    row("1004", "answers, presses 1 after 1 second", |_| press(Duration::from_secs(1), "1")),
    row("1004ss", "answers, presses 1 after ss seconds", |s| press(seconds(s), "1")),
    row("1005d…", "answers, presses the digits d… after 1 second", |digits| {
        press(Duration::from_secs(1), digits)
    }),
    row("1006", "voicemail: rings 1 second, greeting, beep, listens 10 seconds, hangs up", |_| {
        Behaviour::Voicemail
    }),
    row("1007ss", "ring-back tone as early media (183) for ss seconds, answers", |s| {
        Behaviour::EarlyMedia { ring: seconds(s) }
    }),
    row("1008", "one-way audio: answers, promises audio and sends none", |_| Behaviour::OneWay),
    row("1009", "one-way audio: answers with an address at which nobody listens", |_| {
        Behaviour::Deaf
    }),
    row("1010", "100 Trying and nothing more", |_| Behaviour::Stuck),
    row("1011", "rings; answers in the moment in which CANCEL arrives", |_| Behaviour::CancelRace),
    row("1012", "forked: two phones answer with different tags", |_| Behaviour::Forked),
    row("1013", "answers, re-INVITE with the same session after 1 second", |_| {
        Behaviour::Reinvite { after: Duration::from_secs(1) }
    }),
    row("1014", "answers, holds after 1 second, takes the call back after 2 more", |_| {
        Behaviour::Hold
    }),
    row("10151", "answers with SDP without s= and t=, and with a declined T.38 line", |_| {
        Behaviour::OddSdp(OddSdp::Sparse)
    }),
    row("10152", "answers; the SDP stands in the 183 only", |_| {
        Behaviour::OddSdp(OddSdp::OnlyEarly)
    }),
    row("10153", "answers with codecs that were not offered", |_| {
        Behaviour::OddSdp(OddSdp::NoCommonCodec)
    }),
    row("10154", "answers without any SDP", |_| Behaviour::OddSdp(OddSdp::Missing)),
    row("1016ss", "answers, is gone after ss seconds: no audio, no answer to BYE", |s| {
        Behaviour::Vanish { after: seconds(s) }
    }),
    row("1017ss", "refuses with 503 and Retry-After: ss", |s| Behaviour::Overloaded {
        retry_after: seconds(s),
    }),
    row("1018d…", "sends the call on (302) to the number d…", |digits| Behaviour::Redirect {
        to: digits.to_owned(),
    }),
    row("1020", "no response at all (over UDP; over TCP as 1010)", |_| Behaviour::Dead),
    row("1021hhhh", "answers at once, plays a tone of hhhh Hz until the call is over", tone),
    row("1022ss", "answers, after ss seconds sends and hears no audio any more", |s| {
        Behaviour::LoseAudio { after: seconds(s) }
    }),
    row("1023", "answers, and the first 200 is lost (over UDP)", |_| Behaviour::AnswerLost),
    row("1024", "answers, refuses each re-INVITE with 488", |_| Behaviour::RefuseOffers),
    row(
        "1025ss",
        "answers, hangs up after ss seconds, and the first BYE is lost (over UDP)",
        |s| Behaviour::ByeLost { talk: seconds(s) },
    ),
    row("1480", "rings until the caller gives up", |_| Behaviour::NoAnswer),
    row(
        "1ccc",
        "refuses at once with status ccc (1486 busy, 1603 declined, 1404, 1503, …)",
        |ccc| refuse(Duration::ZERO, ccc),
    ),
    row("2ccc", "rings 1 second, refuses with status ccc", |ccc| {
        refuse(Duration::from_secs(1), ccc)
    }),
    row("66666xx", "not registered: 404", |_| refuse(Duration::ZERO, "404")),
    row("66666xxx", "not registered: 404", |_| refuse(Duration::ZERO, "404")),
];

/// What `number` does where nothing overrides it. `seed` decides how long an ordinary number rings.
pub fn behaviour_of(number: &str, seed: u64) -> Behaviour {
    let bare = number.strip_prefix('+').unwrap_or(number);
    RESERVED
        .iter()
        .find_map(|row| parameter(row.pattern, bare).map(|parameter| (row.behaviour)(parameter)))
        .unwrap_or_else(|| {
            let ring = Random::for_name(seed, bare).between(200..500);
            Behaviour::Answer { ring: Duration::from_millis(ring) }
        })
}

const fn row(
    pattern: &'static str,
    meaning: &'static str,
    behaviour: fn(&str) -> Behaviour,
) -> Reserved {
    Reserved { pattern, meaning, behaviour }
}

/// The part of `number` that the pattern leaves open, where the number fits it.
fn parameter<'n>(pattern: &str, number: &'n str) -> Option<&'n str> {
    let fixed = pattern.trim_end_matches(|c: char| !c.is_ascii_digit());
    let open = &pattern[fixed.len()..];
    let rest = number.strip_prefix(fixed)?;
    let digits = rest.bytes().all(|b| b.is_ascii_digit());
    let fits = match open {
        "d…" => (1..=6).contains(&rest.len()) && rest.bytes().all(is_key),
        "ccc" => digits && rest.len() == 3 && ("400".."700").contains(&rest),
        _ => digits && rest.len() == open.len(),
    };
    fits.then_some(rest)
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'*' || byte == b'#'
}

fn answer_soon(_: &str) -> Behaviour {
    Behaviour::Answer { ring: Duration::from_millis(200) }
}

fn tone(hz: &str) -> Behaviour {
    let hz = hz.parse().expect("the pattern admits four digits");
    Behaviour::Tone { ring: Duration::ZERO, hz, talk: None }
}

fn press(wait: Duration, digits: &str) -> Behaviour {
    Behaviour::Press { wait, digits: digits.to_owned() }
}

fn refuse(ring: Duration, status: &str) -> Behaviour {
    Behaviour::Refuse { ring, status: status.parse().expect("the pattern admits three digits") }
}

fn seconds(digits: &str) -> Duration {
    Duration::from_secs(digits.parse().expect("the pattern admits two digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: &str, expected: Behaviour) {
        assert_eq!(behaviour_of(number, 1), expected, "{number}");
    }

    #[test]
    fn numbers_do_what_the_table_says() {
        let s = Duration::from_secs;
        check("8899", Behaviour::Answer { ring: Duration::from_millis(200) });
        check("+13800000000", Behaviour::Answer { ring: Duration::from_millis(200) });
        check("1001", Behaviour::Answer { ring: s(0) });
        check("100207", Behaviour::Answer { ring: s(7) });
        check("100312", Behaviour::HangUp { talk: s(12) });
        check("1004", press(s(1), "1"));
        check("100405", press(s(5), "1"));
        check("100512*#", press(s(1), "12*#"));
        check("100702", Behaviour::EarlyMedia { ring: s(2) });
        check("101707", Behaviour::Overloaded { retry_after: s(7) });
        check("10188899", Behaviour::Redirect { to: "8899".into() });
        check("10210440", Behaviour::Tone { ring: s(0), hz: 440, talk: None });
        check("1480", Behaviour::NoAnswer);
        check("1486", Behaviour::Refuse { ring: s(0), status: 486 });
        check("1603", Behaviour::Refuse { ring: s(0), status: 603 });
        check("2486", Behaviour::Refuse { ring: s(1), status: 486 });
        check("6666614", Behaviour::Refuse { ring: s(0), status: 404 });
    }

    #[test]
    fn any_other_number_rings_shortly_and_answers_the_same_each_time() {
        for number in ["88880067", "1300", "1700", "10021", "1005", "10051234567", "", "alice"] {
            let ring = behaviour_ring(number, 9);
            assert!((200..500).contains(&ring.as_millis()), "{number}: {ring:?}");
            assert_eq!(ring, behaviour_ring(number, 9));
        }
        let differ = (0..20).any(|seed| behaviour_ring("5551", seed) != behaviour_ring("5551", 99));
        assert!(differ, "the seed has no effect");
    }

    #[test]
    fn the_document_lists_every_row() {
        let document = include_str!("../../../docs/simulated-carrier.md");
        for row in RESERVED {
            let line = format!("| `{}` | {} |", row.pattern, row.meaning);
            assert!(document.contains(&line), "docs/simulated-carrier.md lacks: {line}");
        }
    }

    fn behaviour_ring(number: &str, seed: u64) -> Duration {
        match behaviour_of(number, seed) {
            Behaviour::Answer { ring } => ring,
            other => panic!("{number} does not simply answer: {other:?}"),
        }
    }
}
