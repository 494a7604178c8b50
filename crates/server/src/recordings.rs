//! Where the recording of a call lies, and what the interfaces call it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use engine::intent::Intent;
use engine::vocabulary::TenantId;
use time::{Date, OffsetDateTime};

/// The file of a call's recording, relative to the data directory. It depends on the intent alone,
/// so that it is the same before the call, after a crash, and in its record.
pub fn path(intent: &Intent) -> PathBuf {
    PathBuf::from("recordings").join(below_share(intent))
}

/// `recordfile` of the callbacks: `Y:/<vdn>/mobileAgent/<yyyymmdd>/<epoch>-<serial>.wav`.
pub fn wire_name(intent: &Intent) -> String {
    format!("Y:/{}", below_share(intent))
}

/// Removes the recordings of a tenant's calls that were accepted before `before_ms`, and the days that
/// are empty then; how many files.
pub fn expire(data_directory: &Path, tenant: TenantId, before_ms: i64) -> io::Result<u64> {
    let days = data_directory.join(format!("recordings/{}/mobileAgent", tenant.0));
    let days = match fs::read_dir(days) {
        Ok(days) => days,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let last_day = compact(day(before_ms));
    let mut removed = 0;
    for folder in days {
        let folder = folder?;
        let name = folder.file_name();
        // A later day holds no earlier call, and what is no day is not ours.
        if !name.to_str().is_some_and(|day| is_compact(day) && *day <= *last_day) {
            continue;
        }
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            if accepted_ms(&file.file_name()).is_some_and(|at_ms| at_ms < before_ms) {
                fs::remove_file(file.path())?;
                removed += 1;
            }
        }
        if name.to_str().is_some_and(|day| *day < *last_day) {
            // Where something is left in it that is not ours, it stays.
            fs::remove_dir(folder.path()).ok();
        }
    }
    Ok(removed)
}

/// From the name that [`below_share`] gave.
fn accepted_ms(name: &OsStr) -> Option<i64> {
    let (seconds, _) = name.to_str()?.strip_suffix(".wav")?.split_once('-')?;
    seconds.parse::<i64>().ok()?.checked_mul(1000)
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
        let this_morning = place(7, T0 - 2 * HOUR_MS, 2);
        let now = place(7, T0, 3);
        let of_another = place(8, T0 - 24 * HOUR_MS, 4);
        let not_ours = this_morning.with_file_name("notes.txt");
        let all = [&yesterday, &this_morning, &now, &of_another, &not_ours];
        for file in all {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "RIFF").unwrap();
        }
        assert_eq!(expire(directory.path(), TenantId(7), T0 - HOUR_MS).unwrap(), 2);
        let kept = all.map(|file| file.exists());
        assert_eq!(kept, [false, false, true, true, true]);
        assert!(!yesterday.parent().unwrap().exists());
        assert_eq!(expire(directory.path(), TenantId(9), T0).unwrap(), 0, "of nobody");
    }
}
