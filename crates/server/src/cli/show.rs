//! Replies of `/v1` for a terminal.

use std::io::{self, Write};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Prints one reply.
pub type Printer = fn(&Value, &mut (dyn Write + Send)) -> io::Result<()>;

pub fn document(reply: &Value, out: &mut (dyn Write + Send)) -> io::Result<()> {
    writeln!(out, "{reply:#}")
}

pub fn done(_: &Value, out: &mut (dyn Write + Send)) -> io::Result<()> {
    writeln!(out, "accepted")
}

/// One line per call.
pub fn calls(reply: &Value, out: &mut (dyn Write + Send)) -> io::Result<()> {
    for call in list(&reply["calls"]) {
        writeln!(
            out,
            "{}  {}  {} -> {}  {}",
            text(&call["serial"]),
            moment(&call["created_ms"]),
            text(&call["caller"]),
            text(&call["called"]),
            text(if call["state"] == "ended" { &call["end"]["outcome"] } else { &call["state"] }),
        )?;
    }
    writeln!(out, "{} in all", reply["total"])
}

/// One line per softphone.
pub fn softphones(reply: &Value, out: &mut (dyn Write + Send)) -> io::Result<()> {
    for phone in list(reply) {
        let suspended = if phone["suspended"] == true { "suspended  " } else { "" };
        writeln!(out, "{}  {suspended}{}", text(&phone["number"]), text(&phone["remark"]))?;
    }
    Ok(())
}

/// One line per entry, with the time since the first.
pub fn timeline(reply: &Value, out: &mut (dyn Write + Send)) -> io::Result<()> {
    let lines = list(&reply["lines"]);
    let start = lines.first().and_then(|line| line["at_ms"].as_i64()).unwrap_or(0);
    writeln!(out, "call {} ({})", text(&reply["serial"]), text(&reply["state"]))?;
    if let Some(first) = lines.first() {
        writeln!(out, "from {}", moment(&first["at_ms"]))?;
    }
    for line in lines {
        let after_ms = line["at_ms"].as_i64().unwrap_or(start) - start;
        let seconds = after_ms as f64 / 1000.0;
        let (source, what) = (text(&line["source"]), text(&line["what"]));
        let detail = detail(what, &line["data"]);
        writeln!(out, "{seconds:>+9.3} s  {source:<8}  {what:<20}  {detail}")?;
    }
    Ok(())
}

/// What fits on a line; `--json` has the rest.
fn detail(what: &str, data: &Value) -> String {
    match what {
        "sip" => {
            let arrow = if data["direction"] == "sent" { "→" } else { "←" };
            let first = text(&data["message"]).lines().next().unwrap_or_default().to_owned();
            format!("{arrow} {} {}  {first}", text(&data["transport"]), text(&data["remote"]))
        }
        "call.ended" => {
            let end = &data["end"];
            let (outcome, reason) = (text(&end["outcome"]), text(&end["release_reason"]));
            format!("{outcome}, releaseReason {reason}, {} ms", end["talk_duration_ms"])
        }
        "callback.attempt" => match data["status"].as_u64() {
            Some(status) => format!("HTTP {status} from {}", text(&data["url"])),
            None => format!("{} ({})", text(&data["error"]), text(&data["url"])),
        },
        _ => data.to_string(),
    }
}

/// A line per callback, and one per try below it.
pub fn callbacks(reply: &Value, out: &mut (dyn Write + Send)) -> io::Result<()> {
    for callback in list(reply) {
        writeln!(
            out,
            "{}  {}  {} after {} tries  {}",
            callback["position"],
            text(&callback["serial"]),
            text(&callback["status"]),
            callback["attempts"],
            text(&callback["url"]),
        )?;
        for attempt in list(&callback["tries"]) {
            let outcome = match attempt["status"].as_u64() {
                Some(status) => format!("HTTP {status}"),
                None => text(&attempt["error"]).to_owned(),
            };
            let at = moment(&attempt["at_ms"]);
            writeln!(out, "    {at}  {} ms  {outcome}", attempt["duration_ms"])?;
        }
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// RFC 3339 in UTC.
fn moment(ms: &Value) -> String {
    let nanos = ms.as_i64().map(|ms| i128::from(ms) * 1_000_000);
    let time = nanos.and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
