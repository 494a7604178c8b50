//! `GET /metrics`: how the process is, in the text format of Prometheus. Nothing in it is about one
//! tenant or one call.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Problem;
use crate::app::App;
use crate::http::auth::V1Operator;

const TEXT_FORMAT: &str = "text/plain; version=0.0.4";

/// Gauges and counters of the process; needs the operator's key (`[access] operator_key`).
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "Prometheus text format"),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)
    )
)]
pub async fn metrics(State(app): State<App>, _: V1Operator) -> Result<impl IntoResponse, Problem> {
    let counts = app.calls.counts().await.ok_or_else(Problem::stopping)?;
    let (load, store) = (app.admission.load(), app.store.counters());
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let gauges = [
        ("tasks", "tasks that are alive", tasks as u64),
        ("calls", "calls that were started and are not over", counts.calls as u64),
        ("legs", "legs with a port or a dialog", counts.legs as u64),
        ("accepting", "requests that are being accepted", load.accepting.into()),
        ("dialling", "legs whose INVITE is being made", load.dialling.into()),
        ("shedding", "1 while new requests are refused for want of time", load.is_shedding.into()),
    ];
    let counters = [
        ("sheddings", "times that requests began to be refused for want of time", load.sheddings),
        ("requests_refused", "requests refused for want of time", load.refused),
        ("commits", "transactions committed", store.commits),
        ("writes", "rows and changes in them", store.writes),
        ("timelines_dropped", "timelines that were too large to keep", store.timelines_dropped),
        ("sip_messages_received", "SIP messages received", counts.sip.messages_received),
        ("sip_messages_sent", "SIP messages sent", counts.sip.messages_sent),
        ("sip_malformed", "messages that are not SIP", counts.sip.malformed),
        ("sip_panics", "legs lost to a broken invariant", counts.sip.panics),
    ];
    let mut text = String::new();
    for (name, what, value) in gauges {
        put(&mut text, name, "", "gauge", what, value);
    }
    for (name, what, value) in counters {
        put(&mut text, name, "_total", "counter", what, value);
    }
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text))
}

fn put(text: &mut String, name: &str, suffix: &str, kind: &str, what: &str, value: u64) {
    let name = format!("offhook_{name}{suffix}");
    writeln!(text, "# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {value}")
        .expect("a string takes all that is written to it");
}
