//! Follows a call through `/v1` as a user's program would.

use reqwest::Method;
use serde_json::Value;
use sim::Client;

use super::notification::Callbacks;
use crate::serve::ServeError;

/// The end of the event log as it is now.
pub async fn last_position(client: &Client) -> Result<u64, ServeError> {
    let mut after = 0;
    loop {
        let page = page(client, after, 0).await?;
        let last = page["last"].as_u64().unwrap_or(after);
        if last == after {
            return Ok(after);
        }
        after = last;
    }
}

/// Tells each event of the call as it comes, until its terminal one.
pub async fn until_ended(
    client: &Client,
    serial: &str,
    mut after: u64,
    tell: impl Fn(&str),
) -> Result<(), ServeError> {
    let mut began = None;
    loop {
        let page = page(client, after, 10).await?;
        for event in page["events"].as_array().into_iter().flatten() {
            if event["serial"] != serial {
                continue;
            }
            let at = event["at_ms"].as_i64().unwrap_or(0);
            let since = at - *began.get_or_insert(at);
            let kind = event["type"].as_str().unwrap_or("?");
            tell(&format!(
                "  {:>8.3} s  {kind}{}",
                since as f64 / 1000.0,
                detail(kind, &event["data"])
            ));
            if kind == "call.ended" {
                return Ok(());
            }
        }
        after = page["last"].as_u64().unwrap_or(after);
    }
}

/// The record and what became of the callback, once both are final.
pub async fn settled(client: &Client, serial: &str) -> Result<(Value, Callbacks), ServeError> {
    let record = get(client, &format!("/v1/calls/{serial}")).await?;
    // The attempt is on disk shortly after the receiver has answered it.
    for _ in 0..500 {
        let callbacks = get(client, &format!("/v1/calls/{serial}/callbacks")).await?;
        let all = callbacks.as_array().cloned().unwrap_or_default();
        let delivered = all.iter().filter(|one| one["status"] == "delivered").count() as u64;
        if delivered > 0 {
            let attempts = all.iter().filter_map(|one| one["attempts"].as_u64()).sum();
            return Ok((record, Callbacks { delivered, attempts }));
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Ok((record, Callbacks { delivered: 0, attempts: 0 }))
}

/// The call's record.
pub async fn record(client: &Client, serial: &str) -> Result<Value, ServeError> {
    get(client, &format!("/v1/calls/{serial}")).await
}

fn detail(kind: &str, data: &Value) -> String {
    let shown = match kind {
        "call.accepted" => data["called"].as_str().map(|called| format!("to {called}")),
        "call.dialling" => data["trunk"].as_str().map(|trunk| format!("over {trunk}")),
        "call.round_played" => data["round"].as_u64().map(|round| format!("{round}")),
        "call.digit" => data["digit"].as_str().map(str::to_owned),
        "call.ended" => data["end"]["outcome"].as_str().map(str::to_owned),
        _ => None,
    };
    shown.map(|shown| format!("  {shown}")).unwrap_or_default()
}

async fn page(client: &Client, after: u64, wait: u32) -> Result<Value, ServeError> {
    get(client, &format!("/v1/events?after={after}&wait={wait}&limit=1000")).await
}

async fn get(client: &Client, path: &str) -> Result<Value, ServeError> {
    Ok(client.v1(Method::GET, path).await?.ok()?.parse()?)
}
