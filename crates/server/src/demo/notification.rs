//! Two voice notifications: a recording, and a text that is spoken with its values.

use std::path::PathBuf;

use engine::vocabulary::Serial;
use serde::Serialize;
use serde_json::Value;
use sim::CallReport;
use sim::client::{Entry, Template, VoiceNotification};

use super::{ACCESS_CODE, CALLED, PATIENCE, Stage, TENANT, heard, watch};
use crate::serve::ServeError;

/// What the uploaded recording says; the engine inside the binary speaks it.
const RECORDED: &str = "This is a recording. Your order has left our house.";
/// What the template says.
const TEMPLATE: &str = "Your code is ${NUM_4}. It is good until ${TIME} on ${DATE}.";
const PARAMETERS: [&str; 3] = ["4821", "18:30", "2026/12/24"];

/// What became of one call, as three witnesses saw it: the record, the phone, the callback receiver.
#[derive(Debug, Serialize)]
pub struct Call {
    kind: &'static str,
    serial: String,
    outcome: String,
    rounds: u64,
    /// One id per clip that the phone heard, else `unknown`.
    recognised: Vec<String>,
    callbacks: Callbacks,
    /// From the request's first byte to the arrival of the INVITE at the carrier.
    invite_ms: f64,
    #[serde(skip)]
    expected: Vec<String>,
    #[serde(skip)]
    audio: PathBuf,
}

#[derive(Debug, Serialize)]
pub struct Callbacks {
    pub delivered: u64,
    pub attempts: u64,
}

impl Call {
    pub fn is_right(&self) -> bool {
        self.outcome == "played"
            && self.recognised == self.expected
            && self.callbacks.delivered == 1
    }
}

pub async fn calls(stage: &Stage) -> Result<Vec<Call>, ServeError> {
    let recording = stage.upload().await?;
    let template = stage.create_template().await?;
    let plan = [
        ("a recording", Entry::recording(&recording), recording.clone()),
        (
            "a template, spoken with its values",
            Entry::template(&template, PARAMETERS),
            template.clone(),
        ),
    ];
    let mut placed = Vec::new();
    for (what, entry, id) in plan {
        stage.say(&format!("\nA voice notification to {CALLED}: {what}."));
        placed.push(stage.notify(vec![entry], vec![id]).await?);
    }
    stage.recognise(placed).await
}

impl Stage {
    /// Speaks a text, uploads it as a recording, and gives its id.
    async fn upload(&self) -> Result<String, ServeError> {
        let speech = heard::speak(&self.running.app, RECORDED).await?;
        Ok(self.client.upload_recording(&sim::client::Recording::wav(speech)).await?)
    }

    async fn create_template(&self) -> Result<String, ServeError> {
        let template = Template { name: "code".into(), text: TEMPLATE.into() };
        Ok(self.client.create_voice_template(&template).await?)
    }

    /// One call, told while it happens.
    async fn notify(
        &self,
        playlist: Vec<Entry>,
        expected: Vec<String>,
    ) -> Result<(Call, CallReport), ServeError> {
        let mut wanted = VoiceNotification::new(CALLED, playlist);
        wanted.caller_present = Some(ACCESS_CODE.into());
        wanted.call_back_url = Some(self.receiver.url());
        let after = watch::last_position(&self.client).await?;
        let reply = self.client.create_voice_notification(wanted.to_json(), None).await?;
        let serial = reply.call_serial_no()?;
        self.say(&format!("  accepted: {}", reply.body));
        watch::until_ended(&self.client, &serial, after, |line| self.say(line)).await?;

        let report = self.report(&serial).await?;
        let delivered = self.receiver.callbacks().received(|callback| {
            callback.field("callSerialNo").as_deref() == Some(serial.as_str())
        });
        let callback = tokio::time::timeout(PATIENCE, delivered).await?;
        self.say(&format!("  callback: {}", String::from_utf8_lossy(&callback.body)));
        let (record, callbacks) = watch::settled(&self.client, &serial).await?;
        let call = Call {
            kind: "voice_notification",
            outcome: outcome(&record["end"]["outcome"]).to_owned(),
            rounds: record["end"]["rounds"].as_u64().unwrap_or(0),
            recognised: Vec::new(),
            callbacks,
            invite_ms: report.invite_at.since(reply.sent_at).as_secs_f64() * 1000.0,
            expected,
            audio: self.keep(&serial, &report)?,
            serial,
        };
        Ok((call, report))
    }

    /// Matches what each phone heard against the clips of all calls, and many that none played.
    async fn recognise(&self, placed: Vec<(Call, CallReport)>) -> Result<Vec<Call>, ServeError> {
        let app = &self.running.app;
        let mut library = heard::Library::default();
        for (call, _) in &placed {
            library.add_clips_of(app, TENANT, serial_number(&call.serial)?).await?;
        }
        let recogniser = library.recogniser();
        let mut calls = Vec::new();
        self.say("");
        for (mut call, report) in placed {
            call.recognised = heard::recognise(&recogniser, &report)?;
            let heard = call.recognised.join(", ");
            self.say(&format!(
                "In call {} the phone heard {heard}: {}",
                call.serial,
                call.audio.display()
            ));
            calls.push(call);
        }
        Ok(calls)
    }

    fn keep(&self, serial: &str, report: &CallReport) -> Result<PathBuf, ServeError> {
        let path = self.directory.join(format!("{serial}.wav"));
        let heard = report.heard.as_ref().ok_or("the phone kept no audio")?;
        std::fs::write(&path, heard.to_wav())?;
        Ok(path)
    }
}

/// The outcome in the words of the summary.
fn outcome(outcome: &Value) -> &str {
    match outcome.as_str() {
        Some(known @ ("played" | "cut_short" | "no_answer" | "refused" | "unknown")) => known,
        Some("interrupted") => "unknown",
        Some(_) | None => "failed",
    }
}

fn serial_number(text: &str) -> Result<Serial, ServeError> {
    Ok(Serial(text.parse()?))
}
