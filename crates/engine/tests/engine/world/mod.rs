//! An engine with a scripted outside: a disk that commits when told, a clock that is moved by hand.

use std::time::Duration;

use engine::action::{Action, Claim, Input, LegInput, Then, Via};
use engine::cdr::Cdr;
use engine::events::{Event, EventKind};
use engine::intent::{Idempotency, IdempotencyKey, Intent, Order, OrderKind, PlayItem};
use engine::vocabulary::{
    CallKind, DailyLimits, LegId, Now, Pace, Priority, Serial, TenantId, TenantLimits,
};
use engine::writes::Write;
use engine::{Engine, RecordingSwitch, Reply, Request, Start, Ticket};

pub const TENANT: TenantId = TenantId(1);

pub struct World {
    pub engine: Engine,
    pub now: Now,
    /// Writes of the batch that is open.
    pub open: Vec<Write>,
    /// Batches that are closed and not on disk yet.
    flying: Vec<(engine::action::BatchNumber, Vec<Write>)>,
    /// Everything that is on disk, in order.
    pub disk: Vec<Write>,
    pub replies: Vec<(Ticket, Reply)>,
    pub claims: Vec<(engine::action::ClaimId, Claim)>,
    next_ticket: u64,
}

pub fn pace(calls_per_second: u32, concurrent_calls: u32) -> Pace {
    Pace { calls_per_second, concurrent_calls }
}

pub fn limits(pace: Pace) -> TenantLimits {
    TenantLimits {
        pace,
        queue_length: 100,
        refuse_duplicates: false,
        daily: DailyLimits::default(),
        ita_minutes: None,
    }
}

pub fn order() -> Order {
    Order {
        place: "carrier".into(),
        called: "8899".into(),
        caller_present: "2222201".into(),
        priority: Priority::LAST,
        ring_limit_s: 60,
        max_duration_s: 600,
        record: false,
        callback_url: Some("http://127.0.0.1:8800/callbackTest".into()),
        kind: OrderKind::VoiceNotification {
            playlist: vec![PlayItem::Recording { voice_id: "100001".into() }],
            play_times: 1,
        },
    }
}

pub fn request(order: Order) -> Request {
    Request {
        tenant: TENANT,
        limits: limits(pace(1_000, 1_000)),
        idempotency: None,
        queue_timeout: Duration::from_secs(600),
        order,
    }
}

pub fn idempotency(key: &str, body: u8) -> Idempotency {
    let key = IdempotencyKey { tenant: TENANT, kind: CallKind::VoiceNotification, key: key.into() };
    Idempotency { key, body_sha256: [body; 32] }
}

impl World {
    pub fn new() -> World {
        let start = Start { node: 0, highest_serial: None, first_leg: 0, capacity: 10_000 };
        let mut world = World {
            engine: Engine::new(start),
            now: Now { since_start: Duration::from_secs(1), unix_ms: 1_795_000_000_000 },
            open: Vec::new(),
            flying: Vec::new(),
            disk: Vec::new(),
            replies: Vec::new(),
            claims: Vec::new(),
            next_ticket: 0,
        };
        world.trunk(pace(1_000, 1_000), true);
        world
    }

    /// The trunk that orders name where they say nothing else.
    pub fn trunk(&mut self, pace: Pace, up: bool) {
        self.named_trunk("carrier", pace, up);
    }

    pub fn named_trunk(&mut self, name: &str, pace: Pace, up: bool) {
        self.input(Input::Trunk { trunk: name.into(), pace, up });
    }

    /// The trunk of a leg that is opened next.
    pub fn opened_over(&mut self, of: u64) -> String {
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Open { leg, to, .. } if leg == LegId(of) => {
                    return to.via.trunk().expect("it leaves over a trunk").to_string();
                }
                Action::Write(write) => self.open.push(write),
                other => panic!("wanted leg {of} opened, not {other:?}"),
            }
        }
        panic!("leg {of} is not opened")
    }

    pub fn accept(&mut self, request: Request) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.input(Input::Accept { ticket, request: Box::new(request) });
        ticket
    }

    pub fn cancel(&mut self, serial: Serial) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.input(Input::Cancel { ticket, tenant: TENANT, serial });
        ticket
    }

    pub fn input(&mut self, input: Input) {
        self.engine.handle(input, self.now);
    }

    pub fn leg(&mut self, leg: u64, input: LegInput) {
        self.input(Input::Leg { leg: LegId(leg), input });
    }

    /// Moves the clock; what is due on the way happens on the way.
    pub fn pass(&mut self, by: Duration) {
        self.now = self.now.later(by);
        self.engine.handle_timeout(self.now);
    }

    /// What the engine wants besides writes, replies and claims, in words.
    pub fn wants(&mut self) -> Vec<String> {
        let mut wants = Vec::new();
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Write(write) => self.open.push(write),
                Action::Reply { ticket, reply } => self.replies.push((ticket, reply)),
                Action::Claim { claim, what } => {
                    // The driver closes the batch here: what is claimed comes after it.
                    self.flush();
                    self.claims.push((claim, what));
                }
                Action::Forget { .. } | Action::TrunkHealth { .. } => {}
                other => wants.push(in_words(&other)),
            }
        }
        wants
    }

    /// Closes the open batch and hands it to the disk.
    fn flush(&mut self) {
        if !self.open.is_empty() {
            self.flying.push((self.engine.close_batch(), std::mem::take(&mut self.open)));
        }
    }

    /// The disk takes what was written; then what waited for it.
    pub fn commit(&mut self) -> Vec<String> {
        let mut wants = self.wants();
        self.flush();
        for (batch, mut writes) in std::mem::take(&mut self.flying) {
            self.disk.append(&mut writes);
            self.input(Input::Committed(batch));
        }
        wants.extend(self.wants());
        wants
    }

    pub fn serial(&self, ticket: Ticket) -> Serial {
        let reply = self.replies.iter().find(|(of, _)| *of == ticket);
        match reply {
            Some((_, Reply::Accepted { serial, .. })) => *serial,
            other => panic!("no acceptance for {ticket:?}: {other:?}"),
        }
    }

    /// A call that has been accepted, prepared and sent: leg 1.
    pub fn dialled(&mut self, order: Order) -> Serial {
        let ticket = self.accept(request(order));
        let Some(serial) = self.fetching() else { panic!("nothing is fetched") };
        self.input(Input::Fetched { serial, result: Ok(()) });
        self.leg(1, LegInput::Prepared { wire: vec![1], media: vec![2] });
        assert!(self.commit().contains(&"dial 1".to_owned()));
        assert_eq!(self.serial(ticket), serial);
        serial
    }

    /// An order that is accepted and starts without clips.
    pub fn accepted(&mut self, order: Order) -> Serial {
        let ticket = self.accept(request(order));
        self.settle();
        self.serial(ticket)
    }

    /// The intent has waited long enough for its INVITE.
    pub fn settle(&mut self) -> Vec<String> {
        let mut wants = self.wants();
        self.pass(Duration::from_millis(3));
        wants.extend(self.commit());
        wants
    }

    pub fn ringing(&mut self, order: Order) -> Serial {
        let serial = self.dialled(order);
        self.leg(1, LegInput::Ringing);
        serial
    }

    pub fn playing(&mut self, order: Order) -> Serial {
        let serial = self.ringing(order);
        self.leg(1, LegInput::Answered { dialog: vec![3] });
        let wants = self.commit();
        assert_eq!(wants.first().map(String::as_str), Some("acknowledge 1"), "{wants:?}");
        serial
    }

    /// The serial of the call whose clips are asked for next.
    pub fn fetching(&mut self) -> Option<Serial> {
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Fetch { serial, .. } => return Some(serial),
                Action::Write(write) => self.open.push(write),
                Action::TrunkHealth { .. } => {}
                other => panic!("wanted a fetch, not {other:?}"),
            }
        }
        None
    }

    pub fn records(&self) -> Vec<&Cdr> {
        self.disk
            .iter()
            .filter_map(|write| match write {
                Write::Ended(cdr) => Some(&**cdr),
                _ => None,
            })
            .collect()
    }

    /// The one record, after a commit.
    pub fn record(&mut self) -> Cdr {
        self.commit();
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:?}");
        records[0].clone()
    }

    pub fn events(&self) -> Vec<&'static str> {
        self.disk
            .iter()
            .filter_map(|write| match write {
                Write::Event { event: Event { kind, .. }, .. } => Some(kind.name()),
                _ => None,
            })
            .collect()
    }
}

pub fn ended(cause: engine::cdr::Cause) -> LegInput {
    LegInput::Ended { cause, sip_status: None, media: None, then: Then::Nothing }
}

pub fn is_terminal(write: &Write) -> Option<Serial> {
    match write {
        Write::Event { event: Event { kind: EventKind::Ended { cdr }, .. }, .. } => {
            Some(cdr.intent.serial)
        }
        _ => None,
    }
}

pub fn intent(serial: u64, unix_ms: i64, order: Order) -> Intent {
    Intent {
        serial: Serial(serial),
        tenant: TENANT,
        created_ms: unix_ms,
        queue_deadline_ms: unix_ms + 600_000,
        order,
    }
}

fn in_words(action: &Action) -> String {
    match action {
        Action::Fetch { .. } => "fetch".into(),
        Action::Open { leg, to, .. } => {
            let beside = to.beside.map(|leg| format!(" beside {}", leg.0)).unwrap_or_default();
            let place = match &to.via {
                Via::Trunk(_) => String::new(),
                Via::Softphone(binding) => format!(" at place {}", binding.0),
            };
            format!("open {} to {} as {}{place}{beside}", leg.0, to.called, to.caller_present)
        }
        Action::FindPhone { number, .. } => format!("find {number}"),
        Action::TakeIn { leg, .. } => format!("take in {}", leg.0),
        Action::Ring { leg } => format!("ring {}", leg.0),
        Action::Progress { leg } => format!("progress {}", leg.0),
        Action::Answer { leg } => format!("answer {}", leg.0),
        Action::SendAnswer { leg } => format!("send answer {}", leg.0),
        Action::Refuse { leg, with } => format!("refuse {} {with:?}", leg.0),
        Action::Ringback { leg } => format!("ringback {}", leg.0),
        Action::Forward { from, to } => format!("forward {} to {}", from.0, to.0),
        Action::Bridge { leg, with } => format!("bridge {} with {}", leg.0, with.0),
        Action::Watch { leg } => format!("watch {}", leg.0),
        Action::SendDigit { leg, digit } => format!("send {digit} to {}", leg.0),
        Action::Dial { leg } => format!("dial {}", leg.0),
        Action::Acknowledge { leg } => format!("acknowledge {}", leg.0),
        Action::Record { leg } => format!("record {}", leg.0),
        Action::SwitchRecording { leg, switch: RecordingSwitch::Pause } => {
            format!("pause the recording of {}", leg.0)
        }
        Action::SwitchRecording { leg, switch: RecordingSwitch::Resume } => {
            format!("resume the recording of {}", leg.0)
        }
        Action::Play { leg, play } => format!("play {} on {}", play.0, leg.0),
        Action::HangUp { leg } => format!("hang up {}", leg.0),
        Action::Resume { leg, .. } => format!("resume {}", leg.0),
        Action::Abandon { leg, .. } => format!("abandon {}", leg.0),
        Action::HangUpStored { leg, .. } => format!("hang up stored {}", leg.0),
        other => panic!("{other:?} has no words"),
    }
}
