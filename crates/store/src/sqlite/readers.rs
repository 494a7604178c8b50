//! Connections that read, lent one at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::StoreError;
use crate::sql::sqlite::SqliteConnection;

/// Readers at a time. Reads are point queries or bounded pages; the writer is none of them.
const READERS: u32 = 4;

#[derive(Debug)]
pub(crate) struct Readers {
    idle: Mutex<Vec<SqliteConnection>>,
    /// As many as are idle.
    places: Arc<Semaphore>,
}

/// Goes back by itself.
#[derive(Debug)]
pub(crate) struct ReaderLoan {
    /// `None` only while it goes back.
    connection: Option<SqliteConnection>,
    readers: Arc<Readers>,
    _place: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn open(
        connect: impl Fn() -> Result<rusqlite::Connection, StoreError>,
    ) -> Result<Readers, StoreError> {
        let idle = (0..READERS).map(|_| connect().map(SqliteConnection::shared));
        let idle = Mutex::new(idle.collect::<Result<_, _>>()?);
        Ok(Readers { idle, places: Arc::new(Semaphore::new(READERS as usize)) })
    }

    /// Waits for one that is idle.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<ReaderLoan, StoreError> {
        let closed = |_| StoreError::Stopped { why: "it was closed".into() };
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        let connection = self.idle().pop();
        Ok(ReaderLoan { connection, readers: Arc::clone(self), _place: place })
    }

    /// Waits for those that read, then lends none any more.
    pub(super) async fn close(&self) {
        // An error means that they are closed already.
        let all = self.places.acquire_many(READERS).await;
        self.places.close();
        drop(all);
        for connection in std::mem::take(&mut *self.idle()) {
            if let Err(error) = connection.close() {
                tracing::warn!(%error, "a connection that reads was not closed cleanly");
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        // A panic elsewhere leaves the list whole: each change is one call.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReaderLoan {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("there is an idle connection for each place")
    }
}

impl Drop for ReaderLoan {
    fn drop(&mut self) {
        self.readers.idle().extend(self.connection.take());
    }
}
