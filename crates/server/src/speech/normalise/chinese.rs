//! Chinese words for digits, numbers, dates and times.
use super::numerals::Number;
use crate::speech::filled::ClockTime;
use time::Date;

const DIGITS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
/// Before and after a number: it is an amount, however long.
const AMOUNT_BEFORE: &str = "$€£¥￥";
const AMOUNT_AFTER: &str = "元块角分万亿人次个件份台户米公克吨";
/// Numbers of more digits are read digit by digit.
const LONGEST_CARDINAL: usize = 16;

pub(super) fn digits(digits: &str) -> String {
    digits.bytes().filter(u8::is_ascii_digit).map(|b| DIGITS[usize::from(b - b'0')]).collect()
}

/// "二零二六年十一月五日".
pub(super) fn date(date: Date) -> String {
    let (month, day) = (u8::from(date.month()), date.day());
    format!(
        "{}年{}月{}日",
        digits(&date.year().to_string()),
        cardinal(month.into()),
        cardinal(day.into())
    )
}

/// "十四点三十分", "九点零五分", "九点整", with seconds where they were given.
pub(super) fn time(time: ClockTime) -> String {
    let padded = |number: u8| match number {
        1..=9 => format!("零{}", cardinal(number.into())),
        _ => cardinal(number.into()),
    };
    let hour = cardinal(time.hour().into());
    match (time.minute(), time.second()) {
        (0, None) => format!("{hour}点整"),
        (minute, None) => format!("{hour}点{}分", padded(minute)),
        (minute, Some(second)) => format!("{hour}点{}分{}秒", padded(minute), padded(second)),
    }
}

/// A number of the running text: a year or a code digit by digit, an amount as a number.
pub(super) fn number(number: &Number) -> String {
    let year = number.written.len() == 4 && number.after.starts_with('年');
    if year || number.is_spelled(AMOUNT_BEFORE, AMOUNT_AFTER) {
        return digits(number.written);
    }
    let integer = number.written.split('.').next().unwrap_or_default().replace(',', "");
    let integer = match integer.parse() {
        Ok(value) if integer.len() <= LONGEST_CARDINAL => cardinal(value),
        _ => digits(&integer),
    };
    let value = number
        .fraction
        .map_or(integer.clone(), |fraction| format!("{integer}点{}", digits(fraction)));
    if number.percent { format!("百分之{value}") } else { value }
}

/// "一百零二", "一万二千", "十二"; zeros inside are said once.
fn cardinal(number: u64) -> String {
    if number == 0 {
        return DIGITS[0].to_string();
    }
    let mut words = String::new();
    let mut gap = false;
    for (power, unit) in [(12, "万亿"), (8, "亿"), (4, "万"), (0, "")] {
        let group = number / 10u64.pow(power) % 10_000;
        if group == 0 {
            gap |= !words.is_empty();
            continue;
        }
        if !words.is_empty() && (gap || group < 1000) {
            words.push(DIGITS[0]);
        }
        gap = false;
        words.push_str(&below_ten_thousand(group));
        words.push_str(unit);
    }
    words.strip_prefix("一十").map_or(words.clone(), |rest| format!("十{rest}"))
}

fn below_ten_thousand(number: u64) -> String {
    let mut words = String::new();
    let mut gap = false;
    for (power, unit) in [(1000, "千"), (100, "百"), (10, "十"), (1, "")] {
        let digit = number / power % 10;
        if digit == 0 {
            gap = !words.is_empty();
            continue;
        }
        if gap {
            words.push(DIGITS[0]);
            gap = false;
        }
        words.push(DIGITS[digit as usize]);
        words.push_str(unit);
    }
    words
}
