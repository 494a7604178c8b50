//! The one writer: takes whatever waits into one transaction, commits, answers.
//!
//! A commit that fails is never tried again: what the disk holds then is not known, and a second
//! fsync may report success for pages that the kernel has thrown away. The store stops instead.

use std::fs::File;
use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::{self, Log};
use super::{Command, Stopped, group};
use crate::counters::Counters;
use crate::error::{ApplyError, CommitError};
use crate::events::Positions;
use crate::work::{GROUP_ROWS, Outcome, Reply, Work};

pub(super) struct Writer {
    connection: SqliteConnection,
    positions: Positions,
    log: Log,
    stopped: Stopped,
    counters: Arc<Counters>,
    /// Held until the connection is closed.
    lock: File,
}

/// What a group left behind it.
enum Next {
    Nothing,
    FinishCheckpoint,
    Close(oneshot::Sender<()>),
}

struct Item {
    work: Work,
    reply: Reply,
}

impl Writer {
    pub(super) fn new(
        connection: SqliteConnection,
        positions: Positions,
        log: Log,
        stopped: Stopped,
        counters: Arc<Counters>,
        lock: File,
    ) -> Self {
        Writer { connection, positions, log, stopped, counters, lock }
    }

    pub(super) fn start(self, queue: mpsc::Receiver<Command>) {
        tokio::spawn(self.run(queue));
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut closing = None;
        while let Some(first) = queue.recv().await {
            let (items, next) = collect(first, &mut queue);
            let rows = items.iter().map(|item| item.work.rows()).sum();
            self.commit(items).await;
            self.log.notice_commit(rows);
            match next {
                Next::Nothing => {}
                Next::FinishCheckpoint => self.finish_checkpoint().await,
                Next::Close(reply) => {
                    self.stopped.set("it was closed".into()).ok();
                    closing = Some(reply);
                    break;
                }
            }
        }
        queue.close();
        while let Ok(command) = queue.try_recv() {
            self.turn_away(command);
        }
        self.log.close();
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the database was not closed cleanly; the next start repairs it");
        }
        drop(self.lock);
        if let Some(reply) = closing {
            reply.send(()).ok();
        }
    }

    /// Commits a group, or each piece alone where one of them contradicts stored rows.
    async fn commit(&mut self, items: Vec<Item>) {
        match self.transact(&items).await {
            Ok(outcomes) => self.answer(items, outcomes),
            Err(ApplyError::Broken(why)) => self.stop(items, why),
            Err(ApplyError::Conflict(what)) if items.len() == 1 => {
                refuse(items, &CommitError::Conflict { what });
            }
            Err(ApplyError::Conflict(_)) => {
                for item in items {
                    let alone = vec![item];
                    match self.transact(&alone).await {
                        Ok(outcomes) => self.answer(alone, outcomes),
                        Err(ApplyError::Broken(why)) => self.stop(alone, why),
                        Err(ApplyError::Conflict(what)) => {
                            refuse(alone, &CommitError::Conflict { what });
                        }
                    }
                }
            }
        }
    }

    async fn transact(&mut self, items: &[Item]) -> Result<Vec<Outcome>, ApplyError> {
        if let Some(why) = self.stopped.get() {
            return Err(ApplyError::Broken(why.clone()));
        }
        if items.is_empty() {
            return Ok(Vec::new());
        }
        self.execute("BEGIN IMMEDIATE").await?;
        let works = items.iter().map(|item| &item.work);
        let applied =
            group::apply(&mut self.connection, works, &mut self.positions, &self.counters).await;
        match applied {
            Ok(outcomes) => {
                // A constraint cannot fail here (none is deferred): any error is the disk's.
                self.execute("COMMIT").await.map_err(broken)?;
                self.positions.commit();
                self.counters.count_commit();
                Ok(outcomes)
            }
            Err(ApplyError::Conflict(what)) => {
                self.positions.roll_back();
                self.execute("ROLLBACK").await.map_err(broken)?;
                Err(ApplyError::Conflict(what))
            }
            Err(ApplyError::Broken(why)) => Err(ApplyError::Broken(why)),
        }
    }

    /// Cached by sqlx as a prepared statement.
    async fn execute(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(statement).execute(&mut self.connection).await?;
        Ok(())
    }

    fn answer(&self, items: Vec<Item>, outcomes: Vec<Outcome>) {
        for (item, outcome) in items.into_iter().zip(outcomes) {
            if let Work::Submit(batch) = &item.work {
                self.counters.count_batch(batch.writes.len());
            }
            // Whoever asked may have gone; the work is done all the same.
            item.reply.send(Ok(outcome)).ok();
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
            Command::FinishCheckpoint => {}
            Command::Close { reply } => {
                reply.send(()).ok();
            }
        }
    }

    fn stop_error(&self) -> CommitError {
        let why = self.stopped.get().cloned().unwrap_or_else(|| "its writer is gone".into());
        CommitError::Stopped { why }
    }

    async fn finish_checkpoint(&mut self) {
        if self.stopped.get().is_some() {
            return;
        }
        if let Err(error) = checkpoint::passive(&mut self.connection).await {
            self.stop(Vec::new(), error.to_string());
        }
    }
}

/// The first command and whatever waits behind it, up to the limit of a group.
fn collect(first: Command, queue: &mut mpsc::Receiver<Command>) -> (Vec<Item>, Next) {
    let mut items = Vec::new();
    let mut rows = 0;
    let mut command = Some(first);
    while let Some(taken) = command.take() {
        match taken {
            Command::Work { work, reply } => {
                rows += work.rows();
                items.push(Item { work, reply });
            }
            Command::FinishCheckpoint => return (items, Next::FinishCheckpoint),
            Command::Close { reply } => return (items, Next::Close(reply)),
        }
        if rows < GROUP_ROWS {
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

fn broken(error: sqlx::Error) -> ApplyError {
    ApplyError::Broken(error.to_string())
}
