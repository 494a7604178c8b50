//! T-25: bytes that no HTTP library would send, on a running server. Each costs its own connection and nothing else.
//!
//! Weakened copies: without `header_read_timeout` in `http/listener.rs` the slow ones are never closed and the test ends
//! at its deadline; without the limit of `http/body.rs` the endless body is read to its end. Smuggling needs a second
//! parser in front of ours that reads the same bytes otherwise, which a test of one server cannot have: what is shown is
//! that the hidden request is not taken.

use std::time::{Duration, Instant};

use sim::CarrierConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::{bearable, set_up};
use crate::support::{PATIENCE, Setting, World};

const CREATE: &str = "/apiaccess/rest/voiceNotification/v2/createVoiceNotification";
const SLOW: usize = 500;

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.server.http).await.expect("it is accepted")
}

/// Everything until the server closes; what it does not want to read any more does not matter.
async fn exchange(world: &World, bytes: &[u8]) -> String {
    let (mut read, mut write) = connect(world).await.into_split();
    let bytes = bytes.to_vec();
    let writing = tokio::spawn(async move {
        // It may be closed in the middle.
        let _ = write.write_all(&bytes).await;
        write
    });
    let mut reply = Vec::new();
    // A reset after the reply is an end like any other.
    let read = timeout(PATIENCE, read.read_to_end(&mut reply)).await;
    read.expect("the server never closed").ok();
    writing.abort();
    String::from_utf8_lossy(&reply).into_owned()
}

fn status(reply: &str) -> &str {
    reply.split(' ').nth(1).unwrap_or("closed")
}

async fn token(world: &World) -> String {
    let reply = world.client.token_by_ak_sk(None).await.expect("a reply");
    let issued: serde_json::Value = reply.parse().expect("JSON");
    issued["AccessToken"].as_str().expect("a token").to_owned()
}

fn post(token: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {CREATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}Connection: close\r\n\r\n{body}"
    )
}

fn create(token: &str, body: &str) -> String {
    post(token, &format!("Content-Length: {}\r\n", body.len()), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_slow_senders_hold_up_nobody_and_are_cut_off() {
    let _alone = super::alone().await;
    let world = World::start().await;
    let quiet = set_up(&world).await;
    let mut slow = JoinSet::new();
    for number in 0..SLOW {
        let stream = connect(&world).await;
        slow.spawn(drip(stream, number));
    }
    let meanwhile = set_up(&world).await;
    assert!(meanwhile < bearable(quiet), "{meanwhile:?} meanwhile, {quiet:?} without");
    let cut = timeout(PATIENCE, slow.join_all()).await.expect("a slow sender was never cut off");
    assert!(cut.iter().all(|held| *held < Duration::from_secs(30)), "{:?}", cut.iter().max());
}

/// A header that never ends, a byte each half second; how long it was let.
async fn drip(mut stream: TcpStream, number: usize) -> Duration {
    let begun = Instant::now();
    let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-{number}: ");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut pace = interval(Duration::from_millis(500));
    let mut reply = [0; 512];
    loop {
        tokio::select! {
            read = stream.read(&mut reply) => if matches!(read, Ok(0) | Err(_)) {
                return begun.elapsed();
            },
            _ = pace.tick() => if stream.write_all(b"x").await.is_err() {
                return begun.elapsed();
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_is_refused_declared_or_not() {
    let world = World::start().await;
    let token = token(&world).await;
    let declared = post(&token, "Content-Length: 1073741824\r\n", "{");
    assert_eq!(status(&exchange(&world, declared.as_bytes()).await), "413");

    let (mut read, mut write) = connect(&world).await.into_split();
    let head = post(&token, "Transfer-Encoding: chunked\r\n", "");
    write.write_all(head.as_bytes()).await.expect("sent");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    let mut taken = 0_usize;
    let endless = async {
        while taken < 1 << 30 && write.write_all(chunk.as_bytes()).await.is_ok() {
            taken += 65_536;
        }
    };
    timeout(PATIENCE, endless).await.expect("it neither reads nor closes");
    assert!(taken < 64 << 20, "{taken} bytes were taken");
    let mut reply = Vec::new();
    // A reset may overtake the reply.
    timeout(PATIENCE, read.read_to_end(&mut reply)).await.expect("it closes").ok();
    let reply = String::from_utf8_lossy(&reply);
    assert!(matches!(status(&reply), "413" | "closed" | ""), "{reply}");
    set_up(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_and_nothing_hidden_in_them_is_taken() {
    let world = World::start().await;
    let token = token(&world).await;
    let order = serde_json::json!({
        "called": "1001", "playList": [{ "voiceId": world.voice_id }], "callerPresent": "2222201",
    });
    let hidden = create(&token, &order.to_string());
    let chunks = |chunks: &str| post(&token, "Transfer-Encoding: chunked\r\n", chunks);
    let many: String = (0..100_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let length = |length: &str| post(&token, &format!("Content-Length: {length}\r\n"), "{}");
    let cases = [
        ("100,000 headers", post(&token, &many, "")),
        ("a header of a megabyte", post(&token, &format!("X: {}\r\n", "a".repeat(1 << 20)), "")),
        (
            "a length and chunks",
            post(
                &token,
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                &format!("0\r\n\r\n{hidden}"),
            ),
        ),
        (
            "chunks and a length",
            post(
                &token,
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                &format!("0\r\n\r\n{hidden}"),
            ),
        ),
        (
            "chunks in disguise",
            post(
                &token,
                "Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n",
                &format!("0\r\n\r\n{hidden}"),
            ),
        ),
        (
            "chunked twice",
            post(&token, "Transfer-Encoding: chunked, identity\r\n", &format!("0\r\n\r\n{hidden}")),
        ),
        (
            "two lengths",
            post(&token, "Content-Length: 2\r\nContent-Length: 4000\r\n", &format!("{{}}{hidden}")),
        ),
        ("a length that is none", length("+2")),
        ("a length below zero", length("-1")),
        ("a length past 64 bits", length("36893488147419103232")),
        ("a chunk size that is none", chunks("zz\r\n{}\r\n0\r\n\r\n")),
        ("a chunk size past 64 bits", chunks("fffffffffffffffff\r\n{}\r\n0\r\n\r\n")),
        ("a chunk that is longer than said", chunks(&format!("1\r\n{{}}\r\n0\r\n\r\n{hidden}"))),
        (
            "a space before the colon",
            post(&token, "Content-Length : 2\r\n", &format!("{{}}{hidden}")),
        ),
        ("a folded header", post(&token, "X: a\r\n Content-Length: 9\r\n", "")),
        ("NUL in a header", post(&token, "X: a\0b\r\n", "")),
        ("no version", format!("POST {CREATE}\r\n\r\n")),
        ("HTTP/2 out of the blue", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
    ];
    for (name, request) in cases {
        let reply = exchange(&world, request.as_bytes()).await;
        let code = status(&reply);
        assert!(code == "closed" || code.is_empty() || code.starts_with('4'), "{name}: {reply}");
        assert!(!reply.contains("Created successfully"), "{name}: the hidden request was taken");
    }
    // The same bytes, shown openly, are taken.
    let reply = exchange(&world, hidden.as_bytes()).await;
    assert!(reply.contains("Created successfully"), "{reply}");
    let ended = world.carrier.totals_reached(|totals| totals.invites >= 1).await;
    assert_eq!(ended.invites, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_deep_doubled_or_packed_is_refused_or_read_in_one_way() {
    let world = World::start().await;
    let token = token(&world).await;
    let deep = format!("{{\"called\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(status(&exchange(&world, create(&token, &deep).as_bytes()).await), "400");
    let text = format!("{{\"called\":\"{}\"}}", "9".repeat(65_536));
    assert_eq!(status(&exchange(&world, create(&token, &text).as_bytes()).await), "413");

    // Never unpacked, so a small body stays small: these are bytes that are no JSON.
    let packed =
        [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0];
    let headers = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", packed.len());
    let request = [post(&token, &headers, "").into_bytes(), packed.to_vec()].concat();
    assert_eq!(status(&exchange(&world, &request).await), "400");

    // The last of two equal keys counts, as in every JSON parser that clients use.
    let voice = &world.voice_id;
    let doubled = format!(
        "{{\"called\":\"1486\",\"called\":\"1001\",\"playList\":[{{\"voiceId\":\"{voice}\"}}]}}"
    );
    let reply = exchange(&world, create(&token, &doubled).as_bytes()).await;
    assert!(reply.contains("Created successfully"), "{reply}");
    let call = timeout(PATIENCE, world.carrier.call_ended(|_| true)).await.expect("it is dialled");
    assert_eq!(call.to_user, "1001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_in_one_breath_are_answered_in_order() {
    let world = World::with(Setting::default(), CarrierConfig::default()).await;
    let mut requests = String::new();
    for number in 0..999 {
        let path = if number % 2 == 0 { "/healthz" } else { "/no-such-path" };
        requests += &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    requests += "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let replies = exchange(&world, requests.as_bytes()).await;
    let codes: Vec<&str> = replies.split("HTTP/1.1 ").skip(1).map(|reply| &reply[..3]).collect();
    assert_eq!(codes.len(), 1_000);
    assert!(codes.iter().take(999).enumerate().all(|(n, code)| *code == ["200", "404"][n % 2]));
    assert_eq!(codes[999], "200");
}
