//! What peers are told of where we are: public addresses, and IPv6.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sim::{Carrier, CarrierConfig};
use tokio::net::UdpSocket;

use crate::support::{PATIENCE, Setting, World};

/// Every address of 127.0.0.0/8 is this machine: these stand for what a NAT shows of it.
const SIP_PUBLIC: &str = "127.0.0.2";
const MEDIA_PUBLIC: &str = "127.0.0.3";

fn behind_nat() -> Setting {
    Setting {
        bind: Some("0.0.0.0".parse().expect("an address")),
        sip: format!("public_address = \"{SIP_PUBLIC}\""),
        media: format!("public_address = \"{MEDIA_PUBLIC}\""),
        ..Setting::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_is_told_the_public_addresses() {
    let far_side = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let trunk = far_side.local_addr().expect("an address");
    let carrier = Carrier::start(CarrierConfig::default()).await.expect("a carrier starts");
    let world = World::around(behind_nat(), carrier, trunk).await;
    let serial = world.call("8899").await;

    let mut datagram = vec![0; 65_535];
    let received = tokio::time::timeout(PATIENCE, far_side.recv_from(&mut datagram)).await;
    let (length, source) = received.expect("an INVITE comes").expect("a datagram");
    let invite = String::from_utf8_lossy(&datagram[..length]).into_owned();
    let port = world.server.sip_udp.port();
    assert!(invite.contains(&format!("\r\nVia: SIP/2.0/UDP {SIP_PUBLIC}:{port};")), "{invite}");
    assert!(invite.contains(&format!("@{SIP_PUBLIC}:{port}>\r\n")), "Contact: {invite}");
    assert!(invite.contains(&format!("\r\nc=IN IP4 {MEDIA_PUBLIC}\r\n")), "{invite}");
    for private in ["127.0.0.1:0", "0.0.0.0", &format!("127.0.0.1:{port}")] {
        assert!(!invite.contains(private), "{private} in {invite}");
    }

    let header = |name: &str| invite.lines().find(|line| line.starts_with(name)).expect("a header");
    let [via, from, to, call_id, cseq] = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].map(header);
    let busy = format!(
        "SIP/2.0 486 Busy Here\r\n{via}\r\n{from}\r\n{to};tag=far\r\n{call_id}\r\n{cseq}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    far_side.send_to(busy.as_bytes(), source).await.expect("it is sent");
    assert_eq!(world.released(&serial).await["releaseReason"], "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_side_reaches_us_by_the_public_addresses() {
    let world = World::with(behind_nat(), CarrierConfig::default()).await;
    let mut wanted = world.notification("100301");
    wanted.play_times = Some(5);
    let serial = world.client.notify(&wanted).await.expect("accepted");
    // The phone's BYE came to the Contact, its audio to the address of the SDP.
    assert_eq!(world.released(&serial).await["releaseReason"], "0");
    let received = &world.record(&serial).await["end"]["media"]["packets_received"];
    assert!(received.as_u64().is_some_and(|packets| packets > 20), "{received}");
}

/// Debian has the loopback address of IPv6 unless it was taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_over_ipv6_from_its_invite_to_its_audio() {
    let here: IpAddr = "::1".parse().expect("an address");
    let carrier = CarrierConfig {
        sip_udp: SocketAddr::new(here, 0),
        media_ip: here,
        ..CarrierConfig::default()
    };
    let setting = Setting { bind: Some(here), ..Setting::default() };
    let world = World::with(setting, carrier).await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    let ended = world.carrier.call_ended(|call| call.call_id.starts_with(&serial));
    let call = tokio::time::timeout(PATIENCE, ended).await.expect("the carrier saw the call");
    assert_eq!((call.source, call.dialogs), (world.server.sip_udp, 1));
    assert!(call.rtp.sources.iter().all(|source| source.ip() == here), "{:?}", call.rtp);
    assert!(call.rtp.packets > 40 && call.rtp.foreign_packets == 0, "{:?}", call.rtp);
    assert!(call.heard.as_ref().is_some_and(|heard| heard.duration() > Duration::from_millis(900)));

    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    let port = world.server.sip_udp.port();
    for told in [
        format!("Via: SIP/2.0/UDP [::1]:{port};"),
        format!("INVITE sip:8899@[::1]:{} SIP/2.0", world.carrier.udp_address().port()),
        format!("@[::1]:{port}>"),
        "c=IN IP6 ::1".to_owned(),
    ] {
        assert!(timeline.contains(&told), "{told} in {timeline}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_too_a_call_goes_over_ipv6() {
    let here: IpAddr = "::1".parse().expect("an address");
    let carrier = CarrierConfig {
        sip_udp: SocketAddr::new(here, 0),
        sip_tcp: Some(SocketAddr::new(here, 0)),
        media_ip: here,
        ..CarrierConfig::default()
    };
    let trunk = "transport = \"tcp\"".into();
    let setting = Setting { bind: Some(here), trunk, ..Setting::default() };
    let world = World::over_tcp(setting, carrier).await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("Via: SIP/2.0/TCP [::1]:"), "{timeline}");
}
