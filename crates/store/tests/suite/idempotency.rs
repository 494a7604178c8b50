//! Idempotency keys: of accepted requests only, 24 h, also over a restart.

use engine::vocabulary::{Serial, TenantId};
use store::{AcceptedRequest, CommitError};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT, idempotency, intent, with_key};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

on_every_store!(
    a_key_is_stored_with_its_call,
    of_parallel_requests_one_is_accepted,
    a_key_is_void_after_a_day,
    more_old_keys_than_one_transaction_removes_go,
    an_old_key_may_be_used_again_before_it_is_removed,
);

async fn a_key_is_stored_with_its_call(fixture: Fixture) {
    let key = idempotency("k", 7);
    fixture.store.submit(vec![with_key(intent(1), key.clone())]).await.unwrap();
    let fixture = fixture.crash().await;
    let found = fixture.store.idempotency(&key.key).await.unwrap();
    let accepted_ms = intent(1).created_ms;
    let first = AcceptedRequest { serial: Serial(1), body_sha256: [7; 32], accepted_ms };
    assert_eq!(found, Some(first));

    let mut other_tenant = key.key.clone();
    other_tenant.tenant = TenantId(1);
    assert_eq!(fixture.store.idempotency(&other_tenant).await.unwrap(), None);
}

async fn of_parallel_requests_one_is_accepted(fixture: Fixture) {
    let key = idempotency("k", 7);
    let requests: Vec<_> = (1..=50)
        .map(|serial| fixture.store.submit(vec![with_key(intent(serial), key.clone())]))
        .collect();
    let mut accepted = Vec::new();
    for (serial, request) in (1..).zip(requests) {
        match request.await {
            Ok(_) => accepted.push(serial),
            Err(CommitError::Conflict { .. }) => {
                assert_eq!(fixture.store.intent(TENANT, Serial(serial)).await.unwrap(), None);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(accepted, [1]);
    let found = fixture.store.idempotency(&key.key).await.unwrap().unwrap();
    assert_eq!(found.serial, Serial(1));
}

async fn a_key_is_void_after_a_day(fixture: Fixture) {
    let store = &fixture.store;
    let (old, young) = (idempotency("old", 1), idempotency("young", 1));
    let mut later = intent(2);
    later.created_ms = intent(1).created_ms + 1;
    store.submit(vec![with_key(intent(1), old.clone())]).await.unwrap();
    store.submit(vec![with_key(later, young.clone())]).await.unwrap();

    let a_day_later = T0 + 1 + DAY_MS;
    assert_eq!(store.expire_idempotency(a_day_later - 1).await.unwrap(), 0);
    assert_eq!(store.expire_idempotency(a_day_later).await.unwrap(), 1);
    assert_eq!(store.idempotency(&old.key).await.unwrap(), None);
    assert!(store.idempotency(&young.key).await.unwrap().is_some());
}

async fn more_old_keys_than_one_transaction_removes_go(fixture: Fixture) {
    let store = &fixture.store;
    let calls: Vec<_> =
        (1..=1_500).map(|n| with_key(intent(n), idempotency(&n.to_string(), 1))).collect();
    store.submit(calls).await.unwrap();
    assert_eq!(store.expire_idempotency(T0 + 1_500 + DAY_MS).await.unwrap(), 1_500);
    assert_eq!(store.idempotency(&idempotency("1500", 1).key).await.unwrap(), None);
}

async fn an_old_key_may_be_used_again_before_it_is_removed(fixture: Fixture) {
    let store = &fixture.store;
    let key = idempotency("k", 1);
    store.submit(vec![with_key(intent(1), key.clone())]).await.unwrap();

    let mut almost = intent(2);
    almost.created_ms = intent(1).created_ms + DAY_MS - 1;
    let refused = store.submit(vec![with_key(almost, key.clone())]).await;
    assert!(matches!(refused, Err(CommitError::Conflict { .. })));

    let mut next_day = intent(3);
    next_day.created_ms = intent(1).created_ms + DAY_MS;
    store.submit(vec![with_key(next_day, idempotency("k", 2))]).await.unwrap();
    let found = store.idempotency(&key.key).await.unwrap().unwrap();
    assert_eq!((found.serial, found.body_sha256), (Serial(3), [2; 32]));
}
