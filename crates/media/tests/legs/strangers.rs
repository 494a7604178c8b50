//! S-1 and S-2: strangers hear nothing and are not heard; malformed packets (T-27) harm nobody.

use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::world::{Peer, World, rtp, share, tone};
use media::Srtp;
use media::{Codec, Command, Config, Ear, Event, LatchMode, LegId, Listen, MediaFault, RecordMode};

const A: LegId = LegId(1);
const B: LegId = LegId(2);

/// What a stranger sends: a loud tone, as PCMA.
fn loud() -> Vec<u8> {
    media::tone::sine(440.0, 20, 16_000)
        .into_iter()
        .map(audio_codec_algorithms::encode_alaw)
        .collect()
}

/// Sends a stream of 30 packets and RTCP from 127.0.0.2, in sequence and as loud as can be.
pub fn intrude(from: &UdpSocket, port: u16) {
    let payload = loud();
    for n in 0..30u16 {
        from.send_to(&rtp(8, n, u32::from(n) * 160, 666, &payload), ("127.0.0.1", port)).unwrap();
        from.send_to(&[0x80, 201, 0, 1, 0, 0, 2, 154], ("127.0.0.1", port + 1)).unwrap();
    }
}

#[test]
fn a_stranger_gets_nothing_and_is_not_recorded() {
    for latching in [LatchMode::SdpOnly, LatchMode::Nat] {
        let mut world = World::new(Config { latching, ..Config::default() });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("call.wav");
        let ear = Ear::new(Duration::from_secs(10));
        world.send(Command::Offer {
            leg: A,
            codecs: vec![Codec::Pcma],
            dtmf: true,
            srtp: Srtp::Off,
            beside: None,
        });
        let (offer, port) = world.offered(A);
        world.send(Command::Answer {
            leg: B,
            offer,
            codecs: vec![Codec::Pcma],
            srtp: Srtp::Off,
            beside: None,
        });
        let (answer, _) = world.answered(B);
        world.send(Command::Remote { leg: A, sdp: answer });
        world.send(Command::Listen { leg: A, sink: ear.sink() });
        world.send(Command::Record {
            leg: A,
            path: path.clone(),
            mode: RecordMode::Received,
            seal: None,
        });
        // Both have heard their own far side before the stranger comes.
        for leg in [A, B] {
            world.wait("Flow", |event| match event {
                Event::Flow { leg: told, received: true, sent: true, .. } if *told == leg => {
                    Some(())
                }
                _ => None,
            });
        }
        let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
        world.play(B, 1, &[tone(1000.0, 300)], 1);
        intrude(&stranger, port);
        world.play_finished(B, 1);
        world.close(B);
        let stats = world.close(A);
        world.wait("RecordingDone", |event| {
            matches!(event, Event::RecordingDone { .. }).then_some(())
        });
        assert_eq!(stats.foreign_packets, 60, "{latching:?}: 30 of RTP, 30 of RTCP");
        let recorded = media::Clip::decode(&std::fs::read(&path).unwrap()).unwrap().samples();
        for heard in [ear.samples(), recorded] {
            assert!(share(&heard, 1000.0) > 0.95, "{latching:?}: {}", share(&heard, 1000.0));
            assert_eq!(
                heard.chunks_exact(160).filter(|b| media::detect::share(b, 440.0) > 0.1).count(),
                0
            );
        }
        // The thread has ended all legs and sent all it will ever send.
        drop(world);
        stranger.set_nonblocking(true).unwrap();
        assert_eq!(
            stranger
                .recv_from(&mut [0; 2048])
                .map_err(|error| error.kind())
                .map(|(length, _)| length),
            Err(std::io::ErrorKind::WouldBlock),
            "{latching:?}: nothing came back"
        );
    }
}

#[test]
fn behind_nat_the_audio_follows_the_proven_source_and_stays() {
    let mut world = World::new(Config { latching: LatchMode::Nat, ..Config::default() });
    let (named, real, stranger) =
        (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"), Peer::new("127.0.0.2"));
    let (_, port) = world.offer(A, &[Codec::Pcma]);
    world.send(Command::Remote { leg: A, sdp: named.sdp("8", "") });
    named.receive();
    for n in 0..4u16 {
        real.rtp
            .send_to(&rtp(8, n, u32::from(n) * 160, 5, &[0xD5; 160]), ("127.0.0.1", port))
            .unwrap();
    }
    assert_eq!(real.receive().from.port(), port);
    intrude(&stranger.rtp, port);
    (0..5).for_each(|_| drop(real.receive()));
    let stats = world.close(A);
    assert_eq!((stats.packets_received, stats.foreign_packets), (1, 63), "three before the proof");
    drop(world);
    stranger.rtp.set_nonblocking(true).unwrap();
    assert!(stranger.rtp.recv_from(&mut [0; 64]).is_err());
}

/// One even port below which and above which nobody else binds for the moment.
fn one_pair() -> RangeInclusive<u16> {
    loop {
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port() & !1;
        drop(probe);
        let free = |port| UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 1) {
            return port..=port + 1;
        }
    }
}

#[test]
fn the_port_of_a_closed_leg_is_not_given_to_the_next_call() {
    let range = one_pair();
    let mut world = World::new(Config { port_range: Some(range.clone()), ..Config::default() });
    assert_eq!(world.media.capacity().legs, 1);
    let (_, port) = world.offer(A, &[Codec::Pcma]);
    assert_eq!(port, *range.start());
    world.send(Command::Offer {
        leg: B,
        codecs: vec![Codec::Pcma],
        dtmf: true,
        srtp: Srtp::Off,
        beside: None,
    });
    assert_eq!(world.failed(B), MediaFault::NoPort);
    // In one go, so that no time passes between the two.
    world.send(Command::Close { leg: A });
    world.send(Command::Offer {
        leg: B,
        codecs: vec![Codec::Pcma],
        dtmf: true,
        srtp: Srtp::Off,
        beside: None,
    });
    assert_eq!(world.failed(B), MediaFault::NoPort, "less than two seconds after its last call");
    assert!(UdpSocket::bind(("127.0.0.1", port)).is_err(), "it stays bound meanwhile");
}

/// An even port at which `pairs` pairs begin that nobody else has for the moment.
fn free_range(pairs: u16) -> RangeInclusive<u16> {
    loop {
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        let first = probe.local_addr().unwrap().port() & !1;
        drop(probe);
        let Some(last) = first.checked_add(2 * pairs - 1) else { continue };
        if (first..=last).all(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok()) {
            return first..=last;
        }
    }
}

#[test]
fn a_far_side_that_keeps_sending_reaches_none_of_two_hundred_new_calls() {
    let port_range = Some(free_range(101));
    let mut world = World::new(Config { port_range, ..Config::default() });
    let (_, old_port) = world.offer(A, &[Codec::Pcma]);
    world.close(A);
    let stray = UdpSocket::bind("127.0.0.1:0").unwrap();
    stray.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let peer = Peer::new("127.0.0.1");
    let until = std::time::Instant::now() + crate::world::PATIENCE;
    let (mut up, mut calls, mut asked) = (Vec::new(), 0, 1);
    while calls < 200 || !up.is_empty() {
        assert!(std::time::Instant::now() < until, "{calls} calls so far");
        for port in [old_port, old_port + 1] {
            stray.send_to(&rtp(8, asked as u16, 0, 666, &loud()), ("127.0.0.1", port)).unwrap();
        }
        asked += 1;
        let leg = LegId(asked);
        world.send(Command::Offer {
            leg,
            codecs: vec![Codec::Pcma],
            dtmf: true,
            srtp: Srtp::Off,
            beside: None,
        });
        let offered = world.wait("Offered or Failed", |event| match event {
            Event::Offered { leg: of, port, .. } if *of == leg => Some(Some(*port)),
            Event::Failed { leg: of, fault: MediaFault::NoPort } if *of == leg => Some(None),
            _ => None,
        });
        if let Some(port) = offered {
            assert_ne!(port, old_port, "somebody is still talking there");
            world.send(Command::Remote { leg, sdp: peer.sdp("8", "") });
            up.push(leg);
            calls += 1;
        }
        // All ports are taken, or all calls were made: what did they hear?
        if offered.is_none() || calls >= 200 {
            assert!(stray.recv_from(&mut [0; 64]).is_err(), "nothing comes back");
            for leg in up.drain(..) {
                let stats = world.close(leg);
                let heard = (stats.packets_received, stats.foreign_packets, stats.invalid_packets);
                assert_eq!(heard, (0, 0, 0), "{leg:?}");
            }
        }
    }
}

/// T-27: packets that lie about themselves.
pub fn malformed() -> Vec<Vec<u8>> {
    let good = rtp(8, 1, 160, 5, &[0xD5; 160]);
    let with = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        packet
    };
    let mut packets: Vec<Vec<u8>> = (0..12).map(|length| good[..length].to_vec()).collect();
    packets.extend([
        with(0, 0x00),                // version 0
        with(0, 0x40),                // version 1
        with(0, 0xC0),                // version 3
        with(0, 0x8F)[..12].to_vec(), // 15 CSRC, none there
        with(1, 77),                  // a payload type nobody agreed to
        with(1, 0xC8),                // RTCP on the RTP port
        vec![0xFF; 1500],
        vec![0x80; 4000],
    ]);
    let mut padded = with(0, 0xA0);
    padded[171] = 255; // more padding than payload
    packets.push(padded.clone());
    padded[171] = 0; // no padding although it says so
    packets.push(padded);
    let mut extended = with(0, 0x90);
    extended[14..16].copy_from_slice(&0xFFFFu16.to_be_bytes()); // an extension longer than the packet
    packets.push(extended);
    packets
}

#[test]
fn malformed_packets_of_the_far_side_are_counted_and_its_audio_goes_on() {
    let mut world = World::new(Config::default());
    let peer = Peer::new("127.0.0.1");
    let ear = Ear::new(Duration::from_secs(10));
    let (_, port) = world.offer(A, &[Codec::Pcma, Codec::Pcmu]);
    world.send(Command::Remote {
        leg: A,
        sdp: peer.sdp("8 0 101", "a=rtpmap:101 telephone-event/8000\r\n"),
    });
    world.send(Command::Listen { leg: A, sink: ear.sink() });
    let bad = malformed();
    let mut audio = media::tone::sine(1000.0, 400, 8000).into_iter();
    for n in 0..20u16 {
        // One packet per packet of the leg's keeps its pace without a clock.
        peer.receive();
        let samples: Vec<i16> = audio.by_ref().take(160).collect();
        // The sequence wraps, the codec changes and so does the SSRC.
        let (payload_type, payload): (u8, Vec<u8>) = match n {
            5..10 => (0, samples.iter().map(|&s| audio_codec_algorithms::encode_ulaw(s)).collect()),
            _ => (8, samples.iter().map(|&s| audio_codec_algorithms::encode_alaw(s)).collect()),
        };
        let ssrc = if n < 15 { 5 } else { 6 };
        let mut packet = rtp(payload_type, n.wrapping_sub(10), u32::from(n) * 160, ssrc, &payload);
        if n % 4 == 1 {
            // Intact, with all that is optional: padding, an extension, two CSRCs.
            packet[0] = 0xB2;
            packet.splice(12..12, [0, 0, 0, 1, 0, 0, 0, 2, 0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
            packet.extend([0, 0, 3]);
        }
        peer.rtp.send_to(&packet, ("127.0.0.1", port)).unwrap();
        for packet in &bad {
            peer.rtp.send_to(packet, ("127.0.0.1", port)).unwrap();
            peer.rtcp.send_to(packet, ("127.0.0.1", port + 1)).unwrap();
        }
        // Comfort noise is no fault.
        peer.rtp
            .send_to(&rtp(13, n.wrapping_sub(10), 0, ssrc, &[20]), ("127.0.0.1", port))
            .unwrap();
    }
    for _ in 0..5 {
        peer.receive();
    }
    let stats = world.close(A);
    assert!(stats.invalid_packets >= 20 * bad.len() as u64, "{stats:?}");
    assert_eq!((stats.ssrc_changes, stats.lost), (1, 0), "{stats:?}");
    assert!(share(&ear.samples(), 1000.0) > 0.9);
    assert!(crate::world::loud_blocks(&ear.samples()) >= 17, "but for where the stream changed");
}

struct Bomb;

impl Listen for Bomb {
    fn audio(&mut self, _: &[i16]) {
        panic!("a listener with a bug (this test wants it)");
    }

    fn packet(&mut self, _: media::Arrival) {}
}

#[test]
fn a_panic_costs_its_leg_and_no_other() {
    let mut world = World::new(Config::default());
    let ear = Ear::new(Duration::from_secs(10));
    world.pair(A, B, Codec::Pcma);
    let doomed = LegId(3);
    let (_, port) = world.offer(doomed, &[Codec::Pcma]);
    world.send(Command::Listen { leg: B, sink: ear.sink() });
    world.play(A, 1, &[tone(1000.0, 300)], 1);
    world.send(Command::Listen { leg: doomed, sink: Box::new(Bomb) });
    world.wait("LegPanicked", |event| {
        matches!(event, Event::LegPanicked { leg: LegId(3), .. }).then_some(())
    });
    world.send(Command::StopPlay { leg: doomed });
    assert_eq!(world.failed(doomed), MediaFault::UnknownLeg);
    assert!(UdpSocket::bind(("127.0.0.1", port)).is_err(), "its port rests like any other");
    world.play_finished(A, 1);
    world.close(A);
    world.close(B);
    assert!(share(&ear.samples(), 1000.0) > 0.95);
}
