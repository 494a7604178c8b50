//! File descriptors are shared out at start: a leg takes two, a connection one. Where connections could
//! take them all, neither a call nor the database would find one.

use rustix::process::{Resource, getrlimit};

use crate::config::Config;

/// Connections that each HTTP listener may have: as configured, and with all listeners together no
/// more than a quarter of what the system lets the process open.
pub fn http_connections(config: &Config) -> usize {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let share = most / (4 * listeners(config));
    config.http.connections.min(usize::try_from(share).unwrap_or(usize::MAX))
}

/// What legs leave to connections.
pub fn reserved(config: &Config) -> u64 {
    listeners(config) * http_connections(config) as u64
}

fn listeners(config: &Config) -> u64 {
    1 + u64::from(config.https.is_some())
}
