//! The data directory: one process, one schema, a log that stays short.

use std::path::Path;

use engine::vocabulary::Serial;
use engine::writes::Write;
use store::{Store, StoreConfig, StoreError};

use crate::fixture::{Fixture, open};
use crate::nouns::{TENANT, accepted, attempt, intent, ringing, whole_call};

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_closes() {
    let fixture = Fixture::sqlite().await;
    let directory = fixture.directory();
    let second = refusal(directory).await;
    assert!(matches!(&second, StoreError::Locked { path } if path == directory), "{second}");

    let queued = fixture.store.submit(whole_call(1));
    fixture.store.close().await;
    queued.await.unwrap();
    let late = fixture.store.submit(whole_call(2)).await;
    assert!(matches!(late, Err(store::CommitError::Stopped { .. })));
    let again = open(directory).await;
    assert!(again.cdr(TENANT, Serial(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let fixture = Fixture::sqlite().await;
    let directory = fixture.directory();
    fixture.store.close().await;
    let mut file =
        std::fs::OpenOptions::new().write(true).open(directory.join("offhook.db")).unwrap();
    // The user version stands at offset 60 of the header, big-endian (SQLite file format, 1.3).
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(60)).unwrap();
    std::io::Write::write_all(&mut file, &77_u32.to_be_bytes()).unwrap();

    let refused = refusal(directory).await;
    assert!(matches!(refused, StoreError::NewerSchema { found: 77, .. }), "{refused}");
    assert!(refused.to_string().contains("newer offhook"));
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named() {
    // Nobody, not even root, creates entries here.
    let refused = refusal(Path::new("/proc/offhook")).await;
    assert!(refused.to_string().contains("/proc/offhook"), "{refused}");
    assert!(matches!(refused, StoreError::Directory { .. }));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("offhook.db"), "no database at all".repeat(100)).unwrap();
    let refused = refusal(directory.path()).await;
    assert!(matches!(refused, StoreError::Database(_)), "{refused}");
}

/// Nothing is left to move: a copy of the one file is a backup.
#[tokio::test]
async fn close_leaves_everything_in_the_database() {
    let fixture = Fixture::sqlite().await;
    let directory = fixture.directory();
    fixture.store.submit(vec![accepted(intent(1)), ringing(TENANT, 1)]).await.unwrap();
    fixture.store.close().await;
    assert!(!directory.join("offhook.db-wal").exists());
    let again = open(directory).await;
    assert!(again.intent(TENANT, Serial(1)).await.unwrap().is_some());
}

/// 160 MiB pass through the log while readers read; it must start again on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_bounded_under_load() {
    const MIB: u64 = 1 << 20;
    let fixture = Fixture::sqlite().await;
    let log = fixture.directory().join("offhook.db-wal");
    let mut longest = 0;
    for round in 0..40 {
        let batches: Vec<_> = (0..16)
            .map(|n| {
                let mut attempt = attempt(n, round);
                attempt.wire = vec![round as u8; 256 << 10];
                fixture.store.submit(vec![Write::Attempt(Box::new(attempt))])
            })
            .collect();
        for batch in batches {
            batch.await.unwrap();
        }
        fixture.store.events(TENANT, 0, 10).await.unwrap();
        longest = longest.max(std::fs::metadata(&log).unwrap().len());
    }
    assert!(fixture.store.counters().checkpoints > 0);
    assert!(longest < 64 * MIB, "the log grew to {} MiB", longest / MIB);
}

async fn refusal(directory: &Path) -> StoreError {
    let config = StoreConfig::Sqlite { directory: directory.to_owned() };
    match Store::open(config).await {
        Err(error) => error,
        Ok(_) => panic!("it was opened"),
    }
}
