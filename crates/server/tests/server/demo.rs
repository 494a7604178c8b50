//! `offhook demo --json`, as its users run it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// The last line of its output, and whether it ended well.
fn demo(arguments: &[&str], cut: bool, directory: &Path) -> (Value, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offhook"));
    command.args(["demo", "--json"]).args(arguments).current_dir(directory);
    if cut {
        command.env("OFFHOOK_CUT_BRIDGES", "1");
    }
    let output = command.output().expect("the demo runs");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let last = stdout.lines().last().expect("a line");
    (serde_json::from_str(last).expect("JSON"), output.status.success())
}

#[test]
fn the_demo_shows_notifications_and_says_that_all_is_right() {
    let directory = TempDir::new().expect("a directory");
    let (summary, success) = demo(&["--only", "voice-notification"], false, directory.path());
    assert!(success, "{summary}");
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

#[test]
fn the_demo_shows_that_two_parties_hear_each_other() {
    for (only, kind) in [("two-leg", "bidirectional_call"), ("anonymous", "anonymous_call")] {
        let directory = TempDir::new().expect("a directory");
        let (summary, success) = demo(&["--only", only], false, directory.path());
        assert!(success && summary["ok"] == true, "{summary}");
        let calls = summary["calls"].as_array().expect("calls");
        assert_eq!((calls.len(), &calls[0]["kind"]), (1, &Value::from(kind)));
        assert_eq!(calls[0]["reason"], "1");
        assert_eq!(calls[0]["heard"], serde_json::json!({ "caller": true, "callee": true }));
        let recording = calls[0]["recording"].as_str().expect("a recording");
        let file = std::fs::read(directory.path().join(recording)).expect("a file");
        assert!(::media::Clip::decode(&file).is_ok(), "it opens");
    }
}

#[test]
fn the_demo_notices_a_bridge_that_carries_nothing() {
    let directory = TempDir::new().expect("a directory");
    let (summary, success) = demo(&["--only", "two-leg"], true, directory.path());
    assert!(!success && summary["ok"] == false, "{summary}");
    assert_eq!(summary["calls"][0]["heard"]["caller"], false);
}
