//! S-16: what was sealed opens where it belongs, whole and in order, or not at all.

use std::path::PathBuf;

use axum::body::{Body, to_bytes};
use media::Seal as _;

use super::super::sealed::channels;
use super::*;
use media::RecordMode;

const KEY: FileKey = [7; 32];
const OF: (TenantId, Serial) = (TenantId(1), Serial(71));

struct Written {
    _directory: tempfile::TempDir,
    path: PathBuf,
    /// The samples that went in.
    audio: Vec<u8>,
}

/// A recording as the recorder writes it: three whole pieces and `rest` bytes.
fn written(mode: RecordMode, rest: usize) -> Written {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("call.sealed");
    let mut pieces = Pieces::new(&KEY, OF.0, OF.1, channels(mode));
    let whole = pieces.whole();
    let audio: Vec<u8> = (0..3 * whole + rest).map(|n| (n / 7) as u8).collect();
    let mut file = pieces.head(mode);
    for (index, part) in audio.chunks(whole).chain((rest == 0).then_some([].as_slice())).enumerate()
    {
        let mut piece = part.to_vec();
        media::Seal::seal(&mut pieces, index as u32, index == 3, &mut piece).unwrap();
        file.extend(piece);
    }
    std::fs::write(&path, file).unwrap();
    Written { _directory: directory, path, audio }
}

async fn download(path: &Path, key: &FileKey, of: (TenantId, Serial), cut: Cut) -> Option<Vec<u8>> {
    let body = RecordingBody::sealed(path, key, of, cut).await.ok()?;
    let promised = body.size_hint().exact().unwrap();
    let bytes = to_bytes(Body::new(body), usize::MAX).await.ok()?;
    assert_eq!(promised, bytes.len() as u64, "the length that was promised");
    Some(bytes.to_vec())
}

/// What is not there or does not open; the beginning of it may have been sent.
async fn refused(path: &Path) -> bool {
    download(path, &KEY, OF, Cut::Refused).await.is_none()
}

#[tokio::test]
async fn a_sealed_recording_comes_out_as_the_wav_that_went_in() {
    for mode in [RecordMode::Both, RecordMode::Received] {
        for rest in [0, 1, 320, 3_999] {
            let written = written(mode, rest);
            let wav = download(&written.path, &KEY, OF, Cut::Refused).await.unwrap();
            assert!(wav[ALAW_HEADER..] == written.audio[..], "{mode:?} {rest}");
            let clip = media::Clip::decode(&wav).unwrap();
            assert!(clip.duration().as_millis() >= 1_500);
            let on_disk = std::fs::read(&written.path).unwrap();
            assert!(!on_disk.windows(64).any(|part| part == &written.audio[4_000..4_064]));
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_refused() {
    let written = written(RecordMode::Received, 320);
    let whole = std::fs::read(&written.path).unwrap();
    // Reserved bytes of the head mean nothing; each other byte is looked at, the pieces in steps.
    let places = (0..10).chain((HEAD..whole.len()).step_by(61)).chain([whole.len() - 1]);
    for place in places {
        for bit in [1, 0x80] {
            let mut flipped = whole.clone();
            flipped[place] ^= bit;
            std::fs::write(&written.path, &flipped).unwrap();
            assert!(refused(&written.path).await, "byte {place}");
        }
    }
    std::fs::write(&written.path, &whole).unwrap();
    assert!(!refused(&written.path).await, "as it was it opens");
}

#[tokio::test]
async fn a_shortened_file_is_refused_and_after_a_crash_gives_its_whole_pieces() {
    let written = written(RecordMode::Received, 320);
    let whole = std::fs::read(&written.path).unwrap();
    let piece = 4_000 + TAG;
    let mut lengths: Vec<usize> = (0..whole.len()).step_by(97).collect();
    lengths.extend((0..4).map(|pieces| HEAD + pieces * piece));
    for length in lengths {
        std::fs::write(&written.path, &whole[..length]).unwrap();
        assert!(refused(&written.path).await, "cut at {length}");
        let rescued = download(&written.path, &KEY, OF, Cut::Expected).await;
        if length < HEAD {
            assert!(rescued.is_none());
            continue;
        }
        let pieces = (length - HEAD) / piece;
        assert!(rescued.unwrap()[ALAW_HEADER..] == written.audio[..pieces * 4_000], "{length}");
    }
}

#[tokio::test]
async fn pieces_that_change_places_are_refused() {
    let written = written(RecordMode::Received, 320);
    let whole = std::fs::read(&written.path).unwrap();
    let piece = 4_000 + TAG;
    let at = |index: usize| HEAD + index * piece;
    let mut swapped = whole.clone();
    let (first, second) = swapped.split_at_mut(at(1));
    first[at(0)..].swap_with_slice(&mut second[..piece]);
    let mut repeated = whole.clone();
    repeated.splice(at(1)..at(1), whole[at(0)..at(1)].iter().copied());
    let mut without = whole.clone();
    without.drain(at(1)..at(2));
    for (name, file) in [("swapped", swapped), ("repeated", repeated), ("left out", without)] {
        std::fs::write(&written.path, file).unwrap();
        assert!(refused(&written.path).await, "{name}");
    }
}

#[tokio::test]
async fn another_key_another_call_and_another_tenant_are_refused() {
    let written = written(RecordMode::Both, 0);
    for (key, of) in [([8; 32], OF), (KEY, (TenantId(2), OF.1)), (KEY, (OF.0, Serial(72)))] {
        let got = download(&written.path, &key, of, Cut::Refused).await;
        assert!(got.is_none(), "{of:?}");
    }
}
