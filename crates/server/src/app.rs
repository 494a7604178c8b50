//! What every handler gets.

use std::sync::Arc;

use store::Store;
use tokio::sync::watch;

use crate::access::Access;
use crate::admission::Admission;
use crate::calls::Calls;
use crate::config::Config;
use crate::new_prefixes::NewPrefixes;
use crate::recordings::Vault;
use crate::speech::speaker::Speaker;
use crate::tenants::Tenants;
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
    pub voices: Arc<VoiceLibrary>,
    pub speaker: Speaker,
    pub vault: Vault,
    pub new_prefixes: Arc<NewPrefixes>,
    /// Changes whenever events have been committed: wakes long polls, and is never the truth.
    pub doorbell: watch::Sender<u64>,
}

/// The wall clock, ms since 1970.
pub fn unix_ms() -> i64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_millis() as i64)
}
