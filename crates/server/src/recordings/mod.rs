//! Where the recording of a call lies, what the interfaces call it, and how it is kept from other eyes.

mod pieces;
mod sealed;
mod vault;

use std::path::PathBuf;

use engine::intent::Intent;
use time::{Date, OffsetDateTime};

pub use vault::{OpenError, Vault};

/// The plain file of a call's recording, relative to the data directory. It depends on the intent alone,
/// so that it is the same before the call, after a crash, and in its record.
pub fn path(intent: &Intent) -> PathBuf {
    PathBuf::from("recordings").join(below_share(intent))
}

/// The encrypted file of a call's recording; a call has this one or the plain one.
pub fn sealed_path(intent: &Intent) -> PathBuf {
    PathBuf::from("recordings").join(format!("{}.sealed", below_share(intent)))
}

/// The name under which the key of the encrypted file is sealed in the store. Without it the file is noise.
pub fn key_name(intent: &Intent) -> String {
    format!("recording/{}", intent.serial)
}

/// `recordfile` of the callbacks: `Y:/<vdn>/mobileAgent/<yyyymmdd>/<epoch>-<serial>.wav`.
pub fn wire_name(intent: &Intent) -> String {
    format!("Y:/{}", below_share(intent))
}

fn below_share(intent: &Intent) -> String {
    let seconds = intent.created_ms.div_euclid(1000);
    let day = OffsetDateTime::from_unix_timestamp(seconds).map_or(Date::MIN, OffsetDateTime::date);
    format!(
        "{}/mobileAgent/{:04}{:02}{:02}/{seconds}-{}.wav",
        intent.tenant.0,
        day.year(),
        u8::from(day.month()),
        day.day(),
        intent.serial
    )
}
