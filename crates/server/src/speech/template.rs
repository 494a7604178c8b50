//! Text templates of voice notifications: fixed text with `${TXT_n}`, `${NUM_n}`, `${DATE}` and `${TIME}` in it.
use super::filled::{ClockTime, FilledText, Piece};
use std::{fmt, str::FromStr};
use thiserror::Error;
use time::{Date, Month};

/// The longest template in bytes of UTF-8, placeholders included.
pub const MAX_TEMPLATE: usize = 500;
/// The longest value of a variable in bytes of UTF-8.
pub const MAX_VALUE: usize = 32;
/// The most values that a request can carry, and so the most variables of a template.
pub const MAX_VALUES: usize = 10;

/// A template that keeps the rules. `Display` gives back the text it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Fixed(String),
    Variable(Variable),
}

/// A placeholder and what its value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `${TXT_n}`: any text of at most n bytes of UTF-8.
    Text { max: usize },
    /// `${NUM_n}`: 1 to n ASCII digits, spoken one by one.
    Digits { max: usize },
    /// `${DATE}`: `YYYY/MM/DD`, a date of the calendar.
    Date,
    /// `${TIME}`: `HH:MM` or `HH:MM:SS`, 00:00 to 23:59:59.
    Time,
}

/// Why a text is not a template; its author is at fault.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("the template is empty")]
    Empty,
    #[error("the template has {0} bytes of UTF-8, the limit is {MAX_TEMPLATE}")]
    TooLong(usize),
    #[error("the template begins with a variable: put fixed text before it")]
    BeginsWithVariable,
    #[error("the variable at byte {0} is not closed: expected }}")]
    NotClosed(usize),
    #[error(
        "${{{0}}} is no variable: expected TXT_n, NUM_n, DATE or TIME with n from 1 to {MAX_VALUE}"
    )]
    UnknownVariable(String),
    #[error("${{DATE}} and ${{TIME}} side by side must be separated by a comma")]
    DateTouchesTime,
    #[error("the template has {0} variables, a request can fill {MAX_VALUES}")]
    TooManyVariables(usize),
    #[error("the template contains the control character {0:?}")]
    ControlCharacter(char),
}

/// Why values do not fill a template; the caller is at fault. `position` counts the values from 1.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum FillError {
    #[error("templateParams has {given} values, the template needs {needed}")]
    Count { given: usize, needed: usize },
    #[error(
        "value {position} of templateParams is longer than the {limit} that its variable allows"
    )]
    TooLong { position: usize, limit: usize },
    #[error("value {position} of templateParams contains {found:?}")]
    Character { position: usize, found: char },
    #[error("value {position} of templateParams is not {expected}")]
    Format { position: usize, expected: &'static str },
}

impl FillError {
    /// The return code of createVoiceNotification. The documentation has none for a malformed number, date or time;
    /// 14 (a value that must not stand there) is the nearest.
    pub fn return_code(&self) -> u32 {
        match self {
            FillError::TooLong { .. } => 13,
            FillError::Character { .. } | FillError::Format { .. } => 14,
            FillError::Count { .. } => 15,
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.trim().is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.len() > MAX_TEMPLATE {
            return Err(TemplateError::TooLong(text.len()));
        }
        if let Some(found) = text.chars().find(|c| c.is_control() && !c.is_ascii_whitespace()) {
            return Err(TemplateError::ControlCharacter(found));
        }
        if text.trim_start().starts_with("${") {
            return Err(TemplateError::BeginsWithVariable);
        }
        let template = Template { parts: split(text)? };
        let variables = template.variables().count();
        if variables > MAX_VALUES {
            return Err(TemplateError::TooManyVariables(variables));
        }
        if template.parts.windows(3).any(date_touches_time)
            || template.parts.windows(2).any(date_touches_time)
        {
            return Err(TemplateError::DateTouchesTime);
        }
        Ok(template)
    }
}

impl Template {
    /// The placeholders in the order in which `templateParams` fills them.
    pub fn variables(&self) -> impl Iterator<Item = Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Fixed(_) => None,
            Part::Variable(variable) => Some(*variable),
        })
    }

    /// What is said in any case; by it a template's language is judged before there are values.
    pub fn fixed_text(&self) -> String {
        let fixed = self.parts.iter().filter_map(|part| match part {
            Part::Fixed(text) => Some(text.as_str()),
            Part::Variable(_) => None,
        });
        fixed.collect::<Vec<_>>().join(" ")
    }

    /// Puts one value into each placeholder, in order. A value has at most [`MAX_VALUE`] bytes and none of `$ { }`.
    pub fn fill<S: AsRef<str>>(&self, values: &[S]) -> Result<FilledText, FillError> {
        let needed = self.variables().count();
        if values.len() != needed {
            return Err(FillError::Count { given: values.len(), needed });
        }
        let mut values = values.iter().map(AsRef::as_ref).enumerate();
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            pieces.push(match part {
                Part::Fixed(text) => Piece::Text(text.clone()),
                Part::Variable(variable) => {
                    let (index, value) =
                        values.next().expect("there are as many values as variables");
                    variable.take(index + 1, value)?
                }
            });
        }
        Ok(FilledText::from_pieces(pieces))
    }
}

fn split(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if start > 0 {
            parts.push(Part::Fixed(rest[..start].to_owned()));
        }
        let at = text.len() - rest.len() + start;
        let (name, after) =
            rest[start + 2..].split_once('}').ok_or(TemplateError::NotClosed(at))?;
        let variable =
            Variable::parse(name).ok_or_else(|| TemplateError::UnknownVariable(name.to_owned()))?;
        parts.push(Part::Variable(variable));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Fixed(rest.to_owned()));
    }
    Ok(parts)
}

/// Nothing but blanks between a date and a time; the comma keeps a reader from running them together.
fn date_touches_time(parts: &[Part]) -> bool {
    let (first, between, last) = match parts {
        [first, last] => (first, "", last),
        [first, Part::Fixed(between), last] => (first, between.trim(), last),
        _ => return false,
    };
    let both = [(Variable::Date, Variable::Time), (Variable::Time, Variable::Date)];
    both.iter().any(|(a, b)| *first == Part::Variable(*a) && *last == Part::Variable(*b))
        && between.is_empty()
}

impl Variable {
    fn parse(name: &str) -> Option<Self> {
        let size = |digits: &str| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
            digits.parse().ok().filter(|n| plain && (1..=MAX_VALUE).contains(n))
        };
        match name {
            "DATE" => Some(Variable::Date),
            "TIME" => Some(Variable::Time),
            _ => match name.split_once('_')? {
                ("TXT", n) => Some(Variable::Text { max: size(n)? }),
                ("NUM", n) => Some(Variable::Digits { max: size(n)? }),
                _ => None,
            },
        }
    }

    fn take(self, position: usize, value: &str) -> Result<Piece, FillError> {
        let limit = match self {
            Variable::Text { max } | Variable::Digits { max } => max,
            Variable::Date | Variable::Time => MAX_VALUE,
        };
        if value.len() > limit {
            return Err(FillError::TooLong { position, limit });
        }
        if let Some(found) = value.chars().find(|c| "${}".contains(*c) || c.is_control()) {
            return Err(FillError::Character { position, found });
        }
        let expected = |expected| FillError::Format { position, expected };
        match self {
            Variable::Text { .. } => Ok(Piece::Text(value.to_owned())),
            Variable::Digits { .. }
                if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(Piece::Digits(value.to_owned()))
            }
            Variable::Digits { .. } => Err(expected("a number of digits 0 to 9")),
            Variable::Date => {
                parse_date(value).map(Piece::Date).ok_or_else(|| expected("a date as YYYY/MM/DD"))
            }
            Variable::Time => ClockTime::parse(value)
                .map(Piece::Time)
                .ok_or_else(|| expected("a time as HH:MM or HH:MM:SS")),
        }
    }
}

/// `YYYY/MM/DD` with all its digits, in the years 1 to 9999.
pub(super) fn parse_date(text: &str) -> Option<Date> {
    let [year, month, day] = fixed_fields(text, '/', [4, 2, 2])?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?)
        .ok()
        .filter(|_| year > 0)
}

/// Splits a text into numbers of exactly so many digits each.
pub(super) fn fixed_fields<const N: usize>(
    text: &str,
    separator: char,
    widths: [usize; N],
) -> Option<[u16; N]> {
    let mut numbers = [0; N];
    let mut fields = text.split(separator);
    for (number, width) in numbers.iter_mut().zip(widths) {
        let field =
            fields.next().filter(|f| f.len() == width && f.bytes().all(|b| b.is_ascii_digit()))?;
        *number = field.parse().ok()?;
    }
    fields.next().is_none().then_some(numbers)
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Fixed(text) => f.write_str(text),
            Part::Variable(Variable::Text { max }) => write!(f, "${{TXT_{max}}}"),
            Part::Variable(Variable::Digits { max }) => write!(f, "${{NUM_{max}}}"),
            Part::Variable(Variable::Date) => f.write_str("${DATE}"),
            Part::Variable(Variable::Time) => f.write_str("${TIME}"),
        })
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
