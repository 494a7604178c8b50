//! The one writer of a database: its queue, and what it needs of the database below it.

mod group;
mod pace;
mod run;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, Submitted};
use crate::callbacks::Known;
use crate::counters::Counters;
use crate::error::{ApplyError, CommitError, StoreError};
use crate::events::Positions;
use crate::sql::Connection;
use crate::work::{Outcome, QUEUE_LIMIT, QUEUE_RESERVE, Reply, Work};

/// Why nothing is accepted any more, once that is so.
pub(crate) type Stopped = Arc<OnceLock<String>>;

#[derive(Debug)]
pub(crate) enum Command {
    Work {
        work: Work,
        reply: Reply,
    },
    /// Between two groups: see [`Disk::tidy`].
    Tidy {
        done: oneshot::Sender<()>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// What became of a transaction whose end was not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed,
    NotCommitted,
}

/// The connection of the writer.
pub(crate) trait Disk: Send + 'static {
    /// How long a transaction may be without its end, where the database may fall silent.
    const PATIENCE: Option<Duration>;

    fn connection(&mut self) -> Connection<'_>;

    fn begin(&mut self) -> impl Future<Output = Result<(), ApplyError>> + Send;

    /// Nothing of ours can fail here (no constraint is deferred): an error is the database's.
    fn commit(&mut self) -> impl Future<Output = Result<(), ApplyError>> + Send;

    /// After a transaction that broke for `why`, the first time at `since`: what became of it. From
    /// then on there is a connection again.
    ///
    /// # Errors
    /// It cannot be known, or not in time: the store has to stop.
    fn resolve(
        &mut self,
        why: String,
        since: Instant,
    ) -> impl Future<Output = Result<Fate, String>> + Send;

    /// A group of this weight was committed.
    fn notice_commit(&mut self, weight: usize);

    /// What only the writer's connection can do, for [`Command::Tidy`].
    fn tidy(&mut self) -> impl Future<Output = Result<(), String>> + Send;

    /// `failed`: a commit did, and what is on disk is not to be touched again.
    fn close(self, failed: bool) -> impl Future<Output = ()> + Send;
}

/// How work reaches the writer, and what it says of itself.
#[derive(Debug)]
pub(crate) struct Writer {
    commands: mpsc::Sender<Command>,
    said: Said,
}

/// The end of the queue that the writer itself has.
pub(crate) struct Inbox {
    queue: mpsc::Receiver<Command>,
    said: Said,
}

/// What the writer says of itself while it works.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    stopped: Stopped,
    counters: Arc<Counters>,
    /// The callbacks that it committed.
    known: Arc<Mutex<Known>>,
}

impl Writer {
    pub(crate) fn channel() -> (Writer, Inbox) {
        let (commands, queue) = mpsc::channel(QUEUE_LIMIT);
        let said = Said::default();
        (Writer { commands, said: said.clone() }, Inbox { queue, said })
    }

    pub(crate) fn commands(&self) -> mpsc::WeakSender<Command> {
        self.commands.downgrade()
    }

    pub(crate) fn stopped(&self) -> &Stopped {
        &self.said.stopped
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.said.counters
    }

    /// Callbacks that need not be read.
    pub(crate) fn known(&self) -> &Mutex<Known> {
        &self.said.known
    }

    pub(crate) fn submit(&self, batch: Batch) -> Submitted {
        if batch.accepts() && self.commands.capacity() < QUEUE_RESERVE {
            self.said.counters.count_refused();
            return Submitted::refused(CommitError::Busy);
        }
        let (reply, answer) = oneshot::channel();
        match self.enqueue(Command::Work { work: Work::Submit(batch), reply }) {
            Ok(()) => Submitted::new(answer, None),
            Err(error) => Submitted::refused(error),
        }
    }

    /// Hands work over and waits for its commit.
    pub(crate) async fn perform(&self, work: Work) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Command::Work { work, reply })?;
        match answer.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(StoreError::Stopped { why: "its writer is gone".into() }),
        }
    }

    /// Writes what is queued, then lets go of the database.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.commands.send(Command::Close { reply }).await.is_ok() {
            // An error means that the writer went away by itself, which is closed as well.
            closed.await.ok();
        }
    }

    fn enqueue(&self, command: Command) -> Result<(), CommitError> {
        if let Some(why) = self.said.stopped.get() {
            return Err(CommitError::Stopped { why: why.clone() });
        }
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.said.counters.count_refused();
                CommitError::Busy
            }
            mpsc::error::TrySendError::Closed(_) => CommitError::Stopped {
                why: self
                    .said
                    .stopped
                    .get()
                    .cloned()
                    .unwrap_or_else(|| "its writer is gone".into()),
            },
        })
    }
}

impl Inbox {
    /// Starts the writer on a database whose event logs end at `positions`.
    pub(crate) fn serve(self, disk: impl Disk, positions: Positions) {
        tokio::spawn(run::Run::new(disk, positions, self.said).serve(self.queue));
    }

    /// The same on a thread that is its own, where statements may block.
    pub(crate) fn serve_on_a_thread(
        self,
        disk: impl Disk,
        positions: Positions,
    ) -> Result<(), StoreError> {
        let start = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            let run = run::Run::new(disk, positions, self.said);
            let serve = move || runtime.block_on(run.serve(self.queue));
            std::thread::Builder::new().name("store-writer".into()).spawn(serve)
        };
        // It ends with the queue; nobody joins it.
        start().map(drop).map_err(|source| StoreError::Thread { source })
    }
}
