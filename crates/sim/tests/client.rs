//! What the HTTP client puts on the wire, and what it makes of replies. (The server itself is tried with this client in
//! the server's own tests; the arrows of the workspace keep it out of here.)
#![allow(clippy::unwrap_used, reason = "a test says by panicking")]

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sim::client::{Entry, Recording, Template, VoiceNotification};
use sim::{Client, ClientError};

#[derive(Clone, Default)]
struct Server {
    seen: Arc<Mutex<Vec<(String, HeaderMap, Value)>>>,
    tokens: Arc<Mutex<u32>>,
}

/// Answers as the pages print it. The first token has lapsed by the time it is used.
async fn answer(
    State(server): State<Server>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    server.seen.lock().unwrap().push((path.clone(), headers.clone(), value));
    let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    if path.ends_with("/tokenByAkSk") {
        let mut tokens = server.tokens.lock().unwrap();
        *tokens += 1;
        let body = json!({ "AccessToken": format!("token{tokens}"), "Expires": "600" });
        return axum::Json(body).into_response();
    }
    if token.as_deref() != Some("Bearer token2") {
        let body = json!({ "errorCode": "1", "exceptionInfo": "auth fail!" });
        return (StatusCode::FORBIDDEN, axum::Json(body)).into_response();
    }
    let body = match path.rsplit('/').next().unwrap() {
        "createVoiceNotification" => {
            json!({ "retMsg": "Created.", "retCode": "0", "result": { "callSerialNo": "1308" } })
        }
        "upload" => json!({ "returnCode": "0", "fileId": "77" }),
        "createVoiceTemplate" => json!({ "returnCode": "1", "description": "name is missing" }),
        _ => json!({}),
    };
    ([("retry-after", "3")], axum::Json(body)).into_response()
}

async fn world() -> (Server, Client) {
    let server = Server::default();
    let router = axum::Router::new().fallback(answer).with_state(server.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (server, Client::new(format!("http://{address}/"), "key", "secret").unwrap())
}

#[tokio::test]
async fn a_lapsed_token_is_replaced_once_and_then_kept() {
    let (server, client) = world().await;
    let wanted = VoiceNotification::new("8899", vec![Entry::recording("100001")]);
    assert_eq!(client.notify(&wanted).await.unwrap(), "1308");
    assert_eq!(client.notify(&wanted).await.unwrap(), "1308");
    let seen = server.seen.lock().unwrap();
    let paths: Vec<&str> = seen.iter().map(|(path, ..)| path.rsplit('/').next().unwrap()).collect();
    let create = "createVoiceNotification";
    assert_eq!(paths, ["tokenByAkSk", create, "tokenByAkSk", create, create]);
    assert_eq!(seen[0].2, json!({ "app_key": "key", "app_secret": "secret" }));
    assert_eq!(seen[4].0, "/apiaccess/rest/voiceNotification/v2/createVoiceNotification");
    assert_eq!(seen[4].1["x-app-key"], "key");
    assert_eq!(seen[4].2, json!({ "called": "8899", "playList": [{ "voiceId": "100001" }] }));
}

#[tokio::test]
async fn replies_are_read_with_their_refusals() {
    let (server, client) = world().await;
    let id = client.upload_recording(&Recording::wav(vec![1, 2, 3])).await.unwrap();
    assert_eq!(id, "77");
    let template = Template { name: "alarm".to_owned(), text: "Server ${TXT_8}".to_owned() };
    match client.create_voice_template(&template).await {
        Err(ClientError::Refused { code, message, .. }) => {
            assert_eq!((code.as_str(), message.as_str()), ("1", "name is missing"));
        }
        other => panic!("{other:?}"),
    }
    let reply = client.create_voice_notification("not JSON", Some("key-1")).await.unwrap();
    assert_eq!((reply.status, reply.retry_after), (200, Some(3)));
    assert!(reply.sent_at < reply.replied_at);
    let seen = server.seen.lock().unwrap();
    let (_, headers, body) = seen.last().unwrap();
    assert_eq!((headers["idempotency-key"].to_str().unwrap(), body), ("key-1", &Value::Null));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(format!("http://{gone}"), "key", "secret").unwrap();
    let error = client.create_voice_notification("{}", None).await.unwrap_err();
    assert!(matches!(error, ClientError::NoReply { .. }), "{error}");
}
