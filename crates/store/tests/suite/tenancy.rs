//! What is read for a tenant is its own, in each store; PostgreSQL's second wall is in `row_security.rs`.

use engine::intent::{
    BidirectionalCall, Binding, Caller, Idempotency, IdempotencyKey, Intent, OrderKind,
};
use engine::vocabulary::{CallKind, LegId, Serial, TenantId};
use engine::writes::{Attempt, Write};
use serde_json::json;
use store::{
    Batch, CallQuery, CallbackAttempt, CallbackNext, CallbackResult, Expiry, Registration, Scope,
    Softphone, Store, Tasks, Tenant, Token, TokenKind, VoiceRecording, VoiceStatus, VoiceTemplate,
};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{self, T0, accepted, answered, cdr, ended, ended_event, ringing, started};

on_every_store!(
    what_names_a_tenant_reads_its_own,
    what_names_a_tenant_reads_nothing_of_another,
    who_has_to_see_all_does,
);

pub const A: TenantId = TenantId(7);
pub const B: TenantId = TenantId(8);

async fn what_names_a_tenant_reads_its_own(fixture: Fixture) {
    for tenant in [A, B] {
        fill(&fixture.store, tenant).await;
    }
    for tenant in [A, B] {
        for (read, found) in read_as(&fixture.store, tenant, tenant).await {
            assert!(found > 0, "{read} finds nothing of {tenant:?}");
        }
    }
}

async fn what_names_a_tenant_reads_nothing_of_another(fixture: Fixture) {
    let store = &fixture.store;
    fill(store, A).await;
    for (read, found) in read_as(store, TenantId(9), A).await {
        assert_eq!(found, 0, "{read} finds another's rows");
    }
}

async fn who_has_to_see_all_does(fixture: Fixture) {
    let store = &fixture.store;
    for tenant in [A, B] {
        fill(store, tenant).await;
    }
    for tenant in [A, B] {
        let Calls { over, waits, .. } = Calls::of(tenant);
        let record = store.cdr(Scope::All, over).await.unwrap();
        assert_eq!(record.map(|cdr| cdr.intent.tenant), Some(tenant));
        let intent = store.intent(Scope::All, waits).await.unwrap();
        assert_eq!(intent.map(|(intent, _)| intent.tenant), Some(tenant));
        assert!(!store.events_of(Scope::All, over).await.unwrap().is_empty());
        assert_eq!(store.callbacks_of(Scope::All, over).await.unwrap().len(), 1);
        assert!(store.timeline(Scope::All, over).await.unwrap().is_some());
    }
    assert_eq!(store.tenants().await.unwrap().len(), 2);
    assert_eq!(store.recover().await.unwrap().unfinished_started.len(), 2);
}

/// What [`fill`] writes.
struct Calls {
    over: Serial,
    waits: Serial,
    rings: Serial,
}

impl Calls {
    fn of(tenant: TenantId) -> Calls {
        let first = u64::from(tenant.0) * 100;
        Calls { over: Serial(first), waits: Serial(first + 1), rings: Serial(first + 2) }
    }
}

/// At least one row of the tenant in each table, and in those that the server keeps for itself.
pub async fn fill(store: &Store, tenant: TenantId) {
    let Calls { over, waits, rings } = Calls::of(tenant);
    let (waiting, dialled) = (ita(tenant, waits), call(tenant, rings));
    let idempotency = Some(Idempotency { key: key(tenant), body_sha256: [1; 32] });
    let attempt = Attempt {
        serial: dialled.serial,
        leg: LegId(dialled.serial.0),
        ..nouns::attempt(dialled.serial.0, 1)
    };
    let answer = answered(&attempt, T0 + 7);
    let writes = vec![
        ringing(tenant, rings.0),
        Write::Accepted { intent: Box::new(waiting), idempotency, started: false },
        started(dialled),
        Write::Attempt(Box::new(attempt)),
        answer,
    ];
    store.submit(writes).await.unwrap();
    let number = format!("6666{}", tenant.0);
    let softphone = Softphone {
        tenant,
        number: number.clone(),
        sealed_password: vec![1],
        remark: String::new(),
        suspended: false,
        from_file: false,
    };
    store.put_softphone(softphone).await.unwrap();
    let record = cdr(ita(tenant, over));
    let batch = Batch {
        writes: vec![accepted(ita(tenant, over)), ended_event(&record), ended(record)],
        timelines: vec![(over, b"[]".to_vec())],
        registrations: vec![Registration { number, at_ms: T0, places: Some(vec![1]) }],
    };
    store.submit(batch).await.unwrap();
    give_up_callbacks(store).await;
    let first_event = Expiry { tenant, before_ms: i64::MAX, limit: 1 };
    assert_eq!(store.expire_events(first_event).await.unwrap(), 1);
    fill_settings(store, tenant).await;
}

async fn give_up_callbacks(store: &Store) {
    for due in store.callbacks_due(T0 + 1_000_000, 10).await.unwrap() {
        let attempt = CallbackAttempt {
            id: due.id,
            number: due.attempt_number,
            at_ms: T0,
            duration_ms: 1,
            request: "POST".into(),
            result: CallbackResult::Error { why: "refused".into() },
            next: CallbackNext::Dead,
        };
        store.callback_attempt(attempt).await.unwrap();
    }
}

async fn fill_settings(store: &Store, tenant: TenantId) {
    let row = Tenant {
        id: tenant,
        name: format!("VDN {}", tenant.0),
        app_key: format!("key {}", tenant.0),
        app_secret_sha256: [0; 32],
        access_codes: Vec::new(),
        settings: json!({}),
        suspended: false,
        from_file: false,
    };
    store.put_tenant(row).await.unwrap();
    let sha256 = [tenant.0 as u8; 32];
    let token = Token { sha256, tenant, kind: TokenKind::ApiKey, expires_ms: None };
    store.put_token(token).await.unwrap();
    store.put_secret(tenant, "callback", vec![1]).await.unwrap();
    store.put_meta("node", vec![1]).await.unwrap();
    let recording = VoiceRecording {
        tenant,
        voice_id: "1".into(),
        name: "welcome".into(),
        scene: "3".into(),
        status: VoiceStatus::Approved,
        uploaded_ms: T0,
        upload_account: None,
        audited_ms: None,
        audit_account: None,
        comment: String::new(),
        callback_url: None,
        file_name: "voice/1.alaw".into(),
        format: "wav".into(),
        duration_ms: 2_500,
        size_bytes: 20_000,
        sha256,
    };
    store.put_voice_recording(recording).await.unwrap();
    let template = VoiceTemplate {
        tenant,
        template_id: "1".into(),
        name: "code".into(),
        scene: "3".into(),
        speed: 0,
        volume: 50,
        voice_name: "cn_kefuman_common".into(),
        text: "${NUM_6}".into(),
        created_ms: T0,
    };
    store.put_voice_template(template).await.unwrap();
}

/// How much each read that names a tenant finds, of what [`fill`] wrote for `whose`, when it is asked for by `tenant`.
pub async fn read_as(
    store: &Store,
    tenant: TenantId,
    whose: TenantId,
) -> Vec<(&'static str, usize)> {
    let Calls { over, waits, .. } = Calls::of(whose);
    let all = CallQuery {
        tenant,
        start_ms: 0,
        end_ms: i64::MAX,
        caller: None,
        tasks: Tasks::All,
        offset: 0,
        limit: 10,
    };
    let own_key = IdempotencyKey { tenant, ..key(whose) };
    let by_name = store.voice_recording_by_name(tenant, "welcome");
    let settings = [
        ("tenant", usize::from(store.tenant(tenant).await.unwrap().is_some())),
        ("secret", usize::from(store.secret(tenant, "callback").await.unwrap().is_some())),
        ("voice_recordings", store.voice_recordings(tenant, None, 0, 9).await.unwrap().1.len()),
        (
            "voice_recording",
            usize::from(store.voice_recording(tenant, "1").await.unwrap().is_some()),
        ),
        ("voice_recording_by_name", usize::from(by_name.await.unwrap().is_some())),
        ("voice_templates", store.voice_templates(tenant, 0, 9).await.unwrap().1.len()),
        ("voice_template", usize::from(store.voice_template(tenant, "1").await.unwrap().is_some())),
    ];
    let calls = [
        ("calls", store.calls(&all).await.unwrap().1.len()),
        ("cdr", usize::from(store.cdr(tenant, over).await.unwrap().is_some())),
        ("intent", usize::from(store.intent(tenant, waits).await.unwrap().is_some())),
        ("timeline", usize::from(store.timeline(tenant, over).await.unwrap().is_some())),
        ("events", store.events(tenant, 0, 9).await.unwrap().len()),
        ("first_event", store.first_event(tenant).await.unwrap() as usize - 1),
        ("events_of", store.events_of(tenant, over).await.unwrap().len()),
        ("callbacks_of", store.callbacks_of(tenant, over).await.unwrap().len()),
        ("dead_letters", store.dead_letters(tenant, 0, 9).await.unwrap().len()),
        ("idempotency", usize::from(store.idempotency(&own_key).await.unwrap().is_some())),
        ("natural_keys", store.natural_keys(tenant).await.unwrap().len()),
        ("ita_waiting", store.ita_waiting(tenant).await.unwrap().len()),
        ("ita_talked", store.ita_talked(tenant).await.unwrap().as_secs() as usize),
        ("used_since", store.used_since(tenant, 0, 0).await.unwrap().calls as usize),
    ];
    settings.into_iter().chain(calls).collect()
}

fn key(tenant: TenantId) -> IdempotencyKey {
    IdempotencyKey { tenant, kind: CallKind::BidirectionalCall, key: "once".into() }
}

fn call(tenant: TenantId, serial: Serial) -> Intent {
    Intent { tenant, ..nouns::intent(serial.0) }
}

fn ita(tenant: TenantId, serial: Serial) -> Intent {
    let mut intent = call(tenant, serial);
    let (party_a, party_b) = (format!("6666{}", tenant.0), "88884432".into());
    intent.order.kind = OrderKind::BidirectionalCall(BidirectionalCall {
        caller: Caller::Inbound { number: party_a.clone() },
        call_data: None,
        ita: true,
        agent_work_no: None,
        binding: Some(Binding { party_a, party_b, expires_ms: T0 }),
        connected_url: None,
    });
    intent
}
