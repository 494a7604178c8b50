//! A disk that fails (T-4): nothing is accepted any more, nothing is half written.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use engine::vocabulary::{Serial, TenantId};
use engine::writes::Write;
use store::{Claim, CommitError, Store, StoreError};

use crate::fixture::{Fixture, on_every_store, open};
use crate::nouns::{TENANT, accepted, intent, ringing, started, whole_call};

on_every_store!(a_full_queue_refuses_new_calls_first);

const CHILD: &str = "OFFHOOK_STORE_FULL_DISK";

/// A process whose files may not grow (RLIMIT_FSIZE, its signal ignored) sees EFBIG from the
/// write, as it would see ENOSPC or EIO from a disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_fails_stops_the_store() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return write_until_it_fails(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 2048; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "failure::a_commit_that_fails_stops_the_store", "--nocapture"])
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    let committed = said.split("committed=").nth(1).expect("the child says how far it came");
    let committed: u64 = committed.split_whitespace().next().unwrap().parse().unwrap();
    assert!(committed > 10, "{said}");

    let store = open(directory.path()).await;
    let waiting = store.waiting().await.unwrap();
    assert_eq!(u64::from(waiting[0].2), committed, "what was confirmed, and nothing else");
    let events = store.events(TENANT, 0, u32::MAX).await.unwrap();
    assert_eq!(events.len() as u64, committed * 2);
    let next = store.submit(vec![ringing(TENANT, 1)]).await.unwrap();
    assert_eq!(next.positions[0].position, committed * 2 + 1);
}

async fn write_until_it_fails(directory: &Path) {
    let store = open(directory).await;
    let mut committed = 0;
    let failed = loop {
        let serial = committed + 1;
        let batch =
            vec![accepted(intent(serial)), ringing(TENANT, serial), ringing(TENANT, serial)];
        match store.submit(batch).await {
            Ok(_) => committed += 1,
            Err(error) => break error,
        }
    };
    let CommitError::Stopped { why } = failed else { panic!("{failed}") };
    assert!(!why.is_empty());
    let later = store.submit(whole_call(1_000_000)).await;
    assert_eq!(later, Err(CommitError::Stopped { why: why.clone() }));
    let claim = store.claim(Claim::One { tenant: TENANT, serial: Serial(1) }).await;
    assert!(matches!(claim, Err(StoreError::Stopped { .. })));
    let put = store.put_meta("a", vec![]).await;
    assert!(matches!(put, Err(StoreError::Stopped { .. })));
    assert!(
        store.intent(TENANT, Serial(1)).await.unwrap().is_some(),
        "calls that are up may still read"
    );
    println!("committed={committed} ");
}

const VICTIM: &str = "OFFHOOK_STORE_KILLED";

/// P1 for a process that is killed while it writes: what it confirmed is there, whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_that_it_confirmed() {
    if let Some(directory) = std::env::var_os(VICTIM) {
        return write_until_killed(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "failure::a_killed_process_loses_nothing_that_it_confirmed"])
        .arg("--nocapture")
        .env(VICTIM, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let confirmed = lines.filter_map(|line| line.unwrap().strip_prefix("confirmed ")?.parse().ok());
    let confirmed: Vec<u64> = confirmed.take(300).collect();
    victim.kill().unwrap();
    victim.wait().unwrap();

    let store = open(directory.path()).await;
    for serial in &confirmed {
        assert_eq!(
            store.cdr(TENANT, Serial(*serial)).await.unwrap().map(|cdr| cdr.intent.serial.0),
            Some(*serial)
        );
        assert_eq!(store.callbacks_of(TENANT, Serial(*serial)).await.unwrap().len(), 1);
    }
    assert_eq!(confirmed.len(), 300);
    let events = store.events(TENANT, 0, u32::MAX).await.unwrap();
    let positions: Vec<u64> = events.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (1..=positions.len() as u64).collect::<Vec<_>>());
    assert!(positions.len() >= 300);
}

async fn write_until_killed(directory: &Path) {
    let store = open(directory).await;
    for first in (1..).step_by(8) {
        let batches: Vec<_> =
            (first..first + 8).map(|serial| (serial, store.submit(whole_call(serial)))).collect();
        for (serial, batch) in batches {
            batch.await.unwrap();
            println!("confirmed {serial}");
        }
    }
}

#[tokio::test]
async fn a_failing_memory_does_the_same() {
    let store = Store::memory();
    let Store::Memory(memory) = &store else { unreachable!() };
    store.submit(vec![accepted(intent(1))]).await.unwrap();
    let waiting = store.submit(vec![accepted(intent(2))]);
    memory.fail("disk full");
    let stopped = Err(CommitError::Stopped { why: "disk full".into() });
    assert_eq!(waiting.await, stopped);
    assert_eq!(store.submit(vec![accepted(intent(3))]).await, stopped);
    assert!(matches!(store.put_meta("a", vec![]).await, Err(StoreError::Stopped { .. })));
    assert!(store.intent(TENANT, Serial(1)).await.unwrap().is_some());
    assert_eq!(store.intent(TENANT, Serial(2)).await.unwrap(), None);
}

/// T-3: a crash loses what was not committed, in memory without any disk.
#[tokio::test]
async fn a_crash_of_the_memory_loses_what_waits() {
    let store = Store::memory();
    let Store::Memory(memory) = &store else { unreachable!() };
    store.submit(vec![accepted(intent(1)), ringing(TENANT, 1)]).await.unwrap();
    let lost = store.submit(vec![accepted(intent(2)), ringing(TENANT, 2)]);
    let next_life = memory.crash();
    assert!(matches!(lost.await, Err(CommitError::Stopped { .. })));
    assert!(next_life.intent(TENANT, Serial(1)).await.unwrap().is_some());
    assert_eq!(next_life.intent(TENANT, Serial(2)).await.unwrap(), None);
    let committed = next_life.submit(vec![ringing(TENANT, 3)]).await.unwrap();
    assert_eq!(committed.positions[0].position, 2, "no gap and no position given twice");
}

async fn a_full_queue_refuses_new_calls_first(fixture: Fixture) {
    let store = &fixture.store;
    // The test's runtime runs other threads, so a queue of a database drains meanwhile: enough is
    // submitted in one go that it cannot keep up.
    let mut batches = Vec::new();
    let mut refused = 0;
    for serial in 0..60_000 {
        let batch = store.submit(vec![started(intent(serial))]);
        batches.push(batch);
        if store.counters().refused > 0 {
            refused = serial;
            break;
        }
    }
    assert!(refused > 0, "the queue has no end");
    let last = batches.pop().unwrap().await;
    assert_eq!(last, Err(CommitError::Busy));
    // There is room for calls that are up.
    let event = Write::Event {
        event: crate::nouns::event(
            TenantId(1),
            1,
            engine::events::EventKind::Answered {
                leg: engine::vocabulary::LegId(1),
                side: engine::vocabulary::Side::Called,
            },
        ),
        callback: None,
    };
    store.submit(vec![event]).await.unwrap();
    for batch in batches {
        batch.await.unwrap();
    }
    assert_eq!(store.intent(TENANT, Serial(refused)).await.unwrap(), None, "refused means no row");
}
