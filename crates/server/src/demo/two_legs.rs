//! A bidirectional and an anonymous call: each party plays a tone of its own, and has to have heard the
//! other's.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sim::{AppPhone, AppPhoneConfig, Behaviour, CallReport, Softphone, SoftphoneConfig};

use super::{ACCESS_CODE, PATIENCE, SOFTPHONE, SOFTPHONE_PASSWORD, Stage, watch};
use crate::serve::ServeError;

/// What the caller's phone plays, Hz.
const CALLERS_TONE: u16 = 440;
/// What the called phone plays; it stands in its number (docs/simulated-carrier.md).
const CALLED_TONE: u16 = 880;
const CALLED: &str = "10210880";

/// How long the two talk.
const TALK: Duration = Duration::from_secs(3);
/// Of which each has to hear the other for so long.
const LEAST: Duration = Duration::from_secs(1);

/// What became of one call, as the two phones and the record saw it.
#[derive(Debug, Serialize)]
pub struct Call {
    kind: &'static str,
    serial: String,
    heard: Heard,
    /// `releaseReason`.
    reason: String,
    /// Both parties, one per channel.
    recording: Option<PathBuf>,
}

/// Whether each party heard the other's tone for a second.
#[derive(Debug, Serialize)]
struct Heard {
    caller: bool,
    callee: bool,
}

impl Call {
    pub fn is_right(&self) -> bool {
        let both = self.heard.caller && self.heard.callee;
        // The caller hangs up.
        both && self.reason == "1" && self.recording.is_some()
    }
}

/// The customer manager's softphone is called first, then the customer.
pub async fn bidirectional_call(stage: &Stage) -> Result<Call, ServeError> {
    let server = stage.sip_address()?;
    stage.say(&format!(
        "\nA bidirectional call: softphone {SOFTPHONE}, registered here, is connected with {CALLED}."
    ));
    let config = SoftphoneConfig::new(server, SOFTPHONE, SOFTPHONE_PASSWORD, 1);
    let phone = Softphone::start(config).await?;
    if let Err(failure) = tokio::time::timeout(PATIENCE, phone.registered()).await? {
        return Err(format!("the softphone was not let in: {}", failure.reason).into());
    }
    phone.behave(Behaviour::Tone {
        ring: Duration::from_millis(200),
        hz: CALLERS_TONE,
        talk: Some(TALK),
    });
    let after = watch::last_position(&stage.client).await?;
    let body = json!({ "softPhone": SOFTPHONE, "called": CALLED, "callData": "a demo" });
    let reply = stage.client.create_call(body.to_string(), None).await?;
    let serial = reply.call_serial_no()?;
    stage.say(&format!("  accepted: {}", reply.body));
    watch::until_ended(&stage.client, &serial, after, |line| stage.say(line)).await?;
    let ended = phone.call_ended(|_| true);
    let caller = tokio::time::timeout(PATIENCE, ended).await?;
    phone.shut_down().await;
    stage.judge("bidirectional_call", serial, &caller).await
}

/// An application gets a code and dials it.
pub async fn anonymous_call(stage: &Stage) -> Result<Call, ServeError> {
    stage.say(&format!("\nAn anonymous call: an application is connected with {CALLED}."));
    let after = watch::last_position(&stage.client).await?;
    let body = json!({ "called": CALLED, "callData": "a demo", "callerPresent": ACCESS_CODE });
    let reply = stage.client.create_anonymous_call(body.to_string(), None).await?;
    stage.say(&format!("  accepted: {}", reply.body));
    let created: Value = reply.ok()?.parse()?;
    let told = |name: &str| {
        let value = created["resultData"][name].as_str();
        value.map(str::to_owned).ok_or_else(|| format!("{name} is missing: {}", reply.body))
    };
    let serial = told("callSerialNo")?;
    let (service, code) = (told("sipServiceAddress")?.parse()?, told("accesscode")?);
    let app = AppPhone::start(AppPhoneConfig::default()).await?;
    let mut phone = app.dial(service, &code).await?;
    // What fails shows in what was heard and in the record.
    if phone.until_answered().await.is_ok() && phone.tone_for(CALLERS_TONE, TALK).await.is_ok() {
        let _ = phone.hang_up().await;
    }
    let caller = phone.end().await;
    watch::until_ended(&stage.client, &serial, after, |line| stage.say(line)).await?;
    app.shut_down().await;
    stage.judge("anonymous_call", serial, &caller).await
}

impl Stage {
    /// What each party heard, why the call ended, and its recording.
    async fn judge(
        &self,
        kind: &'static str,
        serial: String,
        caller: &CallReport,
    ) -> Result<Call, ServeError> {
        let called = self.report(&serial).await?;
        let heard = |report: &CallReport, hz: u16| {
            let heard = report.heard.as_ref();
            heard.is_some_and(|heard| heard.tone_time(f32::from(hz)) >= LEAST)
        };
        let heard =
            Heard { caller: heard(caller, CALLED_TONE), callee: heard(&called, CALLERS_TONE) };
        let record = watch::record(&self.client, &serial).await?;
        let reason = record["end"]["release_reason"].as_str().unwrap_or_default().to_owned();
        let recording = self.fetch_recording(&serial).await?;
        let left = recording.as_ref().map(|path| path.display().to_string());
        self.say(&format!(
            "  the caller heard the called party: {}; the called party heard the caller: {}; \
             both are recorded in {}",
            heard.caller,
            heard.callee,
            left.unwrap_or_else(|| "no file".into()),
        ));
        Ok(Call { kind, serial, heard, reason, recording })
    }

    /// By the signed address that getRecordingAddress gives.
    async fn fetch_recording(&self, serial: &str) -> Result<Option<PathBuf>, ServeError> {
        let reply: Value = self.client.recording_address(serial).await?.ok()?.parse()?;
        let Some(url) = reply["result"]["url"].as_str() else { return Ok(None) };
        let http = reqwest::Client::builder().no_proxy().build()?;
        let file = http.get(url).send().await?.error_for_status()?.bytes().await?;
        let path = self.directory.join(format!("{serial}-recording.wav"));
        std::fs::write(&path, &file)?;
        // A file that does not open is none.
        Ok(media::Clip::decode(&file).is_ok().then_some(path))
    }
}
