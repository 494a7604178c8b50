//! T-5: a primary that dies under load, and its synchronous standby in its place.

use std::time::Duration;

use engine::vocabulary::Serial;
use store::{CommitError, Store, StoreConfig, StoreError};
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::fixture::{PATIENCE, open_url};
use crate::nouns::{TENANT, ringing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_takes_the_place_of_a_dead_primary_has_all_that_was_confirmed() {
    let (primary, standby) = block_in_place(|| {
        let primary = Cluster::start();
        let standby = primary.standby();
        (primary, standby)
    });
    let database = block_in_place(|| primary.database());
    // Whichever stands first: the one that can be written is taken.
    let store = open_url(&standby.url_or(&primary, &database)).await;
    let first = (1..=200).map(|serial| (serial, store.submit(vec![ringing(TENANT, serial)])));
    let mut waiting: Vec<_> = first.collect();
    let (_, earliest) = waiting.remove(0);
    timeout(PATIENCE, earliest).await.unwrap().unwrap();
    block_in_place(|| primary.kill());
    waiting.extend((201..=300).map(|n| (n, store.submit(vec![ringing(TENANT, n)]))));
    block_in_place(|| standby.promote());

    let mut told = vec![(1, 1)];
    for (serial, batch) in waiting {
        let committed = timeout(PATIENCE, batch).await.unwrap().unwrap();
        told.push((serial, committed.positions[0].position));
    }
    let log = timeout(PATIENCE, events_of(&store)).await.expect("readers follow");
    assert_eq!(log, told);
    assert_eq!(told.last().map(|(_, position)| *position), Some(300), "each once, without a gap");
}

/// A reader's connection to the server that is gone is noticed when it is used.
async fn events_of(store: &Store) -> Vec<(u64, u64)> {
    loop {
        if let Ok(log) = store.events(TENANT, 0, u32::MAX).await {
            let of = |serial: Option<Serial>| serial.map_or(0, |serial| serial.0);
            return log.iter().map(|(position, event)| (of(event.serial), *position)).collect();
        }
        tokio::task::yield_now().await;
    }
}

/// It may lack calls that were accepted: better nobody is served than that they are forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lacks_what_was_confirmed_is_not_taken_for_the_database() {
    let (primary, standby) = block_in_place(|| {
        let primary = Cluster::start();
        let standby = primary.standby();
        (primary, standby)
    });
    let database = block_in_place(|| primary.database());
    let store = open_url(&primary.url_or(&standby, &database)).await;
    store.submit(vec![ringing(TENANT, 1)]).await.unwrap();
    block_in_place(|| {
        // What is confirmed from now on, the standby does not get.
        primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = ''");
        primary.sql("postgres", "SELECT pg_reload_conf()");
        standby.sql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
        standby.sql("postgres", "SELECT pg_reload_conf()");
        while !primary.sql("postgres", "SELECT pid FROM pg_stat_replication").trim().is_empty() {
            std::thread::yield_now();
        }
    });
    for serial in 2..=3 {
        timeout(PATIENCE, store.submit(vec![ringing(TENANT, serial)])).await.unwrap().unwrap();
    }
    block_in_place(|| {
        primary.kill();
        standby.promote();
    });
    let limit = store::OUTAGE_LIMIT + Duration::from_secs(60);
    let lost = timeout(limit, store.submit(vec![ringing(TENANT, 4)])).await.unwrap();
    let Err(CommitError::Stopped { why }) = lost else { panic!("{lost:?}") };
    assert!(why.contains("lacks what was confirmed") || why.contains("refused"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standbys_alone_are_no_database() {
    let (primary, standby) = block_in_place(|| {
        let primary = Cluster::start();
        let standby = primary.standby();
        (primary, standby)
    });
    let url = standby.url("postgres");
    let refused = Store::open(StoreConfig::postgres(url.parse().unwrap())).await;
    let Err(StoreError::Unreachable { source, .. }) = refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains("standby"), "{source}");
    drop(primary);
}
