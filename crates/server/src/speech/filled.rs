//! A text whose numbers, dates and times are known as such, and the form in which it lies on disk.
use super::template::{fixed_fields, parse_date};
use std::{fmt, str::FromStr};
use thiserror::Error;
use time::Date;

/// What is to be said. `Display` and `FromStr` are its lossless form for storage: plain text with `&`, `<` and `>`
/// escaped and the `say-as` elements of SSML around digits, dates and times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilledText {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// ASCII digits, spoken one by one.
    Digits(String),
    Date(Date),
    Time(ClockTime),
}

/// A time of day, to the minute or to the second, as its writer chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTime {
    hour: u8,
    minute: u8,
    second: Option<u8>,
}

/// Why a stored text cannot be read back; whoever wrote it is at fault.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum MarkupError {
    #[error("expected <say-as interpret-as=…>…</say-as> at {0:?}")]
    Element(String),
    #[error("{0:?} is not what its say-as element promises")]
    Content(String),
    #[error("expected &amp; &lt; or &gt; at {0:?}")]
    Escape(String),
}

impl FilledText {
    /// Text without markup, such as a text that is spoken as it is written.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::from_pieces(vec![Piece::Text(text.into())])
    }

    /// Neighbouring texts become one and empty ones vanish, so that equal speech is equal.
    pub fn from_pieces(pieces: Vec<Piece>) -> Self {
        let mut merged: Vec<Piece> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match (merged.last_mut(), piece) {
                (_, Piece::Text(text)) if text.is_empty() => {}
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => merged.push(piece),
            }
        }
        Self { pieces: merged }
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The written words alone, by which the language is judged.
    pub fn words(&self) -> String {
        let words = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Digits(_) | Piece::Date(_) | Piece::Time(_) => None,
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl ClockTime {
    /// `HH:MM` or `HH:MM:SS`, 00:00 to 23:59:59.
    pub fn parse(text: &str) -> Option<Self> {
        let [hour, minute, second] = match fixed_fields(text, ':', [2, 2]) {
            Some([hour, minute]) => [Some(hour), Some(minute), None],
            None => fixed_fields(text, ':', [2, 2, 2])?.map(Some),
        };
        let below = |number: Option<u16>, limit: u16| {
            number.filter(|n| *n < limit).and_then(|n| u8::try_from(n).ok())
        };
        let second = match second {
            None => None,
            given => Some(below(given, 60)?),
        };
        Some(Self { hour: below(hour, 24)?, minute: below(minute, 60)?, second })
    }

    /// 0–23.
    pub fn hour(self) -> u8 {
        self.hour
    }

    /// 0–59.
    pub fn minute(self) -> u8 {
        self.minute
    }

    /// 0–59, if the time was given to the second.
    pub fn second(self) -> Option<u8> {
        self.second
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)?;
        self.second.map_or(Ok(()), |second| write!(f, ":{second:02}"))
    }
}

const DIGITS: &str = "<say-as interpret-as=\"digits\">";
const DATE: &str = "<say-as interpret-as=\"date\" format=\"ymd\">";
const TIME: &str = "<say-as interpret-as=\"time\" format=\"hms24\">";
const END: &str = "</say-as>";
const ESCAPES: [(char, &str); 3] = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;")];

impl fmt::Display for FilledText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => {
                text.chars().try_for_each(|c| match ESCAPES.iter().find(|(plain, _)| *plain == c) {
                    Some((_, escaped)) => f.write_str(escaped),
                    None => write!(f, "{c}"),
                })
            }
            Piece::Digits(digits) => write!(f, "{DIGITS}{digits}{END}"),
            Piece::Date(date) => {
                write!(
                    f,
                    "{DATE}{:04}/{:02}/{:02}{END}",
                    date.year(),
                    u8::from(date.month()),
                    date.day()
                )
            }
            Piece::Time(time) => write!(f, "{TIME}{time}{END}"),
        })
    }
}

impl FromStr for FilledText {
    type Err = MarkupError;

    fn from_str(stored: &str) -> Result<Self, MarkupError> {
        let mut pieces = Vec::new();
        let mut rest = stored;
        while let Some(start) = rest.find('<') {
            pieces.push(Piece::Text(unescape(&rest[..start])?));
            let (piece, after) = element(&rest[start..])?;
            pieces.push(piece);
            rest = after;
        }
        pieces.push(Piece::Text(unescape(rest)?));
        Ok(Self::from_pieces(pieces))
    }
}

fn element(text: &str) -> Result<(Piece, &str), MarkupError> {
    let open = [DIGITS, DATE, TIME].into_iter().find(|open| text.starts_with(open));
    let parts = open.and_then(|open| {
        text[open.len()..].split_once(END).map(|(content, after)| (open, content, after))
    });
    let (open, content, after) = parts.ok_or_else(|| MarkupError::Element(start_of(text)))?;
    let piece = match open {
        DATE => parse_date(content).map(Piece::Date),
        TIME => ClockTime::parse(content).map(Piece::Time),
        _ => {
            let digits = !content.is_empty() && content.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| Piece::Digits(content.to_owned()))
        }
    };
    Ok((piece.ok_or_else(|| MarkupError::Content(start_of(content)))?, after))
}

fn unescape(text: &str) -> Result<String, MarkupError> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        let found = ESCAPES.iter().find(|(_, escaped)| rest[start..].starts_with(escaped));
        let (c, escaped) = found.ok_or_else(|| MarkupError::Escape(start_of(&rest[start..])))?;
        plain.push(*c);
        rest = &rest[start + escaped.len()..];
    }
    plain.push_str(rest);
    Ok(plain)
}

fn start_of(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stored_text_that_nobody_wrote() {
        for (stored, expected) in [
            ("a <b>c</b>", MarkupError::Element("<b>c</b>".into())),
            (
                "<say-as interpret-as=\"digits\">1",
                MarkupError::Element("<say-as interpret-a".to_owned() + "s"),
            ),
            ("<say-as interpret-as=\"digits\">1a</say-as>", MarkupError::Content("1a".into())),
            ("<say-as interpret-as=\"digits\"></say-as>", MarkupError::Content("".into())),
            (
                "<say-as interpret-as=\"date\" format=\"ymd\">2026/02/30</say-as>",
                MarkupError::Content("2026/02/30".into()),
            ),
            (
                "<say-as interpret-as=\"time\" format=\"hms24\">7</say-as>",
                MarkupError::Content("7".into()),
            ),
            ("fish & chips", MarkupError::Escape("& chips".into())),
            ("&quot;", MarkupError::Escape("&quot;".into())),
        ] {
            assert_eq!(stored.parse::<FilledText>().unwrap_err(), expected, "{stored}");
        }
        assert_eq!("".parse::<FilledText>().unwrap(), FilledText::default());
    }

    fn piece() -> impl Strategy<Value = Piece> {
        prop_oneof![
            ".{0,12}".prop_map(Piece::Text),
            "[&<>;a]{0,6}".prop_map(Piece::Text),
            "[0-9]{1,32}".prop_map(Piece::Digits),
            (1i32..=9999, 1u16..=365)
                .prop_map(|(y, d)| Piece::Date(Date::from_ordinal_date(y, d).unwrap())),
            (0u8..24, 0u8..60, prop::option::of(0u8..60))
                .prop_map(|(hour, minute, second)| Piece::Time(ClockTime { hour, minute, second })),
        ]
    }

    proptest! {
        #[test]
        fn the_stored_form_is_lossless(pieces in prop::collection::vec(piece(), 0..8)) {
            let text = FilledText::from_pieces(pieces);
            prop_assert_eq!(text.to_string().parse::<FilledText>().unwrap(), text);
        }

        #[test]
        fn reading_never_panics(stored in "([<>&;a/ \"=-]|say-as|interpret-as=|digits|&amp;|é){0,12}") {
            let _ = stored.parse::<FilledText>();
        }
    }
}
