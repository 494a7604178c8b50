//! What a start finds.

use engine::route::Route;
use engine::vocabulary::{Serial, TenantId};
use engine::writes::Unfinished;

use crate::error::StoreError;
use crate::sql::Statement;
use crate::work::Edit;
use crate::{Reader, Scope, Store, attempts};

/// The calls that were not over when the last process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Those whose INVITE may be out, by serial: to be resolved, never dialled again silently.
    pub unfinished_started: Vec<Unfinished>,
    /// How many wait, by tenant and route; claimed as usual.
    pub waiting: Vec<(TenantId, Route, u32)>,
    /// When the first wait is over, ms since 1970.
    pub next_queue_deadline_ms: Option<i64>,
    /// The highest serial that was given to a call whose row is still there.
    pub highest_serial: Option<Serial>,
}

impl Store {
    /// To be called once, after opening and before anything is claimed: puts the calls that were
    /// claimed and never dialled back into the queue and says what is there.
    pub async fn recover(&self) -> Result<Recovery, StoreError> {
        self.edit(Edit::ReturnUndialled).await?;
        Ok(Recovery {
            unfinished_started: self.unfinished_started().await?,
            waiting: self.waiting().await?,
            next_queue_deadline_ms: self.next_queue_deadline_ms().await?,
            highest_serial: self.highest_serial().await?,
        })
    }

    async fn unfinished_started(&self) -> Result<Vec<Unfinished>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => attempts::unfinished(&mut loan.connection()).await,
            Reader::Memory(memory) => {
                Ok(memory.read(|tables| tables.attempts.unfinished(&tables.intents)))
            }
        }
    }

    async fn highest_serial(&self) -> Result<Option<Serial>, StoreError> {
        match self.reader(Scope::All).await? {
            Reader::Database(mut loan) => {
                let highest = Statement::new(
                    "SELECT max(serial) AS value FROM (SELECT max(serial) AS serial FROM intents
                     UNION ALL SELECT max(serial) FROM cdrs) AS highest",
                );
                let highest = highest.fetch_integer(&mut loan.connection()).await?;
                Ok(highest.map(|serial| Serial(serial as u64)))
            }
            Reader::Memory(memory) => Ok(memory.read(|tables| {
                let intent = tables.intents.rows.last_key_value().map(|(serial, _)| *serial);
                let cdr = tables.cdrs.rows.last_key_value().map(|(serial, _)| *serial);
                intent.max(cdr)
            })),
        }
    }
}
