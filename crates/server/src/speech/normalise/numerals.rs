//! Finds dates, times, telephone numbers and numbers in running text.
use crate::speech::filled::ClockTime;
use time::{Date, Month};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Plain(&'a str),
    Date(Date),
    Time(ClockTime),
    /// A telephone number in its written groups.
    Groups(Vec<&'a str>),
    Number(Number<'a>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Number<'a> {
    /// As it stands in the text, thousands separators included.
    pub written: &'a str,
    pub fraction: Option<&'a str>,
    /// Whether a percent sign follows, which is part of the token.
    pub percent: bool,
    /// The nearest character before it that is not blank.
    pub before: Option<char>,
    /// What stands right after the token.
    pub after: &'a str,
}

/// From this many digits on, a number without separators is taken for a code and not for an amount.
const SPELLED_FROM: usize = 5;
/// Groups joined by hyphens are a telephone number from this many digits on; fewer are a range or a score.
const TELEPHONE_FROM: usize = 7;

impl Number<'_> {
    /// Whether it is read digit by digit: a leading zero, a telephone's `+`, or long without being an amount, which is
    /// told by a character of `amount_before` before it or of `amount_after` after it.
    pub fn is_spelled(&self, amount_before: &str, amount_after: &str) -> bool {
        if self.fraction.is_some() || self.written.contains(',') {
            return false;
        }
        let leading_zero = self.written.len() > 1 && self.written.starts_with('0');
        let amount = self.percent
            || self.before.is_some_and(|c| amount_before.contains(c))
            || self.after.trim_start().chars().next().is_some_and(|c| amount_after.contains(c));
        leading_zero || self.before == Some('+') || (self.written.len() >= SPELLED_FROM && !amount)
    }
}

pub(super) fn scan(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(|c: char| c.is_ascii_digit()) {
        if found > 0 {
            tokens.push(Token::Plain(&text[at..at + found]));
        }
        let (token, length) = numeral(text, at + found);
        tokens.push(token);
        at += found + length;
    }
    if at < text.len() {
        tokens.push(Token::Plain(&text[at..]));
    }
    tokens
}

/// The longest reading of what begins with the digit at `start`, and its length in bytes.
fn numeral(text: &str, start: usize) -> (Token<'_>, usize) {
    let rest = &text[start..];
    if let Some((date, length)) = date(rest) {
        return (Token::Date(date), length);
    }
    if let Some((time, length)) = time(rest) {
        return (Token::Time(time), length);
    }
    if let Some((groups, length)) = telephone(rest) {
        return (Token::Groups(groups), length);
    }
    let (length, fraction) = number(rest);
    let before = text[..start].trim_end().chars().next_back();
    let percent = rest[length..].starts_with('%');
    let end = length + usize::from(percent);
    (
        Token::Number(Number {
            written: &rest[..length],
            fraction,
            percent,
            before,
            after: &rest[end..],
        }),
        end,
    )
}

fn date(text: &str) -> Option<(Date, usize)> {
    let separator = text.get(4..5).filter(|s| ["/", "-", "."].contains(s))?;
    let (year, rest) = take_digits(text, 4..=4)?;
    let (month, rest) = take_digits(rest.strip_prefix(separator)?, 1..=2)?;
    let (day, rest) = take_digits(rest.strip_prefix(separator)?, 1..=2)?;
    if continues(rest, separator) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    Some((date, text.len() - rest.len()))
}

fn time(text: &str) -> Option<(ClockTime, usize)> {
    let (hour, rest) = take_digits(text, 1..=2)?;
    let (minute, mut rest) = take_digits(rest.strip_prefix(':')?, 2..=2)?;
    let mut written = format!("{hour:0>2}:{minute}");
    if let Some((second, after)) = rest.strip_prefix(':').and_then(|rest| take_digits(rest, 2..=2))
    {
        written = format!("{written}:{second}");
        rest = after;
    }
    if continues(rest, ":") {
        return None;
    }
    Some((ClockTime::parse(&written)?, text.len() - rest.len()))
}

fn telephone(text: &str) -> Option<(Vec<&str>, usize)> {
    let (first, mut rest) = take_digits(text, 1..=usize::MAX)?;
    let mut groups = vec![first];
    while let Some((group, after)) =
        rest.strip_prefix('-').and_then(|rest| take_digits(rest, 1..=usize::MAX))
    {
        groups.push(group);
        rest = after;
    }
    let digits: usize = groups.iter().map(|group| group.len()).sum();
    (groups.len() > 1 && digits >= TELEPHONE_FROM).then(|| (groups, text.len() - rest.len()))
}

/// Digits with thousands separators and a fraction, where they are in place.
fn number(text: &str) -> (usize, Option<&str>) {
    let plain = leading_digits(text);
    let mut length = plain;
    if plain <= 3 {
        while text[length..].starts_with(',') && leading_digits(&text[length + 1..]) == 3 {
            length += 4;
        }
    }
    let Some((fraction, rest)) =
        text[length..].strip_prefix('.').and_then(|rest| take_digits(rest, 1..=usize::MAX))
    else {
        return (length, None);
    };
    if continues(rest, ".") {
        return (length, None);
    }
    (length + 1 + fraction.len(), Some(fraction))
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn take_digits(text: &str, allowed: std::ops::RangeInclusive<usize>) -> Option<(&str, &str)> {
    let length = leading_digits(text);
    allowed.contains(&length).then(|| text.split_at(length))
}

/// Whether the shape goes on, so that what was read is a part of something else (an IP address, a version).
fn continues(rest: &str, separator: &str) -> bool {
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    digit(rest) || rest.strip_prefix(separator).is_some_and(digit)
}
