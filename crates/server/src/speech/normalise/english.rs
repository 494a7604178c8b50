//! English words for digits, dates and times.
use crate::speech::filled::ClockTime;
use time::Date;

/// Before a number: it is an amount, which the engine reads as such.
pub(super) const AMOUNT_BEFORE: &str = "$€£¥";

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const ORDINALS: [&str; 20] = [
    "",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
];

pub(super) fn digits(digits: &str) -> String {
    let words: Vec<_> =
        digits.bytes().filter(u8::is_ascii_digit).map(|b| SMALL[usize::from(b - b'0')]).collect();
    words.join(" ")
}

/// "November fifth, twenty twenty six".
pub(super) fn date(date: Date) -> String {
    let day = match usize::from(date.day()) {
        day @ 0..=19 => ORDINALS[day].to_owned(),
        20 => "twentieth".to_owned(),
        30 => "thirtieth".to_owned(),
        day => format!("{} {}", TENS[day / 10], ORDINALS[day % 10]),
    };
    format!("{} {day}, {}", date.month(), year(date.year().unsigned_abs() as usize))
}

/// "two thirty p.m.", "nine oh five a.m.", "noon", "two thirty and ten seconds p.m."; "AM" would be
/// a word to flite, and "A M" an article to espeak-ng.
pub(super) fn time(time: ClockTime) -> String {
    match (time.hour(), time.minute(), time.second()) {
        (0, 0, None) => "midnight".to_owned(),
        (12, 0, None) => "noon".to_owned(),
        (hour, minute, second) => {
            let half = if hour < 12 { "a.m." } else { "p.m." };
            let hour = below_hundred(usize::from(hour + 11) % 12 + 1);
            let minute = match usize::from(minute) {
                0 => String::new(),
                minute @ 1..=9 => format!(" oh {}", SMALL[minute]),
                minute => format!(" {}", below_hundred(minute)),
            };
            let second = second.map_or(String::new(), |second| {
                format!(
                    " and {} second{}",
                    below_hundred(usize::from(second)),
                    if second == 1 { "" } else { "s" }
                )
            });
            format!("{hour}{minute}{second} {half}")
        }
    }
}

fn year(year: usize) -> String {
    match (year / 100, year % 100) {
        (0, low) => below_hundred(low),
        (high, low) if high % 10 == 0 => {
            let thousand = format!("{} thousand", below_hundred(high / 10));
            match low {
                0 => thousand,
                1..=9 => format!("{thousand} {}", SMALL[low]),
                _ => format!("{} {}", below_hundred(high), below_hundred(low)),
            }
        }
        (high, 0) => format!("{} hundred", below_hundred(high)),
        (high, low @ 1..=9) => format!("{} oh {}", below_hundred(high), SMALL[low]),
        (high, low) => format!("{} {}", below_hundred(high), below_hundred(low)),
    }
}

fn below_hundred(number: usize) -> String {
    match (number / 10, number % 10) {
        (0 | 1, _) => SMALL[number].to_owned(),
        (tens, 0) => TENS[tens].to_owned(),
        (tens, one) => format!("{} {}", TENS[tens], SMALL[one]),
    }
}
