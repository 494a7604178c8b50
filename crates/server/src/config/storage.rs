//! `[storage]`: where rows are kept, and how full the disk may get.

use std::path::Path;

use serde::Deserialize;
use store::{PostgresUrl, StoreConfig};

use super::Secret;

/// `[storage]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// `OFFHOOK__STORAGE__URL` (or `url_file`): `postgres://user:password@host/database`. Default:
    /// SQLite, in a file of the data directory.
    pub url: Option<Secret>,
    /// `OFFHOOK__STORAGE__WARN_FREE_MB`: free space of the data directory, in MiB, below which the
    /// log and `/readyz` warn; default 1024.
    pub warn_free_mb: u64,
    /// `OFFHOOK__STORAGE__REFUSE_FREE_MB`: free space of the data directory, in MiB, below which no
    /// call is accepted any more; 0 is never. Default 100.
    pub refuse_free_mb: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Storage { url: None, warn_free_mb: 1024, refuse_free_mb: 100 }
    }
}

impl Storage {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        self.postgres().map_err(|error| ("storage.url".to_owned(), error.to_string()))?;
        if self.refuse_free_mb > self.warn_free_mb {
            let what = format!("is {}, must be at most warn_free_mb", self.refuse_free_mb);
            return Err(("storage.refuse_free_mb".to_owned(), what));
        }
        Ok(())
    }

    /// The store that is asked for.
    ///
    /// # Errors
    /// The address of the database says nothing; [`super::Config::read`] has refused that already.
    pub fn store(&self, data_directory: &Path) -> Result<StoreConfig, store::StoreError> {
        Ok(match self.postgres()? {
            Some(url) => StoreConfig::postgres(url),
            None => StoreConfig::Sqlite { directory: data_directory.to_owned() },
        })
    }

    fn postgres(&self) -> Result<Option<PostgresUrl>, store::StoreError> {
        self.url.as_ref().map(|url| url.reveal().parse()).transpose()
    }
}
