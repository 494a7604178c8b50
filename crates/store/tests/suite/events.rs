//! The event log: pages of a tenant, and all of a call.

use engine::events::{Event, EventKind, RecordingReview};
use engine::vocabulary::{LegId, Side, TenantId};
use engine::writes::Write;

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT, cdr, ended, ended_event, event, intent, ringing, started};

on_every_store!(
    a_reader_goes_on_where_it_stopped,
    a_call_has_its_events_in_order,
    a_terminal_event_without_its_record_is_kept_whole,
    an_event_without_a_call,
);

async fn a_reader_goes_on_where_it_stopped(fixture: Fixture) {
    let store = &fixture.store;
    let writes = (1..=10).flat_map(|n| [ringing(TENANT, n), ringing(TenantId(9), n)]);
    store.submit(writes.collect::<Vec<_>>()).await.unwrap();
    let mut read = Vec::new();
    let mut after = 0;
    loop {
        let page = store.events(TENANT, after, 4).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        read.extend(page);
    }
    let expected: Vec<(u64, Event)> = (1..=10)
        .map(|n| (n, event(TENANT, n, EventKind::Ringing { leg: LegId(n), side: Side::Called })))
        .collect();
    assert_eq!(read, expected);
    assert_eq!(store.events(TENANT, u64::MAX, 4).await.unwrap(), []);
}

async fn a_call_has_its_events_in_order(fixture: Fixture) {
    let store = &fixture.store;
    let record = cdr(intent(1));
    store.submit(vec![started(intent(1)), ringing(TENANT, 1), ringing(TENANT, 2)]).await.unwrap();
    store.submit(vec![ended_event(&record), ended(record.clone())]).await.unwrap();

    let events = store.events_of(TENANT, record.intent.serial).await.unwrap();
    let ended = EventKind::Ended { cdr: Box::new(record) };
    let kinds: Vec<(u64, EventKind)> =
        events.into_iter().map(|(position, event)| (position, event.kind)).collect();
    assert_eq!(kinds, [(1, EventKind::Ringing { leg: LegId(1), side: Side::Called }), (3, ended)]);
}

async fn a_terminal_event_without_its_record_is_kept_whole(fixture: Fixture) {
    let store = &fixture.store;
    let record = cdr(intent(1));
    store.submit(vec![ended_event(&record)]).await.unwrap();
    let mut other = record.clone();
    other.rounds = 99;
    store.submit(vec![ended_event(&record), ended(other)]).await.unwrap();
    for (_, event) in store.events(TENANT, 0, 10).await.unwrap() {
        assert_eq!(event.kind, EventKind::Ended { cdr: Box::new(record.clone()) });
    }
}

async fn an_event_without_a_call(fixture: Fixture) {
    let store = &fixture.store;
    let review = RecordingReview {
        voice_id: "100001".into(),
        approved: true,
        comment: "审核通过".into(),
        file_name: "a.wav".into(),
    };
    let kind = EventKind::RecordingReviewed { review };
    let event = Event { tenant: TENANT, serial: None, at_ms: T0, kind };
    let callback = Some("http://127.0.0.1/reviewed".to_owned());
    store.submit(vec![Write::Event { event: event.clone(), callback }]).await.unwrap();
    assert_eq!(store.events(TENANT, 0, 10).await.unwrap(), [(1, event.clone())]);
    let due = store.callbacks_due(T0, 10).await.unwrap();
    assert_eq!(due[0].event, event);
}
