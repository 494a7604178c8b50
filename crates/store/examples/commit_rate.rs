//! How fast calls go through the store: `cargo run --release -p store --example commit_rate --
//! [DIRECTORY] [CALLS] [CALLERS]`. Each call is the eleven writes of a short notification in four
//! batches, each waited for, with a callback and its attempt; CALLERS calls run at a time. Then the
//! same number of calls is queued and the directory is opened again, as after a crash.

use std::path::{Path, PathBuf};
use std::time::Instant;

use engine::cdr::{Cause, Cdr, Outcome};
use engine::events::{Event, EventKind};
use engine::intent::{Intent, Order, OrderKind, PlayItem};
use engine::vocabulary::{LegId, Priority, Serial, Side, TenantId};
use engine::writes::{Attempt, Write};
use store::{
    Batch, CallbackAttempt, CallbackId, CallbackNext, CallbackResult, Claim, Store, StoreConfig,
    StoreError,
};

#[tokio::main]
async fn main() -> Result<(), StoreError> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(|| "target/commit_rate".into(), PathBuf::from);
    let calls = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let callers = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(64);
    let store = open(&directory).await?;
    let first = store.recover().await?.highest_serial.map_or(1, |serial| serial.0 + 1);

    let cpu = cpu_seconds();
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(make_calls(store.clone(), first + caller, calls, callers)))
        .collect();
    for task in tasks {
        task.await.expect("a caller does not panic")?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let done = store.counters();
    println!(
        "{:.0} calls/s, {:.0} writes/s, {:.0} commits/s, {:.1} batches a commit, \
         {:.0} us of CPU a call, {} checkpoints",
        calls as f64 / seconds,
        done.writes as f64 / seconds,
        done.commits as f64 / seconds,
        done.batches as f64 / done.commits as f64,
        (cpu_seconds() - cpu) * 1e6 / calls as f64,
        done.checkpoints,
    );
    recover_queue(store, &directory, first + 2 * calls, calls).await
}

async fn open(directory: &Path) -> Result<Store, StoreError> {
    Store::open(StoreConfig::Sqlite { directory: directory.to_owned() }).await
}

async fn make_calls(store: Store, first: u64, calls: u64, step: u64) -> Result<(), StoreError> {
    for serial in (first..first + calls).step_by(step as usize) {
        let intent = intent(serial);
        let leg = LegId(serial);
        store
            .submit(vec![
                Write::Accepted {
                    intent: Box::new(intent.clone()),
                    idempotency: None,
                    started: true,
                },
                event(
                    serial,
                    EventKind::Accepted {
                        called: intent.order.called.clone(),
                        caller_present: intent.order.caller_present.clone(),
                    },
                ),
                Write::Attempt(Box::new(attempt(serial))),
                event(
                    serial,
                    EventKind::Dialling {
                        leg,
                        side: Side::Called,
                        trunk: Some("carrier".into()),
                        attempt: 1,
                    },
                ),
            ])
            .await?;
        store.submit(vec![event(serial, EventKind::Ringing { leg, side: Side::Called })]).await?;
        store
            .submit(vec![
                Write::Answered { serial: intent.serial, leg, at_ms: 5, dialog: vec![b'd'; 400] },
                event(serial, EventKind::Answered { leg, side: Side::Called }),
                event(serial, EventKind::PlayStarted { leg }),
            ])
            .await?;
        let cdr = cdr(intent);
        let sip_status = Some(200);
        let ended = Event {
            tenant: cdr.intent.tenant,
            serial: Some(cdr.intent.serial),
            at_ms: 9,
            kind: EventKind::Ended { cdr: Box::new(cdr.clone()) },
        };
        let writes = vec![
            event(serial, EventKind::RoundPlayed { leg, round: 1 }),
            event(
                serial,
                EventKind::LegEnded { leg, side: Side::Called, cause: Cause::HungUp, sip_status },
            ),
            Write::Event { event: ended, callback: Some("http://127.0.0.1:9/released".into()) },
            Write::Ended(Box::new(cdr)),
        ];
        let timelines = vec![(Serial(serial), notes(serial))];
        let committed = store.submit(Batch { writes, timelines, ..Batch::default() }).await?;
        store.callback_attempt(delivered(committed.positions[2])).await?;
    }
    Ok(())
}

async fn recover_queue(
    store: Store,
    directory: &Path,
    first: u64,
    calls: u64,
) -> Result<(), StoreError> {
    let start = Instant::now();
    for some in (first..first + calls).collect::<Vec<_>>().chunks(5_000) {
        let queued: Vec<_> = some.iter().map(|serial| store.submit(queue(*serial))).collect();
        for batch in queued {
            batch.await?;
        }
    }
    println!("{calls} calls queued in {:?}", start.elapsed());
    store.close().await;
    let start = Instant::now();
    let store = open(directory).await?;
    let recovery = store.recover().await?;
    println!("opened and recovered in {:?}: {:?} wait", start.elapsed(), recovery.waiting);

    let start = Instant::now();
    let mut claimed = 0;
    loop {
        let claim = Claim::Ready { tenant: TenantId(170), route: "carrier".into(), limit: 100 };
        match store.claim(claim).await?.len() {
            0 => break,
            some => claimed += some,
        }
    }
    println!("{claimed} claimed by hundreds in {:?}", start.elapsed());
    store.close().await;
    Ok(())
}

fn intent(serial: u64) -> Intent {
    let items = vec![PlayItem::Recording { voice_id: "100001".into() }];
    Intent {
        serial: Serial(serial),
        tenant: TenantId(170),
        created_ms: serial as i64,
        queue_deadline_ms: serial as i64 + 3_600_000,
        order: Order {
            place: "carrier".into(),
            called: format!("{:08}", 88_000_000 + serial % 1_000_000),
            caller_present: "95599".into(),
            priority: Priority::LAST,
            ring_limit_s: 50,
            max_duration_s: 600,
            record: false,
            callback_url: Some("http://127.0.0.1:9/released".into()),
            kind: OrderKind::VoiceNotification { playlist: items, play_times: 1 },
        },
    }
}

fn queue(serial: u64) -> Vec<Write> {
    let intent = Box::new(intent(serial));
    vec![Write::Accepted { intent, idempotency: None, started: false }]
}

fn attempt(serial: u64) -> Attempt {
    Attempt {
        serial: Serial(serial),
        leg: LegId(serial),
        side: Side::Called,
        trunk: Some("carrier".into()),
        number: 1,
        at_ms: 2,
        wire: vec![b'i'; 900],
        media: vec![b'm'; 100],
    }
}

fn cdr(intent: Intent) -> Cdr {
    Cdr {
        trunk: Some("carrier".into()),
        dialled_ms: Some(2),
        alerting_ms: Some(3),
        talking_ms: Some(5),
        released_ms: 9,
        talk_duration_ms: 4,
        outcome: Outcome::Played,
        cause: Some(Cause::HungUp),
        sip_status: Some(200),
        rounds: 1,
        digits: String::new(),
        recorded: false,
        media: None,
        caller: None,
        intent,
    }
}

fn event(serial: u64, kind: EventKind) -> Write {
    let event = Event { tenant: TenantId(170), serial: Some(Serial(serial)), at_ms: 2, kind };
    Write::Event { event, callback: None }
}

/// About what the messages of a call take, as compressible as they are.
fn notes(serial: u64) -> Vec<u8> {
    let message = |n: u64| {
        format!(
            "{{\"at\":{n},\"sip\":\"INVITE sip:{serial}@10.0.0.{n} SIP/2.0\\r\\nVia: SIP/2.0/UDP \
             10.1.1.1:5060;branch=z9hG4bK{:016x}\\r\\nFrom: <sip:95599@10.1.1.1>;tag={:08x}\\r\\n\
             To: <sip:{serial}@10.0.0.{n}>\\r\\nCall-ID: {serial:x}@offhook\\r\\nCSeq: {n} INVITE\\r\\n\
             Max-Forwards: 70\\r\\nContact: <sip:10.1.1.1:5060>\\r\\nContent-Length: 0\\r\\n\"}}",
            serial.wrapping_mul(0x9e37_79b9_7f4a_7c15 + n),
            serial.wrapping_mul(0x85eb_ca6b + n) as u32,
        )
    };
    (1..=8).map(message).collect::<Vec<_>>().join(",").into_bytes()
}

fn delivered(id: CallbackId) -> CallbackAttempt {
    CallbackAttempt {
        id,
        number: 1,
        at_ms: 10,
        duration_ms: 1,
        request: "POST /released HTTP/1.1\n".repeat(20),
        result: CallbackResult::Reply { status: 200, body: r#"{"retCode":"0"}"#.into() },
        next: CallbackNext::Delivered,
    }
}

/// User and system time of this process (proc(5), fields 14 and 15 of stat, 100 ticks a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
