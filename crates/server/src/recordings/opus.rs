//! A recording as it is downloaded in a quarter of its size: Ogg Opus, made from the WAV file while that is read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use media::opus_file::{Channels, OpusFile};
use media::wav::{ALAW_HEADER, alaw_header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

use super::pieces::RecordingBody;
use super::sealed::SealedError;

/// Downloads at a time; the listener gives up whoever takes his too slowly.
const DOWNLOADS: usize = 32;
/// Pieces that are encoded at a time, one per thread: calls need the processors more.
const ENCODERS: usize = 1;
/// Bytes of a piece: four seconds of two parties, some fifteen milliseconds of work.
const AT_ONCE: usize = 64_000;

/// Bounds what downloads as Opus cost. Cheap to clone.
#[derive(Clone)]
pub struct OpusDownloads {
    places: Arc<Semaphore>,
    encoders: Arc<Semaphore>,
}

/// The Opus file of a recording, made as fast as the client takes it and an encoder is free.
pub struct OpusBody {
    wav: RecordingBody,
    state: State,
    encoders: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

enum State {
    /// The header of the WAV file, as far as it has been read.
    Head(Vec<u8>),
    Audio {
        file: Box<OpusFile>,
        /// What has been read and not encoded.
        waiting: Bytes,
    },
    /// A piece is being encoded; then come the encoder and what the piece has become.
    Encoding {
        piece: Encoding,
        waiting: Bytes,
    },
    Over,
}

type Encoding = Pin<Box<dyn Future<Output = Result<Encoded, JoinError>> + Send>>;
type Encoded = (Box<OpusFile>, Vec<u8>);

impl Default for OpusDownloads {
    fn default() -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        OpusDownloads { places: semaphore(DOWNLOADS), encoders: semaphore(ENCODERS) }
    }
}

impl OpusDownloads {
    /// A place for one more download; `None`: they are all taken.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// The recording as Opus. It keeps its place until it is dropped.
    pub fn body(&self, wav: RecordingBody, place: OwnedSemaphorePermit) -> OpusBody {
        let (state, encoders) = (State::Head(Vec::new()), self.encoders.clone());
        OpusBody { wav, state, encoders, _place: place }
    }
}

impl OpusBody {
    /// What comes next of the file, perhaps nothing; `None` where the WAV file has to be read first.
    fn poll_encoded(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Vec<u8>, SealedError>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Audio { file, mut waiting } if !waiting.is_empty() => {
                    let next = waiting.split_to(AT_ONCE.min(waiting.len()));
                    let piece = Box::pin(encode(self.encoders.clone(), file, next));
                    self.state = State::Encoding { piece, waiting };
                }
                State::Encoding { mut piece, waiting } => match piece.as_mut().poll(context) {
                    Poll::Ready(Ok((file, out))) => {
                        self.state = State::Audio { file, waiting };
                        return Poll::Ready(Some(Ok(out)));
                    }
                    Poll::Ready(Err(error)) => {
                        let error = std::io::Error::other(error);
                        return Poll::Ready(Some(Err(SealedError::Io(error))));
                    }
                    Poll::Pending => {
                        self.state = State::Encoding { piece, waiting };
                        return Poll::Pending;
                    }
                },
                state @ (State::Head(_) | State::Audio { .. } | State::Over) => {
                    self.state = state;
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// More of the WAV file; gives what the Opus file begins with once its header is whole.
    fn read(&mut self, bytes: Bytes) -> Result<Vec<u8>, SealedError> {
        let mut out = Vec::new();
        match &mut self.state {
            State::Head(head) => {
                head.extend_from_slice(&bytes);
                if let Some(audio) = head.get(ALAW_HEADER..) {
                    let waiting = Bytes::copy_from_slice(audio);
                    let file = Box::new(OpusFile::new(channels(head)?, &mut out));
                    self.state = State::Audio { file, waiting };
                }
            }
            State::Audio { waiting, .. } => *waiting = bytes,
            State::Encoding { .. } | State::Over => {}
        }
        Ok(out)
    }

    /// The WAV file is over.
    fn finish(&mut self) -> Option<Result<Vec<u8>, SealedError>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Head(_) => Some(Err(SealedError::Damaged)),
            State::Audio { file, .. } => {
                let mut out = Vec::new();
                file.finish(&mut out);
                Some(Ok(out))
            }
            State::Encoding { .. } | State::Over => None,
        }
    }
}

impl HttpBody for OpusBody {
    type Data = Bytes;
    type Error = SealedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SealedError>>> {
        loop {
            let made = match ready!(self.poll_encoded(context)) {
                Some(made) => Some(made),
                None => match ready!(Pin::new(&mut self.wav).poll_frame(context)) {
                    Some(Ok(frame)) => {
                        let bytes = frame.into_data().unwrap_or_default();
                        Some(self.read(bytes))
                    }
                    Some(Err(error)) => Some(Err(error)),
                    None => self.finish(),
                },
            };
            match made {
                Some(Ok(made)) if made.is_empty() => {}
                made => {
                    return Poll::Ready(made.map(|made| made.map(|made| Frame::data(made.into()))));
                }
            }
        }
    }
}

/// Encodes a piece on a thread of its own: on those that answer requests all others would wait for it.
async fn encode(
    encoders: Arc<Semaphore>,
    mut file: Box<OpusFile>,
    piece: Bytes,
) -> Result<Encoded, JoinError> {
    let encoder = encoders.acquire_owned().await.expect("the semaphore is never closed");
    let work = move || {
        let mut out = Vec::new();
        file.push(&piece, &mut out);
        drop(encoder);
        (file, out)
    };
    tokio::task::spawn_blocking(work).await
}

/// The channels of a WAV file of ours, by its header.
fn channels(head: &[u8]) -> Result<Channels, SealedError> {
    let is = |channels| {
        let ours = alaw_header(channels, 0);
        // All but the sizes: of the file, of the samples, of the data.
        let kinds = [0..4, 8..46, 50..54];
        kinds.into_iter().all(|kind| head[kind.clone()] == ours[kind])
    };
    match () {
        () if is(1) => Ok(Channels::Mono),
        () if is(2) => Ok(Channels::Two),
        () => Err(SealedError::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use axum::body::{Body, to_bytes};
    use media::codec::{Band, Codec, Encoder};
    use media::{detect, tone, wav};

    use super::*;

    async fn download(path: &Path) -> Option<Vec<u8>> {
        let downloads = OpusDownloads::default();
        let place = downloads.enter().unwrap();
        let body = downloads.body(RecordingBody::plain(path).await.unwrap(), place);
        to_bytes(Body::new(body), usize::MAX).await.ok().map(|bytes| bytes.to_vec())
    }

    #[tokio::test]
    async fn a_recording_comes_as_opus_with_each_party_in_its_channel() {
        let directory = tempfile::tempdir().unwrap();
        let (path, opus) = (directory.path().join("call.wav"), directory.path().join("call.opus"));
        let alaw = |hz| {
            let mut alaw = Vec::new();
            Encoder::new(Codec::Pcma, Band::Narrow)
                .encode(&tone::sine(hz, 12_000, 9_000), &mut alaw);
            alaw
        };
        let both: Vec<u8> =
            alaw(600.0).into_iter().zip(alaw(1_900.0)).flat_map(|(l, r)| [l, r]).collect();
        std::fs::write(&path, wav::alaw_file(2, &both)).unwrap();
        let file = download(&path).await.unwrap();
        assert!(file.len() < both.len() / 2, "{} bytes", file.len());
        std::fs::write(&opus, file).unwrap();
        let decoded = Command::new("opusdec")
            .args(["--quiet", "--rate", "48000"])
            .args([&opus, Path::new("-")])
            .output()
            .expect("opus-tools, a Debian package of the tests");
        assert!(decoded.status.success(), "{}", String::from_utf8_lossy(&decoded.stderr));
        let samples: Vec<i16> = decoded.stdout[44..]
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        assert!(samples.len().abs_diff(2 * 48_000 * 12) <= 200, "{} samples", samples.len());
        for (channel, hz) in [(0, 600.0), (1, 1_900.0)] {
            let heard: Vec<i16> = samples.iter().skip(channel).step_by(12).copied().collect();
            assert!(detect::share(&heard[8_000..80_000], hz) > 0.95, "channel {channel}");
        }
    }

    #[tokio::test]
    async fn what_is_no_recording_of_ours_is_broken_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("call.wav");
        for file in [vec![], b"RIFF".to_vec(), vec![0; 5_000], wav::pcm16_file(8_000, &[0; 800])] {
            std::fs::write(&path, file).unwrap();
            assert_eq!(download(&path).await, None);
        }
    }
}
