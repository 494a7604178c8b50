//! The list of calls: by time, caller and kind, in pages, whatever became of them.

use engine::intent::{BidirectionalCall, Caller, OrderKind};
use engine::vocabulary::{Serial, TenantId};
use store::{CallQuery, Claim, IntentState, KeptCall, Store, Tasks};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT, accepted, cdr, ended, expecting, intent, started};

on_every_store!(
    pages_are_ordered_by_acceptance,
    calls_that_wait_run_and_are_over_stand_in_one_list,
    the_time_span_includes_both_ends,
    filtered_by_caller_and_kind,
    each_task_type_has_its_calls,
    other_tenants_are_not_seen,
);

async fn calls_that_wait_run_and_are_over_stand_in_one_list(fixture: Fixture) {
    let store = &fixture.store;
    let mut other = intent(6);
    other.tenant = TenantId(171);
    let mut elsewhere = intent(7);
    elsewhere.order.caller_present = "2222201".into();
    let first = [accepted(intent(1)), started(intent(2)), accepted(intent(3)), accepted(intent(5))];
    store.submit(first.to_vec()).await.unwrap();
    store.submit(vec![ended(cdr(intent(4))), accepted(other), accepted(elsewhere)]).await.unwrap();
    store.submit(vec![ended(cdr(intent(2)))]).await.unwrap();
    store.claim(Claim::One { tenant: TENANT, serial: Serial(5) }).await.unwrap();

    let unfinished = |serial, state| KeptCall::Unfinished(Box::new(intent(serial)), state);
    let over = |serial| KeptCall::Over(Box::new(cdr(intent(serial))));
    let query = CallQuery { caller: Some("95599".into()), ..all() };
    let (total, calls) = store.calls(&query).await.unwrap();
    assert_eq!(total, 5);
    let (waiting, claimed) = (IntentState::Waiting, IntentState::Started);
    let expected =
        [unfinished(1, waiting), over(2), unfinished(3, waiting), over(4), unfinished(5, claimed)];
    assert_eq!(calls, expected);
    for (offset, page) in [(0, vec![1, 2]), (2, vec![3, 4]), (4, vec![5, 7]), (6, vec![])] {
        let query = CallQuery { offset, limit: 2, ..all() };
        assert_eq!(found(store, &query).await, (6, page));
    }
}

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
    let (_, calls) = store.calls(&all()).await.unwrap();
    assert_eq!(calls[2], KeptCall::Over(Box::new(cdr(intent(3)))));
}

async fn the_time_span_includes_both_ends(fixture: Fixture) {
    let store = &fixture.store;
    let records = (1..=5).map(|serial| ended(cdr(intent(serial)))).collect::<Vec<_>>();
    store.submit(records).await.unwrap();
    let query = CallQuery { start_ms: T0 + 2, end_ms: T0 + 4, ..all() };
    assert_eq!(found(store, &query).await, (3, vec![2, 3, 4]));
    let query = CallQuery { start_ms: T0 + 4, end_ms: T0 + 2, ..all() };
    assert_eq!(found(store, &query).await, (0, vec![]));
}

async fn filtered_by_caller_and_kind(fixture: Fixture) {
    let store = &fixture.store;
    let mut other = intent(2);
    other.order.caller_present = "2222201".into();
    let records = [intent(1), other, intent(3)].map(|intent| ended(cdr(intent)));
    store.submit(records.to_vec()).await.unwrap();
    let query = CallQuery { caller: Some("95599".into()), ..all() };
    assert_eq!(found(store, &query).await, (2, vec![1, 3]));
    let query = CallQuery { tasks: Tasks::VoiceNotification, ..all() };
    assert_eq!(found(store, &query).await, (3, vec![1, 2, 3]));
}

async fn each_task_type_has_its_calls(fixture: Fixture) {
    let store = &fixture.store;
    let two_legs = |serial, ita| {
        let mut call = intent(serial);
        let caller = Caller::Inbound { number: "66666666".into() };
        let call_data = None;
        call.order.kind = OrderKind::BidirectionalCall(BidirectionalCall {
            caller,
            call_data,
            ita,
            connected_url: None,
            agent_work_no: None,
            binding: None,
        });
        call
    };
    // Of each one that is over and one that is not.
    for (serial, over) in [(0, true), (4, false)] {
        let calls = [
            intent(serial + 1),
            two_legs(serial + 2, false),
            expecting(serial + 3),
            two_legs(serial + 4, true),
        ];
        let write = |call| if over { ended(cdr(call)) } else { started(call) };
        store.submit(calls.map(write).to_vec()).await.unwrap();
    }
    for (tasks, serials) in [
        (Tasks::All, vec![1, 2, 3, 4, 5, 6, 7, 8]),
        (Tasks::AllButIta, vec![1, 2, 3, 5, 6, 7]),
        (Tasks::VoiceNotification, vec![1, 5]),
        (Tasks::Bidirectional, vec![2, 6]),
        (Tasks::Anonymous, vec![3, 7]),
        (Tasks::Ita, vec![4, 8]),
    ] {
        let query = CallQuery { tasks, ..all() };
        assert_eq!(found(store, &query).await, (serials.len() as u64, serials), "{tasks:?}");
    }
    let managers = CallQuery { caller: Some("66666666".into()), ..all() };
    assert_eq!(found(store, &managers).await, (4, vec![2, 4, 6, 8]));
    store.natural_keys(TENANT).await.unwrap();
}

async fn other_tenants_are_not_seen(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(vec![ended(cdr(intent(1)))]).await.unwrap();
    let query = CallQuery { tenant: TenantId(171), ..all() };
    assert_eq!(found(store, &query).await, (0, vec![]));
}

fn all() -> CallQuery {
    CallQuery {
        tenant: TENANT,
        start_ms: T0,
        end_ms: T0 + 1_000_000,
        caller: None,
        tasks: Tasks::All,
        offset: 0,
        limit: 100,
    }
}

async fn found(store: &Store, query: &CallQuery) -> (u64, Vec<u64>) {
    let (total, calls) = store.calls(query).await.unwrap();
    (total, calls.iter().map(|call| call.intent().serial.0).collect())
}
