use clap::Parser;
use engine::cdr::Outcome;
use store::VoiceStatus;
use tokio::sync::watch;

use super::*;
use crate::http::listener::Listener;
use crate::http::testing::{OPERATOR_KEY, World};

#[derive(Parser)]
struct Offhook {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

/// A server on loopback with call 7 in its history.
struct Served {
    world: World,
    url: String,
    _stop: watch::Sender<bool>,
}

async fn served() -> Served {
    let world = World::new().await;
    world.recording("100001", "welcome.wav", "3", VoiceStatus::Approved).await;
    let intent = world.accepted(7, 1_700_000_000_000).await;
    world.ended(intent, Outcome::Played, false).await;
    world.reset(|tenant| tenant.settings.anonymous_call.enabled = true);
    let listener = Listener::http("127.0.0.1:0".parse().unwrap(), 8).await.unwrap();
    let url = format!("http://{}/", listener.address().unwrap());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(listener.serve(world.router.clone(), stopped));
    Served { world, url, _stop: stop }
}

/// Runs a command line as the shell would give it.
async fn offhook(url: &str, key: &str, arguments: &[&str]) -> Result<String, String> {
    let line =
        ["offhook", "--url", url, "--api-key", key].into_iter().chain(arguments.iter().copied());
    let parsed = Offhook::try_parse_from(line).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    run(parsed.command, &parsed.connection, &mut out).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn every_command_prints_what_the_server_knows() {
    let served = served().await;
    let key = &served.world.token;
    for (arguments, part) in [
        (&["calls", "list"][..], "2222201 -> 8899  played"),
        (&["calls", "list", "--offset", "1"], "1 in all"),
        (&["calls", "show", "7"], "\"outcome\": \"played\""),
        (&["calls", "timeline", "7"], "call.ended"),
        (&["calls", "timeline", "7", "--json"], "\"lines\": ["),
        (&["calls", "cancel", "7"], "accepted"),
        (&["callbacks", "list", "7"], "pending after 0 tries  http://127.0.0.1:8800/callbackTest"),
        (&["callbacks", "replay", "1"], "accepted"),
        (&["callbacks", "dead"], ""),
        (&["tenants", "show"], "\"app_key\": \"key-1\""),
        (&["softphones", "put", "66666666", "--remark", "Ann's"], "\"password\": \""),
        (&["softphones", "put", "66666666", "--suspended", "true"], "\"suspended\": true"),
        (&["softphones", "list"], "66666666  suspended  Ann's"),
        (&["softphones", "put", "66666666", "--suspended", "false"], "\"remark\": \"Ann's\""),
        (&["calls", "connect", "66666666", "88884432"], "\"serial\": \""),
        (&["calls", "code", "88884432"], "\"access_code\": \"2222201"),
        (&["softphones", "remove", "66666666"], "accepted"),
    ] {
        let printed = offhook(&served.url, key, arguments).await.unwrap();
        assert!(printed.contains(part), "{arguments:?}: {printed}");
    }
    let all = offhook(&served.url, OPERATOR_KEY, &["tenants", "list"]).await.unwrap();
    assert!(all.contains("tenant 1") && all.contains("tenant 2"), "{all}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("third.json");
    std::fs::write(&file, r#"{"name": "third", "access_codes": ["333"]}"#).unwrap();
    let put = ["tenants", "put", "3", file.to_str().unwrap()];
    let made = offhook(&served.url, OPERATOR_KEY, &put).await.unwrap();
    assert!(made.contains("\"app_secret\": "), "{made}");
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let served = served().await;
    let key = &served.world.token;
    let unknown = offhook(&served.url, key, &["calls", "show", "8"]).await.unwrap_err();
    assert!(unknown.contains("404"), "{unknown}");
    let refused = offhook(&served.url, "wrong", &["calls", "list"]).await.unwrap_err();
    assert!(refused.contains("--api-key"), "{refused}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = offhook(&format!("http://{free}"), key, &["calls", "list"]).await.unwrap_err();
    assert!(nobody.contains("offhook serve"), "{nobody}");
    assert!(offhook(&served.url, key, &["calls", "list", "--limit", "0"]).await.is_err());
    assert!(offhook(&served.url, key, &["calls", "show", "x"]).await.is_err());
    let phone = ["softphones", "put", "../tenants", "--password", "password"];
    let refused = offhook(&served.url, key, &phone).await.unwrap_err();
    assert!(refused.contains("422") && refused.contains("digits"), "{refused}");
}
