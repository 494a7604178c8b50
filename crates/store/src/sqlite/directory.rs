//! The data directory: who may use it, and that its entries are on disk.

use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::path::Path;

use crate::error::StoreError;

/// Takes the directory for this process, creating it where it is missing. The lock lives as long
/// as the file and goes with the process, however that ends.
pub(crate) fn lock(directory: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
    create_dir_all(directory).map_err(failed)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("offhook.lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A synced file may still have no name after a power cut; this puts the names on disk.
pub(crate) fn sync(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| StoreError::Directory { path: directory.to_owned(), source })
}
