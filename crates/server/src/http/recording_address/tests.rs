use axum::http::Method;
use engine::cdr::Outcome;
use engine::vocabulary::TenantId;
use serde_json::json;
use store::VoiceStatus;

use super::link;
use crate::app::unix_ms;
use crate::http::testing::{World, wav};
use crate::http::tests::ADDRESS;
use engine::vocabulary::Serial;

/// A world with call 1 recorded and call 2 not.
async fn world() -> World {
    let world = World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    let recorded = world.accepted(1, 1_645_524_268_824).await;
    let path = world.app.config.data_directory.join(crate::recordings::path(&recorded));
    assert!(path.ends_with("recordings/1/mobileAgent/20220222/1645524268-1.wav"), "{path:?}");
    assert_eq!(
        crate::recordings::wire_name(&recorded),
        "Y:/1/mobileAgent/20220222/1645524268-1.wav"
    );
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, wav()).unwrap();
    world.ended(recorded, Outcome::Played, true).await;
    let silent = world.accepted(2, 1_645_524_268_825).await;
    world.ended(silent, Outcome::Played, false).await;
    world
}

async fn address(world: &World, serial: serde_json::Value) -> serde_json::Value {
    world.post(ADDRESS, json!({"callSerialNo": serial})).await.json()
}

/// Path and query of an absolute URL.
fn path(url: &str) -> &str {
    let after = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}"));
    &after[after.find('/').unwrap()..]
}

#[tokio::test]
async fn the_address_leads_to_the_file_without_a_token() {
    let world = world().await;
    let reply = address(&world, json!("1")).await;
    assert_eq!(reply["retCode"], 0, "a number: {reply}");
    let url = reply["result"]["url"].as_str().unwrap();
    assert!(
        url.starts_with("http://127.0.0.1:8088/recordings/1/1.wav?") && url.len() <= 200,
        "{url}"
    );
    let got = world.send(Method::GET, path(url), &[], "").await;
    assert_eq!((got.status.as_u16(), got.header("content-type")), (200, "audio/wav"));
    assert_eq!(got.text, String::from_utf8_lossy(&wav()));
}

#[tokio::test]
async fn the_same_recording_comes_as_opus_under_the_same_signature() {
    let world = world().await;
    let recorded = world.app.config.data_directory.join("recordings/1/mobileAgent/20220222");
    let file = media::wav::alaw_file(2, &[0xD5; 16_000]);
    std::fs::write(recorded.join("1645524268-1.wav"), file).unwrap();
    let reply = address(&world, json!("1")).await;
    let url = path(reply["result"]["url"].as_str().unwrap()).replace("1.wav", "1.opus");
    let got = world.send(Method::GET, &url, &[], "").await;
    assert_eq!((got.status.as_u16(), got.header("content-type")), (200, "audio/ogg"));
    assert!(got.text.starts_with("OggS"), "{}", &got.text[..10]);
    let taken: Vec<_> = std::iter::from_fn(|| world.app.vault.opus.enter()).collect();
    let full = world.send(Method::GET, &url, &[], "").await;
    assert_eq!((full.status.as_u16(), full.header("retry-after")), (503, "5"));
    assert_eq!(world.send(Method::GET, &url.replace("opus", "wav"), &[], "").await.status, 200);
    drop(taken);
    assert_eq!(world.send(Method::GET, &url, &[], "").await.status, 200);
    for (from, to, status) in [("1.opus", "2.opus", 403), ("1.opus", "1.mp3", 404)] {
        assert_eq!(world.send(Method::GET, &url.replace(from, to), &[], "").await.status, status);
    }
}

#[tokio::test]
async fn an_address_that_was_changed_or_is_old_is_refused() {
    let world = world().await;
    let reply = address(&world, json!(1)).await;
    let url = path(reply["result"]["url"].as_str().unwrap()).to_owned();
    let get = async |path: &str| world.send(Method::GET, path, &[], "").await.status.as_u16();
    assert_eq!(get(&url).await, 200);
    assert_eq!(get(&url.replace("1.wav", "2.wav")).await, 403);
    assert_eq!(get(&url.replace("/1/", "/2/")).await, 403);
    let expires = url.split("expires=").nth(1).unwrap().split('&').next().unwrap();
    assert_eq!(
        get(&url.replace(expires, &format!("{}", expires.parse::<i64>().unwrap() + 60))).await,
        403
    );
    let old = link(TenantId(1), Serial(1), unix_ms() / 1000 - 1);
    let signature = world.app.access.sealer.sign_link(&old);
    assert_eq!(get(&format!("{old}&signature={signature}")).await, 403);
    assert_eq!(get("/recordings/1/1.wav").await, 400);
    assert_eq!(get("/recordings/x/1.wav?expires=1&signature=aa").await, 404);
    assert_eq!(get("/recordings/1/..%2f..%2fseal.key?expires=1&signature=aa").await, 404);
}

#[tokio::test]
async fn what_was_not_recorded_has_no_address() {
    let mut world = world().await;
    for (serial, code) in [
        (json!("2"), 5),
        (json!("3"), 5),
        (json!("not a number"), 5),
        (json!("1".repeat(51)), 12),
        (json!(null), 12),
        (json!(["1"]), 12),
    ] {
        assert_eq!(address(&world, serial.clone()).await["retCode"], code, "{serial}");
    }
    world.token = world.other_token.clone();
    assert_eq!(address(&world, json!("1")).await["retCode"], 5, "another tenant's call");
}

#[tokio::test]
async fn a_call_of_two_parties_has_its_address_too() {
    let world = World::new().await;
    let intent = world.two_legs(7, 1_645_524_268_824).await;
    let file = world.app.config.data_directory.join(crate::recordings::path(&intent));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, wav()).unwrap();
    world.ended(intent, Outcome::CalledHungUp, true).await;
    let reply = address(&world, json!("7")).await;
    let got =
        world.send(Method::GET, path(reply["result"]["url"].as_str().unwrap()), &[], "").await;
    assert_eq!((got.status.as_u16(), got.header("content-type")), (200, "audio/wav"));
}
