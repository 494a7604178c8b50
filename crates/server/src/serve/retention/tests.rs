use engine::cdr::Outcome;
use engine::intent::Intent;
use engine::vocabulary::Serial;
use store::VoiceStatus;

use super::*;
use crate::http::testing;
use crate::tenants;

/// 2026-11-21 08:00 UTC.
const NOW: i64 = 1_795_248_000_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn days(days: u32) -> tenants::Retention {
    tenants::Retention {
        records_days: Some(days),
        events_days: Some(days),
        timelines_days: Some(days),
        recordings_days: Some(days),
        callbacks_days: Some(days),
    }
}

/// More calls than one step takes, half of them old.
#[tokio::test]
async fn a_pass_removes_all_that_is_old_and_nothing_else() {
    let world = testing::World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    let store = world.app.store.clone();
    let any = world.accepted(0, NOW).await;
    let old = u64::from(STEP) + 7;
    for serial in 1..=2 * old {
        let created_ms = if serial <= old { NOW - 10 * DAY_MS } else { NOW - DAY_MS };
        let intent = Intent { serial: Serial(serial), created_ms, ..any.clone() };
        world.ended(intent, Outcome::Played, false).await;
        store.put_timeline(Serial(serial), b"[]".to_vec()).await.unwrap();
    }
    let defaults = tenants::Retention::default();
    let directory = world.app.config.data_directory.clone();
    let mut retention = Retention::new(store.clone(), directory, Duration::ZERO);

    let weeks = days(21).horizons(&defaults, NOW);
    retention.pass(testing::TENANT, weeks).await.unwrap();
    assert!(
        store.cdr(testing::TENANT, Serial(1)).await.unwrap().is_some(),
        "nothing is three weeks old"
    );

    // Timelines alone first: the records stay.
    let notes = tenants::Retention { timelines_days: Some(5), ..days(0) };
    retention.pass(testing::TENANT, notes.horizons(&defaults, NOW)).await.unwrap();
    assert_eq!(store.timeline(testing::TENANT, Serial(old)).await.unwrap(), None);
    assert!(store.timeline(testing::TENANT, Serial(old + 1)).await.unwrap().is_some());
    assert!(store.cdr(testing::TENANT, Serial(1)).await.unwrap().is_some());

    retention.pass(testing::TENANT, days(5).horizons(&defaults, NOW)).await.unwrap();
    for serial in [1, old / 2, old] {
        assert_eq!(store.cdr(testing::TENANT, Serial(serial)).await.unwrap(), None, "{serial}");
    }
    for serial in [old + 1, 2 * old] {
        assert!(store.cdr(testing::TENANT, Serial(serial)).await.unwrap().is_some(), "{serial}");
    }
    assert_eq!(store.first_event(testing::TENANT).await.unwrap(), old + 1);
}

#[tokio::test]
async fn an_old_recording_goes_with_its_key() {
    let world = testing::World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    let any = world.accepted(0, NOW).await;
    let mode = media::RecordMode::Both;
    let mut calls = Vec::new();
    for (serial, age) in [(1, 10), (2, 1)] {
        let created_ms = NOW - age * DAY_MS;
        let intent = Intent { serial: Serial(serial), created_ms, ..any.clone() };
        let new = world.app.vault.begin(&intent, mode).unwrap();
        std::fs::create_dir_all(new.path.parent().unwrap()).unwrap();
        std::fs::write(&new.path, "sealed").unwrap();
        world.app.vault.keep(&intent, new.sealed_key.expect("encrypted")).await.unwrap();
        calls.push((intent, new.path));
    }
    let (store, directory) = (world.app.store.clone(), world.app.config.data_directory.clone());
    let mut retention = Retention::new(store.clone(), directory, Duration::ZERO);
    let horizons = days(5).horizons(&tenants::Retention::default(), NOW);
    retention.pass(testing::TENANT, horizons).await.unwrap();
    for ((intent, path), stays) in calls.iter().zip([false, true]) {
        let key = store.secret(testing::TENANT, &recordings::key_name(intent)).await;
        assert_eq!((path.exists(), key.unwrap().is_some()), (stays, stays), "{}", intent.serial);
    }
}
