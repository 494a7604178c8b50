//! Where the recording of a call lies, what the interfaces call it, and how it is kept from other eyes.

mod opus;
mod pieces;
mod sealed;
mod vault;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use engine::intent::Intent;
use engine::vocabulary::{Serial, TenantId};
use time::{Date, OffsetDateTime};

pub use vault::{OpenError, Vault};

/// Behind the name of a plain file.
const SEALED: &str = ".sealed";

/// The plain file of a call's recording, relative to the data directory. It depends on the intent alone,
/// so that it is the same before the call, after a crash, and in its record.
pub fn path(intent: &Intent) -> PathBuf {
    PathBuf::from("recordings").join(below_share(intent))
}

/// The encrypted file of a call's recording; a call has this one or the plain one.
pub fn sealed_path(intent: &Intent) -> PathBuf {
    PathBuf::from("recordings").join(format!("{}{SEALED}", below_share(intent)))
}

/// The name under which the key of the encrypted file is sealed in the store. Without it the file is noise.
pub fn key_name(intent: &Intent) -> String {
    key_of(intent.serial)
}

fn key_of(serial: Serial) -> String {
    format!("recording/{serial}")
}

/// `recordfile` of the callbacks: `Y:/<vdn>/mobileAgent/<yyyymmdd>/<epoch>-<serial>.wav`.
pub fn wire_name(intent: &Intent) -> String {
    format!("Y:/{}", below_share(intent))
}

/// A recording whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old {
    path: PathBuf,
    /// The name of its key, where it is encrypted. It goes first: a file without its key is noise, a key without its
    /// file would never be found again.
    pub key: Option<String>,
    /// No call is recorded into its folder any more.
    day_is_over: bool,
}

/// Recordings of a tenant's calls that were accepted before `before_ms`, at most `limit`.
pub fn old(
    data_directory: &Path,
    tenant: TenantId,
    before_ms: i64,
    limit: usize,
) -> io::Result<Vec<Old>> {
    let days = data_directory.join(format!("recordings/{}/mobileAgent", tenant.0));
    let days = match fs::read_dir(days) {
        Ok(days) => days,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let last_day = compact(day(before_ms));
    let mut found = Vec::new();
    for folder in days {
        let folder = folder?;
        let name = folder.file_name();
        // A later day holds no earlier call, and what is no day is not ours.
        let Some(day) = name.to_str().filter(|day| is_compact(day) && **day <= *last_day) else {
            continue;
        };
        for file in fs::read_dir(folder.path())? {
            let path = file?.path();
            let Some((_, key)) = named(&path).filter(|(at_ms, _)| *at_ms < before_ms) else {
                continue;
            };
            found.push(Old { path, key, day_is_over: *day < *last_day });
            if found.len() == limit {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// Removes files, and the days that are empty then.
pub fn remove(files: &[Old]) -> io::Result<()> {
    for file in files {
        fs::remove_file(&file.path)?;
        if let Some(folder) = file.path.parent().filter(|_| file.day_is_over) {
            // Where something is left in it, it stays.
            fs::remove_dir(folder).ok();
        }
    }
    Ok(())
}

/// When the call was accepted and what its key is called, from the name that [`below_share`] gave.
fn named(path: &Path) -> Option<(i64, Option<String>)> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    let (plain, sealed) = match name.strip_suffix(SEALED) {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let (seconds, serial) = plain.strip_suffix(".wav")?.split_once('-')?;
    let at_ms = seconds.parse::<i64>().ok()?.checked_mul(1000)?;
    let serial = Serial(serial.parse().ok()?);
    Some((at_ms, sealed.then(|| key_of(serial))))
}

fn day(at_ms: i64) -> Date {
    let seconds = at_ms.div_euclid(1000);
    OffsetDateTime::from_unix_timestamp(seconds).map_or(Date::MIN, OffsetDateTime::date)
}

fn compact(day: Date) -> String {
    format!("{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
}

fn is_compact(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_digit())
}

fn below_share(intent: &Intent) -> String {
    let seconds = intent.created_ms.div_euclid(1000);
    let day = compact(day(intent.created_ms));
    format!("{}/mobileAgent/{day}/{seconds}-{}.wav", intent.tenant.0, intent.serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 08:00 UTC.
    const T0: i64 = 1_795_248_000_000;
    const HOUR_MS: i64 = 60 * 60 * 1000;

    #[test]
    fn old_recordings_of_one_tenant_go_with_the_days_that_are_empty_then() {
        let directory = tempfile::tempdir().unwrap();
        let place = |tenant: u32, at_ms: i64, serial: u64| {
            let name = format!("{}-{serial}.wav", at_ms / 1000);
            let day = compact(day(at_ms));
            directory.path().join(format!("recordings/{tenant}/mobileAgent/{day}/{name}"))
        };
        let yesterday = place(7, T0 - 24 * HOUR_MS, 1);
        let sealed = place(7, T0 - 23 * HOUR_MS, 5).with_added_extension("sealed");
        let this_morning = place(7, T0 - 2 * HOUR_MS, 2);
        let now = place(7, T0, 3);
        let of_another = place(8, T0 - 24 * HOUR_MS, 4);
        let not_ours = this_morning.with_file_name("notes.txt");
        let all = [&yesterday, &sealed, &this_morning, &now, &of_another, &not_ours];
        for file in all {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "RIFF").unwrap();
        }
        let mut keys = Vec::new();
        for expected in [2, 1, 0] {
            let old = old(directory.path(), TenantId(7), T0 - HOUR_MS, 2).unwrap();
            assert_eq!(old.len(), expected, "two at a time");
            remove(&old).unwrap();
            keys.extend(old.into_iter().filter_map(|file| file.key));
        }
        assert_eq!(keys, ["recording/5"]);
        let kept = all.map(|file| file.exists());
        assert_eq!(kept, [false, false, false, true, true, true]);
        assert!(!yesterday.parent().unwrap().exists());
        assert_eq!(old(directory.path(), TenantId(9), T0, 9).unwrap(), [], "of nobody");
    }
}
