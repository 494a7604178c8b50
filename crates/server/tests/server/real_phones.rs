//! Softphones of other people's making as parties of a call: baresip takes the manager's side.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use sim::{CarrierConfig, tone_time};

use crate::support::authority::Authority;
use crate::support::baresip::{Baresip, SAYS_HZ};
use crate::support::{PATIENCE, Setting, World};

const PHONE: &str = "66666666";
const PASSWORD: &str = "a-password-of-the-test";
const CUSTOMER: &str = "88880001";
const CUSTOMER_HZ: u16 = 880;
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn baresip_takes_the_managers_side_over_udp() {
    takes_the_managers_side("udp", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn baresip_takes_the_managers_side_over_tcp() {
    takes_the_managers_side("tcp", "").await;
}

/// The keys of its audio travel in SIP that nobody else reads.
#[tokio::test(flavor = "multi_thread")]
async fn baresip_takes_the_managers_side_over_tls_with_encrypted_audio() {
    takes_the_managers_side("tls", ";mediaenc=srtp-mand").await;
}

async fn takes_the_managers_side(transport: &str, encryption: &str) {
    let authority = Authority::new();
    let files = tempfile::TempDir::new().expect("a directory");
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    authority.write("127.0.0.1", &certificate, &key);
    let tls = format!("tls = \"127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let setting = Setting {
        sip: if transport == "tls" { tls } else { String::new() },
        tenant: format!("softphones = [{{ number = \"{PHONE}\", password = \"{PASSWORD}\" }}]"),
        more: format!(
            "[phones]\nsrtp = \"{}\"\n",
            if encryption.is_empty() { "off" } else { "required" }
        ),
        ..Setting::default()
    };
    let world = World::with(setting, CarrierConfig::default()).await;
    world.carrier.answer_with(CUSTOMER, |phone| {
        Box::pin(async move {
            phone.answer().await?;
            phone.tone_for(CUSTOMER_HZ, 3 * SECOND).await?;
            phone.hang_up().await
        })
    });
    let server = &world.server;
    let registrar = match transport {
        "tcp" => server.sip_tcp,
        "tls" => server.sip_tls.expect("it listens"),
        _ => server.sip_udp,
    };
    let account = |_: SocketAddr| {
        let account = format!(
            "<sip:{PHONE}@{registrar};transport={transport}>;auth_pass={PASSWORD};regint=60;answermode=auto{encryption}"
        );
        (account, "200 OK")
    };
    let phone = tokio::task::block_in_place(|| Baresip::start(account));
    let body = json!({ "softPhone": PHONE, "called": CUSTOMER });
    let reply = world.client.create_call(body.to_string(), None).await.expect("a reply");
    let serial = reply.call_serial_no().expect("accepted");
    let ended = world.carrier.call_ended(|call| call.call_id.starts_with(&serial));
    let customer = tokio::time::timeout(PATIENCE, ended).await.expect("the carrier saw the call");
    let heard = customer.heard.expect("the phone keeps what it hears").tone_time(SAYS_HZ);
    assert!(heard > SECOND, "the customer heard the manager for {heard:?}");
    let heard = tone_time(&phone.heard(), f32::from(CUSTOMER_HZ));
    assert!(heard > SECOND, "the manager heard the customer for {heard:?}");
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    let encrypted = timeline.contains("\"srtp\":\"AES_CM_128_HMAC_SHA1_80\"");
    assert_eq!(encrypted, !encryption.is_empty(), "{timeline}");
}
