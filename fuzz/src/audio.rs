//! Targets of `crates/media`: descriptions, packets and files, each taken by the code that takes them in a call.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use media::fuzzing::{FedLeg, Port};
use media::{Arrival, Clip, Event, Listen, sdp};

/// A description as first offer, as later offer and as answer. What we answer is a description that we would take.
pub fn sdp(data: &[u8]) {
    if let Ok(description) = sdp::parse(data) {
        assert!(description.media.len() <= sdp::MAX_MEDIA);
        assert!(description.media.iter().filter(|line| line.is_audio).count() == 1);
    }
    if let Ok((_, answer)) = FedLeg::answering(data, false) {
        let own = sdp::parse(&answer).expect("our answer can be read");
        let offered = sdp::parse(data).expect("it was answered");
        assert_eq!(own.media.len(), offered.media.len(), "one line for each (RFC 3264 §6)");
    }
    let (mut leg, _) = FedLeg::answering(OFFERS[0].as_bytes(), false).expect("it is sound");
    let _ = leg.describe(data, true);
    let _ = leg.describe(data, false);
}

/// Packets to the RTP port of a leg that somebody listens to. Each begins with a byte that says where it comes from and
/// what follows, and its length in two.
pub fn rtp(data: &[u8]) {
    packets(data, Port::Rtp);
}

/// The same for RTCP.
pub fn rtcp(data: &[u8]) {
    packets(data, Port::Rtcp);
}

/// Packets to two legs that hear each other, in the same form; the fourth bit says for which of them each is.
pub fn bridge(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    // They are sent on, to a port at which nobody listens.
    let answering = |kind: usize| {
        let offer = OFFERS[kind % OFFERS.len()].replace("a=sendonly\r\n", "");
        let offer = offer.replace("m=audio 40000", &format!("m=audio {DISCARD}"));
        FedLeg::answering(offer.as_bytes(), false).expect("it is sound").0
    };
    let mut legs = [answering(usize::from(*kind)), answering(data.len())];
    let [one, other] = &mut legs;
    one.bridge(other);
    let from = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DISCARD);
    let mut given = [0, 0];
    each_packet(rest, |flags, packet| {
        let first = flags & 8 == 0;
        let (to, partner) = if first { (&mut *one, &mut *other) } else { (&mut *other, &mut *one) };
        to.packet(Port::Rtp, from, packet);
        to.hand_over(partner);
        given[usize::from(!first)] += 1;
        for _ in 0..flags >> 5 {
            one.tick();
            other.tick();
            one.hand_over(other);
            other.hand_over(one);
        }
    });
    for (leg, given) in legs.into_iter().zip(given) {
        let stats = leg.stats();
        let dropped = stats.invalid_packets + stats.forged_packets + stats.replayed_packets;
        // One that is too long to be passed on is taken, and counted as invalid as well.
        assert!(stats.packets_received + dropped + stats.foreign_packets >= given, "{stats:?}");
        assert!(stats.packets_received <= given, "{stats:?}");
    }
}

/// A file that is uploaded as WAV.
pub fn wav(data: &[u8]) {
    clip(data);
}

/// A file that is uploaded as MP3.
pub fn mp3(data: &[u8]) {
    clip(data);
}

const THEIRS: &str = "127.0.0.1:40000";
const NEIGHBOUR: &str = "127.0.0.1:40001";
/// RFC 863.
const DISCARD: u16 = 9;
const STRANGER: &str = "127.0.0.2:40000";

/// One per codec, and an encrypted one. `sendonly`: nothing is sent while packets come in.
const OFFERS: [&str; 4] = [
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101 13\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n",
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 9 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n",
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/48000\r\na=sendonly\r\n",
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNk\r\na=sendonly\r\n",
];

fn packets(data: &[u8], port: Port) {
    let Some((kind, rest)) = data.split_first() else { return };
    let offer = OFFERS[usize::from(*kind) % OFFERS.len()];
    let behind_nat = kind & 128 == 128;
    let (mut leg, _) = FedLeg::answering(offer.as_bytes(), behind_nat).expect("it is sound");
    let heard = Arc::new(AtomicUsize::new(0));
    leg.listen(Box::new(Counted(heard.clone())));
    leg.events();
    let (mut given, mut ticks) = (0, 0);
    each_packet(rest, |flags, packet| {
        let from: SocketAddr = [THEIRS, NEIGHBOUR, STRANGER, THEIRS][usize::from(flags & 3)]
            .parse()
            .expect("an address");
        leg.packet(port, from, packet);
        given += 1;
        for _ in 0..flags >> 5 {
            leg.tick();
            ticks += 1;
        }
    });
    for event in leg.events() {
        assert!(matches!(event, Event::Digit { .. } | Event::Flow { .. }), "{event:?}");
    }
    assert_eq!(heard.load(Ordering::Relaxed), ticks * 160, "20 ms of audio for each 20 ms");
    let stats = leg.stats();
    let seen = stats.packets_received
        + stats.rtcp_received
        + stats.foreign_packets
        + stats.invalid_packets
        + stats.forged_packets
        + stats.replayed_packets;
    assert_eq!(seen, given, "each packet is taken, or counted and dropped: {stats:?}");
    assert!(stats.jitter_ms.is_finite() && stats.mos.is_none_or(f32::is_finite), "{stats:?}");
    assert!(stats.mos.is_none_or(|mos| (1.0..=5.0).contains(&mos)), "{stats:?}");
}

/// Gives the first 400 packets with what stands in front of each.
fn each_packet(mut rest: &[u8], mut give: impl FnMut(u8, &[u8])) {
    for _ in 0..400 {
        let Some(([flags, high, low], after)) = rest.split_first_chunk() else { return };
        let length = usize::from(u16::from_be_bytes([*high, *low]) & 0x7ff).min(after.len());
        let (packet, next) = after.split_at(length);
        rest = next;
        give(*flags, packet);
    }
}

/// Counts what it hears.
struct Counted(Arc<AtomicUsize>);

impl Listen for Counted {
    fn audio(&mut self, samples: &[i16]) {
        self.0.fetch_add(samples.len(), Ordering::Relaxed);
    }

    fn packet(&mut self, _: Arrival) {}
}

fn clip(data: &[u8]) {
    decoders_may_panic();
    let Ok(clip) = Clip::decode(data) else { return };
    assert!(clip.duration() <= Duration::from_secs(601), "{:?}", clip.duration());
    assert!(!clip.samples().is_empty());
    let stored = Clip::from_stored(&clip.to_stored()).expect("what we write we read");
    assert_eq!(stored.samples().len(), clip.samples().len());
}

/// libFuzzer's hook ends the process at any panic; ours has a net under the foreign decoders, and it is the net that is
/// tried here: what falls through it still ends the process.
fn decoders_may_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}
