//! A driver without calls and trunks, for tests of its parts.

use std::sync::Arc;
use std::time::Duration;

use engine::vocabulary::Now;
use engine::{Engine, Start};

use super::{Desk, Driver, Found, PhoneLine, Trunks};
use crate::admission::Admission;
use crate::config::Fraud;
use crate::tenants::Tenants;

pub fn at(since_start: Duration) -> Now {
    Now { since_start, unix_ms: 1_760_000_000_000 + since_start.as_millis() as i64 }
}

/// Started at `at(0)`.
pub fn driver(registrations: Vec<store::Registration>) -> Driver {
    let desk = Desk {
        engine: Engine::new(Start { node: 1, highest_serial: None, first_leg: 1, capacity: 9 }),
        admission: Admission::new(Duration::from_secs(1)),
        trunks: Trunks::new(Vec::new(), b"the secret of this test"),
        tenants: Tenants::default(),
        fraud: Fraud::default(),
        phone_line: PhoneLine {
            host: "offhook.test".into(),
            codecs: vec![media::Codec::Pcma],
            srtp: media::Srtp::Off,
            session_expires: None,
        },
        media_timeout: Duration::from_secs(30),
        ready: Arc::default(),
        drain: Duration::from_secs(5),
    };
    let recovery = store::Recovery::default();
    let (natural_keys, used_today, ita) = (Vec::new(), Vec::new(), Vec::new());
    let found = Found { recovery, natural_keys, used_today, ita, registrations };
    Driver::begin(desk, found, Vec::new(), at(Duration::ZERO))
}
