//! Encoding clips away from the media threads: a minute of Opus takes longer than a tick.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use crate::clip::Clip;
use crate::codec::Codec;
use crate::command::LegId;
use crate::inbox::Inbox;

/// Plays that may wait for their encoding at a time.
const WAITING: usize = 4096;

/// Clips to be encoded for a leg. `turn` tells its plays apart.
pub(crate) struct Request {
    pub leg: LegId,
    pub turn: u64,
    pub codec: Codec,
    pub clips: Arc<[Clip]>,
    pub reply_to: Weak<Inbox>,
}

/// A [`Request`] that is done.
pub(crate) struct Prepared {
    pub leg: LegId,
    pub turn: u64,
}

/// A handle to the one encoding thread; it ends when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Preparer {
    requests: SyncSender<Request>,
}

impl Preparer {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (requests, queue) = sync_channel(WAITING);
        thread::Builder::new().name("media-encode".into()).spawn(move || encode(&queue))?;
        Ok(Preparer { requests })
    }

    /// False where too many wait.
    pub(crate) fn request(&self, request: Request) -> bool {
        match self.requests.try_send(request) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

fn encode(queue: &Receiver<Request>) {
    while let Ok(request) = queue.recv() {
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            for clip in request.clips.iter() {
                clip.prepare(request.codec);
            }
        }));
        if encoded.is_err() {
            // The leg finds its clip unprepared and ends the play.
            tracing::error!("an encoder panicked on a clip");
        }
        if let Some(inbox) = request.reply_to.upgrade() {
            inbox.prepared(Prepared { leg: request.leg, turn: request.turn });
        }
    }
}
