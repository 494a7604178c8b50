//! A store to test, and the crash of its process.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use store::{Store, StoreConfig};
use tempfile::TempDir;

use crate::cluster::Cluster;

/// Longer than anything here takes: a test that reaches it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Fixture {
    pub store: Store,
    pub place: Place,
}

/// Where the rows of a store are.
pub enum Place {
    Directory(TempDir),
    /// The name of a database of [`cluster`].
    Database(String),
    Nowhere,
}

impl Fixture {
    pub async fn sqlite() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        Fixture { store, place: Place::Directory(directory) }
    }

    pub async fn postgres() -> Fixture {
        let database = tokio::task::block_in_place(|| cluster().database());
        let store = open_url(&cluster().url(&database)).await;
        Fixture { store, place: Place::Database(database) }
    }

    pub fn memory() -> Fixture {
        Fixture { store: Store::memory(), place: Place::Nowhere }
    }

    /// The data directory of a SQLite store.
    pub fn directory(&self) -> &Path {
        match &self.place {
            Place::Directory(directory) => directory.path(),
            Place::Database(_) | Place::Nowhere => panic!("only SQLite has a directory"),
        }
    }

    /// What a new process finds after this one was killed.
    pub async fn crash(self) -> Fixture {
        match self.place {
            Place::Nowhere => {
                let Store::Memory(memory) = &self.store else { unreachable!() };
                Fixture { store: memory.crash(), place: Place::Nowhere }
            }
            Place::Directory(directory) => {
                let copy = tempfile::tempdir().unwrap();
                // The log first: a checkpoint in between then only makes the database newer.
                for file in ["offhook.db-wal", "offhook.db"] {
                    let from = directory.path().join(file);
                    std::fs::copy(from, copy.path().join(file)).unwrap();
                }
                Fixture { store: open(copy.path()).await, place: Place::Directory(copy) }
            }
            Place::Database(database) => {
                // A copy is refused while sessions are in it. Ending them is what a kill does to
                // them; the old store, whose process lives on, connects to the old name again.
                let copy = format!("{database}_after");
                let end = format!(
                    "ALTER DATABASE {database} ALLOW_CONNECTIONS false;
                     SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                     WHERE datname = '{database}'"
                );
                tokio::task::block_in_place(|| {
                    cluster().sql("postgres", &end);
                    let copied =
                        format!("CREATE DATABASE {copy} OWNER offhook TEMPLATE {database}");
                    cluster().sql("postgres", &copied);
                });
                let store = open_url(&cluster().url(&copy)).await;
                Fixture { store, place: Place::Database(copy) }
            }
        }
    }
}

/// One server for all tests of this process.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

pub async fn open(directory: &Path) -> Store {
    Store::open(StoreConfig::Sqlite { directory: directory.to_owned() }).await.unwrap()
}

pub async fn open_url(url: &str) -> Store {
    Store::open(StoreConfig::postgres(url.parse().unwrap())).await.unwrap()
}

/// Makes a test of each function for each kind of store.
macro_rules! on_every_store {
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
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = crate::fixture::Fixture::postgres().await;
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
pub(crate) use on_every_store;
