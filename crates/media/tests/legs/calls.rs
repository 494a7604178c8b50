//! Whole calls between two legs, or between a leg and a bare peer, over loopback.

use std::time::Duration;

use crate::world::{Peer, World, loud_blocks, rtp, share, tone};
use media::sdp::Direction;
use media::{Codec, Command, Config, Ear, Event, LegId, MediaFault, Srtp};

const A: LegId = LegId(1);
const B: LegId = LegId(2);

#[test]
fn a_clip_is_heard_at_the_other_end_in_every_codec() {
    for codec in Codec::ALL {
        let mut world = World::new(Config { threads: 2, ..Config::default() });
        let ear = Ear::new(Duration::from_secs(10));
        world.pair(A, B, codec);
        world.send(Command::Listen { leg: B, sink: ear.sink() });
        world.play(A, 7, &[tone(1000.0, 400)], 1);
        world.play_finished(A, 7);
        let (sent, received) = (world.close(A), world.close(B));
        let heard = ear.samples();
        assert!(share(&heard, 1000.0) > 0.9, "{codec:?}: {}", share(&heard, 1000.0));
        let loud = loud_blocks(&heard);
        assert!((18..=23).contains(&loud), "{codec:?}: {loud} blocks of 20 ms of the 20 played");
        assert_eq!((received.lost, received.foreign_packets, received.invalid_packets), (0, 0, 0));
        assert!(received.packets_received >= 20 && sent.packets_sent >= received.packets_received);
        assert!(received.mos.unwrap() > 4.0);
    }
}

#[test]
fn a_list_is_repeated_whole() {
    let mut world = World::new(Config::default());
    let ear = Ear::new(Duration::from_secs(10));
    world.pair(A, B, Codec::Pcma);
    world.send(Command::Listen { leg: B, sink: ear.sink() });
    let pause = media::Clip::from_pcm(&media::tone::silence(100), 8000).unwrap();
    world.play(A, 1, &[tone(500.0, 100), pause, tone(1500.0, 200)], 3);
    world.play_finished(A, 1);
    world.close(A);
    world.close(B);
    let heard = ear.samples();
    let blocks: Vec<char> = heard
        .chunks_exact(160)
        .map(|block| match () {
            () if media::detect::rms(block) < 1000.0 => '.',
            () if media::detect::share(block, 500.0) > 0.8 => 'l',
            () if media::detect::share(block, 1500.0) > 0.8 => 'h',
            () => '?',
        })
        .collect();
    let blocks: String = blocks.into_iter().collect();
    assert_eq!(blocks.trim_matches('.'), "lllll.....hhhhhhhhhh".repeat(3));
}

#[test]
fn flow_is_told_both_ways_and_one_way() {
    let config = Config { flow_check: Duration::from_millis(200), ..Config::default() };
    let mut world = World::new(config);
    world.pair(A, B, Codec::Pcmu);
    for wanted in [A, B] {
        let flow = world.wait("Flow", |event| match event {
            Event::Flow { leg, received, sent, .. } if *leg == wanted => Some((*received, *sent)),
            _ => None,
        });
        assert_eq!(flow, (true, true));
    }
    let mute = Peer::new("127.0.0.1");
    let leg = LegId(3);
    world.offer(leg, &[Codec::Pcma]);
    world.send(Command::Remote { leg, sdp: mute.sdp("8", "") });
    let flow = world.wait("Flow", |event| match event {
        Event::Flow { leg: LegId(3), received, sent, packets_in, packets_out } => {
            Some((*received, *sent, *packets_in, *packets_out > 5))
        }
        _ => None,
    });
    assert_eq!(flow, (false, true, 0, true));
}

#[test]
fn silence_is_paced_numbered_and_timed_from_the_first_packet() {
    let mut world = World::new(Config::default());
    let peer = Peer::new("127.0.0.1");
    let (_, port) = world.offer(A, &[Codec::Pcma]);
    world.send(Command::Remote { leg: A, sdp: peer.sdp("8", "") });
    let packets: Vec<_> = (0..10).map(|_| peer.receive()).collect();
    for (before, packet) in packets.iter().zip(&packets[1..]) {
        assert_eq!(packet.sequence, before.sequence.wrapping_add(1));
        assert_eq!((packet.ssrc, packet.marker), (before.ssrc, false));
        let step = packet.timestamp.wrapping_sub(before.timestamp);
        assert!(
            step >= 160 && step.is_multiple_of(160),
            "20 ms, or more where the test machine stalled"
        );
    }
    assert!(packets[0].marker);
    assert_eq!((packets[0].payload_type, packets[0].from.port()), (8, port));
    assert_eq!(packets[0].payload, [0xD5; 160]);
}

#[test]
fn early_media_then_another_answer_of_a_fork_moves_the_stream() {
    let mut world = World::new(Config::default());
    let (first, second) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    world.offer(A, &Codec::ALL);
    world.send(Command::Remote { leg: A, sdp: first.sdp("8", "") });
    assert_eq!(first.receive().payload_type, 8);
    world.send(Command::Remote { leg: A, sdp: second.sdp("0", "") });
    assert_eq!(second.receive().payload_type, 0);
    let codecs: Vec<_> = [world.negotiated(A), world.negotiated(A)]
        .into_iter()
        .map(|event| match event {
            Event::Negotiated { codec, remote, .. } => (codec, remote.unwrap()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(codecs, [(Codec::Pcma, first.address()), (Codec::Pcmu, second.address())]);
}

#[test]
fn hold_pauses_the_clip_and_resume_goes_on() {
    let mut world = World::new(Config::default());
    let peer = Peer::new("127.0.0.1");
    world.send(Command::Answer {
        leg: A,
        offer: peer.sdp("8", ""),
        codecs: vec![Codec::Pcma],
        srtp: Srtp::Off,
        beside: None,
    });
    let (first, _) = world.answered(A);
    world.negotiated(A);
    world.play(A, 1, &[tone(1000.0, 300)], 1);
    while peer.receive().payload == [0xD5; 160] {}
    world.send(Command::Reoffered { leg: A, sdp: peer.sdp("8", "a=sendonly\r\n") });
    let (held, _) = world.answered(A);
    assert!(String::from_utf8_lossy(&held).contains("a=recvonly"));
    let version = |sdp: &[u8]| media::sdp::parse(sdp).unwrap().version;
    assert_eq!(version(&held), version(&first) + 1);
    assert!(matches!(
        world.negotiated(A),
        Event::Negotiated { direction: Direction::RecvOnly, .. }
    ));
    world.send(Command::Reoffered { leg: A, sdp: peer.sdp("8", "") });
    world.play_finished(A, 1);
    world.close(A);
    peer.rtp.set_nonblocking(true).unwrap();
    let mut loud = 1;
    let mut bytes = [0; 2048];
    while let Ok((length, _)) = peer.rtp.recv_from(&mut bytes) {
        loud += usize::from(bytes[12..length] != [0xD5; 160]);
    }
    assert_eq!(loud, 15, "15 packets of 20 ms, none lost to the hold");
}

#[test]
fn digits_go_out_as_events_and_are_each_told_once() {
    for codec in [Codec::Pcma, Codec::Opus] {
        let mut world = World::new(Config::default());
        world.pair(A, B, codec);
        world.send(Command::SendDigits { leg: A, digits: "15#a".into() });
        world.wait("DigitsSent", |event| {
            matches!(event, Event::DigitsSent { leg: A }).then_some(())
        });
        world.close(A);
        world.close(B);
        let digits: Vec<_> = world
            .seen(|event| matches!(event, Event::Digit { .. }))
            .into_iter()
            .map(|event| match event {
                Event::Digit { leg: B, digit, duration_ms } => (digit, duration_ms),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(digits, [('1', 100), ('5', 100), ('#', 100), ('A', 100)], "{codec:?}");
    }
}

#[test]
fn digits_are_tones_where_the_far_side_takes_no_events() {
    let mut world = World::new(Config::default());
    let ear = Ear::new(Duration::from_secs(10));
    world.send(Command::Offer {
        leg: A,
        codecs: vec![Codec::G722],
        dtmf: false,
        srtp: Srtp::Off,
        beside: None,
    });
    let (offer, _) = world.offered(A);
    world.send(Command::Answer {
        leg: B,
        offer,
        codecs: vec![Codec::G722],
        srtp: Srtp::Off,
        beside: None,
    });
    let (sdp, _) = world.answered(B);
    world.send(Command::Remote { leg: A, sdp });
    world.negotiated(A);
    world.send(Command::Listen { leg: B, sink: ear.sink() });
    world.send(Command::SendDigits { leg: A, digits: "0*7".into() });
    world.wait("DigitsSent", |event| matches!(event, Event::DigitsSent { leg: A }).then_some(()));
    world.close(A);
    world.close(B);
    let digits = media::detect::DtmfDetector::new().feed(&ear.samples());
    assert_eq!(digits, ['0', '*', '7']);
    assert_eq!(world.seen(|event| matches!(event, Event::Digit { .. })), []);
}

#[test]
fn what_cannot_be_done_is_told_and_changes_nothing() {
    let mut world = World::new(Config::default());
    let peer = Peer::new("127.0.0.1");
    world.send(Command::StopPlay { leg: A });
    assert_eq!(world.failed(A), MediaFault::UnknownLeg);
    world.offer(A, &[Codec::Pcma]);
    for (sdp, fault) in [
        (peer.sdp("0", ""), MediaFault::NoCommonCodec),
        (peer.sdp("18", ""), MediaFault::NoCommonCodec),
    ] {
        world.send(Command::Remote { leg: A, sdp });
        assert_eq!(world.failed(A), fault);
    }
    world.send(Command::Remote { leg: A, sdp: "garbage".into() });
    assert!(matches!(world.failed(A), MediaFault::Sdp(_)));
    world.send(Command::SendDigits { leg: A, digits: "12x".into() });
    assert_eq!(world.failed(A), MediaFault::BadDigit('x'));
    world.send(Command::SendDigits { leg: A, digits: "1".repeat(65) });
    assert_eq!(world.failed(A), MediaFault::TooManyDigits);
    world.play(A, 1, &[], 1);
    assert_eq!(world.failed(A), MediaFault::NothingToPlay);
    world.send(Command::Answer {
        leg: A,
        offer: peer.sdp("8", ""),
        codecs: vec![Codec::Pcma],
        srtp: Srtp::Off,
        beside: None,
    });
    assert_eq!(world.failed(A), MediaFault::LegExists);
    world.send(Command::Answer {
        leg: B,
        offer: peer.sdp("8", ""),
        codecs: vec![Codec::Opus],
        srtp: Srtp::Off,
        beside: None,
    });
    assert_eq!(world.failed(B), MediaFault::NoCommonCodec);
    world.send(Command::Remote { leg: A, sdp: peer.sdp("8", "") });
    world.negotiated(A);
    assert_eq!(peer.receive().payload_type, 8);
}

#[test]
fn a_leg_comes_back_on_its_port_after_a_restart() {
    let peer = Peer::new("127.0.0.1");
    let (own, port, ssrc) = {
        let mut before = World::new(Config::default());
        let (own, port) = before.offer(A, &[Codec::Pcma, Codec::Pcmu]);
        before.send(Command::Remote { leg: A, sdp: peer.sdp("0", "") });
        let ssrc = peer.receive().ssrc;
        (own, port, ssrc)
    };
    let mut world = World::new(Config::default());
    world.send(Command::Rebind { leg: A, sdp: own.clone() });
    assert_eq!(world.offered(A), (own.clone(), port));
    world.send(Command::Remote { leg: A, sdp: peer.sdp("0", "") });
    world.negotiated(A);
    // The first packets may still be of the stream before.
    let new = std::iter::repeat_with(|| peer.receive()).find(|packet| packet.ssrc != ssrc);
    assert_eq!(new.map(|packet| packet.from.port()), Some(port));
    world.send(Command::Rebind { leg: B, sdp: own });
    assert!(matches!(world.failed(B), MediaFault::Bind { port: taken, .. } if taken == port));
}

#[test]
fn reports_go_both_ways_and_a_closed_leg_says_bye() {
    let mut world = World::new(Config::default());
    let peer = Peer::new("127.0.0.1");
    let (_, port) = world.offer(A, &[Codec::Pcma]);
    world.send(Command::Remote { leg: A, sdp: peer.sdp("8", "") });
    world.negotiated(A);
    let packet = rtp(8, 1, 160, 99, &[0xD5; 160]);
    peer.rtp.send_to(&packet, ("127.0.0.1", port)).unwrap();
    // A receiver report about nobody: eight bytes.
    peer.rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 99], ("127.0.0.1", port + 1)).unwrap();
    peer.receive();
    world.wait("Flow", |event| {
        matches!(event, Event::Flow { received: true, sent: true, .. }).then_some(())
    });
    let stats = world.close(A);
    assert_eq!((stats.rtcp_received, stats.packets_received), (1, 1));
    let mut kinds = Vec::new();
    while kinds.last() != Some(&203) {
        let mut bytes = [0; 512];
        let (length, from) = peer.rtcp.recv_from(&mut bytes).unwrap();
        assert_eq!(from.port(), port + 1);
        let mut at = 0;
        while at < length {
            kinds.push(bytes[at + 1]);
            at += 4 * (1 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])));
        }
    }
    assert_eq!(kinds[kinds.len() - 3..], [200, 202, 203], "sender report, CNAME, BYE");
}

#[test]
fn a_call_over_ipv6() {
    let six = "::1".parse().unwrap();
    if std::net::UdpSocket::bind((six, 0)).is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    let mut world = World::new(Config { bind: six, ..Config::default() });
    let ear = Ear::new(Duration::from_secs(10));
    world.pair(A, B, Codec::Pcma);
    world.send(Command::Listen { leg: B, sink: ear.sink() });
    world.play(A, 1, &[tone(1000.0, 200)], 1);
    world.play_finished(A, 1);
    world.close(A);
    world.close(B);
    assert!(share(&ear.samples(), 1000.0) > 0.95);
}

#[test]
fn settings_that_cannot_work_are_refused_at_start() {
    use media::StartError;
    let start = |config| media::start(config, Box::new(|_| {})).err().unwrap();
    let ip = |text: &str| text.parse().unwrap();
    assert!(matches!(start(Config { threads: 0, ..Config::default() }), StartError::NoThreads));
    let unspecified = Config { bind: ip("0.0.0.0"), ..Config::default() };
    assert!(matches!(start(unspecified), StartError::NoPublicAddress(_)));
    let mixed = Config { public_address: Some(ip("2001:db8::1")), ..Config::default() };
    assert!(matches!(start(mixed), StartError::AddressFamily));
    let narrow = Config { threads: 2, port_range: Some(20_000..=20_002), ..Config::default() };
    assert!(matches!(start(narrow), StartError::PortRange(20_000, 20_002)));
    let elsewhere = Config { bind: ip("192.0.2.1"), ..Config::default() };
    assert!(matches!(start(elsewhere), StartError::Bind { .. }));
}
