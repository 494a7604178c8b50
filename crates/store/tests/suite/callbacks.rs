//! Callbacks: due, offered once at a time, retried, delivered or given up, replayed.

use engine::events::{Event, EventKind};
use engine::vocabulary::Serial;
use store::{
    CallbackAttempt, CallbackDue, CallbackId, CallbackNext, CallbackResult, CallbackStatus,
    EventPosition, MAX_CALLBACK_TEXT_BYTES, OFFER_MS, Store, StoreError,
};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT, intent, whole_call};

/// When the callbacks of `whole_call` are due.
const DUE: i64 = T0 + 20;

on_every_store!(
    a_delivered_callback_is_not_due_again,
    a_retry_is_due_at_its_time,
    given_up_and_replayed,
    one_that_is_being_made_takes_no_place,
    an_offer_ends_with_its_worker,
    more_than_memory_keeps_are_given_once_each,
    the_longest_overdue_comes_first_whether_it_is_new_or_not,
    a_restart_offers_again,
    an_attempt_is_stored_once,
    what_is_kept_of_an_attempt_is_bounded,
);

async fn a_delivered_callback_is_not_due_again(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(whole_call(1)).await.unwrap();
    assert_eq!(store.callbacks_due(DUE - 1, 10).await.unwrap(), []);
    assert_eq!(store.next_callback_ms().await.unwrap(), Some(DUE));

    let due = store.callbacks_due(DUE, 10).await.unwrap();
    let [CallbackDue { id, url, attempt_number: 1, event }] = &due[..] else { panic!("{due:?}") };
    assert_eq!(*id, EventPosition { tenant: TENANT, position: 1 });
    assert_eq!(*url, intent(1).order.callback_url.unwrap());
    assert_eq!(event.serial, Some(Serial(1)));
    assert_eq!(event, &store.events(TENANT, 0, 1).await.unwrap()[0].1);

    let attempt = attempt(*id, 1, CallbackNext::Delivered);
    store.callback_attempt(attempt.clone()).await.unwrap();
    assert_eq!(store.callbacks_due(i64::MAX - OFFER_MS, 10).await.unwrap(), []);
    assert_eq!(store.next_callback_ms().await.unwrap(), None);
    let of_call = store.callbacks_of(TENANT, Serial(1)).await.unwrap();
    assert_eq!(of_call[0].0.status, CallbackStatus::Delivered);
    assert_eq!(of_call[0].0.attempts, 1);
    assert_eq!(of_call[0].1, [attempt]);
}

async fn a_retry_is_due_at_its_time(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(whole_call(1)).await.unwrap();
    let id = due_ids(store, DUE).await[0];
    let retry = attempt(id, 1, CallbackNext::RetryAt(DUE + 5_000));
    store.callback_attempt(retry).await.unwrap();

    assert_eq!(store.next_callback_ms().await.unwrap(), Some(DUE + 5_000));
    assert_eq!(due_ids(store, DUE + 4_999).await, []);
    let due = store.callbacks_due(DUE + 5_000, 10).await.unwrap();
    assert_eq!((due[0].id, due[0].attempt_number), (id, 2), "one id for all attempts");
    let (state, _) = &store.callbacks_of(TENANT, Serial(1)).await.unwrap()[0];
    assert_eq!(state.status, CallbackStatus::Pending { next_try_ms: DUE + 5_000 });
}

async fn given_up_and_replayed(fixture: Fixture) {
    let store = &fixture.store;
    for serial in 1..=3 {
        store.submit(whole_call(serial)).await.unwrap();
    }
    for id in due_ids(store, DUE).await {
        store.callback_attempt(attempt(id, 1, CallbackNext::Dead)).await.unwrap();
    }
    let dead = store.dead_letters(TENANT, 1, 10).await.unwrap();
    let serials: Vec<_> = dead.iter().map(|state| state.serial).collect();
    assert_eq!(serials, [Some(Serial(2)), Some(Serial(3))]);
    assert_eq!(due_ids(store, DUE + 1_000_000).await, []);

    assert!(store.replay(dead[0].id, DUE + 7).await.unwrap());
    assert_eq!(store.dead_letters(TENANT, 0, 10).await.unwrap().len(), 2);
    let due = store.callbacks_due(DUE + 7, 10).await.unwrap();
    assert_eq!((due[0].id, due[0].attempt_number), (dead[0].id, 2));
    let nobody = CallbackId { tenant: TENANT, position: 99 };
    assert!(!store.replay(nobody, DUE).await.unwrap());
}

/// A receiver that does not answer must not keep the others from their turn.
async fn one_that_is_being_made_takes_no_place(fixture: Fixture) {
    let store = &fixture.store;
    for serial in 1..=4 {
        store.submit(whole_call(serial)).await.unwrap();
    }
    let mut offered = Vec::new();
    for _ in 0..4 {
        let due = store.callbacks_due(DUE, 1).await.unwrap();
        offered.extend(due.iter().map(|due| due.id.position));
    }
    assert_eq!(offered, [1, 2, 3, 4]);
    assert_eq!(due_ids(store, DUE).await, []);
}

async fn an_offer_ends_with_its_worker(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(whole_call(1)).await.unwrap();
    assert_eq!(due_ids(store, DUE).await.len(), 1);
    assert_eq!(store.next_callback_ms().await.unwrap(), Some(DUE + OFFER_MS));
    assert_eq!(due_ids(store, DUE + OFFER_MS - 1).await, []);
    assert_eq!(due_ids(store, DUE + OFFER_MS).await.len(), 1);
}

/// Past 1,024 new ones the rest is read from the database.
async fn more_than_memory_keeps_are_given_once_each(fixture: Fixture) {
    const CALLS: u64 = 1_200;
    let store = &fixture.store;
    let calls: Vec<_> = (1..=CALLS).map(|serial| store.submit(whole_call(serial))).collect();
    for call in calls {
        call.await.unwrap();
    }
    let mut given = Vec::new();
    loop {
        let due = due_ids(store, DUE).await;
        if due.is_empty() {
            break;
        }
        given.extend(due.iter().map(|id| id.position));
    }
    given.sort_unstable();
    let all = store.events(TENANT, 0, u32::MAX).await.unwrap();
    let ended = |event: &Event| matches!(event.kind, EventKind::Ended { .. });
    let ended = all.iter().filter(|(_, event)| ended(event)).map(|(position, _)| *position);
    assert_eq!(given, ended.collect::<Vec<_>>());
    assert_eq!(given.len() as u64, CALLS);
    assert_eq!(store.next_callback_ms().await.unwrap(), Some(DUE + OFFER_MS));
}

async fn the_longest_overdue_comes_first_whether_it_is_new_or_not(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(whole_call(1)).await.unwrap();
    let tried = due_ids(store, DUE).await[0];
    store.callback_attempt(attempt(tried, 1, CallbackNext::RetryAt(DUE - 1))).await.unwrap();
    store.submit(whole_call(2)).await.unwrap();
    assert_eq!(store.next_callback_ms().await.unwrap(), Some(DUE - 1));
    let first = store.callbacks_due(DUE, 1).await.unwrap();
    assert_eq!((first[0].id, first[0].attempt_number), (tried, 2));
    let second = store.callbacks_due(DUE, 1).await.unwrap();
    assert_eq!((second[0].event.serial, second[0].attempt_number), (Some(Serial(2)), 1));
}

async fn a_restart_offers_again(fixture: Fixture) {
    fixture.store.submit(whole_call(1)).await.unwrap();
    let ids = due_ids(&fixture.store, DUE).await;
    let fixture = fixture.crash().await;
    let due = fixture.store.callbacks_due(DUE, 10).await.unwrap();
    assert_eq!((due[0].id, due[0].attempt_number), (ids[0], 1));
    assert_eq!(due[0].event.serial, Some(Serial(1)));
}

async fn an_attempt_is_stored_once(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(whole_call(1)).await.unwrap();
    let id = due_ids(store, DUE).await[0];
    let first = attempt(id, 1, CallbackNext::RetryAt(DUE + 1));
    let second = attempt(id, 2, CallbackNext::Delivered);
    let (first_done, second_done) =
        tokio::join!(store.callback_attempt(first.clone()), store.callback_attempt(second));
    first_done.unwrap();
    second_done.unwrap();

    let again = store.callback_attempt(first).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    let nobody = EventPosition { tenant: TENANT, position: 99 };
    let unknown = store.callback_attempt(attempt(nobody, 1, CallbackNext::Delivered)).await;
    assert!(matches!(unknown, Err(StoreError::Conflict { .. })));
    let (state, attempts) = store.callbacks_of(TENANT, Serial(1)).await.unwrap().remove(0);
    assert_eq!((state.status, attempts.len()), (CallbackStatus::Delivered, 2));
}

async fn what_is_kept_of_an_attempt_is_bounded(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(whole_call(1)).await.unwrap();
    let id = due_ids(store, DUE).await[0];
    let mut long = attempt(id, 1, CallbackNext::Delivered);
    long.request = "é".repeat(MAX_CALLBACK_TEXT_BYTES);
    long.result = CallbackResult::Error { why: "x".repeat(MAX_CALLBACK_TEXT_BYTES + 1) };
    store.callback_attempt(long).await.unwrap();
    let (_, attempts) = store.callbacks_of(TENANT, Serial(1)).await.unwrap().remove(0);
    assert_eq!(attempts[0].request, "é".repeat(MAX_CALLBACK_TEXT_BYTES / 2));
    let CallbackResult::Error { why } = &attempts[0].result else { panic!() };
    assert_eq!(why.len(), MAX_CALLBACK_TEXT_BYTES);
}

async fn due_ids(store: &Store, now_ms: i64) -> Vec<CallbackId> {
    let due = store.callbacks_due(now_ms, 100).await.unwrap();
    due.into_iter().map(|callback| callback.id).collect()
}

fn attempt(id: CallbackId, number: u32, next: CallbackNext) -> CallbackAttempt {
    CallbackAttempt {
        id,
        number,
        at_ms: DUE + i64::from(number),
        duration_ms: 12,
        request: "POST /released\n\n{}".into(),
        result: CallbackResult::Reply { status: 200, body: r#"{"retCode":"0"}"#.into() },
        next,
    }
}
