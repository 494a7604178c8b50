//! The only performer of what the engine decides: one task that owns the engine and hands its
//! actions to `sip`, `media`, `store` and the clips, and what they say back to it.
//!
//! Nothing here waits: a commit, a claim, a clip or a port is asked for and comes back as a
//! [`Happening`]. What must be on disk first is held back by the engine's gate.

mod cause;
mod disk;
mod keepalive;
mod legs;
mod notes;
mod numbers;
mod perform;
mod trunks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use engine::action::{BatchNumber, ClaimId, FetchFault, Input};
use engine::intent::Intent;
use engine::vocabulary::{LegId, Now, Serial, TenantId, TrunkName};
use engine::{Engine, Reply, Ticket, Used};
use store::{Store, crash_point};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::admission::Admission;
use crate::calls::{Accepted, Ask, CancelError, Counts};
use crate::clips::Clips;
use crate::config::{Defaults, Fraud};
use crate::recordings::Vault;
use crate::tenants::Tenants;

pub use notes::Note;
pub use numbers::{Identity, Numbers, Rule};
pub use trunks::{Trunk, Trunks};

use disk::Disk;
use legs::Legs;
use notes::Notes;

/// Things that may wait for the driver, besides what `sip` has for it.
const HAPPENINGS: usize = 1 << 17;

/// Inputs that are handled before what they wrote is handed to the disk.
const INPUTS_PER_TURN: usize = 256;

/// What comes back from what the driver asked for.
pub enum Happening {
    Media(media::Event),
    Committed {
        batch: BatchNumber,
        failure: Option<String>,
    },
    Claimed {
        claim: ClaimId,
        calls: Result<Vec<Intent>, String>,
    },
    Fetched {
        serial: Serial,
        clips: Result<Arc<[media::Clip]>, FetchFault>,
    },
    /// A trunk's host name was resolved anew.
    Resolved {
        trunk: TrunkName,
        address: SocketAddr,
    },
    /// The key of a recording could not be stored.
    RecordingLost {
        leg: LegId,
        reason: String,
    },
    /// A write that was not the driver's was refused: the store writes no more.
    DiskFailed(String),
    /// A second order to stop, or the end of the time to drain.
    HangUpAll,
    Drain,
}

impl Happening {
    /// Without what it carries: numbers and call data are not for the log.
    fn name(&self) -> &'static str {
        match self {
            Happening::Media(_) => "media",
            Happening::Committed { .. } => "committed",
            Happening::Claimed { .. } => "claimed",
            Happening::Fetched { .. } => "fetched",
            Happening::Resolved { .. } => "resolved",
            Happening::RecordingLost { .. } => "recording lost",
            Happening::DiskFailed(_) => "disk failed",
            Happening::HangUpAll => "hang up all",
            Happening::Drain => "drain",
        }
    }
}

/// The sender that media threads and tasks use.
#[derive(Clone)]
pub struct Happenings(mpsc::Sender<Happening>);

impl Happenings {
    pub fn channel() -> (Happenings, mpsc::Receiver<Happening>) {
        let (sender, receiver) = mpsc::channel(HAPPENINGS);
        (Happenings(sender), receiver)
    }

    /// From a media thread, which must not wait. What does not fit is lost and said; the engine's
    /// deadlines then end the call.
    pub fn tell(&self, happening: Happening) {
        if let Err(mpsc::error::TrySendError::Full(lost)) = self.0.try_send(happening) {
            let lost = lost.name();
            tracing::error!(lost, "the driver is {HAPPENINGS} happenings behind; one is lost");
        }
    }

    /// Nobody listens any more.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    async fn send(&self, happening: Happening) {
        // A closed channel means that the driver is gone and nobody wants to know.
        let _ = self.0.send(happening).await;
    }
}

/// Everything that the driver is made of.
pub struct Parts {
    pub engine: Engine,
    pub clock: Clock,
    pub store: Store,
    pub admission: Admission,
    pub sip: sip::Endpoint,
    pub sip_events: mpsc::Receiver<sip::Event>,
    pub media: media::Media,
    pub trunks: Trunks,
    pub clips: Clips,
    pub asks: mpsc::Receiver<Ask>,
    pub happenings: (Happenings, mpsc::Receiver<Happening>),
    pub ready: Arc<AtomicBool>,
    /// Why the disk refused a write, once it has.
    pub broken: Arc<OnceLock<String>>,
    /// Rung after each commit that holds an event.
    pub doorbell: watch::Sender<u64>,
    pub vault: Vault,
    pub tenants: Tenants,
    pub defaults: Defaults,
    pub fraud: Fraud,
}

/// What the last run left on disk.
pub struct Found {
    pub recovery: store::Recovery,
    /// Unfinished calls of tenants that refuse duplicates.
    pub natural_keys: Vec<store::NaturalKey>,
    /// Of tenants that a day limits.
    pub used_today: Vec<(TenantId, Used)>,
}

pub struct Driver {
    engine: Engine,
    clock: Clock,
    sip: sip::Endpoint,
    media: media::Media,
    trunks: Trunks,
    clips: Clips,
    vault: Vault,
    tenants: Tenants,
    fraud: Fraud,
    legs: Legs,
    notes: Notes,
    disk: Disk,
    admission: Admission,
    waiting: BTreeMap<Ticket, Waiting>,
    last_ticket: u64,
    /// The clips of each live call.
    fetched: BTreeMap<Serial, Arc<[media::Clip]>>,
    happenings: Happenings,
    ready: Arc<AtomicBool>,
    broken: Arc<OnceLock<String>>,
    stopping: Stopping,
    /// What running calls have when the server stops.
    drain: Duration,
}

/// What the driver hears.
struct Inbox {
    happened: mpsc::Receiver<Happening>,
    sip_events: mpsc::Receiver<sip::Event>,
    asks: mpsc::Receiver<Ask>,
}

/// Who waits for the engine's reply.
enum Waiting {
    Acceptance(oneshot::Sender<Result<Accepted, engine::Refusal>>),
    Cancel(oneshot::Sender<Result<(), CancelError>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stopping {
    No,
    Draining,
    /// The disk refused; why.
    Broken(String),
}

/// How the driver ended.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error(
        "the database cannot be written, so no call was accepted any more: {0}; \
         see to the disk and start again: unfinished calls are resolved then"
    )]
    Disk(String),
}

/// Monotonic time since the start of the process, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now(&self) -> Now {
        Now { since_start: self.0.elapsed(), unix_ms: crate::app::unix_ms() }
    }

    fn instant(&self, at: Duration) -> tokio::time::Instant {
        (self.0 + at).into()
    }
}

impl Driver {
    /// Takes up what the last run left behind; calls are taken when this returns. The task ends when
    /// it has been told to drain and the last call is over, or when the disk refuses a write.
    pub fn start(parts: Parts, found: Found) -> JoinHandle<Result<(), DriverError>> {
        let Parts { sip_events, asks, happenings, ready, doorbell, .. } = parts;
        let (happenings, happened) = happenings;
        let mut driver = Driver {
            engine: parts.engine,
            clock: parts.clock,
            sip: parts.sip,
            media: parts.media,
            trunks: parts.trunks,
            clips: parts.clips,
            vault: parts.vault,
            tenants: parts.tenants,
            fraud: parts.fraud,
            legs: Legs::default(),
            notes: Notes::default(),
            disk: Disk::new(parts.store, parts.admission.clone(), happenings.clone(), doorbell),
            admission: parts.admission,
            waiting: BTreeMap::new(),
            last_ticket: 0,
            fetched: BTreeMap::new(),
            happenings,
            ready,
            broken: parts.broken,
            stopping: Stopping::No,
            drain: Duration::from_secs(parts.defaults.drain_s.into()),
        };
        driver.begin(found, &parts.defaults);
        driver.ready.store(true, Ordering::Release);
        tokio::spawn(driver.run(Inbox { happened, sip_events, asks }))
    }

    async fn run(mut self, mut inbox: Inbox) -> Result<(), DriverError> {
        while !self.is_done() {
            let wake_at = [
                self.engine.wake_at(self.clock.now()),
                self.notes.wake_at(),
                self.trunks.wake_at(),
            ];
            let wake_at = wake_at.into_iter().flatten().min().map(|at| self.clock.instant(at));
            tokio::select! {
                biased;
                Some(happening) = inbox.happened.recv() => self.happened(happening),
                Some(event) = inbox.sip_events.recv() => self.sip_event(event),
                Some(ask) = inbox.asks.recv() => self.asked(ask),
                () = sleep_until(wake_at) => self.engine.handle_timeout(self.clock.now()),
            }
            self.perform();
            self.take_what_waits(&mut inbox);
            self.close_notes();
            self.probe_trunks();
            self.disk.flush_if_free(&mut self.engine);
        }
        match self.stopping {
            Stopping::Broken(why) => Err(DriverError::Disk(why)),
            Stopping::No | Stopping::Draining => Ok(()),
        }
    }

    fn close_notes(&mut self) {
        let now = self.clock.now().since_start;
        while let Some((serial, notes)) = self.notes.closed(now) {
            self.disk.add_timeline(serial, notes);
        }
    }

    /// Under load many inputs share one commit.
    fn take_what_waits(&mut self, inbox: &mut Inbox) {
        for _ in 0..INPUTS_PER_TURN {
            if let Ok(happening) = inbox.happened.try_recv() {
                self.happened(happening);
            } else if let Ok(event) = inbox.sip_events.try_recv() {
                self.sip_event(event);
            } else if let Ok(ask) = inbox.asks.try_recv() {
                self.asked(ask);
            } else {
                break;
            }
            self.perform();
        }
    }

    /// Trunks, then what the last run left behind.
    fn begin(&mut self, found: Found, defaults: &Defaults) {
        let Found { recovery: found, natural_keys, used_today } = found;
        let now = self.clock.now();
        for tenant in self.tenants.all() {
            let (tenant, limits) = (tenant.id, tenant.settings.limits(defaults));
            self.engine.handle(Input::TenantLimits { tenant, limits }, now);
        }
        for (tenant, used) in used_today {
            self.engine.handle(Input::UsedToday { tenant, used }, now);
        }
        for (trunk, pace, up) in self.trunks.all() {
            self.engine.handle(Input::Trunk { trunk, pace, up }, now);
        }
        for registration in self.trunks.registrations() {
            self.tell_sip(sip::Command::Register(Box::new(registration)));
        }
        for key in natural_keys {
            let serial = key.serial;
            let key = (key.tenant, key.kind, key.caller_present, key.called);
            self.engine.remember_unfinished(key, serial);
        }
        // Those that are up count before any that waits may start.
        for unfinished in found.unfinished_started {
            self.engine.handle(Input::Recovered(Box::new(unfinished)), now);
        }
        for (tenant, route, calls) in found.waiting {
            self.engine.handle(Input::Waiting { tenant, route, calls }, now);
        }
        self.perform();
        crash_point!("recovery_decided");
    }

    fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Accept(request, reply) => {
                let ticket = self.ticket(Waiting::Acceptance(reply));
                self.input(Input::Accept { ticket, request });
            }
            Ask::Cancel(tenant, serial, reply) => {
                let ticket = self.ticket(Waiting::Cancel(reply));
                self.input(Input::Cancel { ticket, tenant, serial });
            }
            Ask::Limit(tenant, limits, used) => {
                self.input(Input::TenantLimits { tenant, limits });
                if let Some(used) = used {
                    self.input(Input::UsedToday { tenant, used });
                }
            }
            Ask::LiveNotes(serial, reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.notes.of(serial));
            }
            Ask::Count(reply) => {
                let (calls, legs) = (self.engine.live_calls(), self.legs.len());
                let _ = reply.send(Counts { calls, legs, sip: self.sip.counters() });
            }
        }
    }

    fn ticket(&mut self, waiting: Waiting) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.insert(ticket, waiting);
        ticket
    }

    fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Media(event) => self.media_event(event),
            Happening::Committed { batch, failure: None } => {
                self.disk.committed();
                self.input(Input::Committed(batch));
            }
            Happening::Committed { failure: Some(why), .. } => self.disk_failed(why),
            Happening::Claimed { claim, calls } => match calls {
                Ok(calls) => self.input(Input::Claimed { claim, calls }),
                Err(why) => self.disk_failed(why),
            },
            Happening::Fetched { serial, clips } => {
                // A call that ended meanwhile is forgotten already.
                let lives = self.engine.intent(serial).is_some();
                let result = clips.map(|clips| {
                    if lives {
                        self.fetched.insert(serial, clips);
                    }
                });
                self.input(Input::Fetched { serial, result });
            }
            Happening::Resolved { trunk, address } => {
                if let Some(registration) = self.trunks.moved(&trunk, address) {
                    self.tell_sip(sip::Command::Register(Box::new(registration)));
                }
            }
            Happening::RecordingLost { leg, reason } => self.recording_lost(leg, reason),
            Happening::DiskFailed(why) => self.disk_failed(why),
            Happening::Drain => {
                self.ready.store(false, Ordering::Release);
                if self.stopping == Stopping::No {
                    self.stopping = Stopping::Draining;
                }
                self.tell_sip(sip::Command::Drain);
                self.input(Input::Drain);
            }
            Happening::HangUpAll => self.input(Input::HangUpAll),
        }
    }

    /// Never retried: what the kernel made of a failed fsync is not known.
    fn disk_failed(&mut self, why: String) {
        if matches!(self.stopping, Stopping::Broken(_)) {
            return;
        }
        tracing::error!(%why, "the database refused a write: no call is accepted or dialled any more");
        self.ready.store(false, Ordering::Release);
        // This is the first: a later one has returned above.
        let _ = self.broken.set(why.clone());
        self.stopping = Stopping::Broken(why);
        self.input(Input::CommitFailed);
        // Calls that are up may finish, but not for ever.
        let (happenings, drain) = (self.happenings.clone(), self.drain);
        tokio::spawn(async move {
            tokio::time::sleep(drain).await;
            happenings.send(Happening::HangUpAll).await;
        });
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(input, self.clock.now());
    }

    fn is_done(&self) -> bool {
        match self.stopping {
            Stopping::No => false,
            Stopping::Draining => {
                self.engine.is_idle()
                    && self.disk.is_idle()
                    && self.legs.is_empty()
                    && self.notes.are_all_closed()
            }
            Stopping::Broken(_) => self.engine.live_calls() == 0 && self.legs.is_empty(),
        }
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        // Where the asker has gone, the call goes on all the same.
        match (waiting, reply) {
            (Waiting::Acceptance(asker), Reply::Accepted { serial, replayed }) => {
                crash_point!("reply_before");
                let _ = asker.send(Ok(Accepted { serial, replayed }));
                crash_point!("reply_after");
            }
            (Waiting::Acceptance(asker), Reply::Refused(refusal)) => {
                let _ = asker.send(Err(refusal));
            }
            (Waiting::Cancel(asker), Reply::Cancelled) => {
                let _ = asker.send(Ok(()));
            }
            (Waiting::Cancel(asker), Reply::NotFound) => {
                let _ = asker.send(Err(CancelError::NotFound));
            }
            (Waiting::Acceptance(_), Reply::Cancelled | Reply::NotFound)
            | (Waiting::Cancel(_), Reply::Accepted { .. } | Reply::Refused(_)) => {
                unreachable!("the engine answers an order as what it is")
            }
        }
    }

    fn tell_sip(&self, command: sip::Command) {
        if let Err(busy) = self.sip.command(command) {
            tracing::error!(%busy, "a SIP command is lost; the call's deadline ends it");
        }
    }

    fn tell_media(&self, command: media::Command) {
        if let Err(busy) = self.media.command(command) {
            tracing::error!(%busy, "a media command is lost; the call's deadline ends it");
        }
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
