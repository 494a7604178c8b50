//! The keys by which tenants' callbacks are signed: sealed in the store, read once.

use std::collections::BTreeMap;

use engine::vocabulary::TenantId;
use store::{Store, StoreError};
use tokio::sync::Mutex;

use super::{IssueError, SealError, Sealer};
use crate::tenants::CALLBACK_SHARED_KEY as NAME;

/// One per tenant at the most. As sealed as on disk: who reads the memory of the process needs its key as well.
#[derive(Default)]
pub struct SharedKeys {
    sealed: Mutex<BTreeMap<TenantId, Option<Vec<u8>>>>,
}

#[derive(Debug, thiserror::Error)]
pub enum SharedKeyError {
    #[error("the shared key cannot be read: {0}")]
    Read(#[from] StoreError),
    #[error("the shared key cannot be opened: {0}")]
    Open(#[from] SealError),
}

impl SharedKeys {
    /// On disk before it returns; callbacks from then on are signed with it.
    ///
    /// # Errors
    /// As of the store and of the source of randomness; the key before stays.
    pub(super) async fn put(
        &self,
        store: &Store,
        sealer: &Sealer,
        tenant: TenantId,
        key: &str,
    ) -> Result<(), IssueError> {
        let sealed = sealer.seal(tenant, NAME, key.as_bytes())?;
        // Held meanwhile, so that nobody keeps what was read before.
        let mut known = self.sealed.lock().await;
        known.remove(&tenant);
        store.put_secret(tenant, NAME, sealed).await?;
        Ok(())
    }

    /// `None`: the tenant has none.
    pub(super) async fn key(
        &self,
        store: &Store,
        sealer: &Sealer,
        tenant: TenantId,
    ) -> Result<Option<String>, SharedKeyError> {
        let mut known = self.sealed.lock().await;
        let sealed = match known.get(&tenant) {
            Some(sealed) => sealed.clone(),
            None => {
                let read = store.secret(tenant, NAME).await?;
                known.insert(tenant, read.clone());
                read
            }
        };
        drop(known);
        let Some(sealed) = sealed else { return Ok(None) };
        let key = sealer.open(tenant, NAME, &sealed)?;
        String::from_utf8(key).map(Some).map_err(|_| SealError::Damaged.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::World;

    #[tokio::test]
    async fn a_key_that_is_replaced_signs_from_then_on_and_is_not_read_again() {
        let world = World::new().await;
        let (access, tenant) = (&world.app.access, TenantId(77));
        assert_eq!(access.callback_shared_key(tenant).await.unwrap(), None);
        for key in ["first", "second"] {
            access.put_callback_shared_key(tenant, key).await.unwrap();
            assert_eq!(access.callback_shared_key(tenant).await.unwrap().as_deref(), Some(key));
        }
        // Behind its back: what it knows needs no store.
        world.app.store.remove_secrets(tenant, vec![NAME.to_owned()]).await.unwrap();
        let known = access.callback_shared_key(tenant).await.unwrap();
        assert_eq!(known.as_deref(), Some("second"));
    }
}
