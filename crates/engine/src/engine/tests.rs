use super::*;
use crate::action::{LegInput, Then};
use crate::cdr::{Cause, Cdr};
use crate::intent::{OrderKind, PlayItem};
use crate::vocabulary::{DailyLimits, Pace, Priority, TenantLimits};
use crate::writes::Write;

fn order() -> Order {
    Order {
        place: "carrier".into(),
        called: "8899".into(),
        caller_present: "2222201".into(),
        priority: Priority::LAST,
        ring_limit_s: 60,
        max_duration_s: 60,
        record: false,
        callback_url: None,
        kind: OrderKind::VoiceNotification {
            playlist: vec![PlayItem::Recording { voice_id: "100001".into() }],
            play_times: 1,
        },
    }
}

fn engine() -> (Engine, Now) {
    let start = Start { node: 0, highest_serial: None, first_leg: 0, capacity: 100 };
    let mut engine = Engine::new(start);
    let now = Now { since_start: Duration::from_secs(1), unix_ms: 1_795_000_000_000 };
    let pace = Pace { calls_per_second: 100, concurrent_calls: 100 };
    engine.handle(Input::Trunk { trunk: "carrier".into(), pace, up: true }, now);
    let limits = TenantLimits {
        pace,
        queue_length: 10,
        refuse_duplicates: false,
        daily: DailyLimits::default(),
        ita_minutes: None,
    };
    engine.handle(Input::TenantLimits { tenant: TenantId(1), limits }, now);
    (engine, now)
}

fn call(engine: &mut Engine, serial: u64, broken: bool, now: Now) {
    let (tenant, serial) = (TenantId(1), Serial(serial));
    let (created_ms, queue_deadline_ms) = (now.unix_ms, now.unix_ms);
    let intent = Intent { serial, tenant, created_ms, queue_deadline_ms, order: order() };
    let room =
        if broken { Room::Broken(Box::new(Draft::new(intent))) } else { Room::new(intent, now) };
    engine.insert(serial, room, Slots::of(Some("carrier".into())), None);
}

#[test]
fn a_panic_costs_one_call() {
    let (mut engine, now) = engine();
    call(&mut engine, 1, true, now);
    call(&mut engine, 2, false, now);
    engine.legs.insert(LegId(7), Owner { serial: Serial(1), trunk: Some("carrier".into()) });
    if let Some(call) = engine.calls.get_mut(&Serial(1)) {
        call.legs.push(LegId(7));
    }
    engine.handle(Input::Leg { leg: LegId(7), input: LegInput::Ringing }, now);
    let actions: Vec<Action> = std::iter::from_fn(|| engine.poll()).collect();
    assert!(actions.contains(&Action::HangUp { leg: LegId(7) }), "its leg is hung up");
    let records: Vec<&Cdr> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Write(Write::Ended(cdr)) => Some(&**cdr),
            _ => None,
        })
        .collect();
    let [record] = records[..] else { panic!("{records:?}") };
    assert_eq!((record.outcome, record.cause), (Outcome::Failed, Some(Cause::Internal)));
    engine.run(Serial(2), CallInput::Start("carrier".into()), now);
    assert!(matches!(engine.poll(), Some(Action::Fetch { serial: Serial(2), .. })));
}

/// Does what the engine wants as an outside where everybody answers and the disk is quick, until all
/// calls are over; their records.
fn perform(engine: &mut Engine, now: Now) -> Vec<Cdr> {
    let mut records = Vec::new();
    for _ in 0..1_000 {
        while let Some(action) = engine.poll() {
            records.extend(answer(engine, action, now));
        }
        if engine.is_idle() {
            return records;
        }
        let batch = engine.close_batch();
        engine.handle(Input::Committed(batch), now);
    }
    panic!("{} calls do not end", engine.live_calls());
}

fn answer(engine: &mut Engine, action: Action, now: Now) -> Option<Cdr> {
    let mut said = |leg, input| engine.handle(Input::Leg { leg, input }, now);
    match action {
        Action::Fetch { serial, .. } => {
            engine.handle(Input::Fetched { serial, result: Ok(()) }, now);
        }
        Action::Open { leg, .. } => {
            said(leg, LegInput::Prepared { wire: vec![1], media: vec![2] });
        }
        Action::Dial { leg } => said(leg, LegInput::Answered { dialog: vec![3] }),
        Action::Play { leg, play } => {
            said(leg, LegInput::PlayStarted);
            engine.handle(Input::Leg { leg, input: LegInput::PlayFinished { play } }, now);
        }
        Action::HangUp { leg } => {
            let (cause, sip_status, media) = (Cause::Released, Some(200), None);
            said(leg, LegInput::Ended { cause, sip_status, media, then: Then::Nothing });
        }
        Action::Write(Write::Ended(cdr)) => return Some(*cdr),
        _ => {}
    }
    None
}

#[test]
fn ten_panics_in_a_hundred_calls_cost_ten_calls() {
    let (mut engine, now) = engine();
    for serial in 1..=100 {
        call(&mut engine, serial, serial % 10 == 0, now);
    }
    let mut records = Vec::new();
    // All of them are under way at the same time.
    for serial in 1..=100 {
        engine.run(Serial(serial), CallInput::Start("carrier".into()), now);
    }
    records.extend(perform(&mut engine, now));
    assert_eq!(records.len(), 100, "one record each");
    assert_eq!(engine.live_calls(), 0);
    for record in &records {
        let expected = match record.intent.serial.0 % 10 {
            0 => (Outcome::Failed, Some(Cause::Internal)),
            _ => (Outcome::Played, record.cause),
        };
        assert_eq!((record.outcome, record.cause), expected, "{}", record.intent.serial);
    }
    let serials: BTreeSet<Serial> = records.iter().map(|record| record.intent.serial).collect();
    assert_eq!(serials.len(), 100);
}

#[test]
fn after_a_tick_the_next_wake_up_is_later() {
    let (mut engine, mut now) = engine();
    for serial in 1..5 {
        call(&mut engine, serial, false, now);
        engine.run(Serial(serial), CallInput::Start("carrier".into()), now);
    }
    for _ in 0..50 {
        let Some(wake_at) = engine.wake_at(now) else { break };
        assert!(wake_at > now.since_start);
        now = now.later(wake_at - now.since_start);
        engine.handle_timeout(now);
    }
    assert_eq!(engine.live_calls(), 0);
}

/// A caller from outside is never left without an answer.
#[test]
fn a_panic_at_a_caller_s_arrival_turns_it_away() {
    let (mut engine, now) = engine();
    call(&mut engine, 1, true, now);
    engine.codes.insert(TenantId(1), "17908001".into(), Serial(1));
    let leg = LegId(1 << 63 | 1);
    let arrival = crate::action::Arrival::Code("17908001".into());
    let source = std::net::IpAddr::from([192, 0, 2, 1]);
    let origin = crate::action::Origin::Claimed;
    engine.handle(Input::Incoming { leg, arrival, source, origin }, now);
    let actions: Vec<Action> = std::iter::from_fn(|| engine.poll()).collect();
    let refusal = Action::Refuse { leg, with: crate::action::Refused::Busy };
    assert!(actions.contains(&refusal), "{actions:?}");
    assert_eq!(engine.live_calls(), 0);
}
