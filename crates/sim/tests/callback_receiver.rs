//! The callback receiver keeps what arrives and answers as scripted, down to the level of the connection.
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

use std::time::Duration;

use sim::{Answer, CallbackReceiver};

const ANY_PORT: &str = "127.0.0.1:0";
const LIMIT: Duration = Duration::from_secs(20);

async fn receiver() -> CallbackReceiver {
    CallbackReceiver::start(ANY_PORT.parse().unwrap()).await.unwrap()
}

/// `reqwest` wants a TLS provider; making a `sim::Client` installs one.
fn http() -> reqwest::Client {
    sim::Client::new("http://127.0.0.1", "key", "secret").unwrap();
    reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap()
}

async fn post(url: &str, id: &str, body: &'static str) -> Result<(u16, String), reqwest::Error> {
    let reply = http().post(url).header("webhook-id", id).body(body).send().await?;
    Ok((reply.status().as_u16(), reply.text().await?))
}

#[tokio::test]
async fn keeps_what_arrives_and_tells_tries_from_events() {
    let receiver = receiver().await;
    let url = receiver.url();
    let callbacks = receiver.callbacks().clone();
    let waiting = tokio::spawn(async move {
        callbacks.received(|c| c.field("callSerialNo").as_deref() == Some("7")).await
    });
    for (id, body) in [("a", "{}"), ("a", "{}"), ("b", r#"{"callSerialNo":"7"}"#)] {
        let (status, text) = post(&url, id, body).await.unwrap();
        assert_eq!((status, text.as_str()), (200, r#"{"retCode":"0","retMsg":"success"}"#));
    }
    let found = tokio::time::timeout(LIMIT, waiting).await.expect("it arrived").unwrap();
    assert_eq!(found.event_id(), Some("b"));
    assert_eq!((found.path.as_str(), found.from.is_some()), ("/callbacks", true));
    assert_eq!((receiver.callbacks().count(), receiver.callbacks().distinct()), (3, 2));
    receiver.callbacks().clear();
    assert_eq!((receiver.callbacks().count(), receiver.callbacks().distinct()), (0, 0));
    receiver.shut_down().await;
}

#[tokio::test]
async fn answers_in_the_scripted_order_and_then_accepts() {
    let receiver = receiver().await;
    let busy = Answer::status(429).with_header("retry-after", "7").after(Duration::from_millis(1));
    receiver.callbacks().script([Answer::status(500), busy, Answer::status(302)]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(post(&receiver.url(), "x", "").await.unwrap().0);
    }
    assert_eq!(seen, [500, 429, 302, 200]);
}

#[tokio::test]
async fn resets_the_connection() {
    let receiver = receiver().await;
    receiver.callbacks().script([Answer::Reset]);
    let error = post(&receiver.url(), "x", "").await.unwrap_err();
    let cause = format!("{error:?}");
    assert!(cause.contains("ConnectionReset"), "{cause}");
    assert_eq!(receiver.callbacks().count(), 1);
}

#[tokio::test]
async fn cuts_the_body_in_the_middle() {
    let receiver = receiver().await;
    receiver.callbacks().script([Answer::CutBody]);
    let reply = http().post(receiver.url()).send().await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.content_length()), (200, Some(30)));
    assert!(reply.text().await.is_err(), "half of a body must not count as one");
}

#[tokio::test]
async fn hangs_until_the_sender_gives_up() {
    let receiver = receiver().await;
    receiver.callbacks().script([Answer::Hang]);
    let short = http().post(receiver.url()).timeout(Duration::from_millis(50)).send();
    assert!(short.await.unwrap_err().is_timeout());
    receiver.callbacks().received(|_| true).await;
    // The next one is served: a hanging request holds its own connection only.
    assert_eq!(post(&receiver.url(), "x", "").await.unwrap().0, 200);
}
