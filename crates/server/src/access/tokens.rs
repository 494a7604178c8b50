//! Bearer tokens and API keys: issued once, stored as SHA-256, looked up in memory.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use engine::vocabulary::TenantId;
use store::{Store, StoreError, Token, TokenKind};

use super::shared_keys::{SharedKeyError, SharedKeys};
use super::{SealError, Sealer, random_hex, same, sha256};

/// Tokens kept in memory; past this, forgotten ones are read from the store again.
const CACHED: usize = 50_000;
/// Nothing that offhook issues, and no operator key, is longer.
const MAX_TOKEN: usize = 256;
/// What an API key begins with, so that a leaked one is recognised.
const API_KEY_PREFIX: &str = "offhook_";

/// Checks and issues credentials; holds the keys for data at rest.
pub struct Access {
    store: Store,
    pub sealer: Sealer,
    cache: RwLock<BTreeMap<[u8; 32], Credential>>,
    operator: Option<[u8; 32]>,
    shared_keys: SharedKeys,
}

/// What a presented token or key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    pub rights: Rights,
    /// Wall clock, ms since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Everything of one tenant.
    Tenant(TenantId),
    /// The settings of every tenant, and none of their calls.
    Operator,
}

/// A token as its owner gets it, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub token: String,
    pub expires_ms: Option<i64>,
}

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error(transparent)]
    Random(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Access {
    /// `operator_key`: the configured one, if any.
    pub fn new(store: Store, sealer: Sealer, operator_key: Option<&str>) -> Access {
        let operator = operator_key.map(|key| sha256(key.as_bytes()));
        Access {
            store,
            sealer,
            cache: RwLock::default(),
            operator,
            shared_keys: SharedKeys::default(),
        }
    }

    /// A Bearer token of 32 hex digits, on disk before it is returned.
    pub async fn issue_bearer(
        &self,
        tenant: TenantId,
        lifetime_s: u32,
        now_ms: i64,
    ) -> Result<Issued, IssueError> {
        let expires_ms = now_ms + i64::from(lifetime_s) * 1000;
        self.issue(random_hex::<16>()?, tenant, TokenKind::Bearer, Some(expires_ms)).await
    }

    /// A key that does not expire, on disk before it is returned.
    pub async fn create_api_key(&self, tenant: TenantId) -> Result<Issued, IssueError> {
        let key = format!("{API_KEY_PREFIX}{}", random_hex::<32>()?);
        self.issue(key, tenant, TokenKind::ApiKey, None).await
    }

    /// Voids a token or key of this tenant; false where it is none of its.
    pub async fn revoke(&self, tenant: TenantId, token: &str) -> Result<bool, StoreError> {
        let hash = sha256(token.as_bytes());
        match self.store.token(&hash).await? {
            Some(found) if found.tenant == tenant => {
                self.store.put_token(Token { expires_ms: Some(0), ..found }).await?;
                let rights = Rights::Tenant(tenant);
                self.remember(hash, Credential { rights, expires_ms: Some(0) });
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    async fn issue(
        &self,
        token: String,
        tenant: TenantId,
        kind: TokenKind,
        expires_ms: Option<i64>,
    ) -> Result<Issued, IssueError> {
        let hash = sha256(token.as_bytes());
        self.store.put_token(Token { sha256: hash, tenant, kind, expires_ms }).await?;
        self.remember(hash, Credential { rights: Rights::Tenant(tenant), expires_ms });
        Ok(Issued { token, expires_ms })
    }

    /// Whose token this is; `None` where it is unknown or has expired. A known one costs no query.
    pub async fn authenticate(
        &self,
        token: &str,
        now_ms: i64,
    ) -> Result<Option<Rights>, StoreError> {
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let hash = sha256(token.as_bytes());
        if self.operator.as_ref().is_some_and(|operator| same(operator, &hash)) {
            return Ok(Some(Rights::Operator));
        }
        let cached = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(&hash).copied();
        let credential = match cached {
            Some(credential) => Some(credential),
            None => self.store.token(&hash).await?.map(|token| {
                let credential = Credential {
                    rights: Rights::Tenant(token.tenant),
                    expires_ms: token.expires_ms,
                };
                self.remember(hash, credential);
                credential
            }),
        };
        Ok(credential.filter(|found| found.lives(now_ms)).map(|found| found.rights))
    }

    /// Keeps the key by which a tenant's callbacks are signed, on disk before it returns.
    pub async fn put_callback_shared_key(
        &self,
        tenant: TenantId,
        key: &str,
    ) -> Result<(), IssueError> {
        self.shared_keys.put(&self.store, &self.sealer, tenant, key).await
    }

    /// `None` where the tenant has none. Read from the store once.
    pub async fn callback_shared_key(
        &self,
        tenant: TenantId,
    ) -> Result<Option<String>, SharedKeyError> {
        self.shared_keys.key(&self.store, &self.sealer, tenant).await
    }

    /// Forgets expired tokens, here and in the store; to be called every few minutes.
    pub async fn expire(&self, now_ms: i64) -> Result<(), StoreError> {
        // In a block of its own: the lock must be gone before the wait.
        {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            cache.retain(|_, credential| credential.lives(now_ms));
        }
        self.store.expire_tokens(now_ms).await.map(|_| ())
    }

    fn remember(&self, hash: [u8; 32], credential: Credential) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(hash, credential);
    }
}

impl Credential {
    fn lives(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expires| now_ms < expires)
    }
}
