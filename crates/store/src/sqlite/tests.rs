//! A database of an earlier version is brought to the newest and read.

use engine::events::EventKind;
use engine::vocabulary::{LegId, Serial, Side, TenantId};

use super::*;
use crate::{Store, StoreConfig};

const ORDER: &str = r#"{"route":"carrier","called":"8899","caller_present":"95599","priority":9,
    "ring_limit_s":50,"max_duration_s":600,"record":false,"callback_url":null,
    "kind":{"kind":"voice_notification","playlist":[{"item":"recording","voice_id":"100001"}],
    "play_times":1}}"#;

/// As the first version wrote a call that rings and one that is over.
fn first_version(file: &Path) {
    let connection = connect(file).unwrap();
    for step in schema::MIGRATIONS[0].steps {
        connection.execute_batch(step).unwrap();
    }
    let cdr = format!(
        r#"{{"intent":{{"serial":8,"tenant":1,"created_ms":1,"queue_deadline_ms":2,"order":{ORDER}}},
        "trunk":"carrier","dialled_ms":3,"alerting_ms":4,"talking_ms":5,"released_ms":6,
        "talk_duration_ms":1,"outcome":"played","cause":"hung_up","sip_status":null,"rounds":1,
        "digits":"","recorded":false,"media":null}}"#
    );
    let ringing = r#"{"type":"ringing","leg":71}"#;
    for statement in [
        format!(
            "INSERT INTO intents VALUES
             (7, 1, 'voice_notification', 'carrier', 9, '8899', '95599', 1, 2, 1, '{ORDER}')"
        ),
        "INSERT INTO attempts VALUES (71, 7, 'carrier', 1, 3, x'01', x'02')".to_owned(),
        "INSERT INTO answers VALUES (7, 71, 4, x'03')".to_owned(),
        format!(
            "INSERT INTO cdrs VALUES (8, 1, 1, 'voice_notification', '95599', '8899', '{cdr}')"
        ),
        format!(
            "INSERT INTO events (tenant, position, serial, at_ms, body)
             VALUES (1, 1, 7, 3, '{ringing}')"
        ),
        "INSERT INTO event_positions VALUES (1, 1, 1)".to_owned(),
        "PRAGMA user_version = 1".to_owned(),
    ] {
        connection.execute_batch(&statement).unwrap();
    }
    connection.close().unwrap();
}

#[tokio::test]
async fn what_the_first_version_wrote_is_read_by_this_one() {
    let directory = tempfile::tempdir().unwrap();
    first_version(&directory.path().join("offhook.db"));
    let config = StoreConfig::Sqlite { directory: directory.path().to_owned() };
    let store = Store::open(config).await.unwrap();

    let found = store.recover().await.unwrap().unfinished_started;
    let [leg] = &found[0].legs[..] else { panic!("{found:?}") };
    assert_eq!((leg.leg, leg.side()), (LegId(71), Side::Called));
    assert_eq!(leg.answered, Some((vec![3], 4)));
    assert_eq!(leg.attempt.as_ref().and_then(|one| one.trunk.clone()), Some("carrier".into()));
    let events = store.events_of(TenantId(1), Serial(7)).await.unwrap();
    assert_eq!(events[0].1.kind, EventKind::Ringing { leg: LegId(71), side: Side::Called });
    let cdr = store.cdr(TenantId(1), Serial(8)).await.unwrap().unwrap();
    assert_eq!((cdr.caller.clone(), cdr.release_reason()), (None, "1"));
}
