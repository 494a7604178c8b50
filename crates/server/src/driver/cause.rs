//! What the end of a SIP leg means for the engine, which knows no SIP.

use engine::cdr::Cause;
use sip::{End, EndedBy};

/// The cause of an end, by who ended it, the final status (RFC 3261 §21) and, where the far side
/// said more, its Q.850 value.
pub fn of(end: &End) -> Cause {
    match end.by {
        EndedBy::Us => Cause::HungUp,
        EndedBy::Timeout(_) | EndedBy::Transport => Cause::TrunkFailed,
        EndedBy::Core => Cause::Internal,
        EndedBy::Peer => match end.status {
            None => Cause::Released,
            Some(status) => refused(status, end.q850, end.was_ringing),
        },
    }
}

/// 5xx is the trunk's own failure, and another trunk may do better; everything else is an answer.
fn refused(status: u16, q850: Option<u16>, rang: bool) -> Cause {
    match status {
        486 | 600 => Cause::Busy,
        404 | 410 | 416 | 484 | 485 | 604 => Cause::NotFound,
        408 | 480 => match q850 {
            Some(17) => Cause::Busy,
            Some(21) => Cause::Declined,
            Some(18 | 19) => Cause::NoAnswer,
            Some(1 | 28) => Cause::NotFound,
            _ if rang => Cause::NoAnswer,
            _ => Cause::Unavailable,
        },
        // The far side ended our ringing call by itself: nobody took it.
        487 if rang => Cause::NoAnswer,
        415 | 488 | 606 => Cause::MediaFailed,
        500..=599 => Cause::TrunkFailed,
        600.. => Cause::Declined,
        _ => Cause::TrunkRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_their_users_think() {
        let table = [
            (486, None, true, Cause::Busy),
            (600, None, false, Cause::Busy),
            (603, None, true, Cause::Declined),
            (607, None, true, Cause::Declined),
            (404, None, false, Cause::NotFound),
            (480, None, true, Cause::NoAnswer),
            (480, None, false, Cause::Unavailable),
            (480, Some(17), true, Cause::Busy),
            (480, Some(21), true, Cause::Declined),
            (408, None, false, Cause::Unavailable),
            (488, None, false, Cause::MediaFailed),
            (606, None, false, Cause::MediaFailed),
            (500, None, false, Cause::TrunkFailed),
            (503, None, false, Cause::TrunkFailed),
            (403, None, false, Cause::TrunkRefused),
            (401, None, false, Cause::TrunkRefused),
            (302, None, false, Cause::TrunkRefused),
        ];
        for (status, q850, rang, cause) in table {
            assert_eq!(refused(status, q850, rang), cause, "{status} {q850:?} rang: {rang}");
        }
    }
}
