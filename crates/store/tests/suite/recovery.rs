//! After a crash: what was committed is there, what was dialled is told apart from what waits.

use engine::route::Route;
use engine::vocabulary::{LegId, Serial, Side, TenantId};
use engine::writes::{Attempt, FoundLeg, Unfinished, Write};
use store::{Claim, IntentState, NaturalKey};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{
    T0, TENANT, accepted, answered, attempt, cdr, ended, ended_event, expecting, intent, ringing,
    started, two_parties, whole_call,
};

on_every_store!(
    a_start_finds_what_was_committed,
    a_dialled_call_is_unfinished_with_the_last_attempt_of_each_leg,
    an_answer_belongs_to_its_attempt,
    both_legs_of_a_call_are_found_with_their_sides_and_dialogs,
    a_code_that_nobody_used_never_waits_in_the_queue,
    claimed_and_never_dialled_waits_again,
    an_invite_that_was_taken_back_before_it_left_is_not_found,
    what_was_cancelled_is_found_and_never_waits_again,
    an_attempt_of_an_ended_call_is_no_call,
    positions_go_on_after_a_restart,
    an_empty_store_has_nothing_to_recover,
);

async fn a_start_finds_what_was_committed(fixture: Fixture) {
    let calls = (1..=3).map(|serial| accepted(intent(serial))).collect::<Vec<_>>();
    fixture.store.submit(calls).await.unwrap();
    fixture.store.submit(whole_call(9)).await.unwrap();
    let fixture = fixture.crash().await;

    let recovery = fixture.store.recover().await.unwrap();
    assert_eq!(recovery.unfinished_started, []);
    assert_eq!(recovery.waiting, [(TENANT, Route::from("carrier"), 3)]);
    assert_eq!(recovery.highest_serial, Some(Serial(9)));
    assert_eq!(recovery.next_queue_deadline_ms, Some(intent(1).queue_deadline_ms));
    let keys: Vec<NaturalKey> = (1..=3).map(|serial| (&intent(serial)).into()).collect();
    assert_eq!(fixture.store.natural_keys(TENANT).await.unwrap(), keys);
    assert_eq!(fixture.store.natural_keys(TenantId(1)).await.unwrap(), []);
    assert_eq!(fixture.store.cdr(TENANT, Serial(9)).await.unwrap(), Some(cdr(intent(9))));
    let due = fixture.store.callbacks_due(T0 + 60_000, 10).await.unwrap();
    assert_eq!(due.len(), 1, "its callback is still to be made");
}

async fn a_dialled_call_is_unfinished_with_the_last_attempt_of_each_leg(fixture: Fixture) {
    let store = &fixture.store;
    let first = attempt(1, 1);
    let with_credentials = Attempt { number: 2, wire: b"INVITE again".to_vec(), ..first.clone() };
    let over_another_trunk = Attempt { trunk: Some("backup".into()), ..attempt(1, 3) };
    store.submit(vec![started(intent(1)), Write::Attempt(Box::new(first))]).await.unwrap();
    for attempt in [&with_credentials, &over_another_trunk] {
        store.submit(vec![Write::Attempt(Box::new(attempt.clone()))]).await.unwrap();
    }
    let fixture = fixture.crash().await;

    let recovery = fixture.store.recover().await.unwrap();
    let unfinished = Unfinished {
        intent: intent(1),
        ringing_ms: None,
        recorded: false,
        cancelled: false,
        legs: vec![dialled(with_credentials), dialled(over_another_trunk)],
    };
    assert_eq!(recovery.unfinished_started, [unfinished]);
    assert_eq!(recovery.waiting, []);
}

async fn an_answer_belongs_to_its_attempt(fixture: Fixture) {
    let store = &fixture.store;
    let (early, late) = (attempt(1, 1), attempt(1, 2));
    let up = attempt(2, 1);
    let writes = vec![
        started(intent(1)),
        Write::Attempt(Box::new(early.clone())),
        answered(&early, T0 + 9),
        Write::Attempt(Box::new(late.clone())),
        started(intent(2)),
        Write::Attempt(Box::new(up.clone())),
        answered(&up, T0 + 10),
    ];
    store.submit(writes).await.unwrap();
    let fixture = fixture.crash().await;

    let unfinished = fixture.store.recover().await.unwrap().unfinished_started;
    let answer = |at_ms| Some((b"tag=far".to_vec(), at_ms));
    let early = FoundLeg { answered: answer(T0 + 9), ..dialled(early) };
    assert_eq!(unfinished[0].legs, [early, dialled(late)], "the answer was the first leg's");
    assert_eq!(unfinished[1].legs, [FoundLeg { answered: answer(T0 + 10), ..dialled(up) }]);
}

async fn both_legs_of_a_call_are_found_with_their_sides_and_dialogs(fixture: Fixture) {
    let store = &fixture.store;
    let manager = Attempt { side: Side::Caller, trunk: None, ..attempt(1, 1) };
    let customer = attempt(1, 2);
    let writes = vec![
        started(two_parties(1)),
        Write::Attempt(Box::new(manager.clone())),
        answered(&manager, T0 + 9),
        Write::Attempt(Box::new(customer.clone())),
        answered(&customer, T0 + 10),
    ];
    store.submit(writes).await.unwrap();
    let key = NaturalKey::from(&two_parties(1));
    assert_eq!(key.caller_present, "66666666", "the caller, not the number that is shown");
    assert_eq!(store.natural_keys(TENANT).await.unwrap(), [key]);
    let fixture = fixture.crash().await;

    let unfinished = fixture.store.recover().await.unwrap().unfinished_started;
    assert_eq!(unfinished[0].intent, two_parties(1));
    let up = |attempt: Attempt, at_ms| FoundLeg {
        answered: Some((b"tag=far".to_vec(), at_ms)),
        ..dialled(attempt)
    };
    assert_eq!(unfinished[0].legs, [up(manager, T0 + 9), up(customer, T0 + 10)]);
    let sides: Vec<Side> = unfinished[0].legs.iter().map(FoundLeg::side).collect();
    assert_eq!(sides, [Side::Caller, Side::Called]);
}

async fn a_code_that_nobody_used_never_waits_in_the_queue(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(vec![started(expecting(1)), started(expecting(2))]).await.unwrap();
    let inbound = FoundLeg {
        leg: LegId(1 << 63 | 7),
        attempt: None,
        answered: Some((b"tag=app".to_vec(), T0 + 11)),
    };
    let (serial, leg, at_ms) = (Serial(2), inbound.leg, T0 + 11);
    let answered = Write::Answered { serial, leg, at_ms, dialog: b"tag=app".to_vec() };
    store.submit(vec![Write::Attempt(Box::new(attempt(2, 1))), answered]).await.unwrap();
    let fixture = fixture.crash().await;

    let recovery = fixture.store.recover().await.unwrap();
    assert_eq!(recovery.waiting, []);
    let [unused, used] = &recovery.unfinished_started[..] else { panic!("{recovery:?}") };
    assert_eq!((&unused.intent, &unused.legs[..]), (&expecting(1), &[][..]));
    assert_eq!(used.legs, [inbound, dialled(attempt(2, 1))], "who came from outside is first");
}

async fn an_invite_that_was_taken_back_before_it_left_is_not_found(fixture: Fixture) {
    let store = &fixture.store;
    let (silent, next) = (attempt(1, 1), attempt(1, 2));
    let withdrawn = Write::Withdrawn { serial: Serial(1), leg: next.leg };
    let written = |attempt: &Attempt| Write::Attempt(Box::new(attempt.clone()));
    store.submit(vec![started(intent(1)), written(&silent)]).await.unwrap();
    store.submit(vec![written(&next), withdrawn.clone()]).await.unwrap();
    let other = attempt(1, 3);
    store.submit(vec![written(&other)]).await.unwrap();
    let again = Write::Withdrawn { serial: Serial(1), leg: other.leg };
    store.submit(vec![again, answered(&silent, T0 + 9)]).await.unwrap();
    let fixture = fixture.crash().await;

    let unfinished = fixture.store.recover().await.unwrap().unfinished_started;
    let up = FoundLeg { answered: Some((b"tag=far".to_vec(), T0 + 9)), ..dialled(silent) };
    assert_eq!(unfinished[0].legs, [up]);
}

async fn what_was_cancelled_is_found_and_never_waits_again(fixture: Fixture) {
    let store = &fixture.store;
    let cancelled = |serial| Write::Cancelled { serial: Serial(serial) };
    let dialled = Write::Attempt(Box::new(attempt(2, 1)));
    let writes = vec![started(intent(1)), cancelled(1), started(intent(2)), dialled];
    store.submit(writes).await.unwrap();
    store
        .submit(vec![cancelled(2), cancelled(9), accepted(intent(3)), started(intent(4))])
        .await
        .unwrap();
    store.submit(vec![cancelled(4), ended(cdr(intent(4)))]).await.unwrap();
    let claim = Claim::One { tenant: TENANT, serial: Serial(1) };
    assert_eq!(store.claim(claim).await.unwrap(), [], "it is started");
    let fixture = fixture.crash().await;

    let recovery = fixture.store.recover().await.unwrap();
    let found = |unfinished: &Unfinished| {
        let Unfinished { intent, cancelled, legs, .. } = unfinished;
        (intent.serial.0, *cancelled, legs.len())
    };
    let found: Vec<_> = recovery.unfinished_started.iter().map(found).collect();
    assert_eq!(found, [(1, true, 0), (2, true, 1)]);
    assert_eq!(recovery.waiting, [(TENANT, Route::from("carrier"), 1)]);
    let state = fixture.store.intent(TENANT, Serial(1)).await.unwrap().map(|(_, state)| state);
    assert_eq!(state, Some(IntentState::Started));
}

async fn claimed_and_never_dialled_waits_again(fixture: Fixture) {
    let store = &fixture.store;
    store.submit(vec![accepted(intent(1)), accepted(intent(2)), started(intent(3))]).await.unwrap();
    let ready = Claim::Ready { tenant: TENANT, route: "carrier".into(), limit: 10 };
    assert_eq!(store.claim(ready.clone()).await.unwrap().len(), 2);
    store.submit(vec![Write::Attempt(Box::new(attempt(2, 1)))]).await.unwrap();
    let fixture = fixture.crash().await;

    let recovery = fixture.store.recover().await.unwrap();
    assert_eq!(recovery.unfinished_started.len(), 1);
    assert_eq!(recovery.waiting, [(TENANT, Route::from("carrier"), 2)]);
    assert_eq!(fixture.store.claim(ready).await.unwrap(), [intent(1), intent(3)]);
    let dialled = fixture.store.intent(TENANT, Serial(2)).await.unwrap();
    assert_eq!(dialled, Some((intent(2), IntentState::Started)), "never dialled again silently");
}

async fn an_attempt_of_an_ended_call_is_no_call(fixture: Fixture) {
    let store = &fixture.store;
    let record = cdr(intent(1));
    store.submit(vec![started(intent(1)), ended_event(&record), ended(record)]).await.unwrap();
    store.submit(vec![Write::Attempt(Box::new(attempt(1, 1)))]).await.unwrap();
    let fixture = fixture.crash().await;
    assert_eq!(fixture.store.recover().await.unwrap().unfinished_started, []);
}

async fn positions_go_on_after_a_restart(fixture: Fixture) {
    let batch = vec![ringing(TENANT, 1), ringing(TENANT, 1)];
    fixture.store.submit(batch.clone()).await.unwrap();
    let fixture = fixture.crash().await;
    let committed = fixture.store.submit(batch).await.unwrap();
    let positions: Vec<u64> = committed.positions.iter().map(|place| place.position).collect();
    assert_eq!(positions, [3, 4]);
}

async fn an_empty_store_has_nothing_to_recover(fixture: Fixture) {
    assert_eq!(fixture.store.recover().await.unwrap(), store::Recovery::default());
}

fn dialled(attempt: Attempt) -> FoundLeg {
    FoundLeg { leg: attempt.leg, attempt: Some(attempt), answered: None }
}
