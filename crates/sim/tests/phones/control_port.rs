//! The simulated network as another process sees it: over its control port.

use crate::caller::{Caller, LIMIT};
use sim::control::{clear, fetch_report};
use sim::{Moment, Sim, SimOptions};

#[tokio::test]
async fn another_process_reads_calls_and_callbacks_and_clears_them() {
    let before = Moment::now();
    let options =
        SimOptions { control: Some("127.0.0.1:0".parse().unwrap()), ..SimOptions::default() };
    let sim = Sim::start(&options).await.unwrap();
    let addresses = sim.addresses().clone();
    let control = addresses.control.unwrap();

    let caller = Caller::start().await;
    let mut call = caller.dial(addresses.sip_udp, "1001").await;
    call.answered().await.unwrap();
    assert_eq!(fetch_report(control).await.unwrap().live_calls, 1);
    call.hang_up().await;
    let ended = sim.carrier().call_ended(|report| report.call_id == call.call_id);
    tokio::time::timeout(LIMIT, ended).await.expect("the call ends");
    let body = r#"{"callSerialNo":"130","releaseReason":"1"}"#;
    let url = addresses.callbacks.unwrap();
    let reply = http().post(url).header("webhook-id", "e1").body(body).send().await.unwrap();
    assert_eq!(reply.status().as_u16(), 200);

    let report = fetch_report(control).await.unwrap();
    assert_eq!((report.totals.calls, report.totals.ended, report.live_calls), (1, 1, 0));
    let seen = &report.calls[0];
    assert_eq!((seen.call_id.as_str(), seen.to_user.as_str()), (call.call_id.as_str(), "1001"));
    assert!(before < seen.invite_at && seen.invite_at < seen.ended_at && seen.ended_at < report.at);
    let callback = &report.callbacks[0];
    assert_eq!(
        (callback.serial.as_deref(), callback.event_id.as_deref()),
        (Some("130"), Some("e1"))
    );
    assert_eq!(callback.release_reason.as_deref(), Some("1"));
    assert!(report.cpu_seconds > 0.0);

    let short = http().get(format!("http://{control}/report?calls=false")).send().await.unwrap();
    let short: sim::control::Report = short.json().await.unwrap();
    assert_eq!((short.calls.len(), short.totals.calls), (0, 1));

    clear(control).await.unwrap();
    let report = fetch_report(control).await.unwrap();
    assert_eq!((report.calls.len(), report.callbacks.len(), report.totals.calls), (0, 0, 0));
    sim.shut_down().await;
    assert!(fetch_report(control).await.is_err(), "the port is closed");
}

fn http() -> reqwest::Client {
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(redirects).build().unwrap()
}
