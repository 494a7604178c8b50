//! `[phones]`: softphones that register here, and callers who come in.

use std::time::Duration;

use serde::Deserialize;

use super::trunk::{CODECS, Srtp, default_codecs};

/// What every softphone is called with; who may register stands with the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phones {
    /// What is offered to a softphone, or taken from a caller who comes in, and in which order;
    /// default PCMA, PCMU, G722, opus.
    pub codecs: Vec<String>,
    /// `OFFHOOK__PHONES__SRTP`: whether audio is encrypted with keys in SDP: `off`, `optional` (default:
    /// where the phone takes a key) or `required`.
    pub srtp: Srtp,
    /// Seconds after which a session that nobody refreshes is over (RFC 4028), 90 to 86400; default:
    /// only where the phone asks for it.
    pub session_expires: Option<u32>,
    /// `OFFHOOK__PHONES__MAX_EXPIRES`: the longest that a registration holds, in seconds, 60 to 86400;
    /// default 600.
    pub max_expires: u32,
    /// `OFFHOOK__PHONES__MEDIA_TIMEOUT_S`: a leg of a call of two that sends neither audio nor RTCP nor a
    /// session refresh for so long is over, 5 to 3600; default 30. Not while it is on hold.
    pub media_timeout_s: u32,
}

impl Default for Phones {
    fn default() -> Self {
        Phones {
            codecs: default_codecs(),
            srtp: Srtp::Optional,
            session_expires: None,
            max_expires: 600,
            media_timeout_s: 30,
        }
    }
}

impl Phones {
    pub fn media_timeout(&self) -> Duration {
        Duration::from_secs(self.media_timeout_s.into())
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if let Some(unknown) = self.codecs.iter().find(|codec| !CODECS.contains(&codec.as_str())) {
            let what = format!("`{unknown}` is none of {}", CODECS.join(", "));
            return Err(("phones.codecs".into(), what));
        }
        if self.codecs.is_empty() {
            return Err(("phones.codecs".into(), "must name at least one codec".into()));
        }
        let ranges = [
            ("session_expires", self.session_expires.unwrap_or(90), 90, 86_400),
            ("max_expires", self.max_expires, 60, 86_400),
            ("media_timeout_s", self.media_timeout_s, 5, 3_600),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let what = format!("is {value}, must be {least} to {most}");
                return Err((format!("phones.{name}"), what));
            }
        }
        Ok(())
    }
}
