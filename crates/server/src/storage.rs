//! Whether what is accepted can be kept: the room on the disk, and whether the database is there.

use std::path::Path;
use std::time::Duration;

use store::Store;
use tokio::sync::watch;

use crate::config;

const EVERY: Duration = Duration::from_secs(5);

/// The room on the disk of the data directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Room {
    #[default]
    Enough,
    /// Somebody should see to it.
    Low { free_mb: u64 },
    /// What is left is for the calls that are up.
    Full { free_mb: u64 },
}

/// Why nothing new can be kept now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Room {
        free_mb: u64,
    },
    /// The database does not answer, and may again.
    Database,
}

/// What new calls ask before they are accepted.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Store,
    room: watch::Receiver<Room>,
}

impl Storage {
    pub fn new(store: Store, room: watch::Receiver<Room>) -> Storage {
        Storage { store, room }
    }

    pub fn room(&self) -> Room {
        *self.room.borrow()
    }

    pub fn lack(&self) -> Option<Lack> {
        if self.store.is_away() {
            return Some(Lack::Database);
        }
        match self.room() {
            Room::Full { free_mb } => Some(Lack::Room { free_mb }),
            Room::Enough | Room::Low { .. } => None,
        }
    }
}

/// Looks at the disk now and then, until nobody wants to know.
pub fn watch(config: &config::Config) -> watch::Receiver<Room> {
    let (directory, limits) = (config.data_directory.clone(), config.storage.clone());
    let (room, watched) = watch::channel(look(&directory, &limits).unwrap_or_default());
    tell(*room.borrow());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = room.closed() => break,
            }
            match look(&directory, &limits) {
                Ok(now) => note(&room, now),
                Err(error) => tracing::warn!(%error, "the room on the disk cannot be read"),
            }
        }
    });
    watched
}

/// Keeps what was seen; a line in the log for each change of the state, not of the figure.
fn note(room: &watch::Sender<Room>, now: Room) {
    let before = *room.borrow();
    room.send_replace(now);
    if std::mem::discriminant(&before) != std::mem::discriminant(&now) {
        tell(now);
        if now == Room::Enough {
            tracing::info!("there is room on the disk again");
        }
    }
}

fn tell(room: Room) {
    match room {
        Room::Enough => {}
        Room::Low { free_mb } => tracing::warn!(
            free_mb,
            "the disk of data_directory is nearly full: make room, or shorten `retention`"
        ),
        Room::Full { free_mb } => tracing::error!(
            free_mb,
            "the disk of data_directory is full: no call is accepted until there is room"
        ),
    }
}

fn look(directory: &Path, limits: &config::Storage) -> Result<Room, rustix::io::Errno> {
    let disk = rustix::fs::statvfs(directory)?;
    // What is kept back for root is not ours.
    Ok(judge((disk.f_bavail * disk.f_frsize) >> 20, limits))
}

fn judge(free_mb: u64, limits: &config::Storage) -> Room {
    if free_mb < limits.refuse_free_mb {
        Room::Full { free_mb }
    } else if free_mb < limits.warn_free_mb {
        Room::Low { free_mb }
    } else {
        Room::Enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_limits_part_three_states() {
        let limits = config::Storage { warn_free_mb: 10, refuse_free_mb: 3, ..Default::default() };
        assert_eq!(judge(10, &limits), Room::Enough);
        assert_eq!(judge(9, &limits), Room::Low { free_mb: 9 });
        assert_eq!(judge(3, &limits), Room::Low { free_mb: 3 });
        assert_eq!(judge(2, &limits), Room::Full { free_mb: 2 });
        let never = config::Storage { warn_free_mb: 0, refuse_free_mb: 0, ..Default::default() };
        assert_eq!(judge(0, &never), Room::Enough);
    }

    #[test]
    fn the_disk_of_the_directory_is_looked_at() {
        let huge = config::Storage { warn_free_mb: u64::MAX, refuse_free_mb: u64::MAX, url: None };
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(look(directory.path(), &huge), Ok(Room::Full { .. })));
        assert!(look(Path::new("/nowhere/at/all"), &huge).is_err());
    }
}
