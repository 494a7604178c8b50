//! Session timers (RFC 4028): accepted where the far side asks for one, and asked for where a trunk
//! is configured so.

use std::time::Duration;

use sipx_sip::{
    HeaderName, Headers,
    session::{ABSOLUTE_MIN_INTERVAL, MinSe, Refresher, SessionExpires, adopt},
};

use crate::message::{lists, typed};

const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub interval: Duration,
    pub we_refresh: bool,
    /// What the far side has insisted on with a 422, in seconds.
    pub min: Option<u64>,
}

/// What a request of the far side asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    Agreed(Terms),
    /// To be refused with 422 and this Min-SE in seconds.
    TooBrief(u64),
}

impl Terms {
    /// What a 2xx to a request of ours settles.
    pub fn from_answer(headers: &Headers) -> Option<Terms> {
        let session = adopt(typed::<SessionExpires>(headers), None)?;
        Some(Terms { interval: session.interval, we_refresh: session.we_refresh, min: None })
    }

    /// The headers of our 2xx to the request that asked for these terms.
    pub fn answer_headers(self) -> Vec<(String, String)> {
        let refresher = if self.we_refresh { Refresher::Uas } else { Refresher::Uac };
        let mut headers = vec![self.header(refresher)];
        if !self.we_refresh {
            headers.push(("Require".to_owned(), "timer".to_owned()));
        }
        headers
    }

    /// The header of a refresh of ours: whoever refreshed goes on doing so.
    pub fn refresh_headers(self) -> Vec<(String, String)> {
        let refresher = if self.we_refresh { Refresher::Uac } else { Refresher::Uas };
        let min = self.min.map(|min| ("Min-SE".to_owned(), min.to_string()));
        [self.header(refresher)].into_iter().chain(min).collect()
    }

    /// After a 422 to a refresh of ours (RFC 4028 §7.4); `None` where it asks for no more than it got.
    pub fn lengthened(self, headers: &Headers) -> Option<Terms> {
        let min = typed::<MinSe>(headers)?.0;
        let longer = min > self.interval && min <= LONGEST;
        longer.then_some(Terms { interval: min, min: Some(min.as_secs()), ..self })
    }

    /// When to act: at half the interval, or a while before it lapses (RFC 4028 §10).
    pub fn act_after(self) -> Duration {
        let after = if self.we_refresh {
            self.interval / 2
        } else {
            self.interval - (self.interval / 3).min(Duration::from_secs(32))
        };
        // A peer may write any number; the clock does not reach that far.
        after.min(LONGEST)
    }

    fn header(self, refresher: Refresher) -> (String, String) {
        let value = format!("{};refresher={}", self.interval.as_secs(), refresher.as_str());
        ("Session-Expires".to_owned(), value)
    }
}

/// Reads a request of the far side. Where it leaves the choice open it refreshes, because it asked.
pub(super) fn asked(headers: &Headers) -> Asked {
    let Some(wanted) = typed::<SessionExpires>(headers) else {
        return Asked::Nothing;
    };
    let floor = typed::<MinSe>(headers).map_or(ABSOLUTE_MIN_INTERVAL, |min| min.0);
    if wanted.interval < ABSOLUTE_MIN_INTERVAL.max(floor) {
        return Asked::TooBrief(ABSOLUTE_MIN_INTERVAL.max(floor).as_secs());
    }
    let can_refresh = lists(headers, &HeaderName::Supported, "timer");
    let we_refresh = match wanted.refresher {
        Some(Refresher::Uac) => false,
        Some(Refresher::Uas) => true,
        None => !can_refresh,
    };
    Asked::Agreed(Terms { interval: wanted.interval, we_refresh, min: None })
}
