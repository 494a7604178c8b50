//! O-3 in small: one source floods the SIP port, and the calls of others go up. At scale 5 and above it is O-3's rate.
//!
//! What holds it is `sip::peers`: without that queue for those whom we have called, the trunk's answers wait behind the
//! flood. So it was at first: at 5,000 messages a second no call went up within a minute (a debug build on a busy machine).

use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::messages::{self, Draw};
use super::{bearable, scale, set_up};
use crate::support::World;

/// Of a debug build, which is ten times slower than a release; times the scale, up to 5,000.
const PER_SECOND: usize = 1_000;
const CALLS: usize = 5;
/// O-3, at its rate.
const FULL: usize = 5;
const SET_UP_P99: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_up_while_one_source_sends_thousands_of_messages() {
    let _alone = super::alone().await;
    let world = World::start().await;
    let quiet = p99(&world, CALLS).await;
    let (stop, stopped) = watch::channel(false);
    let per_second = PER_SECOND * scale().min(FULL);
    let flood = tokio::spawn(flood(world.server.sip_udp, per_second, stopped));
    let calls = CALLS * scale();
    let flooded = p99(&world, calls).await;
    stop.send(true).expect("the flood listens");
    let rate = flood.await.expect("it ends");
    assert!(rate > per_second as f64 / 2.0, "only {rate:.0} messages per second were sent");
    let (ms, quiet_ms) = (flooded.as_millis(), quiet.as_millis());
    println!(
        "{{\"messages_per_second\":{rate:.0},\"calls\":{calls},\"set_up_ms_p99\":{ms},\"quiet_ms_p99\":{quiet_ms}}}"
    );
    let limit = if scale() >= FULL { SET_UP_P99 } else { bearable(quiet) };
    assert!(flooded < limit, "{flooded:?} under the flood, {quiet:?} without");
}

/// Of the set-up of so many calls, one after the other.
async fn p99(world: &World, calls: usize) -> Duration {
    let mut times = Vec::new();
    for _ in 0..calls {
        times.push(set_up(world).await);
    }
    times.sort();
    times[(times.len() * 99).div_ceil(100) - 1]
}

/// Requests that are whole and rubbish, in turn; gives the messages per second that really left.
async fn flood(to: std::net::SocketAddr, per_second: usize, stopped: watch::Receiver<bool>) -> f64 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut steps = interval(Duration::from_millis(10));
    steps.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut draw = Draw(3);
    let (begun, mut sent) = (Instant::now(), 0);
    while !*stopped.borrow() {
        steps.tick().await;
        for _ in 0..per_second / 100 {
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
