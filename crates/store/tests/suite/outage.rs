//! T-5, the store's part: a database that goes away and returns, and a commit whose reply is lost.

use std::time::Duration;

use engine::vocabulary::Serial;
use store::{CommitError, IntentState, Store, StoreError};
use tokio::time::timeout;

use crate::cluster::{Cluster, url_through};
use crate::fixture::{Fixture, PATIENCE, cluster, open_url};
use crate::nouns::{TENANT, accepted, intent, ringing, whole_call};
use crate::proxy::Proxy;

/// Rounds of the slow tests; `OFFHOOK_T5_ROUNDS` asks for more.
fn rounds() -> u32 {
    let wanted = std::env::var("OFFHOOK_T5_ROUNDS").ok();
    wanted.map_or(10, |rounds| rounds.parse().expect("a number of rounds"))
}

struct Behind {
    proxy: Proxy,
    store: Store,
    database: String,
}

async fn behind_a_proxy() -> Behind {
    let database = tokio::task::block_in_place(|| cluster().database());
    let proxy = Proxy::start(cluster().socket()).await;
    let store = open_url(&url_through(proxy.address(), &database)).await;
    Behind { proxy, store, database }
}

/// The client's view and the log's agree: each batch is there once, at the position that was told.
async fn assert_told_is_stored(store: &Store, told: &[(u64, u64)]) {
    let log = store.events(TENANT, 0, u32::MAX).await.unwrap();
    let stored: Vec<(u64, u64)> = log
        .iter()
        .map(|(position, event)| (event.serial.map_or(0, |serial| serial.0), *position))
        .collect();
    assert_eq!(stored, told);
}

/// The commit is on disk, its answer is not heard: it is found again and not written twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_reply_is_lost_is_found_and_not_repeated() {
    let Behind { proxy, store, database } = behind_a_proxy().await;
    let mut told = Vec::new();
    for round in 1..=u64::from(rounds()) {
        proxy.cut_reply_to_commit(1);
        let cut = store.submit(vec![accepted(intent(round)), ringing(TENANT, round)]);
        let committed = timeout(PATIENCE, cut).await.unwrap().unwrap();
        told.push((round, committed.positions[0].position));
        timeout(PATIENCE, proxy.cut(round)).await.expect("the reply was cut");
        let found = timeout(PATIENCE, store.intent(TENANT, Serial(round))).await.unwrap().unwrap();
        assert_eq!(found.unwrap().1, IntentState::Waiting);
    }
    assert_told_is_stored(&store, &told).await;
    store.close().await;
    let rows = cluster().sql(&database, "SELECT count(*) FROM intents");
    assert_eq!(rows, rounds().to_string());
}

/// Cuts at every place of the stream of commits, while several submit at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_at_any_commit_under_load_nothing_is_lost_and_nothing_is_there_twice() {
    let Behind { proxy, store, .. } = behind_a_proxy().await;
    let mut told = Vec::new();
    for round in 1..=u64::from(rounds()) {
        proxy.cut_reply_to_commit(1 + (round % 4) as u32);
        let calls = round * 100..round * 100 + 40;
        let batches: Vec<_> = calls
            .map(|serial| {
                // A commit each, not all in one group.
                let batch = vec![accepted(intent(serial)), ringing(TENANT, serial)];
                (serial, batch)
            })
            .collect();
        for some in batches.chunks(8) {
            let some: Vec<_> =
                some.iter().map(|(serial, batch)| (*serial, store.submit(batch.clone()))).collect();
            for (serial, batch) in some {
                let committed = timeout(PATIENCE, batch).await.unwrap().unwrap();
                told.push((serial, committed.positions[0].position));
            }
        }
        timeout(PATIENCE, proxy.cut(round)).await.expect("the reply was cut");
    }
    assert_told_is_stored(&store, &told).await;
}

/// A cable that is pulled and put back: what was submitted meanwhile waits and is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_submitted_while_the_database_is_away_is_written_when_it_returns() {
    let Behind { proxy, store, .. } = behind_a_proxy().await;
    store.submit(vec![accepted(intent(1)), ringing(TENANT, 1)]).await.unwrap();
    proxy.refuse();
    let waiting: Vec<_> = (2..=5)
        .map(|serial| store.submit(vec![accepted(intent(serial)), ringing(TENANT, serial)]))
        .collect();
    timeout(PATIENCE, async {
        while !store.is_away() {
            tokio::task::yield_now().await
        }
    })
    .await
    .expect("it notices");
    let read = timeout(PATIENCE, store.intent(TENANT, Serial(1))).await.unwrap();
    assert!(matches!(read, Err(StoreError::Database(_))), "a reader is told: {read:?}");
    proxy.pass();
    let mut told = vec![(1, 1)];
    for (serial, batch) in (2..).zip(waiting) {
        let committed = timeout(PATIENCE, batch).await.unwrap().unwrap();
        told.push((serial, committed.positions[0].position));
    }
    assert!(!store.is_away());
    assert_told_is_stored(&store, &told).await;
}

/// A server that loses its power under load and starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_and_starts_again_has_what_was_confirmed() {
    let (cluster, store) = cluster_of_its_own().await;
    let mut told = Vec::new();
    for round in 1..=3_u64 {
        let batches: Vec<_> = (round * 1_000..round * 1_000 + 200)
            .map(|serial| (serial, store.submit(vec![ringing(TENANT, serial)])))
            .collect();
        tokio::task::block_in_place(|| {
            cluster.stop_at_once();
            cluster.run();
        });
        for (serial, batch) in batches {
            let committed = timeout(PATIENCE, batch).await.unwrap().unwrap();
            told.push((serial, committed.positions[0].position));
        }
    }
    assert_told_is_stored(&store, &told).await;
}

/// Not for ever: a store that cannot say what became of a commit ends as one whose disk failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stays_away_stops_the_store() {
    let Behind { proxy, store, .. } = behind_a_proxy().await;
    store.submit(vec![ringing(TENANT, 1)]).await.unwrap();
    proxy.refuse();
    let limit = store::OUTAGE_LIMIT + PATIENCE;
    let lost = timeout(limit, store.submit(vec![ringing(TENANT, 2)])).await.unwrap();
    let Err(CommitError::Stopped { why }) = lost else { panic!("{lost:?}") };
    assert!(why.contains("away for"), "{why}");
    proxy.pass();
    let later = store.submit(whole_call(3)).await;
    assert_eq!(later, Err(CommitError::Stopped { why }), "it does not come back by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_refused_while_the_first_has_the_database() {
    let fixture = Fixture::postgres().await;
    let crate::fixture::Place::Database(database) = &fixture.place else { unreachable!() };
    let url: store::PostgresUrl = cluster().url(database).parse().unwrap();
    let wait = Some(Duration::from_millis(1));
    let config = store::StoreConfig::Postgres { url, take_over: wait };
    let second = Store::open(config.clone()).await;
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
    fixture.store.submit(whole_call(1)).await.unwrap();
    fixture.store.close().await;
    let next = Store::open(config).await.unwrap();
    assert!(next.cdr(TENANT, Serial(1)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused() {
    let database = tokio::task::block_in_place(|| cluster().database());
    let url = cluster().url(&database);
    open_url(&url).await.close().await;
    cluster().sql(&database, "UPDATE schema_version SET version = 77");
    let refused = Store::open(store::StoreConfig::postgres(url.parse().unwrap())).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 77, .. })), "{refused:?}");
}

#[tokio::test]
async fn an_address_that_says_nothing_is_refused_without_its_password() {
    for wrong in ["mysql://user:hidden@host/db", "postgres://user:hidden@[bad/db", "host/db"] {
        let refused = wrong.parse::<store::PostgresUrl>().unwrap_err().to_string();
        assert!(!refused.contains("hidden"), "{refused}");
        assert!(refused.contains("postgres://user@host/database"), "{refused}");
    }
    let nobody: store::PostgresUrl = "postgres://user:hidden@127.0.0.1:1/db".parse().unwrap();
    assert!(!format!("{nobody:?}").contains("hidden"));
    let refused = Store::open(store::StoreConfig::postgres(nobody)).await.unwrap_err();
    assert!(refused.to_string().contains("db at 127.0.0.1:1"), "{refused}");
}

async fn cluster_of_its_own() -> (Cluster, Store) {
    let (cluster, url) = tokio::task::block_in_place(|| {
        let cluster = Cluster::start();
        let url = cluster.url(&cluster.database());
        (cluster, url)
    });
    let store = open_url(&url).await;
    (cluster, store)
}
