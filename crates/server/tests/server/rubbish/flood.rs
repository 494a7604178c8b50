//! O-3 in small: one source floods the SIP port, and the calls of others go up.

use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::messages::{self, Draw};
use super::{bearable, scale, set_up};
use crate::support::World;

const PER_SECOND: usize = 5_000;
const CALLS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_up_while_one_source_sends_five_thousand_messages_per_second() {
    let world = World::start().await;
    let quiet = slowest(&world, CALLS).await;
    let (stop, stopped) = watch::channel(false);
    let flood = tokio::spawn(flood(world.server.sip_udp, stopped));
    let flooded = slowest(&world, CALLS * scale()).await;
    stop.send(true).expect("the flood listens");
    let rate = flood.await.expect("it ends");
    assert!(rate > PER_SECOND as f64 / 2.0, "only {rate:.0} messages per second were sent");
    assert!(flooded < bearable(quiet), "{flooded:?} under the flood, {quiet:?} without");
}

async fn slowest(world: &World, calls: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..calls {
        slowest = slowest.max(set_up(world).await);
    }
    slowest
}

/// Requests that are whole and rubbish, in turn; gives the messages per second that really left.
async fn flood(to: std::net::SocketAddr, stopped: watch::Receiver<bool>) -> f64 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut steps = interval(Duration::from_millis(10));
    steps.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut draw = Draw(3);
    let (begun, mut sent) = (Instant::now(), 0);
    while !*stopped.borrow() {
        steps.tick().await;
        for _ in 0..PER_SECOND / 100 {
            let message = match sent % 4 {
                0 => messages::request("OPTIONS", sent).into_bytes(),
                1 => messages::request("INVITE", sent).into_bytes(),
                2 => messages::request("REGISTER", sent).into_bytes(),
                _ => messages::sip(&mut draw, sent, "nobody"),
            };
            socket.send_to(&message, to).await.expect("sent");
            sent += 1;
        }
    }
    sent as f64 / begun.elapsed().as_secs_f64()
}
