//! Waiting calls: in order, once, and until their wait is over.

use engine::intent::Intent;
use engine::route::Route;
use engine::vocabulary::{Priority, Serial, TenantId};
use store::{Claim, IntentState, Store};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{TENANT, accepted, intent, started};

on_every_store!(
    claimed_by_priority_then_first_come,
    concurrent_claims_never_share_a_call,
    a_claim_sees_what_was_submitted_before,
    tenants_and_routes_wait_apart,
    the_wait_ends_at_the_deadline,
    one_call_is_claimed_while_it_waits,
    a_waiting_call_comes_back_as_it_was,
);

async fn claimed_by_priority_then_first_come(fixture: Fixture) {
    let store = &fixture.store;
    let priorities = [(1, 9), (2, 5), (3, 1), (4, 5), (5, 1), (6, 9)];
    let calls = priorities.map(|(serial, value)| accepted(of_priority(serial, value)));
    store.submit(calls.to_vec()).await.unwrap();

    assert_eq!(serials(&ready(store, 4).await), [3, 5, 2, 4]);
    assert_eq!(serials(&ready(store, 4).await), [1, 6]);
    assert_eq!(ready(store, 4).await, []);
}

async fn concurrent_claims_never_share_a_call(fixture: Fixture) {
    let calls = (0..300).map(|serial| accepted(intent(serial))).collect::<Vec<_>>();
    fixture.store.submit(calls).await.unwrap();
    let mut claimers = JoinSet::new();
    for _ in 0..8 {
        let store = fixture.store.clone();
        claimers.spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let some = ready(&store, 7).await;
                if some.is_empty() {
                    return claimed;
                }
                claimed.extend(serials(&some));
            }
        });
    }
    let mut all = claimers.join_all().await.concat();
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
}

async fn a_claim_sees_what_was_submitted_before(fixture: Fixture) {
    let submitted = fixture.store.submit(vec![accepted(intent(1))]);
    assert_eq!(serials(&ready(&fixture.store, 1).await), [1]);
    submitted.await.unwrap();
}

async fn tenants_and_routes_wait_apart(fixture: Fixture) {
    let store = &fixture.store;
    let mut other_tenant = intent(1);
    other_tenant.tenant = TenantId(171);
    let mut other_route = intent(2);
    other_route.order.place = "backup".into();
    let calls = vec![accepted(other_tenant), accepted(other_route), accepted(intent(3))];
    store.submit(calls).await.unwrap();
    store.submit(vec![started(intent(4)), accepted(intent(5))]).await.unwrap();

    let carrier = Route::from("carrier");
    let waiting = vec![
        (TENANT, "backup".into(), 1),
        (TENANT, carrier.clone(), 2),
        (TenantId(171), carrier, 1),
    ];
    assert_eq!(store.waiting().await.unwrap(), waiting);
    assert_eq!(serials(&ready(store, 10).await), [3, 5], "neither the others nor what was started");
}

async fn the_wait_ends_at_the_deadline(fixture: Fixture) {
    let store = &fixture.store;
    let calls = (1..=3).map(|serial| accepted(intent(serial))).collect::<Vec<_>>();
    store.submit(calls).await.unwrap();
    let deadline = intent(2).queue_deadline_ms;
    assert_eq!(store.next_queue_deadline_ms().await.unwrap(), Some(intent(1).queue_deadline_ms));

    let expired = Claim::Expired { now_ms: deadline - 1, limit: 10 };
    assert_eq!(serials(&store.claim(expired).await.unwrap()), [1]);
    let expired = Claim::Expired { now_ms: deadline, limit: 10 };
    assert_eq!(serials(&store.claim(expired).await.unwrap()), [2]);
    assert_eq!(serials(&ready(store, 10).await), [3]);
    assert_eq!(store.next_queue_deadline_ms().await.unwrap(), None);
}

async fn one_call_is_claimed_while_it_waits(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(vec![accepted(intent(1)), accepted(intent(2))]).await.unwrap();
    let foreign = Claim::One { tenant: TenantId(99), serial: Serial(2) };
    assert_eq!(store.claim(foreign).await.unwrap(), [], "another tenant's");
    let one = Claim::One { tenant: TENANT, serial: Serial(2) };
    assert_eq!(store.claim(one.clone()).await.unwrap(), [intent(2)]);
    assert_eq!(store.claim(one).await.unwrap(), []);
    assert_eq!(store.claim(Claim::One { tenant: TENANT, serial: Serial(3) }).await.unwrap(), []);
}

async fn a_waiting_call_comes_back_as_it_was(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(vec![accepted(intent(1))]).await.unwrap();
    let found = store.intent(TENANT, Serial(1)).await.unwrap();
    assert_eq!(found, Some((intent(1), IntentState::Waiting)));
    assert_eq!(ready(store, 1).await, [intent(1)]);
    let found = store.intent(TENANT, Serial(1)).await.unwrap();
    assert_eq!(found, Some((intent(1), IntentState::Started)));
}

fn of_priority(serial: u64, value: u8) -> Intent {
    let mut intent = intent(serial);
    intent.order.priority = Priority::new(value).unwrap();
    intent
}

async fn ready(store: &Store, limit: u32) -> Vec<Intent> {
    let claim = Claim::Ready { tenant: TENANT, route: "carrier".into(), limit };
    store.claim(claim).await.unwrap()
}

fn serials(intents: &[Intent]) -> Vec<u64> {
    intents.iter().map(|intent| intent.serial.0).collect()
}
