//! sipp, which shares no line with us, calls the carrier.

use sim::{Carrier, CarrierConfig};
use tokio::process::Command;

use crate::caller::LIMIT;

#[tokio::test]
async fn sipp_takes_the_carrier_for_a_carrier() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    let to = carrier.udp_address().to_string();
    let arguments =
        ["-sn", "uac", "-s", "8899", "-i", "127.0.0.1", "-m", "20", "-r", "20", "-nostdin", &to];
    let sipp = Command::new("sipp").args(arguments).env("TERM", "dumb").kill_on_drop(true).output();
    let output = tokio::time::timeout(LIMIT, sipp).await.expect("sipp ends by itself");
    let output = output.expect("sipp runs: apt-get install sip-tester");
    // 0: every call succeeded; 1: at least one failed.
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let all = carrier.totals_reached(|totals| totals.ended == 20);
    let totals = tokio::time::timeout(LIMIT, all).await.expect("every call ends here too");
    assert_eq!((totals.answered, totals.invites, totals.repeated_call_ids), (20, 20, 0));
}
