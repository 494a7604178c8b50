//! The recogniser names what a phone heard, through codecs, losses and noise, and names nothing else.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

use std::sync::OnceLock;

use media::codec::{Band, Decoder, Encoder};
use media::{Codec, tone};
use sim::{Recognised, Recogniser, UNKNOWN};

type Library = Vec<(String, Vec<i16>)>;

fn speak(text: &str) -> Vec<i16> {
    static ENGINE: OnceLock<flite_rs::Engine> = OnceLock::new();
    ENGINE.get_or_init(flite_rs::Engine::new).synthesize(text).samples
}

fn library(texts: &[(&str, &str)]) -> Library {
    texts.iter().map(|(id, text)| ((*id).to_owned(), speak(text))).collect()
}

/// One template with different words in it: what differs is a third of a second.
fn template() -> &'static Library {
    static TEMPLATE: OnceLock<Library> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        ["one four", "two three", "one five", "nine four", "fifteen", "fifty"]
            .map(|word| (word.to_owned(), speak(&format!("Your code is {word}. Thank you."))))
            .to_vec()
    })
}

fn template_ear() -> &'static Recogniser {
    static EAR: OnceLock<Recogniser> = OnceLock::new();
    EAR.get_or_init(|| Recogniser::new(template().clone(), 1))
}

/// What is left after encoding and decoding.
fn through(codec: Codec, samples: &[i16]) -> Vec<i16> {
    let band = Band::best(codec, Band::Narrow);
    let (mut encoder, mut decoder) = (Encoder::new(codec, band), Decoder::new(codec, Band::Narrow));
    let mut out = Vec::new();
    for frame in samples.chunks_exact(160) {
        let mut payload = Vec::new();
        match band {
            Band::Narrow => encoder.encode(frame, &mut payload),
            Band::Wide => encoder.encode(&doubled(frame), &mut payload),
        }
        decoder.decode(&payload, &mut out).unwrap();
    }
    out
}

/// Each sample and the mean of it and the next.
fn doubled(frame: &[i16]) -> Vec<i16> {
    let next = frame[1..].iter().chain(frame.last());
    frame
        .iter()
        .zip(next)
        .flat_map(|(a, b)| [*a, ((i32::from(*a) + i32::from(*b)) / 2) as i16])
        .collect()
}

fn labels(found: &[Recognised]) -> Vec<&str> {
    found.iter().map(Recognised::label).collect()
}

#[track_caller]
fn check(ear: &Recogniser, heard: &[i16], expected: &[&str]) {
    let found = ear.recognise(heard);
    assert_eq!(labels(&found), expected, "{found:?}");
}

#[test]
fn renderings_of_one_template_are_told_apart_through_every_codec() {
    assert!(template_ear().decoys() >= 20, "{}", template_ear().decoys());
    for codec in Codec::ALL {
        for (id, clip) in template() {
            // Not a whole number of packets: the phone's frames are not the clip's.
            let mut heard = tone::silence(133);
            heard.extend(clip);
            check(template_ear(), &through(codec, &heard), &[id]);
        }
    }
}

#[test]
fn a_rendering_that_is_not_in_the_library_is_unknown() {
    for (n, (_, clip)) in template().iter().enumerate() {
        let mut others = template().clone();
        others.remove(n);
        check(&Recogniser::new(others, 1), &through(Codec::Pcma, clip), &[UNKNOWN]);
    }
}

#[test]
fn swapping_the_clips_swaps_the_ids() {
    let (a, b) = (template()[0].1.clone(), template()[1].1.clone());
    let heard = [a.clone(), tone::silence(60), b.clone()].concat();
    let straight = Recogniser::new([("100001", a.clone()), ("100002", b.clone())], 1);
    check(&straight, &heard, &["100001", "100002"]);
    let swapped = Recogniser::new([("100001", b), ("100002", a)], 1);
    check(&swapped, &heard, &["100002", "100001"]);
}

#[test]
fn clips_and_rounds_come_in_their_order() {
    let ear = Recogniser::new(
        library(&[
            ("greeting", "Good morning. This is the night watch."),
            ("alarm", "The backup of the database has failed on server seven."),
        ]),
        1,
    );
    let (greeting, alarm) = (
        speak("Good morning. This is the night watch."),
        speak("The backup of the database has failed on server seven."),
    );
    let round = [greeting.clone(), alarm.clone()].concat();
    let heard = [round.clone(), round].concat();
    let found = ear.recognise(&through(Codec::Pcmu, &heard));
    assert_eq!(labels(&found), ["greeting", "alarm", "greeting", "alarm"]);
    assert!(found.windows(2).all(|two| two[0].at < two[1].at), "{found:?}");
    assert!(found.iter().all(Recognised::is_whole), "{found:?}");
    let second_round = found[2].at.as_millis() as usize * 8;
    let expected = greeting.len() + alarm.len();
    assert!(second_round.abs_diff(expected) < 4_000, "{second_round} against {expected}");
}

#[test]
fn noise_and_lost_packets_are_forgiven() {
    for (id, clip) in template() {
        check(template_ear(), &noisy(clip, 20.0), &[id]);
        let mut lossy = clip.clone();
        for lost in lossy.chunks_mut(160).skip(5).step_by(20) {
            lost.fill(0);
        }
        check(template_ear(), &lossy, &[id]);
    }
}

/// White noise so many dB below the clip.
fn noisy(clip: &[i16], snr_db: f32) -> Vec<i16> {
    let peak = media::detect::rms(clip) * 3f32.sqrt() / 10f32.powf(snr_db / 20.0);
    let mut state = 1u32;
    clip.iter()
        .map(|sample| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 8) as f32 / 8_388_608.0 - 1.0;
            (f32::from(*sample) + noise * peak) as i16
        })
        .collect()
}

#[test]
fn noise_alone_is_no_clip() {
    let hiss = noisy(&vec![3_000; 16_000], 0.0);
    assert!(!labels(&template_ear().recognise(&hiss)).iter().any(|label| *label != UNKNOWN));
    check(template_ear(), &tone::silence(2_000), &[]);
    check(template_ear(), &[], &[]);
}

#[test]
fn a_clip_that_was_cut_off_is_flagged() {
    let ear = Recogniser::new(
        library(&[("alarm", "The backup of the database has failed on server seven.")]),
        1,
    );
    let clip = speak("The backup of the database has failed on server seven.");
    let found = ear.recognise(&clip[..clip.len() * 6 / 10]);
    assert_eq!(labels(&found), ["alarm"]);
    assert!(!found[0].is_whole() && (0.4..0.8).contains(&found[0].share), "{found:?}");
    check(&ear, &clip[..clip.len() / 5], &[UNKNOWN]);
    // What the codes have in common does not tell which it was.
    let (_, code) = &template()[0];
    check(template_ear(), &code[..code.len() * 4 / 10], &[UNKNOWN]);
}

#[test]
fn a_late_listener_recognises_the_rest() {
    let (id, clip) = &template()[1];
    let found = template_ear().recognise(&clip[4_000..]);
    assert_eq!(labels(&found), [id]);
    assert!(found[0].share < 1.0, "{found:?}");
}

#[test]
fn a_clip_in_the_midst_of_something_unknown_is_found() {
    let other = speak("Nobody has recorded this sentence anywhere.");
    let heard = [other.clone(), template()[3].1.clone(), other].concat();
    check(template_ear(), &heard, &[UNKNOWN, "nine four", UNKNOWN]);
}

#[test]
fn the_longer_of_two_clips_with_the_same_beginning() {
    let (short, rest) = (speak("Your parcel has arrived."), speak("It is in the box at the door."));
    let long = [short.clone(), rest].concat();
    let ear = Recogniser::new([("short", short.clone()), ("long", long.clone())], 1);
    check(&ear, &long, &["long"]);
    check(&ear, &short, &["short"]);
}

#[test]
fn tones_are_clips_too() {
    let tones =
        [400.0, 440.0, 480.0, 1000.0].map(|hz| (hz.to_string(), tone::sine(hz, 1_500, 8_000)));
    let ear = Recogniser::new(tones.clone(), 1);
    assert!(ear.decoys() >= 20, "{}", ear.decoys());
    for (id, samples) in &tones {
        check(&ear, &through(Codec::Pcma, samples), &[id]);
    }
    check(&ear, &tone::sine(700.0, 1_500, 8_000), &[UNKNOWN]);
}

/// A jitter buffer that grows or shrinks moves everything after that moment.
#[test]
fn what_a_jitter_buffer_does_is_forgiven_and_never_leads_astray() {
    let (mut right, mut doubtful) = (0, 0);
    for (id, clip) in template() {
        for at in (2_000..clip.len() - 3_000).step_by(3_700) {
            let (before, after) = clip.split_at(at);
            for heard in [
                [before, &[0; 160], after].concat(),
                [before, &[0; 480], after].concat(),
                [before, &after[160..]].concat(),
            ] {
                let found = template_ear().recognise(&heard);
                match labels(&found).as_slice() {
                    [only] if only == id => right += 1,
                    others if others.iter().all(|label| *label == UNKNOWN) => doubtful += 1,
                    _ => panic!("{id}, moved at {at}: {found:?}"),
                }
            }
        }
    }
    assert!(right >= 9 * doubtful, "{right} named, {doubtful} not");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(24))]
    #[test]
    fn any_samples_are_heard_without_a_panic(samples in proptest::collection::vec(proptest::num::i16::ANY, 0..2_000)) {
        template_ear().recognise(&samples);
        Recogniser::new([("any", samples)], 7);
    }
}
