use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::http::testing::{SECRET, World};
use crate::http::tests::{CREATE_V2, TOKEN, printed};
use store::VoiceStatus;

/// Longer than anything here takes; a test that waits for it has failed.
const GENEROUS: Duration = Duration::from_secs(60);

struct Serving {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn serve(listener: Listener, world: &World) -> Serving {
    let address = listener.address().unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(listener.serve(world.router.clone(), stopped));
    Serving { address, stop, task }
}

async fn plain(world: &World, connections: usize) -> Serving {
    let listener = Listener::http("127.0.0.1:0".parse().unwrap(), connections).await.unwrap();
    serve(listener, world)
}

/// Everything until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    tokio::time::timeout(GENEROUS, read).await.expect("the server never closed").unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn doubled_slashes_and_any_case_are_accepted_on_a_real_socket() {
    let world = World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    let serving = plain(&world, 8).await;
    let body = printed().to_string();
    let path = CREATE_V2.replace("/rest/", "//rest///");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhOST: x\r\nAUTHORIZATION: Bearer {}\r\nCONTENT-length: {}\r\nConnection: close\r\n\r\n{body}",
        world.token,
        body.len()
    );
    let reply = exchange(serving.address, &request).await;
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    assert!(reply.contains(r#""retCode":"0""#), "{reply}");
}

/// A certificate for `localhost` and its key, on disk.
fn certified(directory: &Path) -> Https {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let config = Https {
        bind: "127.0.0.1:0".parse().unwrap(),
        certificate: directory.join("cert.pem"),
        key: directory.join("key.pem"),
    };
    std::fs::write(&config.certificate, made.cert.pem()).unwrap();
    std::fs::write(&config.key, made.signing_key.serialize_pem()).unwrap();
    config
}

#[tokio::test]
async fn https_serves_the_same() {
    let world = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let config = certified(directory.path());
    let serving = serve(Listener::https(&config, 8).await.unwrap(), &world);

    let tls = crate::callbacks::tls::client_config(Some(&config.certificate)).unwrap();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
    let url = format!("https://localhost:{}{TOKEN}", serving.address.port());
    let body = json!({"app_key": "key-1", "app_secret": SECRET});
    let reply = client.post(url).json(&body).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert!(reply.text().await.unwrap().contains("AccessToken"));
}

#[tokio::test]
async fn certificate_files_that_are_none_say_which() {
    let directory = tempfile::tempdir().unwrap();
    let config = Https {
        bind: "127.0.0.1:0".parse().unwrap(),
        certificate: directory.path().join("cert.pem"),
        key: directory.path().join("key.pem"),
    };
    let error = Listener::https(&config, 8).await.err().unwrap().to_string();
    assert!(error.contains("certificate") && error.contains("cert.pem"), "{error}");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&config.certificate, made.cert.pem()).unwrap();
    std::fs::write(&config.key, "no key").unwrap();
    let error = Listener::https(&config, 8).await.err().unwrap().to_string();
    assert!(error.contains("key.pem"), "{error}");
}

#[tokio::test]
async fn broken_requests_cost_their_own_connection_only() {
    let world = World::new().await;
    let serving = plain(&world, 64).await;
    let many_headers: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let both = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1 HTTP/1.1\r\n\r\n";
    for broken in [
        "nonsense\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}".to_owned() + &"x".repeat(600) + "\r\n\r\n",
        format!("GET / HTTP/1.1\r\nHost: x\r\n{many_headers}\r\n"),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000)),
        "POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n".to_owned(),
        both.to_owned(),
    ] {
        let reply = exchange(serving.address, &broken).await;
        assert!(!reply.starts_with("HTTP/1.1 2"), "{reply}");
        let good = exchange(serving.address, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    }
}

#[tokio::test]
async fn connections_past_the_limit_wait_for_their_turn() {
    let world = World::new().await;
    let serving = plain(&world, 1).await;
    let get = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut first = TcpStream::connect(serving.address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let second = tokio::spawn(exchange(serving.address, get));
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_request_is_worked_off_to_its_end_when_its_client_hangs_up() {
    let (entered, mut was_entered) = tokio::sync::mpsc::channel(1);
    let (over, mut is_over) = tokio::sync::mpsc::channel(1);
    let go = Arc::new(tokio::sync::Notify::new());
    let waits = go.clone();
    let handler = axum::routing::get(async move || {
        entered.send(()).await.unwrap();
        waits.notified().await;
        over.send(()).await.unwrap();
    });
    let router = Router::new().route("/", handler);
    let slots = Arc::new(Semaphore::new(1));
    let slot = Arc::new(slots.clone().acquire_owned().await.unwrap());
    let (mut client, server) = tokio::io::duplex(1_024);
    let (_stop, stopped) = watch::channel(false);
    let source = Source(None);
    let connection = tokio::spawn(requests(server, Scheme::Http, source, router, slot, stopped));
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    was_entered.recv().await.unwrap();
    drop(client);
    tokio::time::timeout(GENEROUS, connection).await.unwrap().unwrap();
    assert_eq!(slots.available_permits(), 0, "the request still has its place");
    go.notify_one();
    let over = tokio::time::timeout(GENEROUS, is_over.recv()).await.unwrap();
    assert_eq!(over, Some(()), "its handler was cut");
    let freed = tokio::time::timeout(GENEROUS, slots.acquire()).await;
    assert!(freed.is_ok(), "its place was never given back");
}

#[tokio::test]
async fn a_request_that_panics_is_answered_with_500() {
    let handler = axum::routing::get(async || -> &'static str { panic!("as a test wants") });
    let listener = Listener::http("127.0.0.1:0".parse().unwrap(), 8).await.unwrap();
    let address = listener.address().unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(listener.serve(Router::new().route("/", handler), stopped));
    let get = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let reply = exchange(address, get).await;
    assert!(reply.starts_with("HTTP/1.1 500"), "{reply}");
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_takes_no_new_ones() {
    let world = World::new().await;
    let serving = plain(&world, 8).await;
    let mut idle = TcpStream::connect(serving.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    idle.read_exact(&mut head).await.unwrap();
    serving.stop.send(true).unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(GENEROUS, idle.read_to_end(&mut rest)).await.expect("still open").unwrap();
    tokio::time::timeout(GENEROUS, serving.task).await.expect("still serving").unwrap();
    assert!(TcpStream::connect(serving.address).await.is_err());
}

/// What the server does about a peer that sends `sent` and then nothing: its reply, and after how
/// many seconds the connection was closed.
async fn then_silence(world: &World, sent: String) -> (String, u64) {
    let (mut peer, server) = tokio::io::duplex(64 * 1024);
    let (_stop, stopped) = watch::channel(false);
    let slot = Arc::new(Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap());
    let router = world.router.clone();
    let task = tokio::spawn(requests(server, Scheme::Http, Source(None), router, slot, stopped));
    peer.write_all(sent.as_bytes()).await.unwrap();
    let begun = tokio::time::Instant::now();
    let mut reply = Vec::new();
    peer.read_to_end(&mut reply).await.unwrap();
    task.await.unwrap();
    (String::from_utf8_lossy(&reply).into_owned(), begun.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_sending_is_cut_off() {
    let world = World::new().await;
    let head = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
    let (_, seconds) = then_silence(&world, head.to_owned()).await;
    assert_eq!(seconds, HEADER_TIMEOUT.as_secs(), "in the middle of its headers");
    let (reply, seconds) = then_silence(&world, format!("{head}\r\n")).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert_eq!(seconds, HEADER_TIMEOUT.as_secs(), "idle between requests");
    let part = format!(
        "POST {CREATE_V2} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 99\r\n\r\n{{",
        world.token
    );
    let (reply, seconds) = then_silence(&world, part).await;
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    assert!((30..60).contains(&seconds), "in the middle of its body: {seconds} s");
}

/// A ClientHello of `version` that offers `suites` and nothing newer (RFC 5246 §7.4.1.2).
fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let words =
        |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let extension = |kind: u16, data: &[u8]| [words(&[kind]), sized(data)].concat();
    let extensions = [
        extension(10, &sized(&words(&[0x001d, 0x0017]))), // groups: X25519, P-256
        extension(11, &[1, 0]),                           // points: uncompressed
        extension(13, &sized(&words(&[0x0403, 0x0804, 0x0401, 0x0201]))), // signatures
        extension(23, &[]),                               // extended master secret
    ]
    .concat();
    let random = [7; 32];
    let session_and_suites = [&[0], &*sized(&words(suites))].concat();
    let body = [
        &*words(&[version]),
        &random,
        &session_and_suites,
        &[1, 0], // no compression
        &sized(&extensions),
    ]
    .concat();
    let length = (body.len() as u32).to_be_bytes();
    let handshake = [&[1], &length[1..], &body].concat();
    [&[22, 3, 1], &*sized(&handshake)].concat()
}

#[tokio::test]
async fn old_versions_of_tls_and_weak_suites_get_an_alert_and_no_handshake() {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const ECDHE_ECDSA_AES128_GCM: u16 = 0xc02b;
    /// NULL, export, RC4, 3DES, anonymous, CBC, and RSA key exchange without forward secrecy.
    const WEAK: [u16; 14] = [
        0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x000a, 0x0018, 0x002f, 0x0034, 0x0035, 0x009c,
        0xc009, 0xc013, 0xc012,
    ];
    let world = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let config = certified(directory.path());
    let serving = serve(Listener::https(&config, 8).await.unwrap(), &world);
    let answer = async |version: u16, suites: &[u16]| {
        let mut stream = TcpStream::connect(serving.address).await.unwrap();
        stream.write_all(&client_hello(version, suites)).await.unwrap();
        let mut kind = [0];
        let read = stream.read_exact(&mut kind);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer").unwrap();
        kind[0]
    };
    assert_eq!(answer(0x0303, &[ECDHE_ECDSA_AES128_GCM]).await, HANDSHAKE, "TLS 1.2 is spoken");
    for version in [0x0300, 0x0301, 0x0302] {
        for suites in [&[ECDHE_ECDSA_AES128_GCM], &WEAK[..]] {
            assert_eq!(answer(version, suites).await, ALERT, "{version:#x}");
        }
    }
    for suite in WEAK {
        assert_eq!(answer(0x0303, &[suite]).await, ALERT, "{suite:#x}");
    }
}

/// An answer without an end, which keeps a place as a download does.
struct Endless {
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Endless {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        let frame = hyper::body::Frame::data(axum::body::Bytes::from_static(&[7; 4096]));
        std::task::Poll::Ready(Some(Ok(frame)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_answer_loses_its_connection_and_the_answers_place() {
    let places = Arc::new(Semaphore::new(1));
    let of_answers = Arc::clone(&places);
    let router = Router::new().fallback(move || {
        let place = of_answers.clone().try_acquire_owned().unwrap();
        async move { axum::body::Body::new(Endless { _place: place }).into_response() }
    });
    let slots = Arc::new(Semaphore::new(1));
    let slot = Arc::new(slots.clone().acquire_owned().await.unwrap());
    let (mut client, stream) = tokio::io::duplex(16 * 1024);
    let (_stop, stopped) = watch::channel(false);
    let served = tokio::spawn(requests(stream, Scheme::Http, Source(None), router, slot, stopped));
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    client.read_exact(&mut [0; 1024]).await.unwrap();
    assert_eq!(places.available_permits(), 0, "the answer is under way");
    tokio::time::timeout(GENEROUS, served).await.expect("the connection is given up").unwrap();
    assert_eq!((places.available_permits(), slots.available_permits()), (1, 1));
}
