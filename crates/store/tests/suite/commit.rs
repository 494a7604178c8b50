//! Batches: whole, in order, and several to a commit.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use engine::vocabulary::{Serial, TenantId};
use engine::writes::Write;
use store::{Batch, CommitError, MAX_TIMELINE_BYTES, Store};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{
    TENANT, accepted, attempt, cdr, ended, ended_event, intent, ringing, started, whole_call,
};

on_every_store!(
    positions_have_no_gaps_under_concurrent_submitters,
    waiting_batches_share_a_commit,
    a_refused_batch_leaves_no_row_and_disturbs_nobody,
    refused_batches_cost_no_commits,
    an_ended_call_leaves_its_record_and_nothing_else,
    notes_are_kept_as_given,
    notes_that_are_too_large_cost_nothing_else,
    an_empty_batch_resolves,
    a_batch_that_nobody_waits_for_is_stored,
    a_batch_larger_than_every_statement,
);

async fn positions_have_no_gaps_under_concurrent_submitters(fixture: Fixture) {
    let mut tasks = JoinSet::new();
    for task in 0..16_u64 {
        let store = fixture.store.clone();
        tasks.spawn(async move {
            let mut positions = Vec::new();
            for n in 0..25 {
                let tenant = TenantId((n % 3) as u32 + 1);
                let serial = task * 1_000 + n;
                let batch = vec![ringing(tenant, serial), ringing(tenant, serial)];
                positions.extend(store.submit(batch).await.unwrap().positions);
            }
            positions
        });
    }
    let mut given = Vec::new();
    while let Some(positions) = tasks.join_next().await {
        given.extend(positions.unwrap());
    }
    given.sort();
    for tenant in 1..=3 {
        let of_tenant = given.iter().filter(|place| place.tenant == TenantId(tenant));
        let positions: Vec<u64> = of_tenant.map(|place| place.position).collect();
        let log = fixture.store.events(TenantId(tenant), 0, 10_000).await.unwrap();
        let logged: Vec<u64> = log.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, (1..=positions.len() as u64).collect::<Vec<_>>());
        assert_eq!(logged, positions);
    }
    assert_eq!(given.len(), 16 * 25 * 2);
}

async fn waiting_batches_share_a_commit(fixture: Fixture) {
    let before = fixture.store.counters();
    let submitted: Vec<_> =
        (0..500).map(|n| fixture.store.submit(vec![ringing(TENANT, n)])).collect();
    for (n, batch) in submitted.into_iter().enumerate() {
        let committed = batch.await.unwrap();
        assert_eq!(committed.positions[0].position, n as u64 + 1, "in the order of submission");
    }
    let after = fixture.store.counters();
    assert_eq!(after.batches - before.batches, 500);
    assert_eq!(after.writes - before.writes, 500);
    let commits = after.commits - before.commits;
    assert!(commits < 250, "500 batches took {commits} commits");
}

async fn a_refused_batch_leaves_no_row_and_disturbs_nobody(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(vec![accepted(intent(1))]).await.unwrap();
    let good = store.submit(vec![accepted(intent(2)), ringing(TENANT, 2)]);
    let twice = store.submit(vec![ringing(TENANT, 1), accepted(intent(3)), accepted(intent(1))]);
    let also_good = store.submit(vec![accepted(intent(4)), ringing(TENANT, 4)]);

    assert_eq!(good.await.unwrap().positions[0].position, 1);
    assert!(matches!(twice.await, Err(CommitError::Conflict { .. })));
    assert_eq!(also_good.await.unwrap().positions[0].position, 2, "no gap is left");
    assert_eq!(store.intent(TENANT, Serial(3)).await.unwrap(), None);
    assert_eq!(store.events(TENANT, 0, 10).await.unwrap().len(), 2);

    store.submit(whole_call(5)).await.unwrap();
    let second_record = store.submit(vec![ended(cdr(intent(5)))]).await;
    assert!(matches!(second_record, Err(CommitError::Conflict { .. })), "one record per call");
}

/// A client that sends the same call over and over must not cost the others a commit each time.
async fn refused_batches_cost_no_commits(fixture: Fixture) {
    let store = &fixture.store;
    let before = store.counters();
    let batches: Vec<_> = (0..500)
        .map(|n| match n % 2 {
            0 => store.submit(vec![accepted(intent(1)), ringing(TENANT, 1)]),
            _ => store.submit(vec![accepted(intent(n)), ringing(TENANT, n)]),
        })
        .collect();
    let mut positions = Vec::new();
    for (n, batch) in batches.into_iter().enumerate() {
        match batch.await {
            Ok(committed) => positions.push(committed.positions[0].position),
            Err(CommitError::Conflict { .. }) => assert!(n == 1 || n > 1 && n % 2 == 0),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(positions, (1..=250).collect::<Vec<_>>(), "the first and each odd one but 1");
    let commits = store.counters().commits - before.commits;
    assert!(commits < 250, "it took {commits} commits");
}

async fn an_ended_call_leaves_its_record_and_nothing_else(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(vec![started(intent(1)), Write::Attempt(Box::new(attempt(1, 1)))]).await.unwrap();
    assert!(store.intent(TENANT, Serial(1)).await.unwrap().is_some());
    assert_eq!(store.cdr(TENANT, Serial(1)).await.unwrap(), None);

    let record = cdr(intent(1));
    store.submit(vec![ended_event(&record), ended(record.clone())]).await.unwrap();
    assert_eq!(store.intent(TENANT, Serial(1)).await.unwrap(), None);
    assert_eq!(store.cdr(TENANT, Serial(1)).await.unwrap(), Some(record));
    let recovery = store.recover().await.unwrap();
    assert_eq!(recovery.unfinished_started, []);
    assert_eq!(recovery.waiting, []);
    assert_eq!(store.natural_keys(TENANT).await.unwrap(), []);
    assert_eq!(recovery.highest_serial, Some(Serial(1)));
}

async fn notes_are_kept_as_given(fixture: Fixture) {
    let store = &fixture.store;
    let notes = r#"[{"at":1,"sip":"INVITE"}]"#.repeat(500).into_bytes();
    let timelines = vec![(Serial(1), notes.clone())];
    let batch = Batch { writes: whole_call(1), timelines, ..Batch::default() };
    store.submit(batch).await.unwrap();
    assert_eq!(store.timeline(TENANT, Serial(1)).await.unwrap(), Some(notes));
    assert_eq!(store.timeline(TENANT, Serial(2)).await.unwrap(), None);

    store.put_timeline(Serial(1), b"[]".to_vec()).await.unwrap();
    assert_eq!(store.timeline(TENANT, Serial(1)).await.unwrap().unwrap(), b"[]");
}

async fn notes_that_are_too_large_cost_nothing_else(fixture: Fixture) {
    let store = &fixture.store;
    let whole = vec![b' '; MAX_TIMELINE_BYTES];
    store.submit(whole_call(2)).await.unwrap();
    store.put_timeline(Serial(2), whole.clone()).await.unwrap();
    assert_eq!(store.timeline(TENANT, Serial(2)).await.unwrap(), Some(whole));

    let too_large = vec![b' '; MAX_TIMELINE_BYTES + 1];
    let timelines = vec![(Serial(1), too_large.clone())];
    let batch = Batch { writes: whole_call(1), timelines, ..Batch::default() };
    store.submit(batch).await.unwrap();
    assert!(store.cdr(TENANT, Serial(1)).await.unwrap().is_some());
    assert_eq!(store.timeline(TENANT, Serial(1)).await.unwrap(), None);
    assert_eq!(store.counters().timelines_dropped, 1);
    store.put_timeline(Serial(1), too_large).await.unwrap_err();
}

async fn an_empty_batch_resolves(fixture: Fixture) {
    let committed = fixture.store.submit(Vec::new()).await.unwrap();
    assert_eq!(committed.positions, []);
}

async fn a_batch_that_nobody_waits_for_is_stored(fixture: Fixture) {
    drop(fixture.store.submit(vec![ringing(TENANT, 1)]));
    fixture.store.submit(Vec::new()).await.unwrap();
    assert_eq!(fixture.store.events(TENANT, 0, 10).await.unwrap().len(), 1);
}

/// 300 calls in one batch: more rows than one statement takes, and no power of two.
async fn a_batch_larger_than_every_statement(fixture: Fixture) {
    let store: &Store = &fixture.store;
    let calls: Vec<Write> = (1..=300).flat_map(whole_call).collect();
    let committed = store.submit(calls).await.unwrap();
    assert_eq!(committed.positions.len(), 300);
    for serial in [1, 128, 129, 256, 257, 300] {
        assert_eq!(store.cdr(TENANT, Serial(serial)).await.unwrap(), Some(cdr(intent(serial))));
        assert_eq!(store.intent(TENANT, Serial(serial)).await.unwrap(), None);
    }
    assert_eq!(store.events(TENANT, 299, 10).await.unwrap().len(), 1);
}

/// A simulated world polls the memory by hand; everything is ready at once.
#[test]
fn the_memory_needs_no_runtime() {
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits for somebody"),
        }
    }
    let store = Store::memory();
    now(store.submit(whole_call(1))).unwrap();
    assert!(now(store.cdr(TENANT, Serial(1))).unwrap().is_some());
    assert_eq!(now(store.callbacks_due(i64::MAX / 2, 10)).unwrap().len(), 1);
    now(store.put_meta("node", vec![1])).unwrap();
    assert_eq!(now(store.recover()).unwrap().highest_serial, Some(Serial(1)));
}
