//! A recording as it is downloaded: a WAV file, whichever way it lies on disk.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use engine::vocabulary::{Serial, TenantId};
use hyper::body::{Frame, SizeHint};
use media::wav::{ALAW_HEADER, alaw_header};
use tokio::fs::File;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncSeekExt as _, ReadBuf};

use super::sealed::{Cut, FileKey, HEAD, Layout, Pieces, SealedError, TAG, channels_of};

/// Bytes read from a plain file at once.
const CHUNK: usize = 64 * 1024;

/// A file on disk, read and opened as fast as the client takes it. A piece that does not open breaks the download off.
pub struct RecordingBody {
    file: File,
    /// Bytes of the WAV file that are still to be sent.
    left: u64,
    form: Form,
}

enum Form {
    Plain,
    Sealed {
        pieces: Pieces,
        layout: Layout,
        /// The next piece.
        index: u32,
        /// What of it has been read.
        read: Vec<u8>,
        /// In front of the first piece.
        head: Option<Bytes>,
    },
}

impl RecordingBody {
    /// # Errors
    /// There is no such file.
    pub async fn plain(path: &Path) -> Result<RecordingBody, SealedError> {
        let file = File::open(path).await?;
        let left = file.metadata().await?.len();
        Ok(RecordingBody { file, left, form: Form::Plain })
    }

    /// # Errors
    /// There is no such file, it is not one of ours, or its end is missing and that is not expected.
    pub async fn sealed(
        path: &Path,
        key: &FileKey,
        (tenant, serial): (TenantId, Serial),
        cut: Cut,
    ) -> Result<RecordingBody, SealedError> {
        let mut file = File::open(path).await?;
        let length = file.metadata().await?.len();
        let mut head = [0; HEAD];
        file.read_exact(&mut head).await.map_err(|_| SealedError::Damaged)?;
        let pieces = Pieces::new(key, tenant, serial, channels_of(&head)?);
        let mut layout = pieces.layout(length);
        if !ends_well(&mut file, &pieces, layout).await? {
            if cut == Cut::Refused {
                return Err(SealedError::Damaged);
            }
            layout.rest = 0;
        }
        file.seek(std::io::SeekFrom::Start(HEAD as u64)).await?;
        let data = u64::from(layout.whole) * pieces.whole() as u64
            + layout.rest.saturating_sub(TAG) as u64;
        let header = alaw_header(pieces.channels().into(), u32::try_from(data).unwrap_or(u32::MAX));
        let head = Some(Bytes::copy_from_slice(&header));
        let form = Form::Sealed { pieces, layout, index: 0, read: Vec::new(), head };
        Ok(RecordingBody { file, left: ALAW_HEADER as u64 + data, form })
    }
}

/// Whether the last piece is there and is the last.
async fn ends_well(file: &mut File, pieces: &Pieces, layout: Layout) -> Result<bool, SealedError> {
    if layout.rest < TAG {
        return Ok(false);
    }
    let before = u64::from(layout.whole) * (pieces.whole() + TAG) as u64;
    file.seek(std::io::SeekFrom::Start(HEAD as u64 + before)).await?;
    let mut last = vec![0; layout.rest];
    file.read_exact(&mut last).await?;
    Ok(pieces.open(layout.whole, true, &mut last).is_ok())
}

impl HttpBody for RecordingBody {
    type Data = Bytes;
    type Error = SealedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SealedError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let RecordingBody { file, left, form } = &mut *self;
        let bytes = match form {
            Form::Plain => ready!(poll_plain(file, *left, context)),
            Form::Sealed { pieces, layout, index, read, head } => match head.take() {
                Some(head) => Ok(head),
                None => {
                    let last = *index == layout.whole;
                    let wanted = if last { layout.rest } else { pieces.whole() + TAG };
                    while read.len() < wanted {
                        let more = ready!(poll_read(file, wanted - read.len(), context));
                        match more {
                            Ok(more) => read.extend_from_slice(&more),
                            Err(error) => return Poll::Ready(Some(Err(error))),
                        }
                    }
                    let mut piece = std::mem::take(read);
                    let opened = pieces.open(*index, last, &mut piece);
                    *index += 1;
                    opened.map(|()| Bytes::from(piece))
                }
            },
        };
        Poll::Ready(Some(bytes.map(|bytes| {
            *left = left.saturating_sub(bytes.len() as u64);
            Frame::data(bytes)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn poll_plain(
    file: &mut File,
    left: u64,
    context: &mut Context<'_>,
) -> Poll<Result<Bytes, SealedError>> {
    poll_read(file, CHUNK.min(usize::try_from(left).unwrap_or(CHUNK)), context)
}

/// At least one byte and at most `most`.
fn poll_read(
    file: &mut File,
    most: usize,
    context: &mut Context<'_>,
) -> Poll<Result<Bytes, SealedError>> {
    let mut chunk = vec![0; most];
    let mut buffer = ReadBuf::new(&mut chunk);
    ready!(Pin::new(file).poll_read(context, &mut buffer))?;
    let filled = buffer.filled().len();
    if filled == 0 {
        return Poll::Ready(Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()));
    }
    chunk.truncate(filled);
    Poll::Ready(Ok(Bytes::from(chunk)))
}

#[cfg(test)]
mod tests;
