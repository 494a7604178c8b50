//! Descriptions as phones, carriers and browsers send them: offers and what we answer, answers and what we take.

use crate::world::World;
use bytes::Bytes;
use media::sdp::{self, Direction, FormatKind, LocalDescription, Profile, SdpError};
use media::{Codec, Command, Config, Event, LegId, MediaFault, Srtp};
use proptest::prelude::*;

const A: LegId = LegId(1);

const HEAD: &str =
    "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n";

/// What comes of an offer: the codec, where we send, our direction, the payload types and the ports of our answer.
#[derive(Debug, PartialEq)]
struct Outcome {
    codec: Codec,
    remote: Option<&'static str>,
    direction: Direction,
    formats: &'static str,
}

fn outcome(
    codec: Codec,
    remote: &'static str,
    formats: &'static str,
) -> Result<Outcome, MediaFault> {
    Ok(Outcome { codec, remote: Some(remote), direction: Direction::SendRecv, formats })
}

fn answer_to(offer: &str) -> Result<(String, Event), MediaFault> {
    let mut world = World::new(Config::default());
    let offer = Bytes::copy_from_slice(offer.as_bytes());
    world.send(Command::Answer {
        leg: A,
        offer,
        codecs: Codec::ALL.to_vec(),
        srtp: Srtp::Off,
        beside: None,
    });
    let sdp = world.wait("Answered or Failed", |event| match event {
        Event::Answered { sdp, .. } => Some(Ok(String::from_utf8(sdp.to_vec()).unwrap())),
        Event::Failed { fault, .. } => Some(Err(fault.clone())),
        _ => None,
    })?;
    Ok((sdp, world.negotiated(A)))
}

fn check(what: &str, offer: &str, expected: Result<Outcome, MediaFault>) {
    let (sdp, event) = match (answer_to(offer), &expected) {
        (Ok(answered), Ok(_)) => answered,
        (Err(fault), Err(expected)) => return assert_eq!(fault, *expected, "{what}"),
        (got, expected) => panic!("{what}: {got:?}, expected {expected:?}"),
    };
    let expected = expected.unwrap();
    let Event::Negotiated { codec, remote, direction, .. } = event else { panic!("{event:?}") };
    assert_eq!(codec, expected.codec, "{what}");
    assert_eq!(remote, expected.remote.map(|remote| remote.parse().unwrap()), "{what}");
    assert_eq!(direction, expected.direction, "{what}");
    assert!(sdp.contains(&format!(" RTP/AVP {}\r\n", expected.formats)), "{what}: {sdp}");
    let lines = |sdp: &str| sdp.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(lines(&sdp), lines(offer), "{what}: every media line is answered");
}

#[test]
fn offers_and_their_answers() {
    let at = "203.0.113.1:4000";
    let with = |lines: &str| format!("{HEAD}{lines}");
    let pcma = "m=audio 4000 RTP/AVP 8\r\n";
    check("static types need no map", &with(pcma), outcome(Codec::Pcma, at, "8"));
    check(
        "the offerer's order counts",
        &with("m=audio 4000 RTP/AVP 0 8 9\r\n"),
        outcome(Codec::Pcmu, at, "0"),
    );
    check(
        "what is not known is passed over",
        &with(
            "m=audio 4000 RTP/AVP 18 3 97 9\r\na=rtpmap:18 G729/8000\r\na=rtpmap:97 iLBC/8000\r\n",
        ),
        outcome(Codec::G722, at, "9"),
    );
    check(
        "the offerer's payload types are used",
        &with(
            "m=audio 4000 RTP/AVP 111 96\r\na=rtpmap:111 OPUS/48000/2\r\na=rtpmap:96 telephone-event/48000\r\n",
        ),
        outcome(Codec::Opus, at, "111 96"),
    );
    check(
        "digits with the codec's clock are preferred",
        &with(
            "m=audio 4000 RTP/AVP 8 100 101\r\na=rtpmap:100 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n",
        ),
        outcome(Codec::Pcma, at, "8 101"),
    );
    check(
        "a dynamic type may carry PCMA, in any case",
        &with("m=audio 4000 RTP/AVP 120\r\na=rtpmap:120 pcma/8000/1\r\n"),
        outcome(Codec::Pcma, at, "120"),
    );
    check(
        "a known number that is mapped to something else is not what it was",
        &with("m=audio 4000 RTP/AVP 8 0\r\na=rtpmap:8 SPEEX/8000\r\n"),
        outcome(Codec::Pcmu, at, "0"),
    );
}

#[test]
fn odd_offers_and_their_answers() {
    let at = "203.0.113.1:4000";
    let with = |lines: &str| format!("{HEAD}{lines}");
    let pcma = "m=audio 4000 RTP/AVP 8\r\n";
    check(
        "no s= and no t=",
        "v=0\r\no=- 1 1 IN IP4 203.0.113.1\r\nc=IN IP4 203.0.113.1\r\nm=audio 4000 RTP/AVP 8\r\n",
        outcome(Codec::Pcma, at, "8"),
    );
    check("line feeds only", &with(pcma).replace('\r', ""), outcome(Codec::Pcma, at, "8"));
    check(
        "the address of the media goes before that of the session",
        &with("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 198.51.100.7\r\n"),
        outcome(Codec::Pcma, "198.51.100.7:4000", "8"),
    );
    check(
        "T.38 beside audio is declined",
        &with(
            "m=audio 4000 RTP/AVP 8\r\nm=image 4002 udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxRateManagement:transferredTCF\r\n",
        ),
        outcome(Codec::Pcma, at, "8"),
    );
    check(
        "video before audio is declined",
        &with("m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\nm=audio 4000 RTP/AVP 8\r\n"),
        outcome(Codec::Pcma, at, "8"),
    );
    check(
        "the first audio that is not declined or encrypted counts",
        &with("m=audio 0 RTP/AVP 8\r\nm=audio 5000 RTP/SAVP 8\r\nm=audio 4000 RTP/AVP 0\r\n"),
        outcome(Codec::Pcmu, at, "0"),
    );
    check(
        "attributes of browsers are passed over",
        &with(
            "m=audio 4000 RTP/AVP 8\r\na=ice-ufrag:x\r\na=candidate:1 1 UDP 1 10.0.0.1 9 typ host\r\na=ssrc:1 cname:x\r\na=ptime:zero\r\n",
        ),
        outcome(Codec::Pcma, at, "8"),
    );
}

#[test]
fn offers_that_hold() {
    let held =
        |remote, direction| Ok(Outcome { codec: Codec::Pcma, remote, direction, formats: "8" });
    let at = Some("203.0.113.1:4000");
    for (line, ours) in [
        ("sendonly", Direction::RecvOnly),
        ("recvonly", Direction::SendOnly),
        ("inactive", Direction::Inactive),
        ("SENDONLY", Direction::RecvOnly),
    ] {
        let offer = format!("{HEAD}m=audio 4000 RTP/AVP 8\r\na={line}\r\n");
        check(line, &offer, held(at, ours));
        let offer = format!("{HEAD}a={line}\r\nm=audio 4000 RTP/AVP 8\r\n");
        check("said for the session", &offer, held(at, ours));
        let offer = format!("{HEAD}a={line}\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n");
        check("the media's word goes first", &offer, held(at, Direction::SendRecv));
    }
    let old = format!("{HEAD}m=audio 4000 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\n");
    check("0.0.0.0", &old, held(None, Direction::RecvOnly));
}

#[test]
fn offers_that_are_refused() {
    let with = |lines: &str| format!("{HEAD}{lines}");
    let sdp = |error: SdpError| Err(MediaFault::Sdp(error));
    check("no audio", &with("m=image 4000 udptl t38\r\n"), sdp(SdpError::NoAudio));
    check("no media", HEAD, sdp(SdpError::NoAudio));
    check("declined", &with("m=audio 0 RTP/AVP 8\r\n"), Err(MediaFault::Declined));
    check("no codec of ours", &with("m=audio 4000 RTP/AVP 18\r\n"), Err(MediaFault::NoCommonCodec));
    check("no format", &with("m=audio 4000 RTP/AVP zzz 999\r\n"), Err(MediaFault::NoCommonCodec));
    let savp = Err(MediaFault::Encrypted("RTP/SAVP".into()));
    check("encrypted", &with("m=audio 4000 RTP/SAVP 8\r\na=crypto:1 x inline:y\r\n"), savp);
    let browser = Err(MediaFault::Encrypted("UDP/TLS/RTP/SAVPF".into()));
    check("a browser", &with("m=audio 9 UDP/TLS/RTP/SAVPF 8\r\n"), browser);
    check("over TCP", &with("m=audio 4000 TCP/RTP/AVP 8\r\n"), sdp(SdpError::NoAudio));
    let no_address = "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nm=audio 4000 RTP/AVP 8\r\n";
    check("no c=", no_address, sdp(SdpError::NoAddress));
    let name = with("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 pbx.example.com\r\n");
    check("a host name", &name, sdp(SdpError::NotAnAddress("pbx.example.com".into())));
    let six = with("m=audio 4000 RTP/AVP 8\r\nc=IN IP6 2001:db8::1\r\n");
    check("the other IP version", &six, Err(MediaFault::AddressFamily));
    let group = with("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 224.2.1.1/127\r\n");
    check("multicast", &group, Err(MediaFault::NotUnicast("224.2.1.1".parse().unwrap())));
    let all = with("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 255.255.255.255\r\n");
    check("broadcast", &all, Err(MediaFault::NotUnicast("255.255.255.255".parse().unwrap())));
    let long = with(&"a=x\r\n".repeat(5000));
    check("too long", &long, sdp(SdpError::TooLong(long.len())));
    let many = with(&"m=audio 4000 RTP/AVP 8\r\n".repeat(17));
    check("too many", &many, sdp(SdpError::TooManyMedia(17)));
    assert!(matches!(answer_to("hello"), Err(MediaFault::Sdp(SdpError::Syntax(_)))));
}

#[test]
fn our_offer_says_what_we_can() {
    let mut world = World::new(Config {
        public_address: Some("198.51.100.9".parse().unwrap()),
        ..Config::default()
    });
    let (offer, port) = world.offer(A, &Codec::ALL);
    let text = String::from_utf8(offer.to_vec()).unwrap();
    assert!(port.is_multiple_of(2));
    for line in [
        format!("m=audio {port} RTP/AVP 8 0 9 107 101 110\r\n"),
        "c=IN IP4 198.51.100.9\r\n".into(),
        "a=rtpmap:9 G722/8000\r\n".into(),
        "a=rtpmap:107 opus/48000/2\r\n".into(),
        "a=rtpmap:101 telephone-event/8000\r\n".into(),
        "a=rtpmap:110 telephone-event/48000\r\n".into(),
        "a=fmtp:101 0-15\r\n".into(),
        "a=ptime:20\r\n".into(),
        "a=sendrecv\r\n".into(),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    let (again, _) = world.offer(A, &Codec::ALL);
    assert_eq!(again, offer, "the same offer has the same version");
    let read = sdp::parse(&offer).unwrap();
    assert_eq!((read.version, read.audio.formats.len()), (1, 6));
    let (other, _) = world.offer(A, &[Codec::Pcma]);
    let read = sdp::parse(&other).unwrap();
    assert_eq!((read.version, read.audio.formats.len()), (2, 2));
    assert_eq!(read.audio.formats[0].kind, FormatKind::Audio(Codec::Pcma));
}

#[test]
fn an_answer_with_other_payload_types_is_obeyed() {
    let mut world = World::new(Config::default());
    let peer = crate::world::Peer::new("127.0.0.1");
    world.offer(A, &Codec::ALL);
    let lines = "a=rtpmap:97 opus/48000/2\r\na=ptime:40\r\n";
    world.send(Command::Remote { leg: A, sdp: peer.sdp("97", lines) });
    let Event::Negotiated { codec, ptime, .. } = world.negotiated(A) else { panic!() };
    assert_eq!((codec, ptime.unwrap().as_millis()), (Codec::Opus, 40));
    assert_eq!(peer.receive().payload_type, 97);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        drop(sdp::parse(&bytes));
    }

    #[test]
    fn any_lines_are_survived(lines in prop::collection::vec("[vosicbtrzkam]=[ -~]{0,40}", 0..30)) {
        drop(sdp::parse(format!("v=0\r\n{}", lines.join("\r\n")).as_bytes()));
    }

    #[test]
    fn a_real_offer_with_any_change_is_survived(at in 0usize..400, value in any::<u8>(), cut in 0usize..400) {
        let mut offer = format!(
            "{HEAD}m=audio 4000/2 RTP/AVP 8 0 101\r\nb=AS:64\r\na=rtcp:4001 IN IP4 203.0.113.1\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
        )
        .into_bytes();
        let length = offer.len();
        offer[at % length] = value;
        drop(sdp::parse(&offer));
        offer.truncate(cut);
        drop(sdp::parse(&offer));
    }

    #[test]
    fn what_we_write_reads_back(port in 2u16.., version in 0u64..1 << 62, payload_type in 96u8..128) {
        let formats = vec![
            sdp::Format { payload_type: 8, kind: FormatKind::Audio(Codec::Pcma) },
            sdp::Format { payload_type, kind: FormatKind::TelephoneEvent(8000) },
        ];
        let rtp = std::net::SocketAddr::new("192.0.2.1".parse().unwrap(), port);
        let ours = LocalDescription {
            session_id: "77".into(),
            version,
            rtp,
            formats: formats.clone(),
            direction: Direction::RecvOnly,
            profile: Profile::Avp,
            crypto: Vec::new(),
            answers: Vec::new(),
        };
        let read = sdp::parse(&ours.to_bytes()).unwrap();
        prop_assert_eq!((read.session_id.as_str(), read.version), ("77", version));
        prop_assert_eq!((read.audio.rtp, read.audio.direction), (Some(rtp), Direction::RecvOnly));
        prop_assert_eq!(read.audio.formats, formats);
    }
}
