//! Trunks over TLS, the TLS listener of SIP, and certificates that are exchanged while calls are up.

use rustls_pki_types::ServerName;
use sim::CarrierConfig;
use sim::client::{Entry, Recording};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::authority::{Authority, Front};
use crate::support::names::{Names, Record};
use crate::support::{PATIENCE, Setting, World, tone};

const HOST: &str = "carrier.example";

/// A carrier over TLS that is found by SRV, and the server that calls over it.
struct Scene {
    world: World,
    front: Front,
    _names: Names,
}

async fn scene(authority: &Authority, certificate_for: &str, more: Setting) -> Scene {
    let tcp = Some("127.0.0.1:0".parse().expect("an address"));
    let config = CarrierConfig { sip_tcp: tcp, ..CarrierConfig::default() };
    let carrier = sim::Carrier::start(config).await.expect("a carrier starts");
    let behind = carrier.tcp_address().expect("it listens on TCP");
    let front = Front::before(behind, authority.acceptor(certificate_for)).await;
    let names = Names::start().await;
    let srv = Record::srv(0, 0, front.address.port(), "edge.carrier.example");
    names.records("_sips._tcp.carrier.example", [srv]);
    names.records("edge.carrier.example", [Record::a([127, 0, 0, 1].into())]);
    let setting = Setting {
        trunk: format!("transport = \"tls\"\ntls_ca = {:?}\n{}", authority.file(), more.trunk),
        address: Some(HOST.into()),
        more: format!("[dns]\nservers = [\"{}\"]\n{}", names.address, more.more),
        ..more
    };
    let world = World::around(setting, carrier, front.address).await;
    Scene { world, front, _names: names }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_over_tls_carries_calls_and_new_certificates_are_for_new_connections() {
    let (old, new) = (Authority::new(), Authority::new());
    let Scene { world, front, _names } = scene(&old, HOST, Setting::default()).await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("SIP/2.0/TLS"), "{timeline}");

    // Long enough to be up while the certificates are exchanged on both sides.
    let recording = Recording::wav(tone(440.0, 4.0));
    let voice = world.client.upload_recording(&recording).await.expect("an upload is taken");
    let mut wanted = world.notification("8899");
    wanted.play_list = vec![Entry::recording(&voice)];
    let running = world.client.notify(&wanted).await.expect("a call is accepted");
    world.reaches(&running, "call.answered").await;
    std::fs::write(old.file(), new.pem()).expect("a file");
    front.show(new.acceptor(HOST));
    world.server.reload_certificates().await;
    assert_eq!(world.released(&running).await["releaseReason"], "1");
    assert_eq!(front.connections(), 1, "every call went over the one connection");

    front.cut_all();
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
    assert_eq!(front.connections(), 2);
    assert_eq!(world.carrier.totals().invites, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_with_a_certificate_for_another_name_gets_no_call_and_the_record_says_why() {
    let authority = Authority::new();
    let Scene { world, front, _names } =
        scene(&authority, "edge.carrier.example", Setting::default()).await;
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "6");
    assert_eq!(world.record(&serial).await["end"]["cause"], "trunk_failed");
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("its certificate is for another name"), "{timeline}");
    assert_eq!(world.carrier.totals().invites, 0);
    assert!(front.connections() > 0, "it was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tls_listeners_show_new_certificates_and_keep_the_connections_they_have() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = TempDir::new().expect("a directory");
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    old.write(HOST, &certificate, &key);
    let shown = format!("certificate = {certificate:?}\nkey = {key:?}\n");
    let top =
        format!("https = {{ bind = \"127.0.0.1:0\", {} }}\n", shown.trim().replace('\n', ", "));
    let setting =
        Setting { top, sip: format!("tls = \"127.0.0.1:0\"\n{shown}"), ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let sip = world.server.sip_tls.expect("it listens");
    let https = world.server.https.expect("it listens");

    let mut before = connect(&old, sip).await.expect("the old one is shown");
    assert!(options(&mut before, 1).await.starts_with("SIP/2.0 200"));
    assert!(connect(&new, sip).await.is_err(), "not yet");
    // A peer that stalls in the handshake is nobody's business but its own.
    let mut stalled = TcpStream::connect(sip).await.expect("a connection");
    stalled.write_all(&[22, 3, 1, 2]).await.expect("it is taken");

    new.write(HOST, &certificate, &key);
    world.server.reload_certificates().await;
    assert!(options(&mut before, 2).await.starts_with("SIP/2.0 200"), "the old connection stays");
    let mut after = connect(&new, sip).await.expect("the new one is shown");
    assert!(options(&mut after, 3).await.starts_with("SIP/2.0 200"));
    assert!(connect(&old, sip).await.is_err());
    assert!(connect(&new, https).await.is_ok(), "HTTPS too");
    assert!(connect(&old, https).await.is_err());

    std::fs::write(&key, "no key").expect("a file");
    world.server.reload_certificates().await;
    let mut still = connect(&new, sip).await.expect("what was there stays");
    assert!(options(&mut still, 4).await.starts_with("SIP/2.0 200"));
    let log = world.server.log();
    assert!(log.contains("key.pem") && log.contains("no private key"), "{log}");
}

async fn connect(
    trusted: &Authority,
    to: std::net::SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(HOST).expect("a name");
    let stream = TcpStream::connect(to).await?;
    trusted.connector().connect(name, stream).await
}

async fn options(stream: &mut TlsStream<TcpStream>, number: u32) -> String {
    let request = format!(
        "OPTIONS sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@{HOST}>;tag=1\r\nTo: <sip:b@{HOST}>\r\n\
         Call-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it is taken");
    let mut reply = String::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !reply.contains("\r\n\r\n") {
            let length = stream.read(&mut buffer).await.expect("the connection lives");
            assert!(length > 0, "it was closed");
            reply.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer");
    reply
}
