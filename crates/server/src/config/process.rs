//! `[defaults]`, `[admission]`, `[access]`, `[callbacks]`: what holds for the process, and for every
//! tenant that says nothing else.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;
use crate::tenants::Retention;

/// `[defaults]`: limits of tenants that set none of their own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// `OFFHOOK__DEFAULTS__RING_LIMIT_S`: seconds a called party may ring, 1 to 600; default 60.
    pub ring_limit_s: u32,
    /// `OFFHOOK__DEFAULTS__MAX_DURATION_S`: seconds from answer to hang-up, 1 to 86400; default 3600.
    pub max_duration_s: u32,
    /// `OFFHOOK__DEFAULTS__QUEUE_LENGTH`: calls of a tenant that may wait; default 100000.
    pub queue_length: u32,
    /// `OFFHOOK__DEFAULTS__QUEUE_TIMEOUT_S`: seconds a call may wait; default 3600.
    pub queue_timeout_s: u32,
    /// `OFFHOOK__DEFAULTS__DRAIN_S`: seconds that running calls have after SIGTERM; default 300.
    pub drain_s: u32,
    /// `OFFHOOK__DEFAULTS__CALLS_PER_SECOND`: of a tenant; default 1000.
    pub calls_per_second: u32,
    /// `OFFHOOK__DEFAULTS__CONCURRENT_CALLS`: of a tenant; default 10000.
    pub concurrent_calls: u32,
    /// `OFFHOOK__DEFAULTS__CALLS_PER_DAY`: of a tenant; the next is refused. Default: no limit.
    pub calls_per_day: Option<u32>,
    /// `OFFHOOK__DEFAULTS__MINUTES_PER_DAY`: talked by a tenant; the next call is refused. Default: no limit.
    pub minutes_per_day: Option<u32>,
    /// `OFFHOOK__DEFAULTS__RETENTION__RECORDS_DAYS` and the like: how long calls are kept.
    pub retention: Retention,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            ring_limit_s: 60,
            max_duration_s: 3600,
            queue_length: 100_000,
            queue_timeout_s: 3600,
            drain_s: 300,
            calls_per_second: 1000,
            concurrent_calls: 10_000,
            calls_per_day: None,
            minutes_per_day: None,
            retention: Retention::default(),
        }
    }
}

impl Defaults {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let ranges = [
            ("ring_limit_s", self.ring_limit_s, 1, 600),
            ("max_duration_s", self.max_duration_s, 1, 86_400),
            ("queue_length", self.queue_length, 0, 10_000_000),
            ("queue_timeout_s", self.queue_timeout_s, 1, 604_800),
            ("drain_s", self.drain_s, 0, 86_400),
            ("calls_per_second", self.calls_per_second, 1, 100_000),
            ("concurrent_calls", self.concurrent_calls, 1, 1_000_000),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err((
                    format!("defaults.{name}"),
                    format!("is {value}, must be {least} to {most}"),
                ));
            }
        }
        self.retention.check().map_err(|(key, what)| (format!("defaults.{key}"), what))
    }
}

/// `[admission]`: when the server itself has too much to do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// `OFFHOOK__ADMISSION__PATIENCE_MS`: what accepting a call, and dialling it, may take besides the
    /// disk, 1 to 60000; default 12. Where they take longer for a while, new requests are refused.
    pub patience_ms: u32,
}

impl Default for Admission {
    fn default() -> Self {
        Admission { patience_ms: 12 }
    }
}

impl Admission {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let patience_ms = self.patience_ms;
        if (1..=60_000).contains(&patience_ms) {
            return Ok(());
        }
        let what = format!("is {patience_ms}, must be 1 to 60000");
        Err(("admission.patience_ms".into(), what))
    }
}

/// `[access]`: keys of the process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// `OFFHOOK__ACCESS__SEAL_KEY` (or `seal_key_file`): what seals secrets at rest: one or more
    /// lines of 64 hex digits; the first seals, all open. Default: `seal.key` in the data
    /// directory, made at the first start with mode 0600.
    pub seal_key: Option<Secret>,
    /// `OFFHOOK__ACCESS__OPERATOR_KEY` (or `operator_key_file`): an API key, 32 characters or more,
    /// that may read and write every tenant's settings at `/v1/tenants`. Default: there is none.
    pub operator_key: Option<Secret>,
}

impl Access {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        match &self.operator_key {
            Some(key) if key.reveal().len() < 32 => Err((
                "access.operator_key".into(),
                "must have 32 characters or more; `openssl rand -hex 32` makes one".into(),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// `[recordings]`: recordings of calls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recordings {
    /// `OFFHOOK__RECORDINGS__ENCRYPT`: new ones are encrypted on disk, each under a key of its own that stands sealed
    /// in the database. Default true. What is there already is read either way.
    pub encrypt: bool,
}

impl Default for Recordings {
    fn default() -> Self {
        Recordings { encrypt: true }
    }
}

/// `[dns]`: whom trunks and callbacks are looked up with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// `address:port` of name servers, such as `"192.0.2.53:53"`; default: the system's.
    pub servers: Vec<SocketAddr>,
}

/// `[callbacks]`: how callbacks leave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Callbacks {
    /// `OFFHOOK__CALLBACKS__EXTRA_CA`: PEM file of authorities trusted besides the system's.
    pub extra_ca: Option<PathBuf>,
}
