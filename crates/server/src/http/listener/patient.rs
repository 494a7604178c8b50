//! A connection whose client takes what it asked for slowly, or not at all, is given up: it keeps a place among the
//! connections, and what its answer needs (an open recording, one of the encoders' places).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// So long may be waited for a client in all, beyond what [`SLOWEST_BYTES_PER_S`] allows for what it took.
const PATIENCE: Duration = Duration::from_secs(30);
/// 128 kbit/s. Whoever takes more never loses its connection.
const SLOWEST_BYTES_PER_S: u32 = 16 * 1024;

/// Only time in which there is something to send and no room for it counts.
pub struct Patient<S> {
    stream: S,
    /// Time waited so far that nothing taken has made up for.
    waited: Duration,
    wait: Option<Wait>,
}

struct Wait {
    since: Instant,
    over: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub fn new(stream: S) -> Patient<S> {
        Patient { stream, waited: Duration::ZERO, wait: None }
    }

    /// What came of an attempt to write.
    fn after(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = written else {
            ready!(self.poll_over(context));
            let why = "the client takes what it asked for too slowly";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        };
        if let Some(wait) = self.wait.take() {
            self.waited += wait.since.elapsed();
        }
        let bytes = *written.as_ref().unwrap_or(&0);
        let allowed = Duration::from_secs_f64(bytes as f64 / f64::from(SLOWEST_BYTES_PER_S));
        self.waited = self.waited.saturating_sub(allowed);
        Poll::Ready(written)
    }

    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let left = PATIENCE.saturating_sub(self.waited);
        let wait = self.wait.get_or_insert_with(|| {
            let since = Instant::now();
            Wait { since, over: Box::pin(sleep_until(since + left)) }
        });
        wait.over.as_mut().poll(context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.after(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What becomes of 1 MB for a client that takes `bytes` a second.
    async fn sent_to(bytes: usize) -> io::Result<()> {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = Patient::new(server);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        tokio::spawn(async move {
            let mut taken = vec![0; bytes];
            loop {
                second.tick().await;
                if bytes > 0 && client.read_exact(&mut taken).await.is_err() {
                    break;
                }
            }
        });
        server.write_all(&[7; 1_000_000]).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_after_its_time() {
        let begun = Instant::now();
        assert_eq!(sent_to(0).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let waited = begun.elapsed();
        assert!(waited >= PATIENCE && waited < PATIENCE + Duration::from_secs(1), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_given_up_too_and_who_is_only_slow_is_not() {
        let begun = Instant::now();
        assert_eq!(sent_to(1_000).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
        let begun = Instant::now();
        sent_to(20_000).await.expect("slow, and above what is asked");
        assert!(begun.elapsed() > PATIENCE, "{:?}", begun.elapsed());
    }
}
