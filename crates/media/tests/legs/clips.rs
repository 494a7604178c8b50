//! Files become clips: every usual encoding and rate, and whatever is wrong with a file.

use std::process::Command as Process;
use std::time::Duration;

use media::clip::Limits;
use media::{Clip, ClipError, detect, tone, wav};
use proptest::prelude::*;

/// A 16-bit file of a tone of 600 Hz, `ms` long.
fn source(ms: u32) -> Vec<u8> {
    wav::pcm16_file(8000, &tone::sine(600.0, ms, 8000))
}

/// The source as sox writes it with these arguments.
fn by_sox(arguments: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from.wav"), directory.path().join("to"));
    std::fs::write(&from, source(500)).unwrap();
    let output = Process::new("sox")
        .arg("-D")
        .arg(&from)
        .args(arguments)
        .arg(&to)
        .output()
        .expect("sox, a Debian package of the tests");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(&to).unwrap()
}

fn assert_is_the_tone(what: &str, clip: &Clip) {
    let samples = clip.samples();
    assert!((3990..=4500).contains(&samples.len()), "{what}: {} samples", samples.len());
    let middle = &samples[800..3200];
    assert!(detect::share(middle, 600.0) > 0.97, "{what}: {}", detect::share(middle, 600.0));
    let rms = detect::rms(middle);
    assert!((5200.0..6100.0).contains(&rms), "{what}: {rms} for a sine whose peak is 8,000");
}

#[test]
fn every_usual_wav_is_the_same_clip() {
    for encoding in [
        &["-e", "signed", "-b", "16"][..],
        &["-e", "unsigned", "-b", "8"],
        &["-e", "signed", "-b", "24"],
        &["-e", "signed", "-b", "32"],
        &["-e", "float", "-b", "32"],
        &["-e", "float", "-b", "64"],
        &["-e", "a-law"],
        &["-e", "mu-law"],
    ] {
        for format in
            [&["-c", "1"][..], &["-c", "2", "-r", "44100"], &["-r", "48000"], &["-r", "11025"]]
        {
            let arguments = [encoding, format, &["-t", "wav"]].concat();
            let clip = Clip::decode(&by_sox(&arguments))
                .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            assert_is_the_tone(&format!("{arguments:?}"), &clip);
        }
    }
}

#[test]
fn mp3_of_any_rate_is_a_clip() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from.wav");
    std::fs::write(&from, source(500)).unwrap();
    for (rate, channels) in [("8000", "1"), ("16000", "1"), ("44100", "2"), ("48000", "2")] {
        let to = directory.path().join(format!("{rate}.mp3"));
        let output = Process::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&from)
            .args(["-ar", rate, "-ac", channels, "-b:a", "64k"])
            .arg(&to)
            .output()
            .expect("ffmpeg, a Debian package of the tests");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = std::fs::read(&to).unwrap();
        let clip = Clip::decode(&file).unwrap_or_else(|error| panic!("{rate}: {error}"));
        let samples = clip.samples();
        assert!((3900..=5400).contains(&samples.len()), "{rate}: {} samples", samples.len());
        let share = detect::share(&samples[1600..3200], 600.0);
        assert!(share > 0.97, "{rate}: {share}");
        for length in (0..file.len()).step_by(97) {
            // Any outcome but a panic: an MP3 that is cut is a shorter MP3.
            drop(Clip::decode(&file[..length]));
        }
    }
}

#[test]
fn a_wav_that_is_cut_anywhere_is_refused_or_shorter() {
    let file = source(10);
    for length in 0..44 {
        let error = Clip::decode(&file[..length]).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    for length in 46..file.len() {
        let clip =
            Clip::decode(&file[..length]).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_eq!(clip.samples().len(), (length - 44) / 2);
    }
}

#[test]
fn the_error_says_what_is_wrong() {
    assert_eq!(Clip::decode(b"").unwrap_err(), ClipError::Empty);
    assert!(matches!(Clip::decode(b"not audio at all").unwrap_err(), ClipError::Format(_)));
    assert_eq!(Clip::decode(&wav::pcm16_file(8000, &[])).unwrap_err(), ClipError::NoAudio);
    assert_eq!(Clip::decode(&wav::pcm16_file(3999, &[0; 100])).unwrap_err(), ClipError::Rate(3999));
    assert_eq!(Clip::from_pcm(&[], 8000).unwrap_err(), ClipError::NoAudio);
    assert_eq!(Clip::from_pcm(&[0], 0).unwrap_err(), ClipError::Rate(0));
    let limits = Limits { bytes: 1000, duration: Duration::from_secs(1) };
    let long = source(100);
    let too_large = ClipError::TooLarge { bytes: long.len(), limit: 1000 };
    assert_eq!(Clip::decode_within(&long, limits).unwrap_err(), too_large);
    let limits = Limits { bytes: 1 << 20, duration: Duration::from_secs(1) };
    let too_long = ClipError::TooLong { limit_s: 1 };
    assert_eq!(Clip::decode_within(&source(1100), limits).unwrap_err(), too_long);
    let mut adpcm = source(10);
    adpcm[20] = 0x11; // IMA ADPCM
    assert!(matches!(
        Clip::decode(&adpcm).unwrap_err(),
        ClipError::Encoding(_) | ClipError::Format(_)
    ));
}

#[test]
fn a_clip_is_stored_and_read_back_without_loss() {
    let narrow = Clip::decode(&source(250)).unwrap();
    let wide = Clip::from_pcm(&tone::sine(900.0, 250, 8000), 16_000).unwrap();
    for clip in [narrow, wide] {
        let stored = Clip::from_stored(&clip.to_stored()).unwrap();
        assert_eq!(stored.id(), clip.id());
        assert_eq!(stored.duration(), clip.duration());
        let heard = Clip::decode(&clip.to_wav()).unwrap();
        assert_eq!(heard.samples(), clip.samples());
    }
}

#[test]
fn ids_tell_clips_apart() {
    let a = Clip::from_pcm(&tone::sine(600.0, 100, 8000), 8000).unwrap();
    let same = Clip::from_pcm(&tone::sine(600.0, 100, 8000), 8000).unwrap();
    let b = Clip::from_pcm(&tone::sine(601.0, 100, 8000), 8000).unwrap();
    assert_eq!(a.id(), same.id());
    assert_ne!(a.id(), b.id());
}

proptest! {
    #[test]
    fn a_wav_with_any_bytes_changed_is_a_clip_or_an_error(
        changes in prop::collection::vec((0usize..60, any::<u8>()), 1..6),
        cut in 0usize..200,
    ) {
        let mut file = source(10);
        for (at, value) in changes {
            file[at] = value;
        }
        file.truncate(file.len() - cut.min(file.len()));
        drop(Clip::decode(&file));
    }

    #[test]
    fn any_bytes_are_a_clip_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(Clip::decode(&bytes));
    }
}
