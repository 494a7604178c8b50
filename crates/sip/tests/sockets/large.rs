//! INVITEs that are too long for a datagram, on real sockets (RFC 3261 §18.1.1).

use sip::*;
use tokio::net::UdpSocket;

use crate::harness::*;

fn large(party: &Party, to: std::net::SocketAddr) -> Invite {
    let failover = Failover { large: LargeRequests::Tcp, ..Failover::default() };
    let body = Some(Body::sdp(format!("{SDP}{}", "a=x-padding:1234567890\r\n".repeat(50))));
    Invite { failover, body, ..party.invite(to, Transport::Udp) }
}

#[tokio::test]
async fn a_long_invite_goes_over_tcp_where_the_same_port_takes_it() {
    let mut a = Party::start(Limits::default()).await;
    let mut b = Party::start(Limits::default()).await;
    // The carrier's port is the same over both transports; here it is the one of TCP.
    let invite = large(&a, b.address(Transport::Tcp));
    let leg = invite.leg;
    a.endpoint.command(Command::Prepare(Box::new(invite))).unwrap();
    assert!(matches!(a.event().await, Event::Prepared { .. }));
    a.endpoint.command(Command::Send { leg }).unwrap();
    answered(&mut a, &mut b, leg).await;
    assert_eq!(a.endpoint.counters().connections_opened, 1);
}

#[tokio::test]
async fn a_long_invite_goes_over_udp_where_tcp_is_refused() {
    let mut a = Party::start(Limits::default()).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let invite = large(&a, peer.local_addr().unwrap());
    let leg = invite.leg;
    a.endpoint.command(Command::Prepare(Box::new(invite))).unwrap();
    assert!(matches!(a.event().await, Event::Prepared { .. }));
    a.endpoint.command(Command::Send { leg }).unwrap();
    let Event::Retried { wire, why, .. } = a.event().await else { panic!("it went somewhere") };
    let Retry::NextTarget { failed, why } = why else { panic!("{why:?}") };
    assert_eq!(failed.transport, Transport::Tcp);
    assert_eq!(why, Dead::Undeliverable(TransportFault::Refused));
    assert_eq!(wire.transport, Transport::Udp);
    a.endpoint.command(Command::Send { leg }).unwrap();
    let mut buffer = vec![0; 65_536];
    let received = tokio::time::timeout(LIMIT, peer.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(buffer[..received], wire.bytes[..]);
    assert!(received > 1300);
}
