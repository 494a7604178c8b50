//! What is posted: the release callback of the pages (contract §5.4), the verdict on an upload (§5.4b).

use std::collections::BTreeMap;

use engine::cdr::Cdr;
use engine::events::{EventKind, RecordingReview};
use engine::intent::Intent;
use engine::vocabulary::CallKind;
use time::{OffsetDateTime, UtcOffset};

use super::signature::{Algorithm, sign};
use super::two_legs;
use crate::recordings;

/// Keys in the printed order, which is the order of their letters.
pub(super) type Fields = BTreeMap<&'static str, String>;

/// What signs a body: the tenant's shared key, and two values that are new at every try.
pub struct Signing<'a> {
    pub algorithm: Algorithm,
    pub shared_key: &'a str,
    pub timestamp_ms: i64,
    pub nonce: i64,
}

/// The body for an event; `None` for events that nobody is told of. `call`: the event's, where its own fields do not say
/// enough ([`needs_call`]).
pub fn body(
    event: &EventKind,
    call: Option<&Intent>,
    zone: UtcOffset,
    signing: Option<&Signing>,
) -> Option<Vec<u8>> {
    let mut fields = match event {
        EventKind::Ended { cdr } => match cdr.kind() {
            CallKind::VoiceNotification => voice_notification(cdr, zone),
            CallKind::BidirectionalCall | CallKind::AnonymousCall => two_legs::released(cdr, zone),
        },
        EventKind::Bridged { .. } => two_legs::connected(call?),
        EventKind::RecordingReviewed { review } => reviewed(review),
        EventKind::Accepted { .. }
        | EventKind::Queued { .. }
        | EventKind::Dialling { .. }
        | EventKind::Redirected { .. }
        | EventKind::Ringing { .. }
        | EventKind::Answered { .. }
        | EventKind::Expecting { .. }
        | EventKind::Arrived { .. }
        | EventKind::Held { .. }
        | EventKind::MinutesUsedUp
        | EventKind::BalanceUsedUp
        | EventKind::Resumed { .. }
        | EventKind::PlayStarted { .. }
        | EventKind::Digit { .. }
        | EventKind::RoundPlayed { .. }
        | EventKind::LegEnded { .. }
        | EventKind::RecordingPaused { .. }
        | EventKind::RecordingResumed { .. }
        | EventKind::NewPrefix { .. } => return None,
    };
    if let Some(signing) = signing {
        add_signature(&mut fields, signing);
    }
    Some(serde_json::to_vec(&fields).expect("names and texts are JSON"))
}

/// Whether the body of an event takes the order of its call.
pub fn needs_call(event: &EventKind) -> bool {
    matches!(event, EventKind::Bridged { .. })
}

fn voice_notification(cdr: &Cdr, zone: UtcOffset) -> Fields {
    let intent = &cdr.intent;
    let optional = |ms: Option<i64>| ms.map(|ms| wire_time(ms, zone)).unwrap_or_default();
    let recordfile = if cdr.recorded { recordings::wire_name(intent) } else { String::new() };
    BTreeMap::from([
        ("alertingTime", optional(cdr.alerting_ms)),
        ("callSerialNo", intent.serial.to_string()),
        ("called", intent.order.called.clone()),
        ("callerPresent", intent.order.caller_present.clone()),
        ("createCallTime", wire_time(intent.created_ms, zone)),
        ("locationId", "0".to_owned()),
        ("recordfile", recordfile),
        ("releaseReason", cdr.release_reason().to_owned()),
        ("releaseTime", wire_time(cdr.released_ms, zone)),
        ("talkDuration", (cdr.talk_duration_ms / 1000).to_string()),
        ("talkingTime", optional(cdr.talking_ms)),
    ])
}

fn reviewed(review: &RecordingReview) -> Fields {
    BTreeMap::from([
        ("comment", review.comment.clone()),
        ("fileId", review.voice_id.clone()),
        ("fileUrl", review.file_name.clone()),
        ("status", if review.approved { "2" } else { "3" }.to_owned()),
    ])
}

fn add_signature(fields: &mut Fields, signing: &Signing) {
    let (timestamp, nonce) = (signing.timestamp_ms.to_string(), signing.nonce.to_string());
    let parameters: Vec<(&str, Option<&str>)> =
        fields.iter().map(|(name, value)| (*name, Some(value.as_str()))).collect();
    let signature = sign(signing.algorithm, signing.shared_key, &timestamp, &nonce, &parameters);
    fields.insert("signature", signature);
    fields.insert("timestamp", timestamp);
    fields.insert("nonce", nonce);
}

/// `2022/02/22,10:04:28:823`.
pub(super) fn wire_time(unix_ms: i64, zone: UtcOffset) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .to_offset(zone);
    format!(
        "{:04}/{:02}/{:02},{:02}:{:02}:{:02}:{:03}",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::cdr::{Draft, Outcome};
    use engine::intent::{Order, OrderKind, PlayItem};
    use engine::vocabulary::{Now, Priority, Serial, TenantId};
    use std::time::Duration;

    const CREATED_MS: i64 = 1_645_524_268_823;

    fn cdr() -> Cdr {
        let order = Order {
            place: "sim".into(),
            called: "88880067".into(),
            caller_present: "960003".into(),
            priority: Priority::LAST,
            ring_limit_s: 60,
            max_duration_s: 60,
            record: true,
            callback_url: None,
            kind: OrderKind::VoiceNotification {
                playlist: vec![PlayItem::Recording { voice_id: "1".into() }],
                play_times: 1,
            },
        };
        let intent = Intent {
            serial: Serial(1_197_765_398_201_387_012),
            tenant: TenantId(2),
            created_ms: CREATED_MS,
            queue_deadline_ms: CREATED_MS,
            order,
        };
        let mut draft = Draft::new(intent);
        let at = |ms: u64| Now {
            since_start: Duration::from_millis(ms),
            unix_ms: CREATED_MS + ms as i64,
        };
        draft.called.alerting_ms = Some(at(181).unix_ms);
        draft.called.answered(at(1_595));
        draft.recording = engine::cdr::Recording::Kept;
        draft.finish(Outcome::CutShort, None, at(7_495))
    }

    fn text(signing: Option<&Signing>) -> String {
        let event = EventKind::Ended { cdr: Box::new(cdr()) };
        let body =
            body(&event, None, UtcOffset::UTC, signing).expect("a terminal event has a body");
        String::from_utf8(body).expect("JSON is UTF-8")
    }

    #[test]
    fn the_release_callback_is_as_printed() {
        assert_eq!(
            text(None),
            concat!(
                r#"{"alertingTime":"2022/02/22,10:04:29:004","callSerialNo":"1197765398201387012","#,
                r#""called":"88880067","callerPresent":"960003","#,
                r#""createCallTime":"2022/02/22,10:04:28:823","locationId":"0","#,
                r#""recordfile":"Y:/2/mobileAgent/20220222/1645524268-1197765398201387012.wav","#,
                r#""releaseReason":"0","releaseTime":"2022/02/22,10:04:36:318","#,
                r#""talkDuration":"5","talkingTime":"2022/02/22,10:04:30:418"}"#
            )
        );
    }

    #[test]
    fn a_signed_body_has_the_printed_keys_in_the_printed_order() {
        let signing = Signing {
            algorithm: Algorithm::HmacSha256,
            shared_key: "key",
            timestamp_ms: 1_645_524_163_326,
            nonce: -1_482_421_808_053_124_529,
        };
        let text = text(Some(&signing));
        let keys: Vec<&str> = text.split('"').skip(1).step_by(4).collect();
        assert_eq!(
            keys,
            [
                "alertingTime",
                "callSerialNo",
                "called",
                "callerPresent",
                "createCallTime",
                "locationId",
                "nonce",
                "recordfile",
                "releaseReason",
                "releaseTime",
                "signature",
                "talkDuration",
                "talkingTime",
                "timestamp",
            ]
        );
    }

    #[test]
    fn times_are_in_the_tenants_zone() {
        let plus_eight = UtcOffset::from_hms(8, 0, 0).expect("a zone");
        assert_eq!(wire_time(CREATED_MS, plus_eight), "2022/02/22,18:04:28:823");
    }
}
