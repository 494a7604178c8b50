//! Calls, events and records to store.

use engine::cdr::{Cause, Cdr, MediaSummary, Outcome};
use engine::events::{Event, EventKind};
use engine::intent::{
    AnonymousCall, BidirectionalCall, Caller, Idempotency, IdempotencyKey, Intent, Order,
    OrderKind, Party, Place, PlayItem,
};
use engine::vocabulary::{CallKind, LegId, Priority, Serial, Side, TenantId};
use engine::writes::{Attempt, Write};

pub const TENANT: TenantId = TenantId(170);
/// 2026-11-21 08:00 UTC.
pub const T0: i64 = 1_795_248_000_000;

pub fn intent(serial: u64) -> Intent {
    Intent {
        serial: Serial(serial),
        tenant: TENANT,
        created_ms: T0 + serial as i64,
        queue_deadline_ms: T0 + 60_000 + serial as i64,
        order: Order {
            place: "carrier".into(),
            called: format!("88{serial:06}"),
            caller_present: "95599".into(),
            priority: Priority::LAST,
            ring_limit_s: 50,
            max_duration_s: 600,
            record: false,
            callback_url: Some("http://127.0.0.1:8080/released".into()),
            kind: OrderKind::VoiceNotification {
                playlist: vec![
                    PlayItem::Recording { voice_id: "100001".into() },
                    PlayItem::Speech {
                        template_id: "7".into(),
                        text: "您的验证码 \"1234\"".into(),
                    },
                ],
                play_times: 2,
            },
        },
    }
}

/// An anonymous call whose code is out.
pub fn expecting(serial: u64) -> Intent {
    let mut intent = intent(serial);
    intent.order.kind = OrderKind::AnonymousCall(AnonymousCall {
        call_data: Some("1".into()),
        code: format!("1790800{serial:08}"),
        valid_until_ms: intent.created_ms + 60_000,
        connected_url: None,
    });
    intent
}

/// A call between a softphone and a number, by its legs.
pub fn two_parties(serial: u64) -> Intent {
    let mut intent = intent(serial);
    intent.order.kind = OrderKind::BidirectionalCall(BidirectionalCall {
        caller: Caller::Dialled(Party {
            number: "66666666".into(),
            place: Place::Softphone,
            presented: "95599".into(),
        }),
        call_data: Some("{\"ticket\": 7}".into()),
        ita: false,
        agent_work_no: None,
        binding: None,
        connected_url: Some("http://127.0.0.1:8080/connected".into()),
    });
    intent
}

/// A call that waits.
pub fn accepted(intent: Intent) -> Write {
    Write::Accepted { intent: Box::new(intent), idempotency: None, started: false }
}

/// A call that is dialled at once.
pub fn started(intent: Intent) -> Write {
    Write::Accepted { intent: Box::new(intent), idempotency: None, started: true }
}

pub fn with_key(intent: Intent, idempotency: Idempotency) -> Write {
    let idempotency = Some(idempotency);
    Write::Accepted { intent: Box::new(intent), idempotency, started: false }
}

pub fn idempotency(key: &str, body: u8) -> Idempotency {
    let key =
        IdempotencyKey { tenant: TENANT, kind: CallKind::VoiceNotification, key: key.to_owned() };
    Idempotency { key, body_sha256: [body; 32] }
}

pub fn attempt(serial: u64, number: u32) -> Attempt {
    Attempt {
        serial: Serial(serial),
        leg: LegId(serial * 10 + u64::from(number)),
        side: Side::Called,
        trunk: Some("carrier".into()),
        number,
        at_ms: T0 + 5,
        wire: b"INVITE sip:8899@carrier SIP/2.0\r\n\xff\x00".to_vec(),
        media: vec![0, 1, 2, number as u8],
    }
}

pub fn answered(attempt: &Attempt, at_ms: i64) -> Write {
    let dialog = b"tag=far".to_vec();
    Write::Answered { serial: attempt.serial, leg: attempt.leg, at_ms, dialog }
}

pub fn cdr(intent: Intent) -> Cdr {
    Cdr {
        trunk: Some("carrier".into()),
        dialled_ms: Some(intent.created_ms + 10),
        alerting_ms: Some(intent.created_ms + 100),
        talking_ms: Some(intent.created_ms + 2_000),
        released_ms: intent.created_ms + 9_000,
        talk_duration_ms: 7_000,
        outcome: Outcome::Played,
        cause: Some(Cause::HungUp),
        sip_status: Some(200),
        rounds: 2,
        digits: "1#".into(),
        recorded: false,
        media: Some(MediaSummary {
            codec: "PCMA".into(),
            packets_sent: 350,
            packets_received: 349,
            packets_lost: 1,
            jitter_us: 210,
            late_packets: 0,
            mos_x100: Some(441),
        }),
        caller: None,
        intent,
    }
}

pub fn event(tenant: TenantId, serial: u64, kind: EventKind) -> Event {
    Event { tenant, serial: Some(Serial(serial)), at_ms: T0 + 20, kind }
}

pub fn ringing(tenant: TenantId, serial: u64) -> Write {
    let event =
        event(tenant, serial, EventKind::Ringing { leg: LegId(serial), side: Side::Called });
    Write::Event { event, callback: None }
}

/// The terminal event of a call, delivered where its order says.
pub fn ended_event(cdr: &Cdr) -> Write {
    let kind = EventKind::Ended { cdr: Box::new(cdr.clone()) };
    let event = event(cdr.intent.tenant, cdr.intent.serial.0, kind);
    Write::Event { event, callback: cdr.intent.order.callback_url.clone() }
}

pub fn ended(cdr: Cdr) -> Write {
    Write::Ended(Box::new(cdr))
}

/// A whole short call, from acceptance to record, with its callback.
pub fn whole_call(serial: u64) -> Vec<Write> {
    let cdr = cdr(intent(serial));
    vec![started(intent(serial)), ended_event(&cdr), ended(cdr)]
}
