//! What calls with two legs need besides: softphones, and the bindings of ITA.

use std::time::Duration;

use engine::intent::{BidirectionalCall, Binding, Caller, OrderKind, Place};
use engine::vocabulary::{Serial, TenantId};
use engine::writes::Write;
use store::{Batch, Expiry, NumberBinding, Registration, Softphone, StoreError};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT, cdr, intent, started};

on_every_store!(
    a_softphone_is_kept_replaced_and_removed,
    a_number_belongs_to_one_tenant,
    where_a_phone_is_outlives_a_crash_and_not_its_password,
    bindings_are_kept_until_they_are_over,
    what_ita_calls_talked_stays_counted,
    a_binding_is_on_disk_with_the_call_that_needs_it,
    a_call_to_a_softphone_that_was_never_dialled_is_found_and_waits_nowhere,
);

const OTHER: TenantId = TenantId(1);

async fn a_softphone_is_kept_replaced_and_removed(fixture: Fixture) {
    fixture.store.put_softphone(softphone(TENANT, "66666667")).await.unwrap();
    fixture.store.put_softphone(softphone(TENANT, "66666666")).await.unwrap();
    let changed = Softphone {
        sealed_password: vec![9, 0, 9],
        remark: "Ann's".into(),
        suspended: true,
        from_file: true,
        ..softphone(TENANT, "66666666")
    };
    fixture.store.put_softphone(changed.clone()).await.unwrap();
    let fixture = fixture.crash().await;
    let store = &fixture.store;
    assert_eq!(store.softphones().await.unwrap(), [changed, softphone(TENANT, "66666667")]);
    assert!(store.remove_softphone(TENANT, "66666667").await.unwrap());
    assert!(!store.remove_softphone(TENANT, "66666667").await.unwrap());
    assert_eq!(store.softphones().await.unwrap().len(), 1);
}

async fn a_number_belongs_to_one_tenant(fixture: Fixture) {
    let store = &fixture.store;
    store.put_softphone(softphone(TENANT, "1")).await.unwrap();
    let taken = store.put_softphone(softphone(OTHER, "1")).await;
    assert!(matches!(taken, Err(StoreError::Conflict { .. })), "{taken:?}");
    assert!(!store.remove_softphone(OTHER, "1").await.unwrap());
    assert_eq!(store.softphones().await.unwrap(), [softphone(TENANT, "1")]);
}

async fn where_a_phone_is_outlives_a_crash_and_not_its_password(fixture: Fixture) {
    let here = |number: &str, at_ms| Registration {
        number: number.into(),
        at_ms,
        places: Some(vec![7, 0, at_ms as u8]),
    };
    let told = |registrations| Batch { registrations, ..Batch::default() };
    let store = &fixture.store;
    for number in ["1", "2", "3", "4"] {
        store.put_softphone(softphone(TENANT, number)).await.unwrap();
    }
    let first = vec![here("1", 1), here("2", 1), here("3", 1), here("4", 1), here("1", 2)];
    let gone = Registration { places: None, ..here("2", 2) };
    let (first, second) = (store.submit(told(first)), store.submit(told(vec![gone])));
    first.await.unwrap();
    second.await.unwrap();

    let fixture = fixture.crash().await;
    let store = &fixture.store;
    assert_eq!(store.registrations().await.unwrap(), [here("1", 2), here("3", 1), here("4", 1)]);
    let renamed = Softphone { remark: "Ann's".into(), ..softphone(TENANT, "1") };
    store.put_softphone(renamed).await.unwrap();
    assert!(store.put_softphone(softphone(OTHER, "4")).await.is_err(), "not its number");
    assert_eq!(store.registrations().await.unwrap().len(), 3, "nothing of that moves a phone");
    let another = Softphone { sealed_password: vec![9, 9], ..softphone(TENANT, "1") };
    store.put_softphone(another).await.unwrap();
    let suspended = Softphone { suspended: true, ..softphone(TENANT, "3") };
    store.put_softphone(suspended).await.unwrap();
    assert_eq!(store.registrations().await.unwrap(), [here("4", 1)]);
    assert!(store.remove_softphone(TENANT, "4").await.unwrap());
    assert_eq!(store.registrations().await.unwrap(), []);
}

async fn bindings_are_kept_until_they_are_over(fixture: Fixture) {
    let later = NumberBinding { expires_ms: T0 + 5_000, ..binding("13800000001", T0) };
    for put in [binding("13800000001", T0), binding("13800000002", T0 + 9_000), later.clone()] {
        fixture.store.put_number_binding(put).await.unwrap();
    }
    let fixture = fixture.crash().await;
    let store = &fixture.store;
    let second = binding("13800000002", T0 + 9_000);
    assert_eq!(store.number_bindings().await.unwrap(), [later.clone(), second.clone()]);
    assert_eq!(store.expire_number_bindings(T0 + 4_999).await.unwrap(), 0);
    assert_eq!(store.expire_number_bindings(T0 + 5_000).await.unwrap(), 1);
    assert_eq!(store.number_bindings().await.unwrap(), std::slice::from_ref(&second));
    let others = NumberBinding { tenant: OTHER, ..second.clone() };
    assert!(!store.remove_number_binding(others).await.unwrap());
    assert!(store.remove_number_binding(second).await.unwrap());
    assert!(!store.remove_number_binding(later).await.unwrap());
}

async fn what_ita_calls_talked_stays_counted(fixture: Fixture) {
    let call = |serial, ita| {
        let caller = Caller::Inbound { number: "66666666".into() };
        let mut intent = intent(serial);
        intent.order.kind = OrderKind::BidirectionalCall(BidirectionalCall {
            caller,
            call_data: None,
            ita,
            agent_work_no: None,
            binding: None,
            connected_url: None,
        });
        intent
    };
    let ended = |serial, ita| Write::Ended(Box::new(cdr(call(serial, ita))));
    let store = &fixture.store;
    assert_eq!(store.ita_talked(TENANT).await.unwrap(), Duration::ZERO);
    // Two in one batch, one behind them, and one that is none.
    store.submit(vec![ended(1, true), ended(2, true)]).await.unwrap();
    store.submit(vec![ended(3, true), ended(4, false)]).await.unwrap();
    let expiry = Expiry { tenant: TENANT, before_ms: i64::MAX, limit: 100 };
    store.expire_records(expiry).await.unwrap();
    let fixture = fixture.crash().await;
    assert_eq!(fixture.store.ita_talked(TENANT).await.unwrap(), Duration::from_secs(21));
    assert_eq!(fixture.store.ita_talked(OTHER).await.unwrap(), Duration::ZERO);
    let all = fixture.store.ita_talked_by_all().await.unwrap();
    assert_eq!(all, [(TENANT, Duration::from_secs(21))]);
}

async fn a_binding_is_on_disk_with_the_call_that_needs_it(fixture: Fixture) {
    let call = |serial, expires_ms| {
        let (party_a, party_b) = ("66666666".into(), "88884432".into());
        let mut call = intent(serial);
        call.order.kind = OrderKind::BidirectionalCall(BidirectionalCall {
            caller: Caller::Inbound { number: "66666666".into() },
            call_data: None,
            ita: true,
            agent_work_no: Some(401),
            binding: Some(Binding { party_a, party_b, expires_ms }),
            connected_url: None,
        });
        call
    };
    let queued = Box::new(call(2, 700));
    let queued = Write::Accepted { intent: queued, idempotency: None, started: false };
    fixture.store.submit(vec![started(call(1, 500)), queued]).await.unwrap();
    let fixture = fixture.crash().await;
    let bound = binding(&call(1, 0).order.caller_present, 700);
    assert_eq!(fixture.store.number_bindings().await.unwrap(), std::slice::from_ref(&bound));
    assert_eq!(fixture.store.ita_waiting(TENANT).await.unwrap(), [Serial(2)]);
    assert!(fixture.store.ita_waiting(OTHER).await.unwrap().is_empty());
    let store = &fixture.store;
    store.submit(vec![Write::Ended(Box::new(cdr(call(2, 700))))]).await.unwrap();
    assert!(store.ita_waiting(TENANT).await.unwrap().is_empty());
    assert_eq!(store.number_bindings().await.unwrap(), [bound], "it outlives its call");
}

async fn a_call_to_a_softphone_that_was_never_dialled_is_found_and_waits_nowhere(fixture: Fixture) {
    let mut call = intent(1);
    call.order.place = Place::Softphone;
    call.order.kind = OrderKind::BidirectionalCall(BidirectionalCall {
        caller: Caller::Inbound { number: "88884432".into() },
        call_data: None,
        ita: true,
        agent_work_no: None,
        binding: None,
        connected_url: None,
    });
    fixture.store.submit(vec![started(call.clone()), started(intent(2))]).await.unwrap();
    let fixture = fixture.crash().await;
    let found = fixture.store.recover().await.unwrap();
    let [unfinished] = &found.unfinished_started[..] else { panic!("{found:?}") };
    assert_eq!((&unfinished.intent, unfinished.cancelled), (&call, false));
    assert!(unfinished.legs.is_empty());
    assert_eq!(found.waiting, [(TENANT, "carrier".into(), 1)], "the other one does");
    fixture.store.submit(vec![Write::Ended(Box::new(cdr(call)))]).await.unwrap();
    assert!(fixture.store.recover().await.unwrap().unfinished_started.is_empty());
}

fn softphone(tenant: TenantId, number: &str) -> Softphone {
    Softphone {
        tenant,
        number: number.into(),
        sealed_password: vec![1, 2, 3],
        remark: String::new(),
        suspended: false,
        from_file: false,
    }
}

fn binding(x: &str, expires_ms: i64) -> NumberBinding {
    NumberBinding {
        tenant: TENANT,
        x: x.into(),
        party_a: "66666666".into(),
        party_b: "88884432".into(),
        expires_ms,
    }
}
