//! T-26 (AST-2016-005): two thousand connections that say nothing, to each stream listener.
//!
//! The attack works on a weakened copy: with `[http] connections = 1000` the idle ones take every place until their
//! ten seconds are over, and the request waits. With the default there is room for four times as many.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::{bearable, set_up};
use crate::support::{Setting, World};

const IDLE: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_up_beside_two_thousand_idle_connections_to_each_listener() {
    let _alone = super::alone().await;
    more_descriptors();
    let pem = tempfile::tempdir().expect("a directory");
    let world = World::with(https(pem.path()), sim::CarrierConfig::default()).await;
    let quiet = set_up(&world).await;
    let https = world.server.https.expect("it listens");
    let mut idle = Vec::new();
    for listener in [world.server.sip_tcp, https, world.server.http] {
        idle.extend(connect(listener).await);
    }
    let crowded = set_up(&world).await;
    assert!(crowded < bearable(quiet), "{crowded:?} in the crowd, {quiet:?} without");
    assert_eq!(idle.len(), 3 * IDLE);
}

async fn connect(to: SocketAddr) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        streams.push(TcpStream::connect(to).await.expect("it is accepted"));
    }
    streams
}

fn https(directory: &std::path::Path) -> Setting {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let top =
        format!("[https]\nbind = \"127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {key:?}\n");
    Setting { top, ..Setting::default() }
}

/// The soft limit of this process, which holds the other ends, up to the hard one. The server does so by itself.
fn more_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be raised");
}
