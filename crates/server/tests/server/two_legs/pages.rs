//! The requests of pages 000 and 001, as they are printed, to the tenant that a first start makes.

use sim::{AppPhone, AppPhoneConfig, Client};

use super::*;
use crate::support::Server;

const CREATE_CALL: &str = "/apiaccess/CC-Management/v3/mobileAgent/createCall";

/// What the first start prints after this word.
fn printed<'a>(log: &'a str, what: &str) -> &'a str {
    let rest = log.split_once(what).unwrap_or_else(|| panic!("no {what} in:\n{log}")).1;
    rest.split_whitespace().next().expect("a value").trim_end_matches(',')
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_answers_them_as_printed() {
    let server = Server::start("[http]\nbind = \"127.0.0.1:0\"\n");
    let log = server.log();
    let (key, secret) = (printed(&log, "app key"), printed(&log, "app secret"));
    let client = Client::new(format!("http://{}", server.http), key, secret).expect("a client");

    // Page 000.
    let body = r#"{ "called":"88884432", "callData":"1", "callerPresent":"95599" }"#;
    let reply = client.create_anonymous_call(body, None).await.expect("a reply");
    let shape: Value = reply.parse().expect("JSON");
    let told = |name: &str| shape["resultData"][name].as_str().expect("it is told").to_owned();
    let (serial, service, code) =
        (told("callSerialNo"), told("sipServiceAddress"), told("accesscode"));
    assert_eq!(
        reply.body,
        format!(
            r#"{{"resultCode":"0","resultDesc":"Success","resultData":{{"callSerialNo":"{serial}","sipServiceAddress":"{service}","accesscode":"{code}"}}}}"#
        )
    );
    let app = AppPhone::start(AppPhoneConfig::default()).await.expect("an application starts");
    let mut phone = app.dial(service.parse().expect("ip:port"), &code).await.expect("it dials");
    phone.until_answered().await.expect("88884432 answers");
    phone.end().await;

    // Page 001: with its comma, its numbers as numbers; then as it is printed.
    let body = r#"{ "caller": 8888888, "softPhone": 66666666, "called": 6666614 }"#;
    let reply = client.create_call(body, None).await.expect("a reply");
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, r#"{"retMsg":"Called is not configured","retCode":"5"}"#)
    );
    let token: Value = client.token_by_ak_sk(None).await.expect("a reply").parse().expect("JSON");
    let as_printed =
        "{\n        \"caller\": 8888888,\n\t\"softPhone\": 66666666 \"called\": 6666614\n}";
    let reply = crate::support::http()
        .post(format!("http://{}{CREATE_CALL}", server.http))
        .header("x-app-key", key)
        .bearer_auth(token["AccessToken"].as_str().expect("a token"))
        .body(as_printed)
        .send()
        .await
        .expect("a reply");
    assert_eq!(reply.status().as_u16(), 400);
    let refused: Value = serde_json::from_str(&reply.text().await.expect("text")).expect("JSON");
    let why = refused["exceptionInfo"].as_str().expect("it says why");
    assert!(refused["errorCode"] == "0" && why.contains("line 3"), "{refused}");
}
