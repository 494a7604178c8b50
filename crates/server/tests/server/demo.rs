//! `offhook demo --json`, as its users run it.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

#[test]
fn the_demo_shows_two_calls_and_says_that_all_is_right() {
    let directory = TempDir::new().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_offhook"))
        .args(["demo", "--json"])
        .current_dir(directory.path())
        .output()
        .expect("the demo runs");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let last = stdout.lines().last().expect("a line");
    let summary: Value = serde_json::from_str(last).expect("JSON");
    assert!(output.status.success(), "{summary}");
    assert_eq!(summary["ok"], true);
    let calls = summary["calls"].as_array().expect("calls");
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call["kind"], "voice_notification");
        assert_eq!(call["outcome"], "played");
        assert_eq!(call["rounds"], 1);
        assert_eq!(call["callbacks"]["delivered"], 1);
        assert!(call["invite_ms"].as_f64().expect("a number") > 0.0);
        let heard = call["recognised"].as_array().expect("ids");
        assert_eq!(heard.len(), 1);
        assert_ne!(heard[0], "unknown");
        let serial = call["serial"].as_str().expect("a serial");
        let wav = directory.path().join("offhook-demo").join(format!("{serial}.wav"));
        assert!(wav.exists(), "what the phone heard is left");
    }
    assert_ne!(calls[0]["recognised"], calls[1]["recognised"]);
}
