//! A store to test, and the crash of its process.

use std::path::Path;
use std::time::Duration;

use store::{Store, StoreConfig};
use tempfile::TempDir;

/// Longer than anything here takes: a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Fixture {
    pub store: Store,
    pub directory: Option<TempDir>,
}

impl Fixture {
    pub async fn sqlite() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        Fixture { store, directory: Some(directory) }
    }

    pub fn memory() -> Fixture {
        Fixture { store: Store::memory(), directory: None }
    }

    /// What a new process finds after this one was killed.
    pub async fn crash(self) -> Fixture {
        match (&self.store, &self.directory) {
            (Store::Memory(memory), _) => Fixture { store: memory.crash(), directory: None },
            (Store::Sqlite(_), Some(directory)) => {
                let copy = tempfile::tempdir().unwrap();
                // The log first: a checkpoint in between then only makes the database newer.
                for file in ["offhook.db-wal", "offhook.db"] {
                    let from = directory.path().join(file);
                    std::fs::copy(from, copy.path().join(file)).unwrap();
                }
                Fixture { store: open(copy.path()).await, directory: Some(copy) }
            }
            (Store::Sqlite(_), None) => unreachable!("a database has a directory"),
        }
    }
}

pub async fn open(directory: &Path) -> Store {
    Store::open(StoreConfig::Sqlite { directory: directory.to_owned() }).await.unwrap()
}

/// Makes a test of each function for each backend.
macro_rules! on_both_backends {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = crate::fixture::Fixture::sqlite().await;
                tokio::time::timeout(crate::fixture::PATIENCE, super::$name(fixture))
                    .await
                    .expect("it takes too long");
            })+
        }
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::fixture::Fixture::memory()).await;
            })+
        }
    };
}
pub(crate) use on_both_backends;
