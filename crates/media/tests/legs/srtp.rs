//! S-4 and the rest of S-1 and T-27: encrypted legs. Who encrypts with what, what a forger gets, what a key change costs.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use media::sdp::{self, CryptoError, CryptoLine, Profile, Transport};
use media::srtp::{Inbound, KeyError, MasterKey, OVERHEAD, Outbound, Suite};
use media::{Codec, Command, Config, Ear, Event, LatchMode, LegId, MediaFault, Srtp, Stats};

use crate::strangers;
use crate::world::{Peer, Rtp, World, loud_blocks, rtp, share, tone};

const A: LegId = LegId(1);
const B: LegId = LegId(2);
const FOREVER: u64 = 1 << 31;

/// A far side with keys.
struct Phone {
    peer: Peer,
    line: CryptoLine,
    out: Outbound,
    inbound: Inbound,
    ssrc: u32,
    sequence: u16,
}

impl Phone {
    /// Answers the first of the offer's keys.
    fn new(peer: Peer, offer: &Bytes) -> Self {
        let offered = sdp::parse_for(Srtp::Required, offer).unwrap().audio.crypto.lines.remove(0);
        let key = MasterKey::random(offered.key.suite());
        Phone {
            peer,
            out: Outbound::new(&key),
            inbound: Inbound::new(&offered.key, &[], FOREVER),
            line: CryptoLine::new(offered.tag, key),
            ssrc: 5,
            sequence: 100,
        }
    }

    fn sdp(&self) -> Bytes {
        secure(&self.peer, &self.line.value())
    }

    /// Waits for the leg's next packet and decrypts it.
    fn receive(&mut self) -> Rtp {
        let (bytes, from) = self.peer.receive_bytes();
        let mut clear = vec![0; bytes.len()];
        let length = self.inbound.open_rtp(&bytes, &mut clear).expect("made with the leg's key");
        Rtp::parse(&clear[..length], from)
    }

    /// Returns when the leg has looked at all that was sent to it before.
    fn settle(&mut self) {
        self.peer.rtp.set_nonblocking(true).unwrap();
        while self.peer.rtp.recv_from(&mut [0; 2048]).is_ok() {}
        self.peer.rtp.set_nonblocking(false).unwrap();
        // The first may have been under way; each later one left after its own look.
        (0..3).for_each(|_| drop(self.receive()));
    }

    /// An authentic packet around `clear`, which begins with a whole RTP header.
    fn protect(&mut self, clear: &[u8]) -> Vec<u8> {
        let mut buffer = [clear, &[0; OVERHEAD]].concat();
        let length = self.out.protect_rtp(&mut buffer, clear.len()).unwrap();
        buffer.truncate(length);
        buffer
    }

    /// The next 20 ms of a loud tone.
    fn next(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let clear = rtp(8, self.sequence, u32::from(self.sequence) * 160, self.ssrc, &loud(1000.0));
        self.protect(&clear)
    }

    fn send(&self, packet: &[u8], port: u16) {
        self.peer.rtp.send_to(packet, ("127.0.0.1", port)).unwrap();
    }
}

fn loud(hz: f32) -> Vec<u8> {
    let samples = media::tone::sine(hz, 20, 16_000);
    samples.into_iter().map(audio_codec_algorithms::encode_alaw).collect()
}

/// A description over RTP/SAVP with these keys.
fn secure(peer: &Peer, crypto: &str) -> Bytes {
    let text = String::from_utf8(peer.sdp("8", &format!("a=crypto:{crypto}\r\n")).to_vec());
    text.unwrap().replace("RTP/AVP", "RTP/SAVP").into()
}

fn text(sdp: &Bytes) -> &str {
    std::str::from_utf8(sdp).unwrap()
}

fn secured(event: &Event) -> Option<Suite> {
    let Event::Negotiated { srtp, .. } = event else { panic!("{event:?}") };
    *srtp
}

/// A leg that requires SRTP and a phone that has answered it.
fn call(config: Config) -> (World, Phone, u16) {
    let mut world = World::new(config);
    let (offer, port) = world.offer_srtp(A, &[Codec::Pcma], Srtp::Required);
    let phone = Phone::new(Peer::new("127.0.0.1"), &offer);
    world.send(Command::Remote { leg: A, sdp: phone.sdp() });
    assert_eq!(secured(&world.negotiated(A)), Some(Suite::AesCm128HmacSha1));
    (world, phone, port)
}

/// All that was sent before has been heard and counted.
fn counted(mut world: World) -> Stats {
    world.close(A)
}

#[test]
fn two_legs_that_require_or_allow_it_talk_encrypted_with_each_other() {
    for srtp in [Srtp::Optional, Srtp::Required] {
        let mut world = World::new(Config::default());
        let (offer, _) = world.offer_srtp(A, &[Codec::Pcma], srtp);
        let profile = if srtp == Srtp::Required { "RTP/SAVP" } else { "RTP/AVP" };
        assert!(text(&offer).contains(&format!(" {profile} 8 101\r\n")), "{offer:?}");
        let suites: Vec<Suite> = sdp::parse_for(srtp, &offer)
            .unwrap()
            .audio
            .crypto
            .lines
            .iter()
            .map(|line| line.key.suite())
            .collect();
        let expected = [Suite::AesCm128HmacSha1, Suite::AesCm256HmacSha1, Suite::AeadAes128Gcm];
        assert_eq!(suites, expected);
        world.send(Command::Answer {
            leg: B,
            offer,
            codecs: vec![Codec::Pcma],
            srtp,
            beside: None,
        });
        let (answer, _) = world.answered(B);
        assert!(text(&answer).contains(&format!(" {profile} 8 101\r\n")), "{answer:?}");
        assert_eq!(text(&answer).matches("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:").count(), 1);
        assert_eq!(text(&answer).matches("a=crypto:").count(), 1);
        world.send(Command::Remote { leg: A, sdp: answer });
        for leg in [A, B] {
            assert_eq!(secured(&world.negotiated(leg)), Some(Suite::AesCm128HmacSha1));
        }
        let ear = Ear::new(Duration::from_secs(10));
        world.send(Command::Listen { leg: B, sink: ear.sink() });
        world.play(A, 1, &[tone(1000.0, 400)], 1);
        world.play_finished(A, 1);
        let stats = world.close(A);
        let heard = world.close(B);
        assert!(share(&ear.samples(), 1000.0) > 0.95 && loud_blocks(&ear.samples()) >= 18);
        assert_eq!(
            (heard.forged_packets, heard.replayed_packets, heard.invalid_packets),
            (0, 0, 0)
        );
        assert_eq!(heard.packets_received, stats.packets_sent);
        assert_eq!(stats.bytes_sent, stats.packets_sent * 160, "payload, without tags");
        assert!(heard.rtcp_received > 0, "the BYE is encrypted too, and understood");
    }
}

#[test]
fn every_suite_is_taken_and_its_audio_and_reports_understood() {
    for suite in Suite::ALL {
        let mut world = World::new(Config::default());
        let peer = Peer::new("127.0.0.1");
        let line = CryptoLine::new(9, MasterKey::random(suite));
        let offer = secure(&peer, &format!("{}|2^31|1:4", line.value()));
        let (codecs, srtp) = (vec![Codec::Pcma], Srtp::Optional);
        world.send(Command::Answer { leg: A, offer, codecs, srtp, beside: None });
        let (answer, port) = world.answered(A);
        assert_eq!(secured(&world.negotiated(A)), Some(suite));
        let answer = sdp::parse_for(Srtp::Required, &answer).unwrap().audio;
        assert_eq!((answer.transport, answer.crypto.lines[0].tag), (Transport::Srtp, 9));
        let mut inbound = Inbound::new(&answer.crypto.lines[0].key, &[], FOREVER);
        let (bytes, _) = peer.receive_bytes();
        assert!(inbound.open_rtp(&bytes, &mut [0; 2048]).is_ok(), "{suite:?}");
        // The packets of ours carry the key's identifier, as we said.
        let mut out = Outbound::new(&line.key);
        let mut report = vec![0x80, 201, 0, 1, 0, 0, 0, 5];
        assert!(out.protect_rtcp(&mut report));
        let at = if suite.name().starts_with("AEAD") { report.len() } else { report.len() - 10 };
        report.splice(at..at, [0, 0, 0, 1]);
        peer.rtcp.send_to(&report, ("127.0.0.1", port + 1)).unwrap();
        peer.rtcp.send_to(&report, ("127.0.0.1", port + 1)).unwrap();
        let stats = counted(world);
        assert_eq!((stats.rtcp_received, stats.replayed_packets), (1, 1), "{suite:?}: {stats:?}");
        let mut bytes = [0; 2048];
        let (length, _) = peer.rtcp.recv_from(&mut bytes).expect("a report and BYE");
        let opened = inbound.open_rtcp(&bytes[..length], &mut [0; 2048]);
        assert!(opened.is_ok_and(|length| length >= 28), "{suite:?}: {opened:?}");
    }
}

/// What a leg says to an offer, or to an answer to its own.
fn fault_of(srtp: Srtp, sdp: impl Fn(&Peer) -> Bytes, answers: bool) -> Result<bool, MediaFault> {
    let mut world = World::new(Config::default());
    let peer = Peer::new("127.0.0.1");
    if answers {
        world.offer_srtp(A, &[Codec::Pcma], srtp);
        world.send(Command::Remote { leg: A, sdp: sdp(&peer) });
    } else {
        let (offer, codecs) = (sdp(&peer), vec![Codec::Pcma]);
        world.send(Command::Answer { leg: A, offer, codecs, srtp, beside: None });
    }
    world.wait("Negotiated or Failed", |event| match event {
        Event::Negotiated { srtp, .. } => Some(Ok(srtp.is_some())),
        Event::Failed { fault, .. } => Some(Err(fault.clone())),
        _ => None,
    })
}

fn line(tag: u32, suite: Suite) -> String {
    CryptoLine::new(tag, MasterKey::random(suite)).value()
}

#[test]
fn a_downgrade_is_refused_where_encryption_is_required_and_taken_where_it_is_optional() {
    let plain = |peer: &Peer| peer.sdp("8", "");
    let keyless =
        |peer: &Peer| Bytes::from(text(&peer.sdp("8", "")).replace("RTP/AVP", "RTP/SAVP"));
    let best_effort =
        |peer: &Peer| peer.sdp("8", &format!("a=crypto:{}\r\n", line(1, Suite::AesCm128HmacSha1)));
    let encrypted = Err(MediaFault::Encrypted("RTP/SAVP".into()));
    for answers in [true, false] {
        let check = |srtp, sdp: &dyn Fn(&Peer) -> Bytes| fault_of(srtp, sdp, answers);
        assert_eq!(check(Srtp::Off, &plain), Ok(false));
        assert_eq!(check(Srtp::Off, &keyless), encrypted);
        assert_eq!(check(Srtp::Off, &best_effort), Ok(false));
        assert_eq!(check(Srtp::Optional, &plain), Ok(false));
        assert_eq!(check(Srtp::Optional, &keyless), Err(MediaFault::NoCommonKey));
        assert_eq!(check(Srtp::Optional, &best_effort), Ok(true));
        assert_eq!(check(Srtp::Required, &plain), Err(MediaFault::Unencrypted));
        assert_eq!(check(Srtp::Required, &keyless), Err(MediaFault::Unencrypted));
        assert_eq!(check(Srtp::Required, &best_effort), Ok(true));
    }
}

#[test]
fn an_answer_whose_key_is_not_among_the_offered_ones_is_refused() {
    let answers = |crypto: String| fault_of(Srtp::Required, |peer| secure(peer, &crypto), true);
    assert_eq!(answers(line(1, Suite::AesCm128HmacSha1)), Ok(true));
    assert_eq!(answers(line(3, Suite::AeadAes128Gcm)), Ok(true));
    assert_eq!(answers(line(4, Suite::AesCm128HmacSha1)), Err(MediaFault::NoCommonKey));
    assert_eq!(answers(line(1, Suite::AeadAes128Gcm)), Err(MediaFault::NoCommonKey));
    assert_eq!(answers(line(1, Suite::AeadAes256Gcm)), Err(MediaFault::NoCommonKey));
    let weak = CryptoError::Suite("AES_CM_128_HMAC_SHA1_32".into());
    let shortened = line(1, Suite::AesCm128HmacSha1).replace("SHA1_80", "SHA1_32");
    assert_eq!(answers(shortened), Err(weak.into()));
    let open = format!("{} UNENCRYPTED_SRTP", line(1, Suite::AesCm128HmacSha1));
    let parameter = CryptoError::Parameter("UNENCRYPTED_SRTP".into());
    assert_eq!(answers(open), Err(parameter.into()));
    let cut = line(1, Suite::AesCm128HmacSha1).split_at(60).0.to_owned();
    let Err(MediaFault::Crypto(CryptoError::Key(KeyError::Length { .. } | KeyError::NotBase64))) =
        answers(cut)
    else {
        panic!("half a key")
    };
}

#[test]
fn an_answer_that_gives_our_own_key_back_is_refused() {
    let mut world = World::new(Config::default());
    let (offer, _) = world.offer_srtp(A, &[Codec::Pcma], Srtp::Required);
    let own = sdp::parse_for(Srtp::Required, &offer).unwrap().audio.crypto.lines.remove(0);
    let sdp = secure(&Peer::new("127.0.0.1"), &own.value());
    world.send(Command::Remote { leg: A, sdp });
    assert_eq!(world.failed(A), MediaFault::OwnKey);
}

#[test]
fn of_plain_and_encrypted_audio_side_by_side_each_takes_its_own() {
    let both = |peer: &Peer| {
        let port = peer.address().port();
        let crypto = line(1, Suite::AeadAes256Gcm);
        let plain = peer.sdp("8", "");
        let plain = text(&plain);
        let secure = format!("m=audio {port} RTP/SAVP 8\r\na=crypto:{crypto}\r\n");
        Bytes::from(format!("{plain}{secure}"))
    };
    for (srtp, encrypted) in [(Srtp::Off, false), (Srtp::Optional, true), (Srtp::Required, true)] {
        assert_eq!(fault_of(srtp, both, false), Ok(encrypted), "{srtp:?}");
    }
}

#[test]
fn replays_and_flipped_bits_are_dropped_and_counted_and_the_audio_goes_on() {
    let (world, mut phone, port) = call(Config::default());
    let ear = Ear::new(Duration::from_secs(10));
    world.send(Command::Listen { leg: A, sink: ear.sink() });
    let mut forged = 0;
    for n in 0..20u32 {
        // One packet per packet of the leg's keeps its pace without a clock.
        assert_eq!(phone.receive().payload.len(), 160);
        let packet = phone.next();
        let mut flipped = packet.clone();
        flipped[12 + n as usize] ^= 1 << (n % 8);
        let mut tag = packet.clone();
        let last = tag.len() - 1;
        tag[last] ^= 0x80;
        phone.send(&flipped, port);
        phone.send(&packet, port);
        phone.send(&packet, port);
        phone.send(&tag, port);
        forged += 1;
    }
    // Plain RTP from the right address is no better than a forgery.
    phone.send(&rtp(8, 500, 0, 5, &loud(440.0)), port);
    phone.settle();
    let stats = counted(world);
    assert_eq!(stats.packets_received, 20, "{stats:?}");
    assert_eq!((stats.forged_packets, stats.replayed_packets), (forged + 1, 40), "{stats:?}");
    assert!(share(&ear.samples(), 1000.0) > 0.9 && loud_blocks(&ear.samples()) >= 17);
}

/// T-27 with a valid tag: whoever has the key can still lie inside.
#[test]
fn malformed_packets_under_a_good_tag_harm_nobody() {
    let (world, mut phone, port) = call(Config::default());
    let ear = Ear::new(Duration::from_secs(10));
    world.send(Command::Listen { leg: A, sink: ear.sink() });
    let (mut sealed, mut bare) = (0, 0);
    for n in 0..20u16 {
        phone.receive();
        let packet = phone.next();
        phone.send(&packet, port);
        for (lie, mut clear) in strangers::malformed().into_iter().enumerate() {
            if n == 0 {
                phone.send(&clear, port);
                phone.peer.rtcp.send_to(&clear, ("127.0.0.1", port + 1)).unwrap();
                bare += 1;
            }
            // What has no whole header cannot be sealed. Each lie is a stream of its own, so that none is a replay.
            if clear.len() < 12 || clear.len() > 1000 {
                continue;
            }
            clear[2..4].copy_from_slice(&n.to_be_bytes());
            clear[8..12].copy_from_slice(&(100 + lie as u32).to_be_bytes());
            let mut buffer = [clear.as_slice(), &[0; OVERHEAD]].concat();
            let protected = Outbound::new(&phone.line.key).protect_rtp(&mut buffer, clear.len());
            if let Some(length) = protected {
                phone.send(&buffer[..length], port);
                sealed += 1;
            }
        }
    }
    phone.settle();
    let stats = counted(world);
    assert!(sealed >= 80, "payload types and paddings that lie: {sealed}");
    assert!(stats.invalid_packets >= sealed, "{stats:?}, of {sealed}");
    assert_eq!(stats.invalid_packets + stats.forged_packets, sealed + 2 * bare, "{stats:?}");
    assert_eq!((stats.packets_received, stats.ssrc_changes), (20, 0), "{stats:?}");
    assert!(share(&ear.samples(), 1000.0) > 0.9, "{}", share(&ear.samples(), 1000.0));
}

#[test]
fn behind_nat_only_authentic_packets_move_the_source() {
    let config = Config { latching: LatchMode::Nat, ..Config::default() };
    let mut world = World::new(config);
    let (offer, port) = world.offer_srtp(A, &[Codec::Pcma], Srtp::Required);
    let (named, real) = (Peer::new("127.0.0.1"), Peer::new("127.0.0.1"));
    let stranger = Peer::new("127.0.0.2");
    let mut phone = Phone::new(named, &offer);
    world.send(Command::Remote { leg: A, sdp: phone.sdp() });
    phone.receive();
    // 30 packets in sequence, which would prove a plain source.
    strangers::intrude(&stranger.rtp, port);
    phone.settle();
    phone.peer = real;
    for _ in 0..4 {
        let packet = phone.next();
        phone.send(&packet, port);
    }
    assert_eq!(phone.receive().from.port(), port, "the audio has moved");
    strangers::intrude(&stranger.rtp, port);
    phone.settle();
    let stats = counted(world);
    assert_eq!(stats.packets_received, 1, "three before the proof");
    assert_eq!(stats.forged_packets, 30, "{stats:?}: before the lock each had to be looked at");
    assert!(stats.foreign_packets >= 3 + 30, "{stats:?}: after it none was");
    stranger.rtp.set_nonblocking(true).unwrap();
    assert!(stranger.rtp.recv_from(&mut [0; 64]).is_err(), "nothing came back");
}

#[test]
fn a_re_invite_with_new_keys_is_answered_and_costs_no_packet() {
    let (mut world, mut phone, port) = call(Config::default());
    for _ in 0..5 {
        phone.receive();
        let packet = phone.next();
        phone.send(&packet, port);
    }
    let own = |answer: &Bytes| {
        sdp::parse_for(Srtp::Required, answer).unwrap().audio.crypto.lines.remove(0).key
    };
    let mut keys = Vec::new();
    for suite in [Suite::AesCm128HmacSha1, Suite::AesCm128HmacSha1, Suite::AeadAes256Gcm] {
        let next = CryptoLine::new(7, MasterKey::random(suite));
        let sdp = secure(&phone.peer, &next.value());
        world.send(Command::Reoffered { leg: A, sdp });
        let (answer, _) = world.answered(A);
        assert_eq!(secured(&world.negotiated(A)), Some(suite));
        keys.push(own(&answer));
        // The old key is still in use until the answer has arrived.
        let late = phone.next();
        phone.send(&late, port);
        phone.out = phone.out.rekeyed(&next.key);
        phone.line = next;
        let packet = phone.next();
        phone.send(&packet, port);
        if suite == Suite::AeadAes256Gcm {
            phone.inbound = phone.inbound.rekeyed(&keys[2], &[], FOREVER);
            // One packet may have left before the answer did.
            phone.peer.receive_bytes();
        }
        (0..3).for_each(|_| drop(phone.receive()));
    }
    assert_eq!(keys[0], keys[1], "ours stays while the suite does");
    let stats = counted(world);
    assert_eq!((stats.packets_received, stats.forged_packets), (5 + 6, 0), "{stats:?}");
    assert_eq!((stats.ssrc_changes, stats.lost), (0, 0), "{stats:?}");
}

#[test]
fn a_call_that_is_plain_for_a_while_goes_on_with_its_counters() {
    let mut world = World::new(Config::default());
    let (offer, port) = world.offer_srtp(A, &[Codec::Pcma], Srtp::Optional);
    let mut phone = Phone::new(Peer::new("127.0.0.1"), &offer);
    world.send(Command::Remote { leg: A, sdp: phone.sdp() });
    assert!(secured(&world.negotiated(A)).is_some());
    let before = phone.receive();
    let packet = phone.next();
    phone.send(&packet, port);
    for sdp in [phone.peer.sdp("8", ""), phone.sdp()] {
        let encrypted = text(&sdp).contains("crypto");
        world.send(Command::Reoffered { leg: A, sdp });
        world.answered(A);
        assert_eq!(secured(&world.negotiated(A)).is_some(), encrypted);
    }
    // What was plain meanwhile does not open; what follows does, in the context of before, and so do ours.
    let after = loop {
        let (bytes, from) = phone.peer.receive_bytes();
        let mut clear = vec![0; bytes.len()];
        if let Ok(length) = phone.inbound.open_rtp(&bytes, &mut clear) {
            break Rtp::parse(&clear[..length], from);
        }
    };
    assert_eq!(after.ssrc, before.ssrc);
    phone.send(&packet, port);
    let next = phone.next();
    phone.send(&next, port);
    let stats = counted(world);
    assert_eq!(stats.replayed_packets, 1, "{stats:?}: the window is that of before, too");
    assert_eq!(stats.packets_received, 2, "{stats:?}");
}

#[test]
fn a_leg_comes_back_after_a_restart_with_the_keys_of_its_description() {
    for (srtp, profile) in [(Srtp::Required, Profile::Savp), (Srtp::Optional, Profile::Avp)] {
        let mut world = World::new(Config::default());
        let (offer, port) = world.offer_srtp(A, &[Codec::Pcma], srtp);
        let mut phone = Phone::new(Peer::new("127.0.0.1"), &offer);
        // Its stream wraps while we are away.
        phone.sequence = 65_530;
        for _ in 0..5 {
            phone.next();
        }
        drop(world);
        let mut world = World::new(Config::default());
        world.send(Command::Rebind { leg: A, sdp: offer.clone() });
        assert_eq!(world.offered(A), (offer, port));
        let sdp = match profile {
            Profile::Savp => phone.sdp(),
            Profile::Avp => phone.peer.sdp("8", &format!("a=crypto:{}\r\n", phone.line.value())),
        };
        world.send(Command::Remote { leg: A, sdp });
        assert!(secured(&world.negotiated(A)).is_some());
        phone.receive();
        phone.sequence = 3;
        let clear = rtp(8, 3, 0, 5, &loud(1000.0));
        let packet = phone.protect(&clear);
        phone.send(&packet, port);
        let stats = counted(world);
        assert_eq!((stats.packets_received, stats.forged_packets), (1, 0), "{stats:?}");
    }
}

#[test]
fn keys_are_drawn_anew_for_every_leg_and_no_debug_output_shows_them() {
    let mut world = World::new(Config::default());
    let mut seen = std::collections::BTreeSet::new();
    for leg in 1..=20 {
        let (offer, _) = world.offer_srtp(LegId(leg), &[Codec::Pcma], Srtp::Required);
        let description = sdp::parse_for(Srtp::Required, &offer).unwrap();
        for line in &description.audio.crypto.lines {
            let key = line.key.to_base64();
            assert!(!format!("{description:?}").contains(&key));
            assert!(seen.insert(key), "a key came twice");
        }
    }
    assert_eq!(seen.len(), 60);
}

#[test]
fn reports_of_a_forger_change_nothing() {
    let (mut world, mut phone, port) = call(Config::default());
    phone.receive();
    // A receiver report that is not encrypted, with the E bit clear: RFC 3711 §3.4 wants a tag on it all the same.
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 5];
    report.extend([0xFF; 24]);
    report.extend([0, 0, 0, 1]);
    report.extend([0; 10]);
    phone.peer.rtcp.send_to(&report, ("127.0.0.1", port + 1)).unwrap();
    let stats: Stats = world.close(A);
    assert_eq!((stats.rtcp_received, stats.forged_packets), (0, 1), "{stats:?}");
    assert_eq!((stats.remote_loss, stats.round_trip_ms), (None, None));
    let from: SocketAddr = phone.peer.address();
    assert_ne!(from.port(), port);
}
