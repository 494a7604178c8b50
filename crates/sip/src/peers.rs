//! Whom we have asked something over UDP. Their datagrams are taken before those of strangers, so that a flood from
//! elsewhere, however large, does not keep a trunk's answers waiting behind it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<BTreeSet<SocketAddr>>);

/// Addresses kept. One more and all are forgotten; the next request to each brings it back.
const MAX: usize = 4096;

impl Peers {
    /// A request goes there.
    pub fn asked(&self, remote: SocketAddr) {
        let mut known = self.lock();
        if known.len() >= MAX && !known.contains(&remote) {
            known.clear();
        }
        known.insert(remote);
    }

    pub fn knows(&self, remote: SocketAddr) -> bool {
        self.lock().contains(&remote)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
