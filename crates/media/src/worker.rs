//! One media thread: its legs, its clock, its ports.
//!
//! Time is cut into milliseconds counted from the thread's start. Every leg belongs to one of twenty slots of a
//! [`Wheel`]; in its slot its sockets are emptied and its packet is sent. The schedule is absolute, so nothing drifts;
//! a thread that was held up for long skips what it missed instead of sending a burst. Between its milliseconds the thread
//! listens to the legs that others hear, whose packets go on at once.

mod bridging;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::batch::Batch;
use crate::codec::Codec;
use crate::command::{Command, LegId};
use crate::config::Config;
use crate::crossing::Crossings;
use crate::event::{Event, MediaFault, Stats};
use crate::inbox::{Inbox, Input};
use crate::leg::{Context, Leg, Receipt, Shared, Tick};
use crate::leg_ports::LegPorts;
use crate::placement::Placement;
use crate::poller::Poller;
use crate::prepare::Preparer;
use crate::priority;
use crate::recorder::{Keeps, Recorder};
use crate::sdp::{self, SdpError};
use crate::socket::Pair;
use crate::srtp::Srtp;
use crate::wheel::{SLOTS, Wheel};

/// Milliseconds that a thread may lag before it skips what it missed.
const MAX_LAG: u64 = 60;
/// How long a thread without legs sleeps unless it is woken.
const IDLE: Duration = Duration::from_secs(1);

/// What a thread is given.
pub(crate) struct Setup {
    pub config: Config,
    pub index: usize,
    pub capacity: usize,
    pub inbox: Arc<Inbox>,
    pub poller: Poller,
    pub placement: Arc<Placement>,
    pub sink: Arc<dyn Fn(Event) + Send + Sync>,
    pub preparer: Preparer,
    pub recorder: Recorder,
}

pub(crate) struct Worker {
    index: usize,
    inbox: Arc<Inbox>,
    poller: Poller,
    placement: Arc<Placement>,
    shared: Shared,
    ports: LegPorts,
    legs: Wheel<LegId, Box<Leg>>,
    batch: Batch,
    out: Vec<Event>,
    crossings: Crossings,
    /// Legs that are to be taken away.
    panicked: Vec<LegId>,
    start: Instant,
    /// The next millisecond to be worked on.
    next_ms: u64,
}

/// The leg's code panicked; it must not be used further.
struct Panicked;

impl Worker {
    pub(crate) fn new(setup: Setup) -> Self {
        let ports = LegPorts::new(&setup.config, setup.index, setup.capacity);
        let address = setup.config.public_address.unwrap_or(setup.config.bind);
        let shared = Shared {
            address,
            cname: format!("{:08x}@{address}", rand::random::<u32>()),
            config: setup.config,
            preparer: setup.preparer,
            recorder: setup.recorder,
            sink: setup.sink,
            inbox: Arc::downgrade(&setup.inbox),
        };
        Worker {
            index: setup.index,
            inbox: setup.inbox,
            poller: setup.poller,
            placement: setup.placement,
            shared,
            ports,
            legs: Wheel::new(),
            batch: Batch::new(),
            out: Vec::new(),
            crossings: Crossings::new(),
            panicked: Vec::new(),
            start: Instant::now(),
            next_ms: 0,
        }
    }

    /// Runs until the last handle is gone; then ends every leg.
    pub(crate) fn run(mut self) {
        priority::prefer_this_thread();
        let mut inputs = VecDeque::new();
        while self.inbox.take(&mut inputs) {
            for input in inputs.drain(..) {
                self.input(input);
                self.tell();
            }
            let wait = self.until_next();
            self.wait_and_pass_on(wait);
            if wait.is_zero() {
                self.work();
            }
            self.tell();
        }
        for leg in self.legs.keys() {
            self.close(leg);
        }
        self.tell();
    }

    /// How long until there is work; zero where it is due.
    fn until_next(&mut self) -> Duration {
        let now_ms = self.start.elapsed().as_millis() as u64;
        if now_ms > self.next_ms + MAX_LAG {
            self.next_ms = now_ms;
        }
        let next = match self.legs.next_busy(self.next_ms) {
            Some(next) => next,
            // Resting ports are looked after once per turn.
            None if self.ports.has_resting() => self.next_ms.next_multiple_of(SLOTS as u64),
            None => return IDLE,
        };
        // A turn's first slot has the ports' work, so it is never passed over.
        let next = next.min((self.next_ms).next_multiple_of(SLOTS as u64));
        self.next_ms = next;
        self.due(next).saturating_duration_since(Instant::now())
    }

    fn due(&self, millisecond: u64) -> Instant {
        self.start + Duration::from_millis(millisecond)
    }

    /// The work of one millisecond.
    fn work(&mut self) {
        let millisecond = self.next_ms;
        self.next_ms += 1;
        let due = self.due(millisecond);
        if millisecond.is_multiple_of(SLOTS as u64) {
            self.ports.step(due, &mut self.batch);
        }
        let tick = Tick { number: millisecond / SLOTS as u64, due };
        for index in 0.. {
            let Some((id, leg)) = self.legs.slot(millisecond).get_mut(index) else { break };
            let mut cx = Context {
                shared: &self.shared,
                batch: &mut self.batch,
                out: &mut self.out,
                crossings: &mut self.crossings,
            };
            let id = *id;
            if guarded(|| leg.tick(tick, &mut cx)).is_err() {
                self.panicked.push(id);
            } else if leg.receipt() == Receipt::Flooded {
                leg.be_heard_by(leg.heard_by(), Receipt::AtTick);
                self.watch(id);
            }
            self.deliver();
        }
        self.bury();
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Command(command) => self.command(command),
            Input::Prepared(prepared) => {
                // The leg may have ended meanwhile.
                if self.legs.contains(prepared.leg) {
                    self.with_leg(prepared.leg, |leg, cx| {
                        leg.prepared(&prepared, cx);
                        Ok(())
                    });
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        let leg = command.leg();
        match command {
            Command::Offer { codecs, dtmf, srtp, .. } => self.offer(leg, codecs, dtmf, srtp),
            Command::Answer { offer, codecs, srtp, .. } => {
                self.answer(leg, &offer, codecs, srtp);
            }
            Command::Rebind { sdp, .. } => self.rebind(leg, sdp),
            Command::Remote { sdp, .. } => {
                let tick = self.tick_number();
                self.with_leg(leg, |leg, cx| leg.remote(&sdp, tick, cx));
            }
            Command::Reoffered { sdp, .. } => {
                let tick = self.tick_number();
                self.with_leg(leg, |leg, cx| leg.answer(&sdp, tick, cx));
            }
            Command::Play { play, clips, times, .. } => {
                self.with_leg(leg, |leg, cx| leg.play(play, clips, times, cx));
            }
            Command::StopPlay { .. } => self.with_leg(leg, |leg, cx| {
                leg.stop_play(cx);
                Ok(())
            }),
            Command::Record { path, mode, seal, .. } => {
                self.with_leg(leg, |leg, cx| leg.record(path, mode, seal, cx));
            }
            Command::StopRecording { .. } => self.with_leg(leg, |leg, _| {
                leg.stop_recording();
                Ok(())
            }),
            Command::PauseRecording { .. } => self.with_leg(leg, |leg, cx| {
                leg.keep_recording(Keeps::Silence, cx);
                Ok(())
            }),
            Command::ResumeRecording { .. } => self.with_leg(leg, |leg, cx| {
                leg.keep_recording(Keeps::Audio, cx);
                Ok(())
            }),
            Command::SendDigits { digits, .. } => {
                self.with_leg(leg, |leg, _| leg.send_digits(&digits));
            }
            Command::Listen { sink, .. } => self.with_leg(leg, |leg, _| {
                leg.listen(sink);
                Ok(())
            }),
            Command::Bridge { with, .. } => self.bridge(leg, with),
            Command::Forward { from, .. } => self.forward(from, leg),
            Command::Unbridge { .. } => self.unbridge(leg),
            Command::Ringback { .. } => self.with_leg(leg, |leg, cx| {
                leg.ring_back(cx);
                Ok(())
            }),
            Command::Watch { after, .. } => {
                let tick = self.tick_number();
                self.with_leg(leg, |leg, _| {
                    leg.watch(after, tick);
                    Ok(())
                });
            }
            Command::Close { .. } => self.close(leg),
        }
    }

    fn offer(&mut self, id: LegId, codecs: Vec<Codec>, dtmf: bool, srtp: Srtp) {
        if self.legs.contains(id) {
            return self.with_leg(id, |leg, cx| {
                leg.offer(codecs, dtmf, srtp, cx);
                Ok(())
            });
        }
        match self.ports.acquire(Instant::now(), &mut self.batch) {
            Ok(pair) => {
                let wanted = (codecs, dtmf, srtp);
                self.create(id, pair.port, |cx| Ok(Leg::offering(id, pair, wanted, cx)))
            }
            Err(fault) => self.fail_to_make(id, fault),
        }
    }

    fn answer(&mut self, id: LegId, offer: &[u8], codecs: Vec<Codec>, srtp: Srtp) {
        if self.legs.contains(id) {
            return self.fail(id, MediaFault::LegExists);
        }
        // Before a port is taken: what cannot be read costs none.
        let offer = match guarded(|| sdp::parse_for(srtp, offer)) {
            Ok(Ok(offer)) => offer,
            Ok(Err(error)) => return self.fail_to_make(id, error.into()),
            Err(Panicked) => {
                return self.fail_to_make(id, SdpError::Syntax("unreadable".into()).into());
            }
        };
        let tick = self.tick_number();
        match self.ports.acquire(Instant::now(), &mut self.batch) {
            Ok(pair) => {
                let may = (codecs, srtp);
                self.create(id, pair.port, |cx| Leg::answering(id, pair, may, &offer, tick, cx))
            }
            Err(fault) => self.fail_to_make(id, fault),
        }
    }

    fn rebind(&mut self, id: LegId, sdp: Bytes) {
        if self.legs.contains(id) {
            return self.fail(id, MediaFault::LegExists);
        }
        let own = match sdp::parse_for(Srtp::Required, &sdp) {
            Ok(own) => own,
            Err(error) => return self.fail_to_make(id, MediaFault::OwnSdp(error)),
        };
        let Some(port) = own.audio.rtp.map(|rtp| rtp.port()) else {
            return self.fail_to_make(id, MediaFault::OwnSdp(SdpError::NoAddress));
        };
        match self.ports.acquire_named(port) {
            Ok(pair) => self.create(id, port, |cx| Ok(Leg::rebound(id, pair, &own, sdp, cx))),
            Err(fault) => self.fail_to_make(id, fault),
        }
    }

    /// Makes a leg; one that cannot be made gives its port back.
    fn create(
        &mut self,
        id: LegId,
        port: u16,
        make: impl FnOnce(&mut Context<'_>) -> Result<Leg, (Pair, MediaFault)>,
    ) {
        let mut cx = Context {
            shared: &self.shared,
            batch: &mut self.batch,
            out: &mut self.out,
            crossings: &mut self.crossings,
        };
        match guarded(|| make(&mut cx)) {
            Ok(Ok(leg)) => self.legs.insert(id, Box::new(leg)),
            Ok(Err((pair, fault))) => {
                self.ports.release(pair, Instant::now());
                self.fail_to_make(id, fault);
            }
            Err(Panicked) => {
                self.ports.forget(port);
                self.placement.forget(id);
                self.out.push(Event::LegPanicked { leg: id, stats: Stats::default() });
            }
        }
    }

    fn with_leg(
        &mut self,
        id: LegId,
        act: impl FnOnce(&mut Leg, &mut Context<'_>) -> Result<(), MediaFault>,
    ) {
        let Some(leg) = self.legs.find(id) else { return self.fail(id, MediaFault::UnknownLeg) };
        let mut cx = Context {
            shared: &self.shared,
            batch: &mut self.batch,
            out: &mut self.out,
            crossings: &mut self.crossings,
        };
        match guarded(|| act(leg, &mut cx)) {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => self.fail(id, fault),
            Err(Panicked) => self.remove_panicked(id),
        }
    }

    fn close(&mut self, id: LegId) {
        self.detach(id);
        self.placement.forget(id);
        let Some(mut leg) = self.legs.remove(id) else {
            // It could not be made, or panicked. Whoever asks must not wait for ever.
            tracing::debug!(leg = id.0, "asked to close a leg that is gone");
            return self.out.push(Event::Closed { leg: id, stats: Stats::default() });
        };
        let mut cx = Context {
            shared: &self.shared,
            batch: &mut self.batch,
            out: &mut self.out,
            crossings: &mut self.crossings,
        };
        let closed = guarded(|| leg.close(&mut cx));
        let (pair, stats) = leg.dismantle();
        self.ports.release(pair, Instant::now());
        self.out.push(match closed {
            Ok(()) => Event::Closed { leg: id, stats },
            Err(Panicked) => Event::LegPanicked { leg: id, stats },
        });
    }

    fn remove_panicked(&mut self, id: LegId) {
        self.detach(id);
        self.placement.forget(id);
        if let Some(leg) = self.legs.remove(id) {
            let (pair, stats) = leg.dismantle();
            self.ports.release(pair, Instant::now());
            self.out.push(Event::LegPanicked { leg: id, stats });
        }
    }

    /// The leg was to be made, and does not exist.
    fn fail_to_make(&mut self, leg: LegId, fault: MediaFault) {
        self.placement.forget(leg);
        self.fail(leg, fault);
    }

    fn fail(&mut self, leg: LegId, fault: MediaFault) {
        self.out.push(Event::Failed { leg, fault });
    }

    /// The tick that is now, also on a thread that had nothing to do for a while.
    fn tick_number(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 / SLOTS as u64
    }

    /// Hands over what happened. A sink that panics loses its event, not the thread.
    fn tell(&mut self) {
        for event in self.out.drain(..) {
            if catch_unwind(AssertUnwindSafe(|| (self.shared.sink)(event))).is_err() {
                tracing::error!("the event sink panicked");
            }
        }
    }
}

/// Runs one leg's code; a panic in it is the leg's end and nobody else's.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| {
        tracing::error!("a leg panicked");
        Panicked
    })
}
