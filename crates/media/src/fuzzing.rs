//! What fuzz targets may reach, and tests that bring their own time: legs without their thread, fed with packets and steps of
//! their clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::batch::{Batch, Datagram};
use crate::codec::Codec;
use crate::command::{LegId, ListenSink, RecordMode};
use crate::config::{Config, LatchMode};
use crate::crossing::Crossings;
use crate::event::{Event, MediaFault, Stats};
use crate::leg::{Context, Leg, Receipt, Shared, Tick, Told};
use crate::prepare::Preparer;
use crate::recorder::Recorder;
use crate::sdp;
use crate::socket::Pair;
use crate::srtp::Srtp;

/// A leg that has answered an offer. Its sockets are real and nobody reads them.
pub struct FedLeg {
    leg: Leg,
    batch: Batch,
    out: Vec<Event>,
    crossings: Crossings,
    number: u64,
    now: Instant,
}

/// Which of the leg's sockets a packet comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Rtp,
    Rtcp,
}

static STRICT: LazyLock<Shared> = LazyLock::new(|| shared(LatchMode::SdpOnly));
static NAT: LazyLock<Shared> = LazyLock::new(|| shared(LatchMode::Nat));
const TICK: Duration = Duration::from_millis(20);

impl FedLeg {
    /// Answers `offer` with every codec, and gives the answer's SDP beside the leg. Sends nothing.
    pub fn answering(offer: &[u8], behind_nat: bool) -> Result<(FedLeg, Bytes), MediaFault> {
        // Two legs are told apart by their names.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = LegId(NEXT.fetch_add(1, Ordering::Relaxed));
        let offer = sdp::parse(offer)?;
        let shared = side(behind_nat);
        let pair = Pair::bind_any(shared.address)
            .map_err(|error| MediaFault::Bind { port: 0, reason: error.to_string() })?;
        let (mut batch, mut out, mut crossings) = (Batch::new(), Vec::new(), Crossings::new());
        let mut cx =
            Context { shared, batch: &mut batch, out: &mut out, crossings: &mut crossings };
        let codecs = (Codec::ALL.to_vec(), Srtp::Optional);
        let leg = Leg::answering(id, pair, codecs, &offer, 0, &mut cx);
        let leg = leg.map_err(|(_, fault)| fault)?;
        let answer = out.iter().find_map(|event| match event {
            Event::Answered { sdp, .. } => Some(sdp.clone()),
            _ => None,
        });
        let answer = answer.expect("a leg that agrees says its answer");
        Ok((FedLeg { leg, batch, out, crossings, number: 0, now: Instant::now() }, answer))
    }

    /// A later offer or answer of the far side.
    pub fn describe(&mut self, sdp: &[u8], is_offer: bool) -> Result<(), MediaFault> {
        let mut cx = Context {
            shared: side(false),
            batch: &mut self.batch,
            out: &mut self.out,
            crossings: &mut self.crossings,
        };
        if is_offer {
            self.leg.answer(sdp, self.number, &mut cx)
        } else {
            self.leg.offer(Codec::ALL.to_vec(), true, Srtp::Optional, &mut cx);
            self.leg.remote(sdp, self.number, &mut cx)
        }
    }

    /// From now on each hears what the other receives, once that is handed over.
    pub fn bridge(&mut self, other: &mut FedLeg) {
        let (one, two) = (self.leg.id, other.leg.id);
        for (from, to) in [(one, &mut other.leg), (two, &mut self.leg)] {
            to.hear(Some(from));
            to.be_heard_by(Some(from), Receipt::OnArrival);
        }
    }

    /// What was received since the last time goes to the other leg.
    pub fn hand_over(&mut self, other: &mut FedLeg) {
        for crossing in self.crossings.waiting() {
            other.leg.cross(crossing);
        }
        self.crossings.clear();
    }

    /// Records both ways, as A-law.
    pub fn record(&mut self, path: PathBuf) -> Result<(), MediaFault> {
        let mut cx = Context {
            shared: side(false),
            batch: &mut self.batch,
            out: &mut self.out,
            crossings: &mut self.crossings,
        };
        self.leg.record(path, RecordMode::Both, None, &mut cx)
    }

    pub fn listen(&mut self, sink: ListenSink) {
        self.leg.listen(sink);
    }

    /// A packet that came in.
    pub fn packet(&mut self, port: Port, from: SocketAddr, bytes: &[u8]) {
        let datagram = Datagram { from, arrived: self.now, bytes };
        let told = &mut Told { out: &mut self.out, crossings: &mut self.crossings };
        match port {
            Port::Rtp => self.leg.datagram(&datagram, told),
            Port::Rtcp => self.leg.rtcp(&datagram),
        }
    }

    /// The next 20 ms.
    pub fn tick(&mut self) {
        self.number += 1;
        self.now += TICK;
        let tick = Tick { number: self.number, due: self.now };
        let mut cx = Context {
            shared: side(false),
            batch: &mut self.batch,
            out: &mut self.out,
            crossings: &mut self.crossings,
        };
        self.leg.tick(tick, &mut cx);
    }

    /// What the leg has told since the last look.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.out)
    }

    /// Ends the leg without a word to the far side.
    pub fn stats(self) -> Stats {
        self.leg.dismantle().1
    }
}

fn side(behind_nat: bool) -> &'static Shared {
    if behind_nat { &NAT } else { &STRICT }
}

fn shared(latching: LatchMode) -> Shared {
    let config = Config { latching, ..Config::default() };
    let (recorder, _) = Recorder::start().expect("a thread can be started");
    Shared {
        config,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        cname: "fuzzed".to_owned(),
        preparer: Preparer::start().expect("a thread can be started"),
        recorder,
        sink: Arc::new(|_| {}),
        inbox: Weak::new(),
    }
}
