//! The anonymous call (page 000): a code, an INVITE to it, the called party.

use std::net::SocketAddr;
use std::time::Duration;

use sim::client::ExpectedCall;
use sim::{AppPhone, AppPhoneConfig, EndedBy};

use super::*;

/// createcall; serial number, address and code.
pub async fn created(world: &World, called: &str) -> (String, SocketAddr, String) {
    let body = json!({ "called": called, "callData": "1", "callerPresent": "95599" });
    let reply = world.client.create_anonymous_call(body.to_string(), None).await.expect("a reply");
    let ExpectedCall { serial, service, code } = reply.expected_call().expect("accepted");
    (serial, service, code)
}

pub async fn app() -> AppPhone {
    AppPhone::start(AppPhoneConfig::default()).await.expect("an application starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_and_the_called_party_hear_each_other() {
    let world = world("").await;
    let (serial, service, code) = created(&world, CALLED).await;
    assert!(code.len() <= 18 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    let app = app().await;
    let mut phone = app.dial(service, &code).await.expect("it dials");
    phone.until_answered().await.expect("it is answered");
    phone.tone_for(CALLERS_TONE, Duration::from_secs(3)).await.expect("the call holds");
    // Over is what it is after that.
    let _ = phone.hang_up().await;
    let caller = phone.end().await;
    let record = ended(&world, &serial).await;
    let called = leg_of(&world, &serial, CALLED).await;
    assert!(hears(&caller, CALLED_TONE) && hears(&called, CALLERS_TONE), "{record}");
    assert_eq!(called.from_user, "95599");
    assert_eq!(record["end"]["outcome"], "caller_hung_up");
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_used_and_expired_codes_get_the_same_answer() {
    let world = world_with(", code_lifetime_s = 1", "").await;
    let app = app().await;
    let (serial, service, used) = created(&world, "1486").await;
    let mut phone = app.dial(service, &used).await.expect("it dials");
    assert!(phone.until_answered().await.is_err(), "the called party is busy");
    let first = phone.end().await;
    assert_eq!(first.status, Some(486));
    ended(&world, &serial).await;
    let (serial, _, expired) = created(&world, CALLED).await;
    ended(&world, &serial).await;
    for code in [used.as_str(), &expired, "179080024609291", "1"] {
        let mut phone = app.dial(service, code).await.expect("it dials");
        assert!(phone.until_answered().await.is_err());
        let refused = phone.end().await;
        assert_eq!((refused.status, refused.ended_by), (Some(404), EndedBy::Refused), "{code}");
    }
    assert_eq!(world.carrier.calls().len(), 1, "nobody else was called");
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_cancels_its_call_leaves_no_port_behind() {
    let world = world("").await;
    let app = app().await;
    // Rings for good.
    let (serial, service, code) = created(&world, "1480").await;
    let mut phone = app.dial(service, &code).await.expect("it dials");
    tokio::time::timeout(PATIENCE, world.reaches(&serial, "call.ringing")).await.expect("rings");
    // Over is what it is after that.
    let _ = phone.hang_up().await;
    assert_eq!(phone.end().await.status, Some(487));
    let record = ended(&world, &serial).await;
    assert_eq!(record["end"]["outcome"], "caller_hung_up", "{record}");
    // What a port has counted comes with the port when it is given back.
    assert!(record["end"]["caller"]["media"].is_object(), "{record}");
    nothing_is_left(&world).await;
}
