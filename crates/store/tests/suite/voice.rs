//! What may be played: recordings and templates.

use engine::vocabulary::TenantId;
use store::{StoreError, VoiceRecording, VoiceStatus, VoiceTemplate};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT};

on_every_store!(
    a_recording_is_found_by_id_and_name,
    names_are_unique_per_tenant,
    a_review_changes_the_status,
    recordings_come_in_pages,
    templates,
);

async fn a_recording_is_found_by_id_and_name(fixture: Fixture) {
    fixture.store.put_voice_recording(recording("1", "welcome")).await.unwrap();
    let fixture = fixture.crash().await;
    let store = &fixture.store;
    let found = store.voice_recording(TENANT, "1").await.unwrap();
    assert_eq!(found, Some(recording("1", "welcome")));
    let found = store.voice_recording_by_name(TENANT, "welcome").await.unwrap();
    assert_eq!(found, Some(recording("1", "welcome")));
    assert_eq!(store.voice_recording(TenantId(1), "1").await.unwrap(), None);
    assert_eq!(store.voice_recording_by_name(TENANT, "1").await.unwrap(), None);
}

async fn names_are_unique_per_tenant(fixture: Fixture) {
    let store = &fixture.store;
    store.put_voice_recording(recording("1", "a")).await.unwrap();
    store.put_voice_recording(recording("2", "b")).await.unwrap();
    for taken in [recording("3", "a"), recording("1", "c")] {
        let refused = store.put_voice_recording(taken).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    }
    let refused = store.update_voice_recording(recording("2", "a")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    let mut other_tenant = recording("1", "a");
    other_tenant.tenant = TenantId(1);
    store.put_voice_recording(other_tenant).await.unwrap();
}

async fn a_review_changes_the_status(fixture: Fixture) {
    let store = &fixture.store;
    store.put_voice_recording(recording("1", "a")).await.unwrap();
    let mut reviewed = recording("1", "a");
    reviewed.status = VoiceStatus::Rejected;
    reviewed.audited_ms = Some(T0 + 5);
    reviewed.comment = "too quiet".into();
    assert!(store.update_voice_recording(reviewed.clone()).await.unwrap());
    assert_eq!(store.voice_recording(TENANT, "1").await.unwrap(), Some(reviewed));
    assert!(!store.update_voice_recording(recording("2", "b")).await.unwrap());
    assert_eq!(store.voice_recording(TENANT, "2").await.unwrap(), None);
}

async fn recordings_come_in_pages(fixture: Fixture) {
    let store = &fixture.store;
    for n in 1..=5 {
        let mut recording = recording(&n.to_string(), &format!("name {n}"));
        recording.uploaded_ms = T0 - n;
        if n % 2 == 1 {
            recording.status = VoiceStatus::Approved;
        }
        store.put_voice_recording(recording).await.unwrap();
    }
    let (total, page) = store.voice_recordings(TENANT, None, 1, 2).await.unwrap();
    assert_eq!((total, ids(&page)), (5, vec!["4", "3"]), "oldest first");
    let approved = Some(VoiceStatus::Approved);
    let (total, page) = store.voice_recordings(TENANT, approved, 0, 2).await.unwrap();
    assert_eq!((total, ids(&page)), (3, vec!["5", "3"]));
    let (total, page) = store.voice_recordings(TenantId(1), None, 0, 9).await.unwrap();
    assert_eq!((total, page.len()), (0, 0));
}

async fn templates(fixture: Fixture) {
    let store = &fixture.store;
    for n in 1..=3 {
        store.put_voice_template(template(n)).await.unwrap();
    }
    let again = store.put_voice_template(template(3)).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    assert_eq!(store.voice_template(TENANT, "2").await.unwrap(), Some(template(2)));
    assert_eq!(store.voice_template(TenantId(1), "2").await.unwrap(), None);
    let page = store.voice_templates(TENANT, 1, 1).await.unwrap();
    assert_eq!(page, (3, vec![template(2)]));
}

fn recording(voice_id: &str, name: &str) -> VoiceRecording {
    VoiceRecording {
        tenant: TENANT,
        voice_id: voice_id.into(),
        name: name.into(),
        scene: "3".into(),
        status: VoiceStatus::Submitted,
        uploaded_ms: T0,
        upload_account: Some("admin".into()),
        audited_ms: None,
        audit_account: None,
        comment: String::new(),
        callback_url: None,
        file_name: format!("voice/{voice_id}.alaw"),
        format: "wav".into(),
        duration_ms: 2_500,
        size_bytes: 20_000,
        sha256: [9; 32],
    }
}

fn template(n: i64) -> VoiceTemplate {
    VoiceTemplate {
        tenant: TENANT,
        template_id: n.to_string(),
        name: "code".into(),
        scene: "3".into(),
        speed: -200,
        volume: 50,
        voice_name: "cn_kefuman_common".into(),
        text: "尊敬的${TXT_8}您的初始密码为${NUM_6}。".into(),
        created_ms: T0 + n,
    }
}

fn ids(recordings: &[VoiceRecording]) -> Vec<&str> {
    recordings.iter().map(|recording| recording.voice_id.as_str()).collect()
}
