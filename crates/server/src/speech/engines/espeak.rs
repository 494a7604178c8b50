//! espeak-ng as a subprocess (its licence keeps it out of this binary). Text goes to its standard input.
use super::{SpeechError, Utterance, subprocess};
use crate::speech::{Speech, config::needs_pinyin, normalise::Language, wav};
use pinyin::ToPinyin;
use std::{collections::BTreeMap, path::Path};

/// Words per minute at speed 0; espeak-ng takes 80 to 450, which our factors of 0.5 to 2 keep to.
const NORMAL_WORDS_PER_MINUTE: f32 = 165.0;

pub(super) struct Voices<'a> {
    /// The configured voice.
    pub default: Option<&'a str>,
    /// By the voice names of templates.
    pub named: &'a BTreeMap<String, String>,
}

pub(super) async fn render(
    program: &Path,
    voices: Voices<'_>,
    utterance: &Utterance,
) -> Result<Speech, SpeechError> {
    let named =
        utterance.style.voice.as_ref().and_then(|name| voices.named.get(name)).map(String::as_str);
    let voice = named.or(voices.default).unwrap_or(match utterance.language {
        Language::Chinese => "cmn-latn-pinyin",
        Language::English | Language::Other => "en-us",
    });
    let words = if needs_pinyin(voice, &utterance.words) {
        to_pinyin(&utterance.words)
    } else {
        without_phonemes(&utterance.words)
    };
    let speed = (NORMAL_WORDS_PER_MINUTE * utterance.style.speed.factor()).round().to_string();
    let arguments = ["-v", voice, "-s", &speed, "-b", "1", "--stdin", "--stdout"];
    let output = subprocess::run(program, &arguments, &words).await?;
    Ok(wav::parse(&output)?)
}

/// Chinese characters as syllables with their tone at the end (`ma3`; `5` is the neutral tone), which espeak-ng speaks
/// far better than the characters. A character with several readings gets its most frequent one.
fn to_pinyin(words: &str) -> String {
    let mut text = String::with_capacity(words.len() * 2);
    for c in words.chars() {
        if let Some(syllable) = c.to_pinyin() {
            let marked = syllable.with_tone_num();
            let tone = marked.chars().find(char::is_ascii_digit).unwrap_or('5');
            text.extend(marked.chars().filter(|c| !c.is_ascii_digit()));
            text.extend([tone, ' ']);
        } else {
            match c {
                '，' | '、' => text.push_str(", "),
                '。' => text.push_str(". "),
                '！' => text.push_str("! "),
                '？' => text.push_str("? "),
                '；' | '：' => text.push_str("; "),
                c => text.push(c),
            }
        }
    }
    without_phonemes(&text)
}

/// `[[…]]` would be taken for phonemes instead of text.
fn without_phonemes(words: &str) -> String {
    words.replace("[[", "[ [")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinyin_with_the_tone_at_the_end() {
        assert_eq!(
            to_pinyin("您的验证码，四八。VIP 绿"),
            "nin2 de5 yan4 zheng4 ma3 , si4 ba1 . VIP lü4 "
        );
        assert_eq!(to_pinyin("[[a"), "[ [a");
    }
}
