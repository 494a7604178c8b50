//! Recordings: what is in them, and that a file opens wherever a crash cuts it.

use std::path::Path;
use std::process::Command as Process;

use crate::world::{World, share, tone};
use media::{Clip, Codec, Command, Config, Event, LegId, RecordMode};

const A: LegId = LegId(1);
const B: LegId = LegId(2);

/// The samples of one channel of an A-law file, behind its 58 bytes.
fn channel(file: &[u8], channels: usize, index: usize) -> Vec<i16> {
    file[58..]
        .chunks_exact(channels)
        .map(|frame| audio_codec_algorithms::decode_alaw(frame[index]))
        .collect()
}

fn recorded(world: &mut World) -> u64 {
    world.wait("RecordingDone", |event| match event {
        Event::RecordingDone { leg: A, duration_ms, .. } => Some(*duration_ms),
        _ => None,
    })
}

/// Records a call in which A hears 1,000 Hz and says 500 Hz.
fn record(path: &Path, mode: RecordMode, codec: Codec) -> Vec<u8> {
    let mut world = World::new(Config::default());
    world.pair(A, B, codec);
    world.send(Command::Record { leg: A, path: path.to_owned(), mode, seal: None });
    world.play(A, 1, &[tone(500.0, 300)], 1);
    world.play(B, 2, &[tone(1000.0, 600)], 1);
    world.play_finished(A, 1);
    world.play_finished(B, 2);
    world.close(B);
    world.close(A);
    let duration = recorded(&mut world);
    let file = std::fs::read(path).unwrap();
    let channels = if mode == RecordMode::Both { 2 } else { 1 };
    assert_eq!((file.len() - 58) as u64 / (8 * channels), duration);
    assert!(duration >= 600);
    file
}

#[test]
fn received_is_left_and_sent_is_right() {
    let directory = tempfile::tempdir().unwrap();
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        let path = directory.path().join(format!("{}.wav", codec.name()));
        let file = record(&path, RecordMode::Both, codec);
        let (left, right) = (channel(&file, 2, 0), channel(&file, 2, 1));
        assert!(share(&left, 1000.0) > 0.9 && share(&right, 500.0) > 0.95, "{codec:?}");
        assert!(
            (28..=33).contains(&crate::world::loud_blocks(&left)),
            "{codec:?}: 30 blocks were said"
        );
        assert_eq!(crate::world::loud_blocks(&right), 15, "{codec:?}");
    }
}

#[test]
fn a_mono_recording_holds_what_was_received_and_a_foreign_tool_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mono.wav");
    let file = record(&path, RecordMode::Received, Codec::Pcma);
    assert!(share(&channel(&file, 1, 0), 1000.0) > 0.95);
    let raw = Process::new("sox")
        .arg(&path)
        .args(["-t", "raw", "-e", "signed", "-b", "16", "-L", "-"])
        .output()
        .expect("sox, a Debian package of the tests");
    assert!(raw.status.success(), "{}", String::from_utf8_lossy(&raw.stderr));
    let read: Vec<i16> =
        raw.stdout.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!(read, channel(&file, 1, 0));
}

#[test]
fn a_file_that_is_cut_anywhere_still_opens() {
    let directory = tempfile::tempdir().unwrap();
    let file = record(&directory.path().join("cut.wav"), RecordMode::Both, Codec::Pcma);
    for length in (60..file.len()).step_by(37) {
        let clip =
            Clip::decode(&file[..length]).unwrap_or_else(|error| panic!("{length}: {error}"));
        let expected = (length - 58) / 2;
        assert!(expected.abs_diff(clip.samples().len()) <= 1, "{length}: all that is there");
    }
}

#[test]
fn a_call_that_is_still_up_has_a_file_that_opens() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.wav");
    let mut world = World::new(Config::default());
    world.pair(A, B, Codec::Pcma);
    world.send(Command::Record { leg: A, path: path.clone(), mode: RecordMode::Both, seal: None });
    world.play(A, 1, &[tone(500.0, 1200)], 1);
    world.play_finished(A, 1);
    // The process could be killed here: 1.2 s were said, at most half a second is not in the file yet.
    let until = std::time::Instant::now() + crate::world::PATIENCE;
    let file = loop {
        let file = std::fs::read(&path).unwrap();
        if file.len() >= 58 + 2 * 8 * 700 || std::time::Instant::now() > until {
            break file;
        }
        std::thread::yield_now();
    };
    let said = u32::from_le_bytes(file[54..58].try_into().unwrap()) as usize;
    assert!(
        said >= 2 * 8 * 500 && said <= file.len() - 58,
        "the header says what is there: {said}"
    );
    assert!(Clip::decode(&file).unwrap().duration().as_millis() >= 700);
}

#[test]
fn a_file_that_exists_or_cannot_be_made_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let taken = directory.path().join("taken.wav");
    std::fs::write(&taken, "precious").unwrap();
    let mut world = World::new(Config::default());
    world.offer(A, &[Codec::Pcma]);
    for path in [taken.clone(), directory.path().join("no/such/directory.wav")] {
        world.send(Command::Record { leg: A, path, mode: RecordMode::Both, seal: None });
        world.wait("RecordingFailed", |event| {
            matches!(event, Event::RecordingFailed { leg: A, .. }).then_some(())
        });
        world.send(Command::StopRecording { leg: A });
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"precious");
    let path = directory.path().join("good.wav");
    world.send(Command::Record { leg: A, path: path.clone(), mode: RecordMode::Both, seal: None });
    world.wait("RecordingStarted", |event| {
        matches!(event, Event::RecordingStarted { leg: A, .. }).then_some(())
    });
    world.send(Command::Record { leg: A, path, mode: RecordMode::Both, seal: None });
    assert_eq!(world.failed(A), media::MediaFault::AlreadyRecording);
}
