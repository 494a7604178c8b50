//! What has outlived its time goes, and nothing that is still needed.

use engine::events::EventKind;
use engine::vocabulary::{Serial, TenantId};
use store::{Batch, CallbackAttempt, CallbackNext, CallbackResult, Expiry, Store, TimelineMark};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT, cdr, ended, ended_event, event, intent, ringing, whole_call};

on_every_store!(
    old_events_go_and_the_log_begins_later,
    the_beginning_of_a_log_survives_a_restart,
    an_event_that_a_callback_needs_is_out_of_sight_and_still_delivered,
    a_record_goes_with_its_timeline_and_the_event_stays_whole,
    callbacks_go_when_they_are_over_and_old,
    timelines_go_before_their_records,
    a_step_is_bounded_and_of_one_tenant,
);

async fn old_events_go_and_the_log_begins_later(fixture: Fixture) {
    let store = &fixture.store;
    assert_eq!(store.first_event(TENANT).await.unwrap(), 1, "of a log without events too");
    for n in 0..6 {
        store.submit(vec![at(n)]).await.unwrap();
    }
    assert_eq!(store.expire_events(before(T0 + 3, 100)).await.unwrap(), 3);
    assert_eq!(store.first_event(TENANT).await.unwrap(), 4);
    assert_eq!(positions(store, 0).await, [4, 5, 6]);
    assert_eq!(positions(store, 2).await, [4, 5, 6], "a reader that is behind goes on there");
    assert_eq!(positions(store, 5).await, [6]);
    assert_eq!(store.events_of(TENANT, Serial(0)).await.unwrap(), []);

    assert_eq!(store.expire_events(before(T0 + 1_000, 100)).await.unwrap(), 3);
    let next = store.submit(vec![ringing(TENANT, 9)]).await.unwrap();
    assert_eq!(next.positions[0].position, 7, "a position is never given twice");
    assert_eq!(positions(store, 0).await, [7]);
}

async fn the_beginning_of_a_log_survives_a_restart(fixture: Fixture) {
    for n in 0..4 {
        fixture.store.submit(vec![at(n)]).await.unwrap();
    }
    fixture.store.expire_events(before(T0 + 4, 100)).await.unwrap();
    let fixture = fixture.crash().await;
    assert_eq!(fixture.store.first_event(TENANT).await.unwrap(), 5);
    let next = fixture.store.submit(vec![ringing(TENANT, 9)]).await.unwrap();
    assert_eq!(next.positions[0].position, 5);
}

async fn an_event_that_a_callback_needs_is_out_of_sight_and_still_delivered(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(whole_call(1)).await.unwrap();
    store.submit(vec![ringing(TENANT, 2)]).await.unwrap();
    let late = before(T0 + 1_000_000, 100);
    assert_eq!(store.expire_events(late).await.unwrap(), 2, "both are out of sight");
    assert_eq!(store.expire_events(late).await.unwrap(), 0, "and that was all");
    assert_eq!(store.expire_records(late).await.unwrap(), 1);
    assert_eq!(store.expire_callbacks(late).await.unwrap(), 0, "it is not delivered");
    assert_eq!(positions(store, 0).await, [0; 0]);

    let due = store.callbacks_due(T0 + 2_000_000, 10).await.unwrap();
    assert_eq!(due[0].event.kind, EventKind::Ended { cdr: Box::new(cdr(intent(1))) });
    store.callback_attempt(attempt(due[0].id, CallbackNext::Delivered)).await.unwrap();
    assert_eq!(store.expire_events(late).await.unwrap(), 1);
    assert_eq!(store.expire_callbacks(late).await.unwrap(), 1);
    assert_eq!(store.callbacks_of(TENANT, Serial(1)).await.unwrap(), []);
}

async fn a_record_goes_with_its_timeline_and_the_event_stays_whole(fixture: Fixture) {
    let store = &fixture.store;
    for serial in [1, 2] {
        let timelines = vec![(Serial(serial), b"[]".to_vec())];
        let writes = whole_call(serial);
        store.submit(Batch { writes, timelines, ..Batch::default() }).await.unwrap();
    }
    let old = before(intent(2).created_ms, 100);
    assert_eq!(store.expire_records(old).await.unwrap(), 1);
    assert_eq!(store.cdr(TENANT, Serial(1)).await.unwrap(), None);
    assert_eq!(store.timeline(TENANT, Serial(1)).await.unwrap(), None);
    assert!(store.cdr(TENANT, Serial(2)).await.unwrap().is_some());
    assert!(store.timeline(TENANT, Serial(2)).await.unwrap().is_some());
    let kinds = [1, 2].map(|serial| EventKind::Ended { cdr: Box::new(cdr(intent(serial))) });
    let log = store.events(TENANT, 0, 10).await.unwrap();
    assert_eq!(log.into_iter().map(|(_, event)| event.kind).collect::<Vec<_>>(), kinds);
}

async fn callbacks_go_when_they_are_over_and_old(fixture: Fixture) {
    let store = &fixture.store;
    for serial in 1..=3 {
        store.submit(whole_call(serial)).await.unwrap();
    }
    let due = store.callbacks_due(T0 + 1_000, 10).await.unwrap();
    let next = [CallbackNext::Delivered, CallbackNext::Dead, CallbackNext::RetryAt(T0 + 2_000)];
    for (callback, next) in due.iter().zip(next) {
        store.callback_attempt(attempt(callback.id, next)).await.unwrap();
    }
    assert_eq!(store.expire_callbacks(before(T0 + 500, 100)).await.unwrap(), 0, "they are young");
    assert_eq!(store.expire_callbacks(before(T0 + 501, 100)).await.unwrap(), 2);
    assert_eq!(store.callbacks_of(TENANT, Serial(1)).await.unwrap(), []);
    assert_eq!(store.dead_letters(TENANT, 0, 10).await.unwrap(), []);
    let (state, attempts) = store.callbacks_of(TENANT, Serial(3)).await.unwrap().remove(0);
    assert_eq!((state.attempts, attempts.len()), (1, 1), "one that is still to be made stays");
}

async fn timelines_go_before_their_records(fixture: Fixture) {
    let store = &fixture.store;
    for serial in 1..=5 {
        store.submit(vec![ended(cdr(intent(serial)))]).await.unwrap();
        store.put_timeline(Serial(serial), b"[]".to_vec()).await.unwrap();
    }
    let old = before(intent(5).created_ms, 3);
    let mark = store.expire_timelines(old, TimelineMark::default()).await.unwrap();
    let mark = store.expire_timelines(old, mark.unwrap()).await.unwrap();
    assert_eq!(store.expire_timelines(old, mark.unwrap()).await.unwrap(), None);
    for serial in 1..=5 {
        let kept = store.timeline(TENANT, Serial(serial)).await.unwrap().is_some();
        assert_eq!(kept, serial == 5, "{serial}");
        assert!(store.cdr(TENANT, Serial(serial)).await.unwrap().is_some());
    }
}

async fn a_step_is_bounded_and_of_one_tenant(fixture: Fixture) {
    let store = &fixture.store;
    let mut other = cdr(intent(100));
    other.intent.tenant = TenantId(9);
    store.submit(vec![ended_event(&other), ended(other)]).await.unwrap();
    for serial in 1..=5 {
        let record = cdr(intent(serial));
        store.submit(vec![ended_event(&record), ended(record)]).await.unwrap();
    }
    let step = before(T0 + 1_000_000, 2);
    let mut removed = Vec::new();
    while removed.last() != Some(&0) {
        removed.push(store.expire_records(step).await.unwrap());
    }
    assert_eq!(removed, [2, 2, 1, 0]);
    for id in store.callbacks_due(T0 + 1_000, 100).await.unwrap().iter().map(|due| due.id) {
        store.callback_attempt(attempt(id, CallbackNext::Delivered)).await.unwrap();
    }
    for removed in [2, 2, 1, 0] {
        assert_eq!(store.expire_events(step).await.unwrap(), removed);
    }
    assert_eq!(store.events(TenantId(9), 0, 10).await.unwrap().len(), 1);
    assert!(store.cdr(TenantId(9), Serial(100)).await.unwrap().is_some());
}

fn before(before_ms: i64, limit: u32) -> Expiry {
    Expiry { tenant: TENANT, before_ms, limit }
}

/// An event of its own call at `T0 + n`.
fn at(n: u64) -> engine::writes::Write {
    let leg = engine::vocabulary::LegId(n);
    let mut event =
        event(TENANT, n, EventKind::Ringing { leg, side: engine::vocabulary::Side::Called });
    event.at_ms = T0 + n as i64;
    engine::writes::Write::Event { event, callback: None }
}

async fn positions(store: &Store, after: u64) -> Vec<u64> {
    let page = store.events(TENANT, after, 100).await.unwrap();
    page.into_iter().map(|(position, _)| position).collect()
}

fn attempt(id: store::CallbackId, next: CallbackNext) -> CallbackAttempt {
    CallbackAttempt {
        id,
        number: 1,
        at_ms: T0 + 500,
        duration_ms: 12,
        request: "POST /released\n\n{}".into(),
        result: CallbackResult::Reply { status: 200, body: String::new() },
        next,
    }
}
