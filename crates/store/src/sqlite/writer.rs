//! The one writer: takes whatever waits into one transaction, commits, answers.
//!
//! A commit that fails is never tried again: what the disk holds then is not known, and a second
//! fsync may report success for pages that the kernel has thrown away. The store stops instead.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::checkpoint::{self, Log};
use super::{Command, Stopped, group};
use crate::counters::Counters;
use crate::crash_points;
use crate::error::{ApplyError, CommitError};
use crate::events::Positions;
use crate::work::{GROUP_WEIGHT, Outcome, Reply, Work};

/// Pieces of work in a group from which on more are about to come.
const LOAD: usize = 3;
/// The least time between the starts of two commits under load.
const SPACING: Duration = Duration::from_millis(2);

pub(super) struct Writer {
    pub(super) connection: SqliteConnection,
    pub(super) positions: Positions,
    pub(super) log: Log,
    pub(super) checkpointer: JoinHandle<()>,
    pub(super) stopped: Stopped,
    pub(super) counters: Arc<Counters>,
    /// Held until the connections are closed.
    pub(super) lock: File,
}

/// What a group left behind it.
enum Next {
    Nothing,
    FinishCheckpoint(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// One per piece of work, in order.
type Outcomes = Vec<Result<Outcome, CommitError>>;

struct Item {
    work: Work,
    reply: Reply,
}

impl Writer {
    /// Until [`Command::Close`] comes or nobody is left who could ask.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut closing = None;
        let mut pace = Pace::default();
        while let Some(first) = queue.recv().await {
            pace.wait().await;
            let (items, next) = collect(first, &mut queue);
            let weight = items.iter().map(|item| item.work.weight()).sum();
            pace.notice(items.len());
            self.commit(items).await;
            self.log.notice_commit(weight);
            match next {
                Next::Nothing => {}
                Next::FinishCheckpoint(done) => self.finish_checkpoint(done).await,
                Next::Close(reply) => {
                    closing = Some(reply);
                    break;
                }
            }
        }
        let failed = self.stopped.set("it was closed".into()).is_err();
        queue.close();
        while let Ok(command) = queue.try_recv() {
            self.turn_away(command);
        }
        self.log.close();
        if self.checkpointer.await.is_err() {
            tracing::warn!("the checkpointer ended early; the next start moves the log");
        }
        if failed {
            // Closing the last connection would checkpoint, and trust an fsync that comes after a
            // failed one. Both stay as they are until the process ends, which is soon; the next
            // start reads the log.
            std::mem::forget((self.connection, self.lock));
        } else {
            if let Err(error) = self.connection.close().await {
                tracing::warn!(%error, "the database was not closed cleanly; the next start repairs it");
            }
            drop(self.lock);
        }
        if let Some(reply) = closing {
            reply.send(()).ok();
        }
    }

    /// Commits a group. Where a piece of it contradicts stored rows, that piece is refused and the
    /// others are committed, still together: a client that provokes refusals costs no fsyncs.
    async fn commit(&mut self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let committed = match self.transact_together(&items).await {
            Err(ApplyError::Conflict(_)) => self.transact_apart(&items).await,
            other => other,
        };
        match committed {
            Ok(outcomes) => self.answer(items, outcomes),
            Err(ApplyError::Broken(why) | ApplyError::Conflict(why)) => self.stop(items, why),
        }
    }

    async fn transact_together(&mut self, items: &[Item]) -> Result<Outcomes, ApplyError> {
        self.begin().await?;
        let works = items.iter().map(|item| &item.work);
        match group::apply(&mut self.connection, works, &mut self.positions).await {
            Ok(outcomes) => {
                self.end(items).await?;
                Ok(outcomes.into_iter().map(Ok).collect())
            }
            Err(ApplyError::Conflict(what)) => {
                self.positions.roll_back();
                self.execute("ROLLBACK").await.map_err(broken)?;
                Err(ApplyError::Conflict(what))
            }
            Err(ApplyError::Broken(why)) => Err(ApplyError::Broken(why)),
        }
    }

    async fn transact_apart(&mut self, items: &[Item]) -> Result<Outcomes, ApplyError> {
        self.begin().await?;
        let mut outcomes = Vec::new();
        for item in items {
            self.execute("SAVEPOINT piece").await.map_err(broken)?;
            let mark = self.positions.mark();
            let work = std::iter::once(&item.work);
            match group::apply(&mut self.connection, work, &mut self.positions).await {
                Ok(one) => outcomes.extend(one.into_iter().map(Ok)),
                Err(ApplyError::Conflict(what)) => {
                    self.positions.take_back_to(mark);
                    self.execute("ROLLBACK TO piece").await.map_err(broken)?;
                    outcomes.push(Err(CommitError::Conflict { what }));
                }
                Err(ApplyError::Broken(why)) => return Err(ApplyError::Broken(why)),
            }
            self.execute("RELEASE piece").await.map_err(broken)?;
        }
        self.end(items).await?;
        Ok(outcomes)
    }

    async fn begin(&mut self) -> Result<(), ApplyError> {
        if let Some(why) = self.stopped.get() {
            return Err(ApplyError::Broken(why.clone()));
        }
        loop {
            match self.execute("BEGIN IMMEDIATE").await {
                Ok(()) => return Ok(()),
                // Nothing was written, so that trying again is safe.
                Err(error) if is_busy(&error) => tracing::warn!(
                    "another process holds the database's write lock; nothing is stored until it \
                     lets go"
                ),
                Err(error) => return Err(broken(error)),
            }
        }
    }

    async fn end(&mut self, items: &[Item]) -> Result<(), ApplyError> {
        crash_points::before_commit(items.iter().map(|item| &item.work));
        // A constraint cannot fail here (none is deferred): any error is the disk's.
        self.execute("COMMIT").await.map_err(broken)?;
        crash_points::after_commit(items.iter().map(|item| &item.work));
        self.positions.commit();
        self.counters.count_commit();
        Ok(())
    }

    /// Cached by sqlx as a prepared statement.
    async fn execute(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(statement).execute(&mut self.connection).await?;
        Ok(())
    }

    fn answer(&self, items: Vec<Item>, outcomes: Outcomes) {
        for (item, outcome) in items.into_iter().zip(outcomes) {
            if let (Work::Submit(batch), Ok(_)) = (&item.work, &outcome) {
                self.counters.count_batch(batch);
            }
            // Whoever asked may have gone; the work is done all the same.
            item.reply.send(outcome).ok();
        }
    }

    fn stop(&self, items: Vec<Item>, why: String) {
        if self.stopped.set(why).is_ok() {
            let why = self.stopped.get().map_or("", String::as_str);
            tracing::error!(why, "a commit failed: nothing is accepted any more");
        }
        refuse(items, &self.stop_error());
    }

    fn turn_away(&self, command: Command) {
        match command {
            Command::Work { work, reply } => refuse(vec![Item { work, reply }], &self.stop_error()),
            Command::FinishCheckpoint { done: reply } | Command::Close { reply } => {
                reply.send(()).ok();
            }
        }
    }

    fn stop_error(&self) -> CommitError {
        let why = self.stopped.get().cloned().unwrap_or_else(|| "its writer is gone".into());
        CommitError::Stopped { why }
    }

    async fn finish_checkpoint(&mut self, done: oneshot::Sender<()>) {
        if self.stopped.get().is_some() {
            return;
        }
        if let Err(error) = checkpoint::passive(&mut self.connection).await {
            self.stop(Vec::new(), error.to_string());
        }
        done.send(()).ok();
    }
}

/// Spaces commits under load: a commit costs the same for one batch and for a hundred.
///
/// A batch that comes alone never waits.
#[derive(Default)]
struct Pace {
    next_start: Option<Instant>,
}

impl Pace {
    async fn wait(&mut self) {
        if let Some(start) = self.next_start.take() {
            sleep_until(start).await;
        }
    }

    /// A group is about to be committed.
    fn notice(&mut self, pieces: usize) {
        self.next_start = (pieces >= LOAD).then(|| Instant::now() + SPACING);
    }
}

/// The first command and whatever waits behind it, up to the limit of a group.
fn collect(first: Command, queue: &mut mpsc::Receiver<Command>) -> (Vec<Item>, Next) {
    let mut items = Vec::new();
    let mut weight = 0;
    let mut command = Some(first);
    while let Some(taken) = command.take() {
        match taken {
            Command::Work { work, reply } => {
                weight += work.weight();
                items.push(Item { work, reply });
            }
            Command::FinishCheckpoint { done } => return (items, Next::FinishCheckpoint(done)),
            Command::Close { reply } => return (items, Next::Close(reply)),
        }
        if weight < GROUP_WEIGHT {
            command = queue.try_recv().ok();
        }
    }
    (items, Next::Nothing)
}

fn refuse(items: Vec<Item>, error: &CommitError) {
    for item in items {
        item.reply.send(Err(error.clone())).ok();
    }
}

/// SQLITE_BUSY, in its plain form and its extended ones (the low byte is the code).
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

fn broken(error: sqlx::Error) -> ApplyError {
    ApplyError::Broken(error.to_string())
}
