//! Tenants, tokens, sealed secrets and single values.

use engine::vocabulary::TenantId;
use serde_json::json;
use store::{StoreError, Tenant, Token, TokenKind};

use crate::fixture::{Fixture, on_every_store};
use crate::nouns::{T0, TENANT};

on_every_store!(
    a_tenant_is_found_by_id_and_key,
    an_app_key_belongs_to_one_tenant,
    tokens_expire,
    secrets_and_values_are_replaced,
    secrets_are_removed_by_name_and_tenant,
);

async fn a_tenant_is_found_by_id_and_key(fixture: Fixture) {
    let store = &fixture.store;
    let mut first = tenant(170, "key-170");
    store.put_tenant(first.clone()).await.unwrap();
    store.put_tenant(tenant(2, "key-2")).await.unwrap();
    first.suspended = true;
    first.settings = json!({"queue_length": 7, "trust": ["127.0.0.1:80"]});
    store.put_tenant(first.clone()).await.unwrap();

    let fixture = fixture.crash().await;
    let store = &fixture.store;
    assert_eq!(store.tenant(TENANT).await.unwrap(), Some(first.clone()));
    assert_eq!(store.tenant_by_app_key("key-170").await.unwrap(), Some(first.clone()));
    assert_eq!(store.tenant_by_app_key("key").await.unwrap(), None);
    assert_eq!(store.tenant(TenantId(3)).await.unwrap(), None);
    assert_eq!(store.tenants().await.unwrap(), [tenant(2, "key-2"), first]);
}

async fn an_app_key_belongs_to_one_tenant(fixture: Fixture) {
    let store = &fixture.store;
    store.put_tenant(tenant(1, "key")).await.unwrap();
    let second = store.put_tenant(tenant(2, "key")).await;
    assert!(matches!(second, Err(StoreError::Conflict { .. })));
    assert_eq!(store.tenants().await.unwrap(), [tenant(1, "key")]);
}

async fn tokens_expire(fixture: Fixture) {
    let store = &fixture.store;
    let short = token(1, TokenKind::Bearer, Some(T0 + 600_000));
    let lasting = token(2, TokenKind::ApiKey, None);
    store.put_token(short).await.unwrap();
    store.put_token(lasting).await.unwrap();
    assert_eq!(store.token(&[1; 32]).await.unwrap(), Some(short));

    assert_eq!(store.expire_tokens(T0 + 599_999).await.unwrap(), 0);
    assert_eq!(store.expire_tokens(T0 + 600_000).await.unwrap(), 1);
    assert_eq!(store.token(&[1; 32]).await.unwrap(), None);
    assert_eq!(store.token(&[2; 32]).await.unwrap(), Some(lasting));
}

async fn secrets_and_values_are_replaced(fixture: Fixture) {
    let store = &fixture.store;
    store.put_secret(TENANT, "callback", vec![1, 0, 255]).await.unwrap();
    store.put_secret(TENANT, "callback", vec![2]).await.unwrap();
    assert_eq!(store.secret(TENANT, "callback").await.unwrap(), Some(vec![2]));
    assert_eq!(store.secret(TenantId(1), "callback").await.unwrap(), None);

    assert_eq!(store.meta("node").await.unwrap(), None);
    store.put_meta("node", vec![1]).await.unwrap();
    store.put_meta("node", vec![0, 2]).await.unwrap();
    assert_eq!(store.meta("node").await.unwrap(), Some(vec![0, 2]));
}

async fn secrets_are_removed_by_name_and_tenant(fixture: Fixture) {
    let store = &fixture.store;
    for (tenant, name) in [(TENANT, "a"), (TENANT, "b"), (TENANT, "c"), (TenantId(1), "a")] {
        store.put_secret(tenant, name, vec![7]).await.unwrap();
    }
    let names = ["a", "c", "never there"].map(str::to_owned).to_vec();
    assert_eq!(store.remove_secrets(TENANT, names).await.unwrap(), 2);
    for (tenant, name, stays) in
        [(TENANT, "a", false), (TENANT, "b", true), (TENANT, "c", false), (TenantId(1), "a", true)]
    {
        assert_eq!(store.secret(tenant, name).await.unwrap().is_some(), stays, "{tenant:?} {name}");
    }
}

fn tenant(id: u32, app_key: &str) -> Tenant {
    Tenant {
        id: TenantId(id),
        name: format!("VDN {id}"),
        app_key: app_key.into(),
        app_secret_sha256: [id as u8; 32],
        access_codes: vec!["2222201".into(), "95599".into()],
        settings: json!({}),
        suspended: false,
        from_file: true,
    }
}

fn token(byte: u8, kind: TokenKind, expires_ms: Option<i64>) -> Token {
    Token { sha256: [byte; 32], tenant: TENANT, kind, expires_ms }
}
