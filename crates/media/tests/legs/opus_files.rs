//! Recordings as Opus, judged by opus-tools.

use std::path::Path;
use std::process::Command as Process;

use audio_codec_algorithms::encode_alaw;
use media::opus_file::{Channels, OpusFile};
use media::{detect, tone};

/// A file of these channels, given in parts of `part` bytes.
fn file(channels: &[Vec<i16>], part: usize) -> Vec<u8> {
    let kind = if channels.len() == 2 { Channels::Two } else { Channels::Mono };
    let alaw: Vec<u8> = (0..channels[0].len())
        .flat_map(|n| channels.iter().map(move |channel| encode_alaw(channel[n])))
        .collect();
    let mut bytes = Vec::new();
    let mut opus = OpusFile::new(kind, &mut bytes);
    alaw.chunks(part).for_each(|part| opus.push(part, &mut bytes));
    opus.finish(&mut bytes);
    bytes
}

fn run(program: &str, arguments: &[&str], file: &Path) -> Vec<u8> {
    let output = Process::new(program)
        .args(arguments)
        .arg(file)
        .args(if program == "opusdec" { &["-"][..] } else { &[] })
        .output()
        .expect("opus-tools, a Debian package of the tests");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(if program == "opusinfo" { &output.stdout } else { &[] });
    assert!(
        output.status.success() && !said.to_lowercase().contains("warning"),
        "{program}: {said}"
    );
    output.stdout
}

/// What opusdec makes of a file at 48 kHz: its channels, at 8 kHz by leaving samples out.
fn decoded(bytes: &[u8], channels: usize) -> Vec<Vec<i16>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("call.opus");
    std::fs::write(&path, bytes).unwrap();
    run("opusinfo", &[], &path);
    let raw = run("opusdec", &["--quiet", "--rate", "48000"], &path);
    // A WAV header of 44 bytes, or raw samples; whole frames either way.
    let samples: Vec<i16> = raw[raw.len() % (2 * channels)..]
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    (0..channels)
        .map(|channel| samples.iter().skip(channel).step_by(channels * 6).copied().collect())
        .collect()
}

#[test]
fn each_party_is_heard_in_its_own_channel_and_in_no_other() {
    let (left, right) = (tone::sine(600.0, 2_400, 12_000), tone::sine(1_900.0, 2_400, 12_000));
    for part in [1, 333, 100_000] {
        let heard = decoded(&file(&[left.clone(), right.clone()], part), 2);
        for (channel, own, other) in [(&heard[0], 600.0, 1_900.0), (&heard[1], 1_900.0, 600.0)] {
            assert!(channel.len().abs_diff(2_400 * 8) <= 16, "{part}: {} samples", channel.len());
            let middle = &channel[4_000..16_000];
            assert!(detect::share(middle, own) > 0.95, "{part}: {}", detect::share(middle, own));
            assert!(
                detect::share(middle, other) < 0.001,
                "{part}: {}",
                detect::share(middle, other)
            );
        }
    }
}

#[test]
fn a_file_is_as_long_as_what_was_recorded_and_a_quarter_of_its_size() {
    for ms in [0, 1, 19, 20, 21, 1_000, 3_333, 12_000] {
        let speech: Vec<i16> = [tone::sine(300.0, 500, 9_000), tone::silence(500)]
            .concat()
            .into_iter()
            .cycle()
            .take(ms * 8)
            .collect();
        let bytes = file(std::slice::from_ref(&speech), 4_000);
        let heard = decoded(&bytes, 1);
        assert!(heard[0].len().abs_diff(ms * 8) <= 8, "{ms} ms: {} samples", heard[0].len());
        if ms > 10_000 {
            assert!(bytes.len() < ms * 8 / 2, "{ms} ms: {} bytes", bytes.len());
        }
    }
}

#[test]
fn what_was_said_stays_at_its_time() {
    let shout =
        [tone::silence(1_000), tone::sine(1_000.0, 200, 16_000), tone::silence(1_000)].concat();
    let heard = decoded(&file(&[shout.clone(), shout], 7_777), 2);
    for channel in heard {
        let onset = channel.chunks(80).position(|block| detect::rms(block) > 3_000.0).unwrap();
        assert!((98..=103).contains(&onset), "at {onset} of 100 blocks of 10 ms");
    }
}
