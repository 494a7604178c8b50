//! The carrier's exchange: events of its lines become calls, each call a phone with a task of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip::{Body, Command, Direction, End, Event, IncomingCall, LegId, OutsideRequest, TapRecord};
use tokio::sync::{mpsc, watch};

use crate::audio_leg::{AudioLeg, Switchboard};
use crate::carrier::KeepAudio;
use crate::ledger::Ledger;
use crate::registrar::{Outcome, Registrar};
use crate::script::{self, Part};
use crate::sniff::{Glance, glance};
use crate::sounds::Sounds;
use crate::wire::{Lost, Order};
use crate::{Behaviour, Moment, Phone, numbers};

/// Notices that may wait for one call.
const MAILBOX: usize = 64;

/// Where a leg lives, and how to command it.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// The carrier's network of datagrams, in which they can be lost and overtaken.
    Wire(mpsc::Sender<Order>),
    Endpoint(sip::Endpoint),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum LineName {
    Wire,
    Endpoint,
}

impl Line {
    fn name(&self) -> LineName {
        match self {
            Line::Wire(_) => LineName::Wire,
            Line::Endpoint(_) => LineName::Endpoint,
        }
    }

    /// `false` where the line is overloaded or closed.
    pub fn command(&self, command: Command) -> bool {
        match self {
            Line::Wire(wire) => wire.try_send(Order::Sip(command)).is_ok(),
            Line::Endpoint(endpoint) => endpoint.command(command).is_ok(),
        }
    }

    /// `false` where the line cannot: on a stream nothing is overtaken.
    pub fn answer_on_cancel(&self, leg: LegId, call_id: String, body: Option<Body>) -> bool {
        match self {
            Line::Wire(wire) => wire.try_send(Order::AnswerOnCancel { leg, call_id, body }).is_ok(),
            Line::Endpoint(_) => false,
        }
    }

    /// `false` where the line cannot: a stream delivers.
    pub fn lose(&self, call_id: String, what: Lost, times: u32) -> bool {
        match self {
            Line::Wire(wire) => wire.try_send(Order::Lose { call_id, what, times }).is_ok(),
            Line::Endpoint(_) => false,
        }
    }

    /// `false` where the line cannot: a stream delivers.
    pub fn swallow(&self, call_id: String) -> bool {
        match self {
            Line::Wire(wire) => wire.try_send(Order::Swallow { call_id }).is_ok(),
            Line::Endpoint(_) => false,
        }
    }
}

/// What a phone hears from its line.
#[derive(Debug)]
pub(crate) enum Notice {
    /// ACK for our 200, with the answer where the INVITE had no offer.
    Confirmed(Option<Bytes>),
    /// A re-INVITE or UPDATE.
    Offered(Option<Bytes>),
    /// The answer to a re-INVITE of ours; `None`: refused, or without a description.
    OfferAnswered(Option<Bytes>),
    /// 101 to 199 to an INVITE of ours.
    Progress(u16, Option<Bytes>),
    /// 200 to an INVITE of ours.
    Answered(Option<Bytes>),
    Info(Body),
    Ended(End),
    /// The carrier shuts down: hang up.
    Closing,
}

pub(crate) struct ExchangeConfig {
    pub seed: u64,
    pub behaviours: BTreeMap<String, Behaviour>,
    pub keep_audio: KeepAudio,
    pub keep_for: Duration,
    pub lost: Arc<AtomicU64>,
    pub nobody: u16,
}

pub(crate) struct Exchange {
    config: ExchangeConfig,
    board: Arc<Switchboard>,
    ledger: Ledger,
    registrar: Mutex<Registrar>,
    parts: RwLock<BTreeMap<String, Part>>,
    calls: Mutex<BTreeMap<(LineName, LegId), mpsc::Sender<Notice>>>,
    /// How many calls there are: lets a shut-down wait for none.
    live: watch::Sender<usize>,
    dropped: AtomicU64,
    sounds: Sounds,
}

impl Exchange {
    pub fn new(config: ExchangeConfig, board: Switchboard, sounds: Sounds) -> Exchange {
        let ledger = Ledger::new(config.keep_audio);
        Exchange {
            config,
            board: Arc::new(board),
            ledger,
            registrar: Mutex::default(),
            parts: RwLock::default(),
            calls: Mutex::default(),
            live: watch::Sender::new(0),
            dropped: AtomicU64::new(0),
            sounds,
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn sounds(&self) -> &Sounds {
        &self.sounds
    }

    pub fn keeps_audio(&self) -> bool {
        !matches!(self.config.keep_audio, KeepAudio::None)
    }

    pub fn audio_leg(&self) -> AudioLeg {
        let keep = if self.keeps_audio() { self.config.keep_for } else { Duration::ZERO };
        self.board.leg(keep)
    }

    /// An audio leg whose sound nobody keeps.
    pub fn deaf_audio_leg(&self) -> AudioLeg {
        self.board.leg(Duration::ZERO)
    }

    pub fn registrations(&self) -> BTreeMap<String, crate::Binding> {
        lock(&self.registrar).bindings(Instant::now())
    }

    /// Calls to `number` are played by `part` from now on.
    pub fn cast(&self, number: String, part: Part) {
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        parts.insert(number, part);
    }

    /// A port of the media address that is bound and that nobody reads.
    pub fn nobodys_port(&self) -> u16 {
        self.config.nobody
    }

    pub fn datagrams_lost(&self) -> u64 {
        self.config.lost.load(Ordering::Relaxed)
    }

    pub fn events_dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.board.events_dropped()
    }

    /// Whether an INVITE gets through to a phone, by the number it is for. One that does not is booked all the same.
    pub fn reaches(&self, invite: &Glance<'_>) -> bool {
        let reaches =
            !matches!(self.part_of(invite.request_user), Part::Behaviour(Behaviour::Dead));
        if !reaches {
            self.ledger.invite_arrived(invite, Moment::now());
        }
        reaches
    }

    /// Takes an event of a line.
    pub fn event(self: &Arc<Self>, line: &Line, event: Event) {
        match event {
            Event::Message(record) => self.book(&record),
            Event::Incoming { leg, request } => self.ring(line, leg, request),
            Event::Request(request) => self.register(line, &request),
            Event::Confirmed { leg, body, .. } => {
                self.tell(line, leg, Notice::Confirmed(body.map(|body| body.bytes)));
            }
            Event::Offered { leg, body } => {
                self.tell(line, leg, Notice::Offered(body.map(|body| body.bytes)));
            }
            Event::OfferAnswered { leg, body } => {
                self.tell(line, leg, Notice::OfferAnswered(body.map(|body| body.bytes)));
            }
            Event::OfferRefused { leg, .. } => self.tell(line, leg, Notice::OfferAnswered(None)),
            Event::Ended { leg, end } => self.tell(line, leg, Notice::Ended(end)),
            Event::Info { leg, body } => {
                if let Some(body) = body {
                    self.tell(line, leg, Notice::Info(body));
                }
            }
            // What phones dial by themselves; the carrier dials nowhere.
            Event::Prepared { leg, .. }
            | Event::Challenged { leg, .. }
            | Event::Retried { leg, .. } => self.order(line, Command::Send { leg }),
            Event::Provisional { leg, status, body } => {
                self.tell(line, leg, Notice::Progress(status, body.map(|body| body.bytes)));
            }
            Event::Answered { leg, body, .. } => {
                self.order(line, Command::Acknowledge { leg, body: None });
                self.tell(line, leg, Notice::Answered(body.map(|body| body.bytes)));
            }
            // `Ended` follows the first; its lines answer at once and keep no books of phones; what
            // registers is heard by whoever made it do so.
            Event::NoAck { .. }
            | Event::Answering { .. }
            | Event::Refreshed { .. }
            | Event::Bound { .. }
            | Event::Keep { .. }
            | Event::Trying { .. }
            | Event::Registered { .. }
            | Event::RegistrationFailed { .. }
            | Event::Probed { .. }
            | Event::Unregistered { .. } => {}
        }
    }

    /// A phone of its own making dials: what happens to its leg.
    pub fn open(&self, line: &Line, leg: LegId) -> mpsc::Receiver<Notice> {
        let (notify, notices) = mpsc::channel(MAILBOX);
        let mut calls = lock(&self.calls);
        calls.insert((line.name(), leg), notify);
        self.live.send_replace(calls.len());
        notices
    }

    /// The phone's task has ended: nothing of its leg interests anybody any more.
    pub fn forget(&self, line: &Line, leg: LegId) {
        let mut calls = lock(&self.calls);
        calls.remove(&(line.name(), leg));
        self.live.send_replace(calls.len());
    }

    /// Calls that are up or ringing.
    pub fn live_calls(&self) -> usize {
        *self.live.borrow()
    }

    /// Hangs up every call, and waits until none is left or the limit has passed.
    pub async fn close(&self, limit: Duration) {
        for call in lock(&self.calls).values() {
            if call.try_send(Notice::Closing).is_err() {
                tracing::debug!("a simulated call is about to end or overloaded");
            }
        }
        let mut live = self.live.subscribe();
        let none_left = live.wait_for(|live| *live == 0);
        if tokio::time::timeout(limit, none_left).await.is_err() {
            tracing::warn!(calls = self.live_calls(), "simulated calls were cut off");
        }
    }

    fn book(&self, record: &TapRecord) {
        if record.direction == Direction::Received
            && record.bytes.starts_with(b"INVITE ")
            && let Some(seen) = glance(&record.bytes)
            && !seen.in_dialog
        {
            self.ledger.invite_arrived(&seen, Moment::of(record.at));
        }
    }

    fn ring(self: &Arc<Self>, line: &Line, leg: LegId, call: Box<IncomingCall>) {
        let notices = self.open(line, leg);
        let invite_at = self.ledger.phone_rung(&call.call_id, Moment::now());
        let part = self.part_of(&call.request_user);
        let phone = Phone::new(Arc::clone(self), line.clone(), leg, call, notices, invite_at);
        tokio::spawn(script::perform(part, phone));
    }

    fn part_of(&self, number: &str) -> Part {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.get(number) {
            return part.clone();
        }
        let own = self.config.behaviours.get(number).cloned();
        Part::Behaviour(own.unwrap_or_else(|| numbers::behaviour_of(number, self.config.seed)))
    }

    fn register(&self, line: &Line, request: &OutsideRequest) {
        let (response, outcome) = if request.method == "REGISTER" {
            lock(&self.registrar).take(request, Instant::now())
        } else {
            let refusal = Command::Respond {
                request: request.id,
                status: 405,
                headers: Vec::new(),
                body: None,
            };
            (refusal, Outcome::Refused)
        };
        if matches!(outcome, Outcome::Registered) {
            self.ledger.registered();
        }
        self.order(line, response);
    }

    fn order(&self, line: &Line, command: Command) {
        if !line.command(command) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tell(&self, line: &Line, leg: LegId, notice: Notice) {
        let refused = match lock(&self.calls).get(&(line.name(), leg)) {
            Some(call) => matches!(call.try_send(notice), Err(mpsc::error::TrySendError::Full(_))),
            None => false,
        };
        if refused {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves maps that are still true.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
