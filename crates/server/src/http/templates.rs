//! createVoiceTemplate (contract §5.4b): a text with variables that is spoken.

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::wire::{Reply, WireError, WrongType, number_field, object, text_field};
use crate::app::{App, unix_ms};
use crate::speech::config::can_speak;
use crate::speech::template::Template;
use crate::tenants::Tenant;
use crate::voices::{NewTemplate, VoiceError};

const MAX_NAME: usize = 50;
const DEFAULT_VOICE: &str = "cn_kefuman_common";
const VOICES: [&str; 5] = [
    DEFAULT_VOICE,
    "cn_chengshuxing_common",
    "cn_roumeiqian_common",
    "cn_ziranzhen_common",
    "cn_tianmeiru_common",
];

/// The shape of the reply was not recovered (contract §8); it is that of the upload beside it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    return_code: &'static str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<String>,
}

/// `POST /apiaccess/rest/cc-management/v1/createVoiceTemplate`
pub async fn create(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let object = object(&body)?;
    let answer = |return_code, description, template_id| {
        Reply(Answer { return_code, description, template_id })
    };
    let template = match parse(&object, &tenant) {
        Ok(template) => template,
        Err(description) => return Ok(answer("1", description, None)),
    };
    match app.voices.add_template(tenant.id, template, unix_ms()).await {
        Ok(template) => {
            Ok(answer("0", "Created successfully.".to_owned(), Some(template.template_id)))
        }
        Err(error @ VoiceError::Full) => Ok(answer("1", error.to_string(), None)),
        Err(error) => {
            tracing::error!(%error, "template not stored");
            Err(WireError::Failed("the template could not be stored; try again"))
        }
    }
}

fn parse(body: &Map<String, Value>, tenant: &Tenant) -> Result<NewTemplate, String> {
    let text = |name: &'static str| {
        text_field(body, name).map_err(|WrongType| format!("{name} must be a string"))
    };
    let number = |name: &'static str, default: i64, least: i64, most: i64| {
        let given = number_field(body, name).ok().map(|given| given.unwrap_or(default));
        let fitting = given.filter(|given| (least..=most).contains(given));
        fitting.ok_or_else(|| format!("{name} must be a whole number from {least} to {most}"))
    };
    let name = text("name")?.ok_or("name is missing")?;
    if name.chars().count() > MAX_NAME || !name.chars().all(char::is_alphanumeric) {
        return Err(format!(
            "name must be letters, digits or Chinese characters, at most {MAX_NAME}"
        ));
    }
    if text("scene")?.is_some_and(|scene| scene != "3") {
        return Err("scene must be 3, voice notification".to_owned());
    }
    let speed = number("speed", 0, -200, 500)? as i32;
    let volume = number("volume", 50, 0, 100)? as u32;
    let voice_name = text("voicename")?.unwrap_or_else(|| DEFAULT_VOICE.to_owned());
    if !VOICES.contains(&voice_name.as_str()) {
        return Err(format!("voicename must be one of {}", VOICES.join(", ")));
    }
    let content = body.get("voicecontent").and_then(Value::as_object);
    let content = content.ok_or("voicecontent must be an object with textcontent")?;
    let written =
        text_field(content, "textcontent").map_err(|WrongType| "textcontent must be a string")?;
    let written = written.ok_or("textcontent is missing")?;
    let template: Template = written.parse().map_err(|error| format!("textcontent: {error}"))?;
    can_speak(&template.fixed_text(), &tenant.speech)
        .map_err(|error| format!("textcontent: {error}"))?;
    Ok(NewTemplate { name, speed, volume, voice_name, text: template })
}

#[cfg(test)]
mod tests;
