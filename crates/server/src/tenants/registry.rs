//! The tenants in memory: every request needs its tenant, and none should cost a query.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use engine::Used;
use engine::vocabulary::{DailyLimits, TenantId};
use store::{Store, StoreError};

use super::TenantSettings;
use crate::config::Defaults;
use crate::speech::config::SpeechConfig;

/// A tenant, ready to judge requests by.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub app_key: String,
    pub app_secret_sha256: [u8; 32],
    /// Numbers that its calls may show; the first is the default.
    pub access_codes: Vec<String>,
    pub suspended: bool,
    /// Written in `offhook.toml`, so read-only to the interface.
    pub from_file: bool,
    pub settings: TenantSettings,
    /// `[speech]` with the tenant's choice of engines over it.
    pub speech: Arc<SpeechConfig>,
}

impl Tenant {
    /// A stored tenant; its settings are opaque to the store.
    pub fn from_row(row: store::Tenant, speech: &SpeechConfig) -> Result<Tenant, BadSettings> {
        let bad = |why: String| BadSettings { tenant: row.id, why };
        let settings: TenantSettings =
            serde_json::from_value(row.settings).map_err(|error| bad(error.to_string()))?;
        let speech = Tenant::speech(row.id, &settings, speech)?;
        Ok(Tenant {
            id: row.id,
            name: row.name,
            app_key: row.app_key,
            app_secret_sha256: row.app_secret_sha256,
            access_codes: row.access_codes,
            suspended: row.suspended,
            from_file: row.from_file,
            settings,
            speech,
        })
    }

    /// `[speech]` with a tenant's choice of engines over it.
    pub fn speech(
        tenant: TenantId,
        settings: &TenantSettings,
        speech: &SpeechConfig,
    ) -> Result<Arc<SpeechConfig>, BadSettings> {
        let own = speech.with_languages(&settings.speech);
        own.map(Arc::new).map_err(|error| BadSettings { tenant, why: error.to_string() })
    }

    /// What it has used of its day; `None` where no day limits it, so that nothing has to be counted.
    pub async fn used_today(
        &self,
        store: &Store,
        defaults: &Defaults,
        now_ms: i64,
    ) -> Result<Option<Used>, StoreError> {
        let daily = self.settings.limits(defaults).daily;
        if daily.calls.is_none() && daily.minutes.is_none() {
            return Ok(None);
        }
        let day_start_ms = daily.day_start_ms(now_ms);
        // No call waited longer than this before it was answered, and none lasts longer.
        let waited_ms = self.settings.queue_timeout(defaults).as_millis() as i64;
        let accepted_from_ms = day_start_ms - waited_ms - DailyLimits::DAY_MS;
        store.used_since(self.id, day_start_ms, accepted_from_ms).await.map(Some)
    }

    /// As the store keeps it.
    pub fn to_row(&self) -> store::Tenant {
        store::Tenant {
            id: self.id,
            name: self.name.clone(),
            app_key: self.app_key.clone(),
            app_secret_sha256: self.app_secret_sha256,
            access_codes: self.access_codes.clone(),
            settings: serde_json::to_value(&self.settings).expect("settings have string keys only"),
            suspended: self.suspended,
            from_file: self.from_file,
        }
    }
}

/// A tenant whose settings do not fit this binary and its configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tenant {}: its settings cannot be used: {why}", tenant.0)]
pub struct BadSettings {
    pub tenant: TenantId,
    pub why: String,
}

/// All tenants, by id. Cheap to clone; readers never wait for a database.
#[derive(Debug, Clone, Default)]
pub struct Tenants(Arc<RwLock<BTreeMap<TenantId, Arc<Tenant>>>>);

impl Tenants {
    /// Puts a tenant in, in place of an earlier one of the same id.
    pub fn put(&self, tenant: Tenant) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(tenant.id, Arc::new(tenant));
    }

    pub fn by_id(&self, id: TenantId) -> Option<Arc<Tenant>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub fn by_app_key(&self, app_key: &str) -> Option<Arc<Tenant>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.values().find(|tenant| tenant.app_key == app_key).cloned()
    }

    /// In order of id.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
