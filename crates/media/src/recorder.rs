//! Recordings: one thread that appends to WAV files while calls are up.
//!
//! A file is A-law at 8 kHz, stereo (left received, right sent) or mono, behind a 58-byte header. Audio is handed over
//! every half second; the writer appends it and then brings the sizes in the header up to date. So a file that a crash
//! cuts, at any byte, opens in any player and lacks at most the last half second. A sealed file ([`Seal`]) holds the
//! same audio in encrypted pieces and lacks no more. Where the disk cannot follow, audio is
//! lost, never delayed into a call: the gap is written as silence once the disk is back, so that both channels keep
//! their time.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::clip::ALAW_SILENCE;
use crate::codec::FRAME;
use crate::command::{LegId, RecordMode};
use crate::event::Event;
use crate::seal::{PIECE_FRAMES, SEALED_PIECE, Seal};
use crate::wav::{ALAW_HEADER, alaw_header};

/// Frames that a leg gathers before it hands them over: half a second.
const CHUNK_FRAMES: usize = PIECE_FRAMES;
/// Chunks that may wait for the disk: 8 MB of stereo.
const WAITING: usize = 1024;
/// Messages of any kind behind which no recording is begun.
const MOST_WAITING: usize = 4 * WAITING;
/// Bytes per second and channel.
const RATE: u64 = 8_000;

type Sink = Arc<dyn Fn(Event) + Send + Sync>;

/// A handle to the writing thread; it ends when the last handle is gone and the last recording is closed.
#[derive(Clone)]
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    /// Dropped with the last handle.
    _alive: Arc<Alive>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    next_id: AtomicU64,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    chunks: usize,
    stop: bool,
}

enum Message {
    Open(Box<Opening>),
    Chunk { id: u64, lost: usize, bytes: Vec<u8> },
    Close { id: u64 },
}

struct Opening {
    id: u64,
    leg: LegId,
    path: PathBuf,
    mode: RecordMode,
    seal: Option<Box<dyn Seal>>,
    sink: Sink,
}

struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.filled.notify_one();
    }
}

impl Recorder {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            next_id: AtomicU64::new(0),
        });
        let reader = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("media-record".into()).spawn(move || write(&reader))?;
        Ok((Recorder { _alive: Arc::new(Alive(Arc::clone(&shared))), shared }, thread))
    }

    /// Opens a file. Whether that worked is told to `sink`; frames may be pushed at once. `None` where the disk is so far
    /// behind that nothing more is taken on.
    pub(crate) fn open(
        &self,
        leg: LegId,
        path: PathBuf,
        mode: RecordMode,
        seal: Option<Box<dyn Seal>>,
        sink: Sink,
    ) -> Option<Recording> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        if self.shared.lock().messages.len() >= MOST_WAITING {
            return None;
        }
        let opening = Opening { id, leg, path, mode, seal, sink };
        self.shared.send(Message::Open(Box::new(opening)));
        let recorder = self.clone();
        let keeps = Keeps::Audio;
        Some(Recording { recorder, id, mode, keeps, gathered: Vec::new(), frames: 0, lost: 0 })
    }
}

/// What a recording holds of what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    Audio,
    /// Silence in its place, so that the file keeps its time.
    Silence,
}

/// One open recording, on the media thread's side. Dropping it completes the file.
pub(crate) struct Recording {
    recorder: Recorder,
    id: u64,
    mode: RecordMode,
    keeps: Keeps,
    gathered: Vec<u8>,
    frames: usize,
    /// Frames that the writer had no room for, before those gathered.
    lost: usize,
}

impl Recording {
    /// Whether it holds what was sent beside what was received.
    pub(crate) fn takes_both(&self) -> bool {
        self.mode == RecordMode::Both
    }

    pub(crate) fn keep(&mut self, keeps: Keeps) {
        self.keeps = keeps;
    }

    /// 20 ms of each way, as A-law.
    pub(crate) fn push(&mut self, received: &[u8; FRAME], sent: &[u8; FRAME]) {
        const SILENCE: [u8; FRAME] = [ALAW_SILENCE; FRAME];
        let (received, sent) = match self.keeps {
            Keeps::Audio => (received, sent),
            Keeps::Silence => (&SILENCE, &SILENCE),
        };
        match self.mode {
            RecordMode::Both => {
                self.gathered
                    .extend(received.iter().zip(sent).flat_map(|(&left, &right)| [left, right]));
            }
            RecordMode::Received => self.gathered.extend_from_slice(received),
        }
        self.frames += 1;
        if self.frames == CHUNK_FRAMES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if self.frames == 0 && self.lost == 0 {
            return;
        }
        let bytes = std::mem::take(&mut self.gathered);
        if self.recorder.shared.try_chunk(self.id, self.lost, bytes) {
            self.lost = 0;
        } else {
            self.lost += self.frames;
        }
        self.frames = 0;
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.hand_over();
        self.recorder.shared.send(Message::Close { id: self.id });
    }
}

impl Shared {
    /// Opening was let in before, and what was opened may always be closed.
    fn send(&self, message: Message) {
        self.lock().messages.push_back(message);
        self.filled.notify_one();
    }

    /// False where the disk is too far behind.
    fn try_chunk(&self, id: u64, lost: usize, bytes: Vec<u8>) -> bool {
        let mut queue = self.lock();
        if queue.chunks >= WAITING {
            return false;
        }
        queue.chunks += 1;
        queue.messages.push_back(Message::Chunk { id, lost, bytes });
        drop(queue);
        self.filled.notify_one();
        true
    }

    /// The next message; `None` once there are no more to come.
    fn next(&self) -> Option<Message> {
        let mut queue = self.lock();
        loop {
            if let Some(message) = queue.messages.pop_front() {
                queue.chunks -= usize::from(matches!(message, Message::Chunk { .. }));
                return Some(message);
            }
            if queue.stop {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock, so a poisoned queue is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One file that is being written.
struct Open {
    leg: LegId,
    path: PathBuf,
    channels: u16,
    sink: Sink,
    file: File,
    /// Bytes of audio that were handed over.
    data: u64,
    layout: Layout,
}

enum Layout {
    Wav,
    Sealed {
        seal: Box<dyn Seal>,
        /// Audio that is no whole piece yet.
        pending: Vec<u8>,
        pieces: u32,
        /// Bytes in the file.
        end: u64,
    },
}

fn write(shared: &Shared) {
    let mut open: HashMap<u64, Open> = HashMap::new();
    while let Some(message) = shared.next() {
        match message {
            Message::Open(opening) => {
                let id = opening.id;
                open.extend(begin(*opening).map(|recording| (id, recording)));
            }
            // After a failure the leg may still push; the failure was told once.
            Message::Chunk { id, lost, bytes } => {
                let Some(recording) = open.get_mut(&id) else { continue };
                if let Err(error) = recording.append(lost, &bytes)
                    && let Some(failed) = open.remove(&id)
                {
                    failed.tell_failure(&error);
                }
            }
            Message::Close { id } => {
                let Some(mut recording) = open.remove(&id) else { continue };
                if let Err(error) = recording.finish() {
                    recording.tell_failure(&error);
                    continue;
                }
                let Open { leg, path, sink, data, channels, .. } = recording;
                let duration_ms = data * 1000 / (RATE * u64::from(channels));
                sink(Event::RecordingDone { leg, path, duration_ms });
            }
        }
    }
}

/// Makes the file and tells whether that worked.
fn begin(opening: Opening) -> Option<Open> {
    let Opening { leg, path, mode, seal, sink, .. } = opening;
    let channels = match mode {
        RecordMode::Both => 2,
        RecordMode::Received => 1,
    };
    let made = OpenOptions::new().write(true).create_new(true).open(&path).and_then(|file| {
        let head = match &seal {
            None => alaw_header(channels, 0).to_vec(),
            Some(seal) => seal.head(mode),
        };
        file.write_all_at(&head, 0)?;
        Ok((file, head.len() as u64))
    });
    match made {
        Ok((file, end)) => {
            let layout = match seal {
                None => Layout::Wav,
                Some(seal) => Layout::Sealed { seal, pending: Vec::new(), pieces: 0, end },
            };
            sink(Event::RecordingStarted { leg, path: path.clone() });
            Some(Open { leg, path, channels, sink, file, data: 0, layout })
        }
        Err(error) => {
            sink(Event::RecordingFailed { leg, path, reason: error.to_string() });
            None
        }
    }
}

impl Open {
    fn append(&mut self, lost: usize, bytes: &[u8]) -> io::Result<()> {
        let silence = vec![ALAW_SILENCE; FRAME * usize::from(self.channels)];
        for _ in 0..lost {
            self.write(&silence)?;
        }
        self.write(bytes)?;
        match self.layout {
            Layout::Wav => {
                let data = u32::try_from(self.data).map_err(|_| too_long())?;
                self.file.write_all_at(&alaw_header(self.channels, data), 0)
            }
            Layout::Sealed { .. } => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let at = self.data;
        self.data += bytes.len() as u64;
        if self.data > u64::from(u32::MAX) - ALAW_HEADER as u64 {
            return Err(too_long());
        }
        match &mut self.layout {
            Layout::Wav => return self.file.write_all_at(bytes, ALAW_HEADER as u64 + at),
            Layout::Sealed { pending, .. } => pending.extend_from_slice(bytes),
        }
        while let Some(piece) = self.whole_piece() {
            self.write_piece(piece, false)?;
        }
        Ok(())
    }

    fn whole_piece(&mut self) -> Option<Vec<u8>> {
        let Layout::Sealed { pending, .. } = &mut self.layout else { return None };
        let whole = SEALED_PIECE * usize::from(self.channels);
        (pending.len() >= whole).then(|| pending.drain(..whole).collect())
    }

    /// The last piece of a sealed file says that nothing is missing.
    fn finish(&mut self) -> io::Result<()> {
        match &mut self.layout {
            Layout::Wav => Ok(()),
            Layout::Sealed { pending, .. } => {
                let rest = std::mem::take(pending);
                self.write_piece(rest, true)
            }
        }
    }

    fn write_piece(&mut self, mut piece: Vec<u8>, last: bool) -> io::Result<()> {
        let Layout::Sealed { seal, pieces, end, .. } = &mut self.layout else { return Ok(()) };
        seal.seal(*pieces, last, &mut piece)?;
        self.file.write_all_at(&piece, *end)?;
        *pieces += 1;
        *end += piece.len() as u64;
        Ok(())
    }

    fn tell_failure(self, error: &io::Error) {
        let Open { leg, path, sink, .. } = self;
        sink(Event::RecordingFailed { leg, path, reason: error.to_string() });
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "a WAV file holds 4 GiB at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorder whose thread never runs: a disk that stands still.
    fn stalled() -> Recorder {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            next_id: AtomicU64::new(0),
        });
        Recorder { _alive: Arc::new(Alive(Arc::clone(&shared))), shared }
    }

    fn open(recorder: &Recorder, path: PathBuf) -> Option<Recording> {
        recorder.open(LegId(1), path, RecordMode::Received, None, Arc::new(|_| {}))
    }

    #[test]
    fn audio_that_the_disk_cannot_take_is_silence_of_the_same_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slow.wav");
        let recorder = stalled();
        let mut recording = open(&recorder, path.clone()).unwrap();
        let chunks = WAITING + 3;
        for _ in 0..chunks * CHUNK_FRAMES {
            recording.push(&[1; FRAME], &[2; FRAME]);
        }
        // The disk takes some of it, so that what comes then finds room.
        let taken: Vec<Message> = (0..10).filter_map(|_| recorder.shared.next()).collect();
        recording.push(&[3; FRAME], &[2; FRAME]);
        drop(recording);
        for message in taken.into_iter().rev() {
            let mut queue = recorder.shared.lock();
            queue.chunks += usize::from(matches!(message, Message::Chunk { .. }));
            queue.messages.push_front(message);
        }
        recorder.shared.lock().stop = true;
        write(&recorder.shared);
        let file = std::fs::read(&path).unwrap();
        let frames: Vec<u8> = file[ALAW_HEADER..].chunks(FRAME).map(|frame| frame[0]).collect();
        let lost = 3 * CHUNK_FRAMES;
        let expected =
            [vec![1; WAITING * CHUNK_FRAMES], vec![ALAW_SILENCE; lost], vec![3]].concat();
        assert_eq!(frames, expected);
    }

    #[test]
    fn a_pause_is_silence_on_both_sides_and_no_frame_of_it_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("paused.wav");
        let recorder = stalled();
        let sink: Sink = Arc::new(|_| {});
        let recording = recorder.open(LegId(1), path.clone(), RecordMode::Both, None, sink);
        let mut recording = recording.unwrap();
        // Neither end of the pause is the end of a piece that is handed over.
        for (frames, keeps) in [(30, Keeps::Audio), (33, Keeps::Silence), (7, Keeps::Audio)] {
            recording.keep(keeps);
            for _ in 0..frames {
                recording.push(&[1; FRAME], &[2; FRAME]);
            }
        }
        drop(recording);
        recorder.shared.lock().stop = true;
        write(&recorder.shared);
        let file = std::fs::read(&path).unwrap();
        let audio = |frames: usize| [1, 2].repeat(frames * FRAME);
        let silence = vec![ALAW_SILENCE; 33 * 2 * FRAME];
        assert!(file[ALAW_HEADER..] == [audio(30), silence, audio(7)].concat());
    }

    /// Shows what passes through it.
    struct Brackets;

    impl Seal for Brackets {
        fn head(&self, _: RecordMode) -> Vec<u8> {
            b"head".to_vec()
        }

        fn seal(&mut self, index: u32, last: bool, piece: &mut Vec<u8>) -> io::Result<()> {
            piece.insert(0, if last { b'L' } else { b'0' + index as u8 });
            Ok(())
        }
    }

    #[test]
    fn a_sealed_file_is_whole_pieces_and_one_last() {
        for (frames, rest) in [(0, 0), (2 * CHUNK_FRAMES, 0), (2 * CHUNK_FRAMES + 7, 7)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("call.sealed");
            let recorder = stalled();
            let sink: Sink = Arc::new(|_| {});
            let seal = Some(Box::new(Brackets) as Box<dyn Seal>);
            let mode = RecordMode::Both;
            let recording = recorder.open(LegId(1), path.clone(), mode, seal, sink);
            let mut recording = recording.unwrap();
            for _ in 0..frames {
                recording.push(&[1; FRAME], &[2; FRAME]);
            }
            drop(recording);
            recorder.shared.lock().stop = true;
            write(&recorder.shared);
            let audio = |frames: usize| [1, 2].repeat(frames * FRAME);
            let mut expected = b"head".to_vec();
            for index in 0..frames / CHUNK_FRAMES {
                expected.push(b'0' + index as u8);
                expected.extend(audio(CHUNK_FRAMES));
            }
            expected.push(b'L');
            expected.extend(audio(rest));
            assert!(std::fs::read(&path).unwrap() == expected, "{frames} frames");
        }
    }

    #[test]
    fn nothing_is_begun_behind_too_much() {
        let recorder = stalled();
        let mut begun = 0;
        while begun <= MOST_WAITING && open(&recorder, PathBuf::from("/never/opened")).is_some() {
            begun += 1;
        }
        assert_eq!(begun, MOST_WAITING / 2, "each was opened and closed");
    }
}
