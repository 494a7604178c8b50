//! One leg: an SDP session, two sockets, a stream each way. Driven by its thread: commands, and a tick every 20 ms.

mod bridged;
mod incoming;
mod local;
mod outgoing;
mod protection;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::batch::Batch;
use crate::clip::Clip;
use crate::codec::{Band, Codec, FRAME_MS};
use crate::command::{LegId, ListenSink, PlayId, RecordMode};
use crate::config::Config;
use crate::crossing::Crossings;
use crate::event::{Event, MediaFault, Stats};
use crate::flow::{Flow, Packets};
use crate::inbox::Inbox;
use crate::keying::{Keying, OwnKeys};
use crate::negotiate::{self, Agreement};
use crate::prepare::{Prepared, Preparer};
use crate::quality;
use crate::quiet::Quiet;
use crate::recorder::{Keeps, Recorder, Recording};
use crate::rtp::digits::DigitReceiver;
use crate::rtp::playout::Playout;
use crate::rtp::reception::Reception;
use crate::rtp::rtcp::FarEnd;
use crate::rtp::source::Source;
use crate::rtp::stream::OutStream;
use crate::sdp::{self, Direction, Format, Profile};
use crate::seal::Seal;
use crate::socket::Pair;
use crate::srtp::Srtp;
use crate::voice::Voice;

pub(crate) use bridged::Receipt;

use bridged::Bridge;
use local::Local;
use protection::Secrecy;

/// Ticks between two RTCP reports: 5 s (RFC 3550 §6.2).
const REPORT_TICKS: u64 = 250;
/// Ticks between two looks at the RTCP socket: 0.5 s.
const RTCP_TICKS: u64 = 25;
/// One-way delay of our own making: a packet's length and the far side's jitter buffer as we build ours.
const OWN_DELAY_MS: f32 = 80.0;

/// What all legs of a thread share.
pub(crate) struct Shared {
    pub config: Config,
    /// What SDP names: the public address, else the bound one.
    pub address: IpAddr,
    pub cname: String,
    pub preparer: Preparer,
    pub recorder: Recorder,
    pub sink: Arc<dyn Fn(Event) + Send + Sync>,
    pub inbox: Weak<Inbox>,
}

/// What a leg needs from around for one step.
pub(crate) struct Context<'a> {
    pub shared: &'a Shared,
    pub batch: &'a mut Batch,
    pub out: &'a mut Vec<Event>,
    pub crossings: &'a mut Crossings,
}

/// Where what a leg receives is told.
pub(crate) struct Told<'a> {
    pub out: &'a mut Vec<Event>,
    pub crossings: &'a mut Crossings,
}

impl Context<'_> {
    fn told(&mut self) -> Told<'_> {
        Told { out: self.out, crossings: self.crossings }
    }
}

/// One 20 ms step of a thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick {
    pub number: u64,
    /// When it should happen.
    pub due: Instant,
}

pub(crate) struct Leg {
    pub id: LegId,
    pair: Pair,
    local: Local,
    codecs: Vec<Codec>,
    keys: OwnKeys,
    session: Session,
    secrecy: Secrecy,
    source: Source,
    voice: Voice,
    stream: OutStream,
    reception: Reception,
    digits: DigitReceiver,
    far_end: FarEnd,
    /// Where RTCP comes from, behind NAT.
    rtcp_source: Option<SocketAddr>,
    flow: Flow,
    quiet: Quiet,
    hearing: Hearing,
    bridge: Bridge,
    counters: Counters,
    last_tick: Option<u64>,
    /// Spreads the legs' reports over time.
    report_phase: u64,
}

/// Offer and answer.
enum Session {
    /// Our offer is out, or about to be.
    Offering { offered: Vec<Format> },
    /// `offered`: our offer that the far side may still answer, or answer otherwise (forks, 183 then 200).
    Agreed { agreement: Agreement, offered: Option<Vec<Format>> },
}

/// Who hears what the leg receives. The jitter buffer exists while somebody does.
#[derive(Default)]
struct Hearing {
    playout: Option<Playout>,
    listener: Option<ListenSink>,
    recording: Option<Recording>,
}

/// What is counted in no other part.
#[derive(Default)]
struct Counters {
    send_errors: u64,
    late_ticks: u64,
    skipped_ticks: u64,
    foreign_packets: u64,
    invalid_packets: u64,
    forged_packets: u64,
    replayed_packets: u64,
    rtcp_sent: u64,
}

impl Leg {
    /// A leg that has an offer to make.
    pub(crate) fn offering(
        id: LegId,
        pair: Pair,
        (codecs, dtmf, srtp): (Vec<Codec>, bool, Srtp),
        cx: &mut Context<'_>,
    ) -> Self {
        let keys = OwnKeys::new(srtp);
        let mut leg = Self::new(id, pair, None, (Vec::new(), keys), cx.shared);
        leg.offer(codecs, dtmf, srtp, cx);
        leg
    }

    /// A leg that comes back on its port after a restart with `own`, our last description of it.
    pub(crate) fn rebound(
        id: LegId,
        pair: Pair,
        own: &sdp::Description,
        sdp: Bytes,
        cx: &mut Context<'_>,
    ) -> Self {
        let rtp = SocketAddr::new(cx.shared.address, pair.port);
        let local = Local::resumed(rtp, own.session_id.clone(), own.version);
        let may = (Codec::ALL.to_vec(), OwnKeys::resumed(own));
        let mut leg = Self::new(id, pair, Some(local), may, cx.shared);
        leg.session = Session::Offering { offered: own.audio.formats.clone() };
        cx.out.push(Event::Offered { leg: id, sdp, port: leg.pair.port });
        leg
    }

    /// A leg that answers the far side's offer. Gives the port back where they do not agree.
    pub(crate) fn answering(
        id: LegId,
        pair: Pair,
        (codecs, srtp): (Vec<Codec>, Srtp),
        offer: &sdp::Description,
        tick: u64,
        cx: &mut Context<'_>,
    ) -> Result<Self, (Pair, MediaFault)> {
        let mut leg = Self::new(id, pair, None, (codecs, OwnKeys::new(srtp)), cx.shared);
        match leg.answer_to(offer, tick, cx) {
            Ok(()) => Ok(leg),
            Err(fault) => Err((leg.pair, fault)),
        }
    }

    /// `local`: our side of a session that an earlier process began.
    fn new(
        id: LegId,
        pair: Pair,
        local: Option<Local>,
        (codecs, keys): (Vec<Codec>, OwnKeys),
        shared: &Shared,
    ) -> Self {
        let config = &shared.config;
        let rtp = SocketAddr::new(shared.address, pair.port);
        Leg {
            id,
            pair,
            local: local.unwrap_or_else(|| Local::new(rtp)),
            codecs,
            keys,
            session: Session::Offering { offered: Vec::new() },
            secrecy: Secrecy::Plain,
            source: Source::new(config.latching),
            voice: Voice::new(id),
            stream: OutStream::new(),
            reception: Reception::default(),
            digits: DigitReceiver::default(),
            far_end: FarEnd::default(),
            rtcp_source: None,
            flow: Flow::new(ticks(config.flow_check), ticks(config.media_timeout)),
            quiet: Quiet::default(),
            hearing: Hearing::default(),
            bridge: Bridge::default(),
            counters: Counters::default(),
            last_tick: None,
            report_phase: rand::random_range(0..REPORT_TICKS),
        }
    }

    /// Makes an offer, the first or a further one.
    pub(crate) fn offer(
        &mut self,
        codecs: Vec<Codec>,
        dtmf: bool,
        srtp: Srtp,
        cx: &mut Context<'_>,
    ) {
        let formats = negotiate::offer(&codecs, dtmf);
        self.codecs = codecs;
        let keys = self.keys.offer(srtp);
        let sdp = self.local.describe(formats.clone(), Direction::SendRecv, keys, Vec::new());
        match &mut self.session {
            Session::Offering { offered } => *offered = formats,
            Session::Agreed { offered, .. } => *offered = Some(formats),
        }
        cx.out.push(Event::Offered { leg: self.id, sdp, port: self.pair.port });
    }

    /// The far side answers our offer.
    pub(crate) fn remote(
        &mut self,
        bytes: &[u8],
        tick: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), MediaFault> {
        let offered = match &self.session {
            Session::Offering { offered } => offered.clone(),
            Session::Agreed { offered, .. } => offered.clone().ok_or(MediaFault::NotOffered)?,
        };
        let answer = sdp::parse_for(self.keys.srtp(), bytes)?;
        let agreement = negotiate::accept(&answer, &offered, self.local.is_ipv4())?;
        let keying = self.keys.accept(&answer.audio)?;
        self.agree(agreement, keying, Some(offered), tick, cx);
        Ok(())
    }

    /// The far side makes an offer in a running session.
    pub(crate) fn answer(
        &mut self,
        bytes: &[u8],
        tick: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), MediaFault> {
        self.answer_to(&sdp::parse_for(self.keys.srtp(), bytes)?, tick, cx)
    }

    fn answer_to(
        &mut self,
        offer: &sdp::Description,
        tick: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), MediaFault> {
        let (agreement, formats) = negotiate::answer(offer, &self.codecs, self.local.is_ipv4())?;
        let keying = self.keys.answer(&offer.audio)?;
        // An answer repeats the profile of the offer's line.
        let own = (Profile::Avp, keying.iter().map(|keying| keying.own.clone()).collect());
        let sdp = self.local.describe(formats, agreement.direction, own, offer.media.clone());
        cx.out.push(Event::Answered { leg: self.id, sdp, port: self.pair.port });
        self.agree(agreement, keying, None, tick, cx);
        Ok(())
    }

    fn agree(
        &mut self,
        agreement: Agreement,
        keying: Option<Keying>,
        offered: Option<Vec<Format>>,
        tick: u64,
        cx: &mut Context<'_>,
    ) {
        self.secrecy.agree(keying);
        if let Some(remote) = agreement.remote {
            self.source.name(remote);
        }
        cx.out.push(Event::Negotiated {
            leg: self.id,
            codec: agreement.codec,
            remote: agreement.remote,
            direction: agreement.direction,
            ptime: agreement.ptime,
            srtp: self.secrecy.protection().map(|protection| protection.suite()),
        });
        self.session = Session::Agreed { agreement, offered };
        self.flow.negotiated(tick, self.packets());
        self.quiet.negotiated(tick);
    }

    /// The codec that both sides have agreed on last.
    pub(crate) fn codec(&self) -> Option<Codec> {
        self.agreement().map(|agreement| agreement.codec)
    }

    pub(crate) fn rtp_socket(&self) -> &UdpSocket {
        &self.pair.rtp
    }

    pub(crate) fn watch(&mut self, after: Option<Duration>, tick: u64) {
        let heard = self.packets_heard();
        self.quiet.watch(after, tick, heard);
    }

    pub(crate) fn ring_back(&mut self, cx: &mut Context<'_>) {
        self.voice.ring_back(cx.out);
    }

    pub(crate) fn play(
        &mut self,
        play: PlayId,
        clips: Arc<[Clip]>,
        times: u8,
        cx: &mut Context<'_>,
    ) -> Result<(), MediaFault> {
        self.voice.play(play, clips, times, cx.out)
    }

    pub(crate) fn stop_play(&mut self, cx: &mut Context<'_>) {
        self.voice.stop(cx.out);
    }

    pub(crate) fn send_digits(&mut self, digits: &str) -> Result<(), MediaFault> {
        self.voice.send_digits(digits)
    }

    pub(crate) fn prepared(&mut self, prepared: &Prepared, cx: &mut Context<'_>) {
        self.voice.prepared(prepared, cx.out);
    }

    pub(crate) fn record(
        &mut self,
        path: PathBuf,
        mode: RecordMode,
        seal: Option<Box<dyn Seal>>,
        cx: &mut Context<'_>,
    ) -> Result<(), MediaFault> {
        if self.hearing.recording.is_some() {
            return Err(MediaFault::AlreadyRecording);
        }
        let sink = Arc::clone(&cx.shared.sink);
        let recording = cx.shared.recorder.open(self.id, path, mode, seal, sink);
        self.hearing.recording = Some(recording.ok_or(MediaFault::DiskBusy)?);
        self.hearing.playout.get_or_insert_with(|| Playout::new(Band::Narrow));
        Ok(())
    }

    /// What an open recording holds from now on; without one nothing is kept either way.
    pub(crate) fn keep_recording(&mut self, keeps: Keeps, cx: &mut Context<'_>) {
        if let Some(recording) = &mut self.hearing.recording {
            recording.keep(keeps);
        }
        let leg = self.id;
        cx.out.push(match keeps {
            Keeps::Silence => Event::RecordingPaused { leg },
            Keeps::Audio => Event::RecordingResumed { leg },
        });
    }

    /// Completes the file; the recorder tells when that is done.
    pub(crate) fn stop_recording(&mut self) {
        self.hearing.recording = None;
        if !self.hearing.listener.as_ref().is_some_and(|listener| listener.wants_audio()) {
            self.hearing.playout = None;
        }
    }

    pub(crate) fn listen(&mut self, sink: ListenSink) {
        if sink.wants_audio() {
            self.hearing.playout.get_or_insert_with(|| Playout::new(Band::Narrow));
        }
        self.hearing.listener = Some(sink);
    }

    /// The next 20 ms: hear, say, report.
    pub(crate) fn tick(&mut self, tick: Tick, cx: &mut Context<'_>) {
        // Before the ticks that were missed, for which it has come.
        if self.receipt() != Receipt::OnArrival {
            self.receive_rtp(cx);
        }
        self.forget_taken();
        self.catch_up(tick.number);
        if let Some(pressed) = self.digits.tick() {
            self.tell_digit(pressed, &mut cx.told());
        }
        self.say_and_hear(tick, cx);
        if (tick.number + self.report_phase).is_multiple_of(RTCP_TICKS) {
            self.receive_rtcp(cx);
        }
        if (tick.number + self.report_phase).is_multiple_of(REPORT_TICKS) {
            self.send_report(false, cx.shared);
        }
        // Nobody is watched before it is up: without an agreement by then, nothing will ever come.
        let expected = self.agreement().is_none_or(|agreement| {
            agreement.direction == Direction::SendRecv && agreement.remote.is_some()
        });
        let heard = self.packets_heard();
        if let Some(silent_for) = self.quiet.tick(tick.number, heard, expected) {
            cx.out.push(Event::Quiet { leg: self.id, silent_for });
        }
        let packets = self.packets();
        if let Some(flowing) = self.flow.tick(tick.number, packets) {
            cx.out.push(Event::Flow {
                leg: self.id,
                received: flowing.received,
                sent: flowing.sent,
                packets_in: packets.received,
                packets_out: packets.sent,
            });
        }
    }

    /// The leg ends in good order.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        self.receive_rtp(cx);
        self.receive_rtcp(cx);
        self.hear_the_rest();
        self.voice.stop(cx.out);
        self.send_report(true, cx.shared);
    }

    /// Takes the leg apart: its port, for quarantine, and its sums. An open recording is completed.
    pub(crate) fn dismantle(self) -> (Pair, Stats) {
        let stats = self.stats();
        (self.pair, stats)
    }

    fn agreement(&self) -> Option<&Agreement> {
        match &self.session {
            Session::Offering { .. } => None,
            Session::Agreed { agreement, .. } => Some(agreement),
        }
    }

    /// Of audio, digits and reports.
    fn packets_heard(&self) -> u64 {
        self.reception.packets + self.far_end.packets
    }

    fn packets(&self) -> Packets {
        Packets { received: self.reception.packets, sent: self.stream.packets }
    }

    fn stats(&self) -> Stats {
        let round_trip_ms = self.far_end.round_trip.map(|time| time.as_secs_f32() * 1000.0);
        let delay = OWN_DELAY_MS + round_trip_ms.unwrap_or_default() / 2.0;
        let heard = self.reception.packets > 0;
        Stats {
            packets_sent: self.stream.packets,
            bytes_sent: self.stream.bytes,
            send_errors: self.counters.send_errors,
            late_ticks: self.counters.late_ticks,
            skipped_ticks: self.counters.skipped_ticks,
            packets_received: self.reception.packets,
            bytes_received: self.reception.bytes,
            lost: self.reception.lost(),
            jitter_ms: self.reception.jitter_ms(),
            foreign_packets: self.counters.foreign_packets,
            invalid_packets: self.counters.invalid_packets,
            forged_packets: self.counters.forged_packets,
            replayed_packets: self.counters.replayed_packets,
            ssrc_changes: self.reception.ssrc_changes,
            rtcp_sent: self.counters.rtcp_sent,
            rtcp_received: self.far_end.packets,
            round_trip_ms,
            remote_loss: self.far_end.loss,
            mos: heard.then(|| quality::mos(self.reception.loss(), delay)),
        }
    }
}

fn ticks(time: Duration) -> u64 {
    (time.as_millis() as u64).div_ceil(u64::from(FRAME_MS))
}
