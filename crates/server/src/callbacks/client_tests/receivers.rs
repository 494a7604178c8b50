//! T-7: what receivers do to a callback, and that each of it has an end and a name.
use super::{
    receiver::{Manners, reply},
    *,
};

async fn try_once(manners: Manners, timeout: Duration) -> (AttemptResult, Receiver) {
    let receiver = Receiver::start(manners).await;
    let client = client(ClientSettings { timeout, ..settings() });
    let here = format!("127.0.0.1:{}", receiver.port);
    let result =
        post(&client, &permit(&format!("{here} private"), &format!("http://{here}/cb?a&b"))).await;
    (result, receiver)
}

fn answered(status: u16, body: &str, retry_after: Option<u64>) -> AttemptResult {
    AttemptResult::Answered {
        status,
        body: body.into(),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

#[tokio::test]
async fn what_is_sent() {
    let receiver = Receiver::start(reply("200 OK", "", "{\"retCode\":\"0\"}")).await;
    let mut receiver = receiver;
    let here = format!("127.0.0.1:{}", receiver.port);
    let permit = permit(&format!("{here} private"), &format!("http://{here}/callbackTest?a&b#c"));
    let mut headers = HeaderMap::new();
    headers.insert("x-offhook-event", HeaderValue::from_static("42"));
    let attempt = client(settings()).post(&permit, headers, Bytes::from_static(b"{}")).await;
    assert_eq!(attempt.result, answered(200, "{\"retCode\":\"0\"}", None));
    let (_, request) = receiver.requests.recv().await.unwrap();
    assert!(
        request.starts_with("POST /callbackTest?a&b HTTP/1.1\r\n")
            && request.ends_with("\r\n\r\n{}"),
        "{request}"
    );
    for header in
        ["content-type: application/json", "x-offhook-event: 42", "user-agent: offhook/", &here]
    {
        assert!(request.contains(header), "{header} in {request}");
    }
    assert!(!request.to_lowercase().contains("referer"));
}

#[tokio::test]
async fn statuses() {
    for (status, headers, expected) in [
        ("204 No Content", "", answered(204, "", None)),
        ("500 Oops", "", answered(500, "x", None)),
        ("410 Gone", "", answered(410, "x", None)),
        ("429 Slow Down", "Retry-After: 120\r\n", answered(429, "x", Some(120))),
        ("503 Busy", "Retry-After: soon\r\n", answered(503, "x", None)),
    ] {
        let body = if status.starts_with("204") { "" } else { "x" };
        let (result, _) = try_once(reply(status, headers, body), PATIENT).await;
        assert_eq!(result, expected, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start(reply("200 OK", "", "")).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let location = format!("Location: http://127.0.0.1:{}/\r\n", elsewhere.port);
        let (result, receiver) = try_once(reply(status, &location, ""), PATIENT).await;
        assert_eq!(result, answered(status[..3].parse().unwrap(), "", None));
        assert_eq!((receiver.connections(), elsewhere.connections()), (1, 0));
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let permit = permit(&format!("{nobody} private"), &format!("http://{nobody}/"));
    assert_eq!(post(&client(settings()), &permit).await, failed(Failure::ConnectionRefused));
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_the_timeout_and_no_more() {
    let timeout = Duration::from_millis(200);
    for start in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345"] {
        let (result, _) = try_once(Manners::ReplyAndHang(start.into()), timeout).await;
        assert_eq!(result, failed(Failure::TimedOut), "{start:?}");
    }
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_no_delivery() {
    for (start, status) in [
        ("", None),
        ("HTTP/1.1 200 OK\r\n", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345", Some(200)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n", Some(200)),
    ] {
        let (result, _) = try_once(Manners::ReplyAndClose(start.into()), PATIENT).await;
        assert_eq!(result, AttemptResult::Failed { failure: Failure::Reset, status }, "{start:?}");
    }
}

#[tokio::test]
async fn a_reply_that_is_not_http() {
    for start in ["SSH-2.0-OpenSSH_9.2\r\n", "\u{1}\u{2}\u{3}", "HTTP/9.9 200 OK\r\n\r\n"] {
        let (result, _) = try_once(Manners::ReplyAndClose(start.into()), PATIENT).await;
        assert_eq!(result, failed(Failure::NotHttp), "{start:?}");
    }
}

#[tokio::test]
async fn floods_are_bounded() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("1000\r\n{}\r\n", "é".repeat(0x800));
    let (result, _) = try_once(Manners::Flood(head.into(), chunk.into()), PATIENT).await;
    let AttemptResult::Answered { status: 200, body, .. } = result else { panic!("{result:?}") };
    assert_eq!(body, "é".repeat(KEPT_BODY / 2));
    let header = format!("x-flood: {}\r\n", "a".repeat(1000));
    let (result, _) =
        try_once(Manners::Flood("HTTP/1.1 200 OK\r\n".into(), header.into()), PATIENT).await;
    assert_eq!(result, failed(Failure::NotHttp));
}

#[tokio::test]
async fn a_connection_serves_several_callbacks() {
    let receiver = Receiver::start(reply("200 OK", "", "ok")).await;
    let client = client(settings());
    let here = format!("127.0.0.1:{}", receiver.port);
    let permit = permit(&format!("{here} private"), &format!("http://{here}/"));
    for _ in 0..5 {
        assert_eq!(post(&client, &permit).await, answered(200, "ok", None));
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_hanging_receiver_does_not_hold_up_another() {
    let hanging = Receiver::start(Manners::ReplyAndHang(Vec::new())).await;
    let healthy = Receiver::start(reply("200 OK", "", "")).await;
    let client = std::sync::Arc::new(client(settings()));
    let to = |receiver: &Receiver| {
        let here = format!("127.0.0.1:{}", receiver.port);
        permit(&format!("{here} private"), &format!("http://{here}/"))
    };
    let stuck = (client.clone(), to(&hanging));
    let stuck = tokio::spawn(async move { post(&stuck.0, &stuck.1).await });
    let mut hanging = hanging;
    hanging.requests.recv().await.unwrap();
    assert_eq!(post(&client, &to(&healthy)).await, answered(200, "", None));
    assert!(!stuck.is_finished());
    stuck.abort();
}

#[test]
fn retry_after() {
    let now = time::macros::datetime!(2026-11-21 10:00:00 UTC);
    for (value, expected) in [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        ("99999999999999999999999", Some(u64::MAX)),
        ("Sat, 21 Nov 2026 10:01:30 GMT", Some(90)),
        ("Sat, 21 Nov 2026 09:59:59 GMT", None),
        ("Sat, 31 Feb 2026 09:59:59 GMT", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
    ] {
        assert_eq!(parse_retry_after(value, now), expected.map(Duration::from_secs), "{value}");
    }
}

#[test]
fn the_oldest_connections_make_room() {
    let mut pools = Pools::default();
    let tls = crate::callbacks::tls::client_config(None).unwrap();
    let open = |_: &PoolKey| {
        reqwest::Client::builder().tls_backend_preconfigured(tls.clone()).no_proxy().build()
    };
    let key = |n: usize| PoolKey { origin: format!("http://h{n}"), addresses: Vec::new() };
    for n in 0..MAX_POOLS {
        pools.find_or_open(key(n), open).unwrap();
    }
    pools.find_or_open(key(0), |_| panic!("it is there")).unwrap();
    pools.find_or_open(key(MAX_POOLS), open).unwrap();
    assert_eq!(pools.clients.len(), MAX_POOLS);
    assert!(pools.clients.contains_key(&key(0)) && !pools.clients.contains_key(&key(1)));
}
