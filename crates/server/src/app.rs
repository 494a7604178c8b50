//! What every handler gets.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use store::Store;
use tokio::sync::watch;

use crate::access::Access;
use crate::admission::Admission;
use crate::calls::Calls;
use crate::config::Config;
use crate::new_prefixes::NewPrefixes;
use crate::recordings::Vault;
use crate::speech::speaker::Speaker;
use crate::tenants::{NumberBindings, Softphones, Tenant, Tenants, TrialDays};
use crate::voices::VoiceLibrary;

/// The state of the server that interfaces use. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub store: Store,
    pub calls: Calls,
    pub admission: Admission,
    pub config: Arc<Config>,
    pub access: Arc<Access>,
    pub tenants: Tenants,
    pub softphones: Softphones,
    pub bindings: NumberBindings,
    pub trial_days: Arc<TrialDays>,
    /// Where SIP over UDP is reached from outside; set when the listener is bound.
    pub sip_address: Arc<OnceLock<SocketAddr>>,
    pub voices: Arc<VoiceLibrary>,
    pub speaker: Speaker,
    pub vault: Vault,
    pub new_prefixes: Arc<NewPrefixes>,
    /// Changes whenever events have been committed: wakes long polls, and is never the truth.
    pub doorbell: watch::Sender<u64>,
}

impl App {
    /// Where a tenant's phones and apps find the server.
    pub fn sip_service_address(&self, tenant: &Tenant) -> Option<SocketAddr> {
        let own = tenant.settings.sip_service_address.as_deref();
        own.and_then(|text| text.parse().ok()).or_else(|| self.sip_address.get().copied())
    }
}

/// The wall clock, ms since 1970.
pub fn unix_ms() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_millis() as i64)
}
