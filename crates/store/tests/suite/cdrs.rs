//! The history query: by time, caller and kind, in pages.

use std::time::Duration;

use engine::Used;
use engine::vocabulary::{CallKind, TenantId};
use store::{CdrQuery, Store};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT, accepted, cdr, ended, intent, started};

on_every_store!(
    pages_are_ordered_by_acceptance,
    the_time_span_includes_both_ends,
    filtered_by_caller_and_kind,
    other_tenants_are_not_seen,
    a_day_is_counted_from_records_and_from_what_is_not_over,
);

async fn pages_are_ordered_by_acceptance(fixture: Fixture) {
    let store = &fixture.store;
    for serial in [5, 3, 4, 1, 2] {
        store.submit(vec![ended(cdr(intent(serial)))]).await.unwrap();
    }
    let mut query = all();
    query.limit = 2;
    assert_eq!(found(store, &query).await, (5, vec![1, 2]));
    query.offset = 2;
    assert_eq!(found(store, &query).await, (5, vec![3, 4]));
    query.offset = 4;
    assert_eq!(found(store, &query).await, (5, vec![5]));
    query.offset = 6;
    assert_eq!(found(store, &query).await, (5, vec![]));
    let (_, records) = store.cdrs(&all()).await.unwrap();
    assert_eq!(records[2], cdr(intent(3)));
}

async fn the_time_span_includes_both_ends(fixture: Fixture) {
    let store = &fixture.store;
    let records = (1..=5).map(|serial| ended(cdr(intent(serial)))).collect::<Vec<_>>();
    store.submit(records).await.unwrap();
    let query = CdrQuery { start_ms: T0 + 2, end_ms: T0 + 4, ..all() };
    assert_eq!(found(store, &query).await, (3, vec![2, 3, 4]));
    let query = CdrQuery { start_ms: T0 + 4, end_ms: T0 + 2, ..all() };
    assert_eq!(found(store, &query).await, (0, vec![]));
}

async fn filtered_by_caller_and_kind(fixture: Fixture) {
    let store = &fixture.store;
    let mut other = intent(2);
    other.order.caller_present = "2222201".into();
    let records = [intent(1), other, intent(3)].map(|intent| ended(cdr(intent)));
    store.submit(records.to_vec()).await.unwrap();
    let query = CdrQuery { caller: Some("95599".into()), ..all() };
    assert_eq!(found(store, &query).await, (2, vec![1, 3]));
    let query = CdrQuery { kind: Some(CallKind::VoiceNotification), ..all() };
    assert_eq!(found(store, &query).await, (3, vec![1, 2, 3]));
}

async fn other_tenants_are_not_seen(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(vec![ended(cdr(intent(1)))]).await.unwrap();
    let query = CdrQuery { tenant: TenantId(171), ..all() };
    assert_eq!(found(store, &query).await, (0, vec![]));
}

async fn a_day_is_counted_from_records_and_from_what_is_not_over(fixture: Fixture) {
    let store = &fixture.store;
    let day = T0 + 3;
    let (mut over_midnight, mut unanswered, mut other) =
        (cdr(intent(2)), cdr(intent(4)), cdr(intent(5)));
    over_midnight.talking_ms = Some(day + 1);
    (unanswered.talking_ms, unanswered.talk_duration_ms) = (None, 0);
    other.intent.tenant = TenantId(171);
    let mut before = cdr(intent(1));
    before.talking_ms = Some(day - 1);
    let mut writes: Vec<_> =
        [before, over_midnight, cdr(intent(3)), unanswered, other].map(ended).into();
    writes.extend([accepted(intent(6)), started(intent(7))]);
    store.submit(writes).await.unwrap();
    let used = store.used_since(TENANT, day, T0).await.unwrap();
    assert_eq!(used, Used { calls: 4, talked: Duration::from_millis(14_000) });
    let used = store.used_since(TENANT, day, day).await.unwrap();
    assert_eq!(used, Used { calls: 4, talked: Duration::from_millis(7_000) });
    let nothing = store.used_since(TenantId(172), day, T0).await.unwrap();
    assert_eq!(nothing, Used { calls: 0, talked: Duration::ZERO });
}

fn all() -> CdrQuery {
    CdrQuery {
        tenant: TENANT,
        start_ms: T0,
        end_ms: T0 + 1_000_000,
        caller: None,
        kind: None,
        offset: 0,
        limit: 100,
    }
}

async fn found(store: &Store, query: &CdrQuery) -> (u64, Vec<u64>) {
    let (total, records) = store.cdrs(query).await.unwrap();
    (total, records.iter().map(|cdr| cdr.intent.serial.0).collect())
}
