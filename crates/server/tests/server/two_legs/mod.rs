//! Calls of two parties: each plays a tone of its own, and what it heard is the judge.

pub mod anonymous;
mod bidirectional;
pub mod crash_points;
mod failures;
mod ita;
mod pages;
mod phone_returns;
mod talking;

use std::time::Duration;

use serde_json::{Value, json};
use sim::{Behaviour, CallReport, CarrierConfig, Softphone, SoftphoneConfig};

use crate::support::{PATIENCE, Setting, World};

pub const SOFTPHONE: &str = "66666666";
pub const PASSWORD: &str = "a password of the tests";
pub const OPERATOR_KEY: &str = "an-operators-key-of-the-two-leg-tests";

/// What the caller's phone plays, and the called phone; the latter stands in its number.
pub const CALLERS_TONE: u16 = 440;
pub const CALLED_TONE: u16 = 880;
pub const CALLED: &str = "10210880";

/// Each has to hear the other for so long.
pub const LEAST: Duration = Duration::from_secs(1);

/// A server with a softphone's number, anonymous calls and recordings switched on.
pub async fn world(tenant: &str) -> World {
    world_with("", tenant).await
}

/// `anonymous`: more of its `anonymous_call`.
pub async fn world_with(anonymous: &str, tenant: &str) -> World {
    World::with(setting(anonymous, tenant), CarrierConfig::default()).await
}

pub fn setting(anonymous: &str, tenant: &str) -> Setting {
    let tenant = format!(
        "record = true\nanonymous_call = {{ enabled = true{anonymous} }}\n\
         softphones = [{{ number = \"{SOFTPHONE}\", password = \"{PASSWORD}\" }}]\n{tenant}"
    );
    let more =
        format!("[access]\noperator_key = \"{OPERATOR_KEY}\"\n[phones]\nmedia_timeout_s = 5");
    Setting { tenant, more, ..Setting::default() }
}

/// A registered softphone that answers soon and plays its tone for so long.
pub async fn softphone(world: &World, talk: Option<Duration>) -> Softphone {
    let config = SoftphoneConfig::new(world.server.sip_udp, SOFTPHONE, PASSWORD, 1);
    let phone = Softphone::start(config).await.expect("a softphone starts");
    registered(&phone).await;
    let ring = Duration::from_millis(100);
    phone.behave(Behaviour::Tone { ring, hz: CALLERS_TONE, talk });
    phone
}

pub async fn registered(phone: &Softphone) {
    let registered = tokio::time::timeout(PATIENCE, phone.registered()).await;
    registered.expect("the registrar answers").expect("the softphone is let in");
}

/// createCall v3 of two numbers; the call's serial number. `caller`: the softphone where there is none.
pub async fn create_call(world: &World, caller: Option<&str>, called: &str) -> String {
    let mut body = json!({ "softPhone": SOFTPHONE, "called": called });
    if let Some(caller) = caller {
        body["caller"] = json!(caller);
    }
    let reply = world.client.create_call(body.to_string(), None).await.expect("a reply");
    reply.call_serial_no().expect("accepted")
}

pub fn ret_code(reply: &sim::Reply) -> String {
    let body: Value = reply.parse().expect("JSON");
    body["retCode"].as_str().expect("a text").to_owned()
}

/// The call's end as `/v1` has it, once it is there. An INVITE that nobody answers takes SIP's 32 s to end.
pub async fn ended(world: &World, serial: &str) -> Value {
    let reached = world.reaches(serial, "call.ended");
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        let timeline = world.client.timeline(serial).await.expect("a timeline");
        panic!("the call does not end: {timeline:#}");
    }
    world.record(serial).await
}

/// What the carrier's phone of that number saw of the call.
pub async fn leg_of(world: &World, serial: &str, number: &str) -> CallReport {
    let ended =
        world.carrier.call_ended(|call| call.call_id.starts_with(serial) && call.to_user == number);
    tokio::time::timeout(PATIENCE, ended).await.expect("the leg ends")
}

pub fn hears(report: &CallReport, hz: u16) -> bool {
    report.heard.as_ref().is_some_and(|heard| heard.tone_time(f32::from(hz)) >= LEAST)
}

/// Waits until no call and no leg is left in the server.
pub async fn nothing_is_left(world: &World) {
    for gauge in ["offhook_calls", "offhook_legs"] {
        metric_is(world, gauge, "0").await;
    }
}

/// Waits until `/metrics` says so. A server that has just started, on a busy machine, may first turn the question away.
pub async fn metric_is(world: &World, gauge: &str, wanted: &str) {
    let url = format!("http://{}/metrics", world.server.http);
    let http = crate::support::http();
    let mut last = String::new();
    let said = async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        loop {
            look.tick().await;
            let reply = http.get(&url).bearer_auth(OPERATOR_KEY).send().await.expect("a reply");
            last = reply.text().await.expect("text");
            let mut lines = last.lines().filter_map(|line| line.split_once(' '));
            if lines.any(|line| line == (gauge, wanted)) {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, said).await.is_ok();
    assert!(in_time, "{gauge} does not become {wanted}: {last}");
}
