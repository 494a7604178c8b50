//! What the records of a day add up to.

use std::time::Duration;

use engine::Used;
use engine::vocabulary::TenantId;

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT, accepted, cdr, ended, intent, started};

on_every_store!(a_day_is_counted_from_records_and_from_what_is_not_over);

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
