//! Where the recording of a call lies, and what the interfaces call it.

use std::path::PathBuf;

use engine::intent::Intent;
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
