//! From what is written to the words that are spoken, so that every engine says numbers, dates and times alike.
mod chinese;
mod english;
mod numerals;

use super::filled::{FilledText, Piece};
use numerals::{Token, scan};
use std::fmt;

/// The language of a text, as far as it decides who can speak it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    English,
    Chinese,
    /// Letters of another script; spoken only where the configuration names an engine for `other`.
    Other,
}

impl Language {
    pub const ALL: [Language; 3] = [Language::English, Language::Chinese, Language::Other];

    /// The name in the configuration: `en`, `zh`, `other`.
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh",
            Language::Other => "other",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::English => "English",
            Language::Chinese => "Chinese",
            Language::Other => "this text's language",
        })
    }
}

/// Chinese if there is a Han character (and no kana or Hangul beside it), English if every letter is Latin.
pub fn language_of(text: &str) -> Language {
    let (mut han, mut foreign) = (false, false);
    for c in text.chars() {
        match c {
            '\u{3040}'..='\u{30ff}' | '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}' => {
                return Language::Other;
            }
            c if is_han(c) => han = true,
            c if c.is_alphabetic() && !is_latin(c) => foreign = true,
            _ => {}
        }
    }
    match (han, foreign) {
        (true, _) => Language::Chinese,
        (false, true) => Language::Other,
        (false, false) => Language::English,
    }
}

/// The words for an engine: digits one by one, dates and times in full, long numbers of the fixed text as digits, short
/// ones as numbers. Control characters become blanks and full-width forms their ASCII ones.
pub fn spoken(text: &FilledText, language: Language) -> String {
    let mut words = Words { text: String::new(), spaced: language != Language::Chinese };
    for piece in text.pieces() {
        match piece {
            Piece::Text(written) => speak_text(&mut words, written, language),
            Piece::Digits(digits) => words.say(&spell(digits, language)),
            Piece::Date(date) => words.say(&say_date(*date, language)),
            Piece::Time(time) => words.say(&say_time(*time, language)),
        }
    }
    words.text
}

fn speak_text(words: &mut Words, written: &str, language: Language) {
    let plain: String = written.chars().map(halfwidth).collect();
    for token in scan(&plain) {
        match token {
            Token::Plain(text) => words.write(text),
            Token::Date(date) => words.say(&say_date(date, language)),
            Token::Time(time) => words.say(&say_time(time, language)),
            Token::Groups(groups) => {
                let spelled: Vec<_> = groups.iter().map(|group| spell(group, language)).collect();
                words.say(&spelled.join(if words.spaced { ", " } else { "，" }));
            }
            Token::Number(number) => match language {
                Language::English if number.is_spelled(english::AMOUNT_BEFORE, "") => {
                    words.say(&spell(number.written, language));
                }
                Language::Chinese => words.say(&chinese::number(&number)),
                Language::English | Language::Other => {
                    words.write(number.written);
                    words.write(if number.percent { "%" } else { "" });
                }
            },
        }
    }
}

fn spell(digits: &str, language: Language) -> String {
    match language {
        Language::English => english::digits(digits),
        Language::Chinese => chinese::digits(digits),
        Language::Other => digits.chars().map(String::from).collect::<Vec<_>>().join(" "),
    }
}

fn say_date(date: time::Date, language: Language) -> String {
    match language {
        Language::English => english::date(date),
        Language::Chinese => chinese::date(date),
        Language::Other => date.to_string(),
    }
}

fn say_time(time: super::filled::ClockTime, language: Language) -> String {
    match language {
        Language::English => english::time(time),
        Language::Chinese => chinese::time(time),
        Language::Other => time.to_string(),
    }
}

struct Words {
    text: String,
    /// Whether the language parts its words by blanks.
    spaced: bool,
}

impl Words {
    fn write(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds words of our own, parted from what stands around them.
    fn say(&mut self, words: &str) {
        if self.spaced && self.text.ends_with(|c: char| !c.is_whitespace()) {
            self.text.push(' ');
        }
        self.text.push_str(words);
        if self.spaced {
            self.text.push(' ');
        }
    }
}

fn halfwidth(c: char) -> char {
    match c {
        '\u{ff10}'..='\u{ff19}'
        | '\u{ff21}'..='\u{ff3a}'
        | '\u{ff41}'..='\u{ff5a}'
        | '％'
        | '＋'
        | '－'
        | '／'
        | '．' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c if c.is_control() => ' ',
        c => c,
    }
}

fn is_latin(c: char) -> bool {
    c.is_ascii()
        || matches!(c, '\u{aa}' | '\u{b5}' | '\u{ba}' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
        || matches!(c, '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}')
}

/// CJK unified ideographs, their extensions and compatibility forms, and the zero 〇.
pub(super) fn is_han(c: char) -> bool {
    matches!(c, '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
