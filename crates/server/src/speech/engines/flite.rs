//! flite inside this process: English, one voice of 8 kHz, about 3 ms of work per second of speech.
use super::{MAX_SECONDS, SpeechError, Utterance};
use crate::speech::Speech;
use flite_rs::Flow;
use std::time::{Duration, Instant};

/// Renders on a blocking thread. A thread cannot be killed, so the work itself looks at the clock and ends soon after
/// whoever waited for it has given up. How many run at once is bounded by the caller.
pub(super) async fn render(
    utterance: &Utterance,
    timeout: Duration,
) -> Result<Speech, SpeechError> {
    let words = to_ascii(&utterance.words);
    let stretch = 1.0 / utterance.style.speed.factor();
    let give_up = Instant::now() + timeout;
    let rendering = tokio::task::spawn_blocking(move || synthesise(&words, stretch, give_up));
    rendering.await.map_err(|_| SpeechError::Crashed)?.ok_or(SpeechError::TooLong)
}

/// None where the limit of length or time was met.
fn synthesise(words: &str, stretch: f32, give_up: Instant) -> Option<Speech> {
    let mut engine = flite_rs::Engine::new();
    engine.set_duration_stretch(stretch);
    let rate = engine.sample_rate();
    let limit = (MAX_SECONDS * rate) as usize;
    let mut samples = Vec::new();
    let mut complete = true;
    engine.synthesize_streaming(words, |period| {
        samples.extend_from_slice(period);
        complete = samples.len() <= limit && Instant::now() < give_up;
        if complete { Flow::Continue } else { Flow::Stop }
    });
    complete.then_some(Speech { samples, rate })
}

/// The voice knows ASCII only: accents are dropped from Latin letters, typographic punctuation becomes plain, and
/// what has no likeness becomes a blank.
fn to_ascii(words: &str) -> String {
    words.chars().fold(String::with_capacity(words.len()), |mut ascii, c| {
        match c {
            ' '..='~' => ascii.push(c),
            '‘' | '’' => ascii.push('\''),
            '“' | '”' => ascii.push('"'),
            '–' | '—' | '…' | '，' | '、' => ascii.push(','),
            '。' => ascii.push('.'),
            'ß' => ascii.push_str("ss"),
            'æ' | 'Æ' => ascii.push_str("ae"),
            'œ' | 'Œ' => ascii.push_str("oe"),
            'þ' | 'Þ' => ascii.push_str("th"),
            c => ascii.push(without_accent(c)),
        }
        ascii
    })
}

fn without_accent(c: char) -> char {
    const FAMILIES: &[(char, &str)] = &[
        ('a', "àáâãäåāăąǎ"),
        ('c', "çćĉċč"),
        ('d', "ďđð"),
        ('e', "èéêëēĕėęě"),
        ('g', "ĝğġģ"),
        ('h', "ĥħ"),
        ('i', "ìíîïĩīĭįıǐ"),
        ('j', "ĵ"),
        ('k', "ķĸ"),
        ('l', "ĺļľŀł"),
        ('n', "ñńņňŉŋ"),
        ('o', "òóôõöøōŏőǒ"),
        ('r', "ŕŗř"),
        ('s', "śŝşšș"),
        ('t', "ţťŧț"),
        ('u', "ùúûüũūŭůűųǔǖǘǚǜ"),
        ('w', "ŵ"),
        ('y', "ýÿŷ"),
        ('z', "źżž"),
    ];
    let lower = c.to_lowercase().next().unwrap_or(c);
    FAMILIES.iter().find(|(_, family)| family.contains(lower)).map_or(' ', |(plain, _)| *plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_a_voice_that_knows_ascii() {
        assert_eq!(
            to_ascii("José’s “café” – naïve Ångström, Weiß"),
            "Jose's \"cafe\" , naive angstrom, Weiss"
        );
        assert_eq!(to_ascii("a★b\u{200b}c"), "a b c");
    }

    #[test]
    fn a_deadline_that_has_passed_stops_the_work() {
        let words = "one two three four five six seven eight nine ten. ".repeat(20);
        assert_eq!(synthesise(&words, 1.0, Instant::now()), None);
    }
}
