//! Request bodies, field by field as the interfaces name them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json;

/// A createVoiceNotification v2 body. Fields that are `None` are left out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VoiceNotification {
    pub called: String,
    /// 1 to 5 entries.
    pub play_list: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_back_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_present: Option<String>,
    /// 1 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub play_times: Option<u8>,
    /// `1` (first) to `9`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
}

/// One thing to play.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Entry {
    #[serde(rename_all = "camelCase")]
    Recording { voice_id: String },
    #[serde(rename_all = "camelCase")]
    Template { template_id: String, template_params: Vec<String> },
}

impl Entry {
    pub fn recording(voice_id: impl Into<String>) -> Entry {
        Entry::Recording { voice_id: voice_id.into() }
    }

    pub fn template<P: Into<String>>(
        template_id: impl Into<String>,
        params: impl IntoIterator<Item = P>,
    ) -> Entry {
        let template_params = params.into_iter().map(Into::into).collect();
        Entry::Template { template_id: template_id.into(), template_params }
    }
}

impl VoiceNotification {
    pub fn new(called: impl Into<String>, play_list: Vec<Entry>) -> VoiceNotification {
        VoiceNotification {
            called: called.into(),
            play_list,
            call_back_url: None,
            caller_present: None,
            play_times: None,
            priority: None,
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers under string keys are JSON")
    }
}

/// A file to upload.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The bytes of a WAV or MP3 file.
    pub file: Vec<u8>,
    /// `wav` or `mp3`.
    pub file_type: String,
    /// The name that `voiceFileName` can call it by.
    pub name: Option<String>,
    /// Where the result of the review goes.
    pub call_back_url: Option<String>,
}

impl Recording {
    pub fn wav(file: Vec<u8>) -> Recording {
        Recording { file, file_type: "wav".to_owned(), name: None, call_back_url: None }
    }

    pub fn to_json(&self) -> String {
        let mut body = json!({
            "locale": "en_US",
            "voiceType": "3",
            "fileType": self.file_type,
            "fileInfo": STANDARD.encode(&self.file),
        });
        if let Some(name) = &self.name {
            body["voiceFileName"] = json!(name);
        }
        if let Some(url) = &self.call_back_url {
            body["callBackUrl"] = json!(url);
        }
        body.to_string()
    }
}

/// A spoken text with variables such as `${TXT_8}`, `${NUM_6}`, `${DATE}`, `${TIME}`.
#[derive(Clone, Debug)]
pub struct Template {
    /// Letters and digits, at most 50.
    pub name: String,
    /// At most 500 bytes; must not begin with a variable.
    pub text: String,
}

impl Template {
    pub fn to_json(&self) -> String {
        json!({
            "name": self.name,
            "scene": "3",
            "voicecontent": { "textcontent": self.text },
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_has_the_fields_of_the_page() {
        let mut wanted = VoiceNotification::new("8899", vec![Entry::recording("100001")]);
        wanted.play_times = Some(1);
        wanted.play_list.push(Entry::template("t", ["100", "200"]));
        assert_eq!(
            wanted.to_json(),
            r#"{"called":"8899","playList":[{"voiceId":"100001"},{"templateId":"t","templateParams":["100","200"]}],"playTimes":1}"#
        );
    }
}
