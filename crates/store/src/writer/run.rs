//! The writer at work: takes whatever waits into one transaction, commits, answers.
//!
//! What a transaction's end was is always known before anything is answered: where the database
//! cannot say (a failed fsync; see [`Disk::resolve`]), the store stops.

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::pace::Pace;
use super::{Command, Disk, Fate, Said, group};
use crate::callbacks::known;
use crate::crash_points;
use crate::error::{ApplyError, CommitError};
use crate::events::Positions;
use crate::sql::Statement;
use crate::work::{GROUP_WEIGHT, Outcome, Reply, Work};

pub(super) struct Run<D> {
    disk: D,
    positions: Positions,
    said: Said,
}

/// What a group left behind it.
enum Next {
    Nothing,
    Tidy(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// One per piece of work, in order.
type Outcomes = Vec<Result<Outcome, CommitError>>;

struct Item {
    work: Work,
    reply: Reply,
}

impl<D: Disk> Run<D> {
    pub(super) fn new(disk: D, positions: Positions, said: Said) -> Self {
        Run { disk, positions, said }
    }

    /// Until [`Command::Close`] comes or nobody is left who could ask.
    pub(super) async fn serve(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut closing = None;
        let mut pace = Pace::default();
        let mut next_start = None;
        while let Some(first) = queue.recv().await {
            if let Some(start) = next_start {
                sleep_until(start).await;
            }
            let (items, next) = collect(first, &mut queue);
            let weight = items.iter().map(|item| item.work.weight()).sum();
            next_start = pace.next_start(items.len(), Instant::now());
            self.commit(items).await;
            self.disk.notice_commit(weight);
            match next {
                Next::Nothing => {}
                Next::Tidy(done) => self.tidy(done).await,
                Next::Close(reply) => {
                    closing = Some(reply);
                    break;
                }
            }
        }
        let failed = self.said.stopped.set("it was closed".into()).is_err();
        queue.close();
        while let Ok(command) = queue.try_recv() {
            self.turn_away(command);
        }
        self.disk.close(failed).await;
        if let Some(reply) = closing {
            reply.send(()).ok();
        }
    }

    /// Commits a group, again where the database says that it did not.
    async fn commit(&mut self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let since = std::time::Instant::now();
        loop {
            if let Some(why) = self.said.stopped.get() {
                return self.stop(items, why.clone());
            }
            // Empty until only the COMMIT is left to do.
            let mut outcomes = Outcomes::new();
            let broken = match self.transact_in_time(&items, &mut outcomes).await {
                Ok(()) => return self.answer(items, outcomes),
                Err(ApplyError::Broken(why) | ApplyError::Conflict(why)) => why,
            };
            match self.disk.resolve(broken, since).await {
                Ok(Fate::Committed) => {
                    self.committed();
                    return self.answer(items, outcomes);
                }
                Ok(Fate::NotCommitted) => self.positions.roll_back(),
                Err(why) => return self.stop(items, why),
            }
        }
    }

    async fn transact_in_time(
        &mut self,
        items: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), ApplyError> {
        let Some(patience) = D::PATIENCE else { return self.transact(items, outcomes).await };
        match timeout(patience, self.transact(items, outcomes)).await {
            Ok(ended) => ended,
            Err(_) => Err(ApplyError::Broken(format!("no answer within {} s", patience.as_secs()))),
        }
    }

    /// Where a piece of the group contradicts stored rows, that piece is refused and the others are
    /// committed, still together: a client that provokes refusals costs no fsyncs.
    async fn transact(
        &mut self,
        items: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), ApplyError> {
        match self.apply_together(items).await {
            Ok(together) => *outcomes = together.into_iter().map(Ok).collect(),
            Err(ApplyError::Conflict(_)) => *outcomes = self.apply_apart(items).await?,
            Err(ApplyError::Broken(why)) => return Err(ApplyError::Broken(why)),
        }
        crash_points::before_commit(items.iter().map(|item| &item.work));
        self.disk.commit().await?;
        crash_points::after_commit(items.iter().map(|item| &item.work));
        self.committed();
        Ok(())
    }

    async fn apply_together(&mut self, items: &[Item]) -> Result<Vec<Outcome>, ApplyError> {
        self.disk.begin().await?;
        let works = items.iter().map(|item| &item.work);
        let applied = group::apply(&mut self.disk.connection(), works, &mut self.positions).await;
        if let Err(ApplyError::Conflict(_)) = &applied {
            self.positions.roll_back();
            self.execute("ROLLBACK").await?;
        }
        applied
    }

    async fn apply_apart(&mut self, items: &[Item]) -> Result<Outcomes, ApplyError> {
        self.disk.begin().await?;
        let mut outcomes = Vec::new();
        for item in items {
            self.execute("SAVEPOINT piece").await?;
            let mark = self.positions.mark();
            let work = std::iter::once(&item.work);
            match group::apply(&mut self.disk.connection(), work, &mut self.positions).await {
                Ok(one) => outcomes.extend(one.into_iter().map(Ok)),
                Err(ApplyError::Conflict(what)) => {
                    self.positions.take_back_to(mark);
                    self.execute("ROLLBACK TO piece").await?;
                    outcomes.push(Err(CommitError::Conflict { what }));
                }
                Err(ApplyError::Broken(why)) => return Err(ApplyError::Broken(why)),
            }
            self.execute("RELEASE piece").await?;
        }
        Ok(outcomes)
    }

    fn committed(&mut self) {
        self.positions.commit();
        self.said.counters.count_commit();
    }

    /// For statements in which nothing can be contradicted.
    async fn execute(&mut self, statement: &'static str) -> Result<(), ApplyError> {
        let done = Statement::new(statement).execute(&mut self.disk.connection()).await;
        done.map(drop).map_err(ApplyError::broken)
    }

    fn answer(&self, items: Vec<Item>, outcomes: Outcomes) {
        for (item, outcome) in items.into_iter().zip(outcomes) {
            if let (Work::Submit(batch), Ok(Outcome::Committed(done))) = (item.work, &outcome) {
                self.said.counters.count_batch(&batch);
                known::lock(&self.said.known).committed(batch.writes, &done.positions);
            }
            // Whoever asked may have gone; the work is done all the same.
            item.reply.send(outcome).ok();
        }
    }

    fn stop(&self, items: Vec<Item>, why: String) {
        if self.said.stopped.set(why).is_ok() {
            let why = self.said.stopped.get().map_or("", String::as_str);
            tracing::error!(why, "a commit failed: nothing is accepted any more");
        }
        refuse(items, &self.stop_error());
    }

    fn turn_away(&self, command: Command) {
        match command {
            Command::Work { work, reply } => refuse(vec![Item { work, reply }], &self.stop_error()),
            Command::Tidy { done: reply } | Command::Close { reply } => {
                reply.send(()).ok();
            }
        }
    }

    fn stop_error(&self) -> CommitError {
        let why = self.said.stopped.get().cloned().unwrap_or_else(|| "its writer is gone".into());
        CommitError::Stopped { why }
    }

    async fn tidy(&mut self, done: oneshot::Sender<()>) {
        if self.said.stopped.get().is_some() {
            return;
        }
        if let Err(why) = self.disk.tidy().await {
            self.stop(Vec::new(), why);
        }
        done.send(()).ok();
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
            Command::Tidy { done } => return (items, Next::Tidy(done)),
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
