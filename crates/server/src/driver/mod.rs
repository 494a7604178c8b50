//! The only performer of what the engine decides: hands its actions to `sip`, `media`, the disk and
//! the clips as [`Wanted`]s, and what they say back to it.
//!
//! Nothing here waits and nothing here reads a clock: a commit, a claim, a clip or a port is wanted
//! and comes back as a [`Happening`]. [`task`] does the wanting in one tokio task; the simulated world
//! does it in virtual time. What must be on disk first is held back by the engine's gate.

mod batches;
mod cause;
mod commands;
mod disk;
mod happenings;
#[cfg(test)]
mod idle;
mod keepalive;
mod legs;
mod notes;
mod numbers;
mod perform;
mod phones;
mod targets;
mod task;
mod trunks;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::action::{BatchNumber, ClaimId, FetchFault, Input};
use engine::intent::{Intent, PlayItem};
use engine::vocabulary::{Deadline, LegId, Now, Serial, TenantId, TenantLimits, TrunkName};
use engine::{Engine, Reply, Ticket, Used};
use store::crash_point;
use tokio::sync::oneshot;

use crate::admission::Admission;
use crate::calls::{Accepted, Ask, CancelError, Counts, SwitchError};
use crate::config::Fraud;
use crate::dns::Host;
use crate::tenants::Tenants;

pub use happenings::{Happened, Happenings};
pub use notes::Note;
pub use numbers::{Identity, Numbers, Rule};
pub use phones::PhoneLine;
pub use targets::Targets;
pub use task::{Clock, Parts, start};
pub use trunks::{Trunk, Trunks};

use batches::Batches;
use legs::{Arriving, Legs};
use notes::Notes;
use phones::Phones;
use trunks::CallTo;

/// What comes back from what the driver asked for.
#[derive(Debug)]
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
        hosts: Vec<Host>,
    },
    /// What the call of a trunk to a number asks for; `None`: it is no virtual number of the caller's.
    Asked {
        leg: LegId,
        request: Option<Box<engine::Request>>,
    },
    /// A recording could not be begun, or its key not stored.
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
            Happening::Asked { .. } => "asked",
            Happening::RecordingLost { .. } => "recording lost",
            Happening::DiskFailed(_) => "disk failed",
            Happening::HangUpAll => "hang up all",
            Happening::Drain => "drain",
        }
    }
}

/// What the driver hears.
#[derive(Debug)]
pub enum Heard {
    Happened(Happening),
    Sip(sip::Event),
    Asked(Ask),
}

/// What the driver wants done, in this order; what comes of it is [`Heard`].
pub enum Wanted {
    Sip(sip::Command),
    Media(media::Command),
    /// Have the clips ready; answered by [`Happening::Fetched`].
    Fetch {
        serial: Serial,
        tenant: TenantId,
        playlist: Vec<PlayItem>,
    },
    /// Somebody calls a virtual number: whom may that reach, by the first of these readings that is one? Answered by
    /// [`Happening::Asked`].
    Ask {
        leg: LegId,
        calls: Vec<CallTo>,
    },
    /// Record both ways of the leg; what fails is answered by [`Happening::RecordingLost`].
    Record {
        leg: LegId,
        intent: Box<Intent>,
    },
    /// Store these writes as one; answered by [`Happening::Committed`].
    Commit {
        batch: BatchNumber,
        writes: store::Batch,
    },
    /// Take calls out of the backlog; answered by [`Happening::Claimed`], in the order of all that is
    /// asked of the disk.
    Claim {
        claim: ClaimId,
        what: store::Claim,
    },
    /// Say [`Happening::HangUpAll`] after this time.
    HangUpAll {
        after: Duration,
    },
    /// Answer with these numbers and the counters of `sip`.
    Count {
        calls: usize,
        legs: usize,
        asker: oneshot::Sender<Counts>,
    },
}

/// What the last run left on disk.
pub struct Found {
    pub recovery: store::Recovery,
    /// Unfinished calls of tenants that refuse duplicates.
    pub natural_keys: Vec<store::NaturalKey>,
    /// Of tenants that a day limits.
    pub used_today: Vec<(TenantId, Used)>,
    /// What a tenant's ITA calls have talked in all, and, where a balance bounds them, which wait in the queue.
    pub ita: Vec<(TenantId, Duration, Vec<Serial>)>,
    /// Where phones were.
    pub registrations: Vec<store::Registration>,
}

/// What a driver is made of, besides the tasks around it.
pub struct Desk {
    pub engine: Engine,
    pub admission: Admission,
    pub trunks: Trunks,
    pub tenants: Tenants,
    pub fraud: Fraud,
    /// How softphones are called.
    pub phone_line: PhoneLine,
    /// A leg of two that is not heard of for so long is over.
    pub media_timeout: Duration,
    pub ready: Arc<AtomicBool>,
    /// What running calls have when the disk fails.
    pub drain: Duration,
}

pub struct Driver {
    engine: Engine,
    admission: Admission,
    /// When what is heard now was heard.
    now: Now,
    trunks: Trunks,
    tenants: Tenants,
    fraud: Fraud,
    phones: Phones,
    media_timeout: Duration,
    legs: Legs,
    /// Calls from outside that no call of ours has yet.
    arriving: BTreeMap<LegId, Arriving>,
    notes: Notes,
    batches: Batches,
    waiting: BTreeMap<Ticket, Waiting>,
    last_ticket: u64,
    /// Refused legs whose end is not on disk yet: so long the far side gets no ACK.
    refused: BTreeMap<Serial, Vec<LegId>>,
    /// The clips of each live call.
    fetched: BTreeMap<Serial, Arc<[media::Clip]>>,
    wanted: VecDeque<Wanted>,
    ready: Arc<AtomicBool>,
    stopping: Stopping,
    drain: Duration,
}

/// Who waits for the engine's reply.
enum Waiting {
    Acceptance(oneshot::Sender<Result<Accepted, engine::Refusal>>),
    Cancel(oneshot::Sender<Result<(), CancelError>>),
    Switch(oneshot::Sender<Result<(), SwitchError>>),
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
    #[error(
        "{0} has taken no command for {secs} s: its thread is dead or the machine stands still, and calls cannot be \
         ended any more; start again: unfinished calls are resolved then",
        secs = commands::PATIENCE.as_secs()
    )]
    Stuck(&'static str),
}

impl Driver {
    /// Takes up what the last run left behind; calls are taken when this returns.
    pub fn begin(
        desk: Desk,
        found: Found,
        limits: Vec<(TenantId, TenantLimits)>,
        now: Now,
    ) -> Driver {
        let mut driver = Driver {
            engine: desk.engine,
            admission: desk.admission,
            now,
            trunks: desk.trunks,
            tenants: desk.tenants,
            fraud: desk.fraud,
            phones: Phones::new(desk.phone_line),
            media_timeout: desk.media_timeout,
            legs: Legs::default(),
            arriving: BTreeMap::new(),
            notes: Notes::default(),
            batches: Batches::default(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            refused: BTreeMap::new(),
            fetched: BTreeMap::new(),
            wanted: VecDeque::new(),
            ready: desk.ready,
            stopping: Stopping::No,
            drain: desk.drain,
        };
        driver.take_up(found, limits);
        driver.ready.store(true, Ordering::Release);
        driver
    }

    pub fn hear(&mut self, heard: Heard, now: Now) {
        self.now = now;
        match heard {
            Heard::Happened(happening) => self.happened(happening),
            Heard::Sip(event) => self.sip_event(event),
            Heard::Asked(ask) => self.asked(ask),
        }
        self.perform();
    }

    /// [`wake_at`](Self::wake_at) has come.
    pub fn wake(&mut self, now: Now) {
        self.now = now;
        self.engine.handle_timeout(now);
        self.give_up_phones();
        self.perform();
    }

    /// On the monotonic clock.
    pub fn wake_at(&self, now: Now) -> Option<Deadline> {
        let own = [self.notes.wake_at(), self.trunks.wake_at(), self.phones.wake_at()];
        own.into_iter().chain([self.engine.wake_at(now)]).flatten().min()
    }

    /// Everything that was there has been heard: what was written meanwhile goes to the disk as one.
    pub fn end_turn(&mut self, now: Now) {
        self.now = now;
        while let Some((serial, notes)) = self.notes.closed(now.since_start) {
            self.batches.add_timeline(serial, notes);
        }
        self.probe_trunks();
        if let Some((batch, writes)) = self.batches.close_if_free(&mut self.engine) {
            self.wanted.push_back(Wanted::Commit { batch, writes });
        }
    }

    /// The next thing to do.
    pub fn wanted(&mut self) -> Option<Wanted> {
        self.wanted.pop_front()
    }

    /// It has been told to drain and the last call is over, or the disk failed and nothing is up.
    pub fn is_done(&self) -> bool {
        match self.stopping {
            Stopping::No => false,
            Stopping::Draining => self.is_idle(),
            Stopping::Broken(_) => self.engine.live_calls() == 0 && self.legs.is_empty(),
        }
    }

    /// It has been told to drain, or the disk failed.
    #[cfg(test)]
    pub fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// What is kept of calls: nothing, once they are over. Legs, calls from outside that no call has, who waits for a
    /// reply, refusals without ACK, clips, and what is wanted.
    #[cfg(test)]
    pub fn leftovers(&self) -> [usize; 6] {
        let kept = [self.legs.len(), self.arriving.len(), self.waiting.len()];
        let [legs, arriving, waiting] = kept;
        [legs, arriving, waiting, self.refused.len(), self.fetched.len(), self.wanted.len()]
    }

    /// No call is here, and nothing is on its way to the disk.
    pub fn is_idle(&self) -> bool {
        self.engine.is_idle()
            && self.batches.are_on_disk()
            && self.legs.is_empty()
            && self.notes.are_all_closed()
    }

    /// Why the disk refused a write, once it has.
    pub fn failure(&self) -> Option<&str> {
        match &self.stopping {
            Stopping::Broken(why) => Some(why),
            Stopping::No | Stopping::Draining => None,
        }
    }

    /// How it ended, once it is done.
    pub fn ending(self) -> Result<(), DriverError> {
        match self.stopping {
            Stopping::Broken(why) => Err(DriverError::Disk(why)),
            Stopping::No | Stopping::Draining => Ok(()),
        }
    }

    /// Trunks, then what the last run left behind.
    fn take_up(&mut self, found: Found, limits: Vec<(TenantId, TenantLimits)>) {
        let Found { recovery: found, natural_keys, used_today, ita, registrations } = found;
        let now = self.now;
        for (tenant, limits) in limits {
            self.engine.handle(Input::TenantLimits { tenant, limits }, now);
        }
        for (tenant, used) in used_today {
            self.engine.handle(Input::UsedToday { tenant, used }, now);
        }
        for (tenant, talked, waiting) in ita {
            self.engine.handle(Input::Balance { tenant, talked, waiting }, now);
        }
        for (trunk, pace, up) in self.trunks.all() {
            self.engine.handle(Input::Trunk { trunk, pace, up }, now);
        }
        self.tell_sip(sip::Command::HoldRefusals);
        for registration in self.trunks.registrations(now.since_start) {
            self.tell_sip(sip::Command::Register(Box::new(registration)));
        }
        self.trust_trunks();
        self.restore_phones(registrations);
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
            Ask::SwitchRecording(tenant, serial, switch, reply) => {
                let ticket = self.ticket(Waiting::Switch(reply));
                self.input(Input::SwitchRecording { ticket, tenant, serial, switch });
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
            Ask::Progress(serials, reply) => {
                let progress = |serial| Some((serial, self.engine.progress(serial)?));
                let _ = reply.send(serials.into_iter().filter_map(progress).collect());
            }
            Ask::Count(asker) => {
                let (calls, legs) = (self.engine.live_calls(), self.legs.len());
                self.wanted.push_back(Wanted::Count { calls, legs, asker });
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
                self.batches.committed();
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
            Happening::Resolved { trunk, hosts } => {
                let now = self.now.since_start;
                if let Some(registration) = self.trunks.moved(&trunk, hosts, now) {
                    self.tell_sip(sip::Command::Register(Box::new(registration)));
                }
                self.trust_trunks();
            }
            Happening::Asked { leg, request } => self.trunk_asked(leg, request),
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
        self.stopping = Stopping::Broken(why);
        self.input(Input::CommitFailed);
        // Calls that are up may finish, but not for ever.
        self.wanted.push_back(Wanted::HangUpAll { after: self.drain });
    }

    /// Calls come in from where the trunks are that may bring some.
    fn trust_trunks(&mut self) {
        let sources = self.trunks.inbound_sources();
        self.tell_sip(sip::Command::Trust { sources });
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(input, self.now);
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
            (Waiting::Cancel(asker), Reply::Refused(_)) => {
                let _ = asker.send(Err(CancelError::Stopping));
            }
            (Waiting::Cancel(asker), Reply::NotFound) => {
                let _ = asker.send(Err(CancelError::NotFound));
            }
            (Waiting::Switch(asker), Reply::RecordingSwitched) => {
                let _ = asker.send(Ok(()));
            }
            (Waiting::Switch(asker), Reply::NotRecording) => {
                let _ = asker.send(Err(SwitchError::NotRecording));
            }
            (Waiting::Switch(asker), Reply::NotFound) => {
                let _ = asker.send(Err(SwitchError::NotFound));
            }
            (Waiting::Switch(asker), Reply::Refused(_)) => {
                let _ = asker.send(Err(SwitchError::Unavailable));
            }
            (
                Waiting::Acceptance(_),
                Reply::Cancelled | Reply::NotFound | Reply::RecordingSwitched | Reply::NotRecording,
            )
            | (
                Waiting::Cancel(_),
                Reply::Accepted { .. } | Reply::RecordingSwitched | Reply::NotRecording,
            )
            | (Waiting::Switch(_), Reply::Accepted { .. } | Reply::Cancelled) => {
                unreachable!("the engine answers an order as what it is")
            }
        }
    }

    fn tell_sip(&mut self, command: sip::Command) {
        self.wanted.push_back(Wanted::Sip(command));
    }

    fn tell_media(&mut self, command: media::Command) {
        self.wanted.push_back(Wanted::Media(command));
    }
}
