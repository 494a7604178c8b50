//! Recordings that are played: upload (importVoiceFile/upload, contract §5.4b) and
//! queryVoiceNotificationRecording (§5.3).

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::events::{Event, EventKind, RecordingReview};
use engine::writes::Write;
use serde::Serialize;
use serde_json::{Map, Value};
use store::{VoiceRecording, VoiceStatus};
use tokio::sync::OwnedSemaphorePermit;

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY, UPLOAD_BODY};
use super::wire::{Reply, WireError, WrongType, number_field, object, text_field};
use crate::access::hex;
use crate::app::{App, unix_ms};
use crate::callbacks::trust::parse_callback_url;
use crate::tenants::{Review, Tenant};
use crate::voices::{Upload, VoiceError, WireStatus as _};

/// The page of the upload allows files of 8 MB.
const MAX_FILE: usize = 8 * 1024 * 1024;
const MAX_NAME: usize = 64;

/// A place among the uploads that are in memory at the same time; waited for before the body is read.
pub struct UploadSlot {
    _held: OwnedSemaphorePermit,
}

impl FromRequestParts<App> for UploadSlot {
    type Rejection = WireError;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, WireError> {
        let slot = app.voices.uploads.clone().acquire_owned().await;
        slot.map(|held| UploadSlot { _held: held })
            .map_err(|_| WireError::Failed("the server takes no uploads now"))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Uploaded {
    return_code: &'static str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<String>,
}

/// `POST /apiaccess/rest/cc-management/v1/importVoiceFile/upload`
pub async fn upload(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    _slot: UploadSlot,
    ApiBody(body): ApiBody<UPLOAD_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let object = object(&body)?;
    drop(body);
    let answer =
        |return_code, description, file_id| Reply(Uploaded { return_code, description, file_id });
    let upload = match parse_upload(&object, &tenant) {
        Ok(upload) => upload,
        Err(description) => return Ok(answer("1", description, None)),
    };
    drop(object);
    let now_ms = unix_ms();
    match app.voices.add_recording(tenant.id, upload, now_ms).await {
        Ok(recording) => {
            if recording.status == VoiceStatus::Approved {
                report_review(&app, &recording).await?;
            }
            let text = "File uploaded successfully.".to_owned();
            Ok(answer("0", text, Some(recording.voice_id)))
        }
        Err(error @ (VoiceError::Audio(_) | VoiceError::NameTaken | VoiceError::Full)) => {
            Ok(answer("1", error.to_string(), None))
        }
        Err(error) => {
            tracing::error!(%error, "upload not stored");
            Err(WireError::Failed("the recording could not be stored; try again"))
        }
    }
}

/// Writes the event of a review's end; it is delivered where the upload named a `callBackUrl`.
pub async fn report_review(app: &App, recording: &VoiceRecording) -> Result<(), WireError> {
    let event = Event {
        tenant: recording.tenant,
        serial: None,
        at_ms: unix_ms(),
        kind: EventKind::RecordingReviewed {
            review: RecordingReview {
                voice_id: recording.voice_id.clone(),
                approved: recording.status == VoiceStatus::Approved,
                comment: recording.comment.clone(),
                file_name: wire_file_name(recording),
            },
        },
    };
    let write = Write::Event { event, callback: recording.callback_url.clone() };
    app.store.submit(vec![write]).await.map_err(|error| {
        tracing::error!(%error, "review not logged");
        WireError::Failed("the review could not be stored; try again")
    })?;
    app.doorbell.send_modify(|count| *count += 1);
    Ok(())
}

/// The file as the interfaces name it: `Y:/IVR/<vdn>/voice/0/<hash>_<ms>.wav`.
fn wire_file_name(recording: &VoiceRecording) -> String {
    format!(
        "Y:/IVR/{}/voice/0/{}_{}.wav",
        recording.tenant.0,
        hex(&recording.sha256[..4]),
        recording.uploaded_ms
    )
}

/// `locale` is read by nobody here; it is accepted in any form.
fn parse_upload(body: &Map<String, Value>, tenant: &Tenant) -> Result<Upload, String> {
    let text = |name: &'static str| {
        text_field(body, name).map_err(|WrongType| format!("{name} must be a string"))
    };
    let scene = text("voiceType")?.unwrap_or_else(|| "3".to_owned());
    if !matches!(scene.as_str(), "0" | "1" | "2" | "3") {
        return Err("voiceType must be 0 to 3; 3 is voice notification".to_owned());
    }
    if let Some(file_type) = text("fileType")?
        && !["wav", "mp3"].iter().any(|known| file_type.eq_ignore_ascii_case(known))
    {
        return Err("fileType must be wav or mp3".to_owned());
    }
    let mut name = text("voiceFileName")?;
    if name.is_none() {
        name = text("name")?;
    }
    if name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME) {
        return Err(format!("voiceFileName must have at most {MAX_NAME} characters"));
    }
    let callback_url = match text("callBackUrl")? {
        None => None,
        Some(given) => {
            let url = parse_callback_url(&given).map_err(|error| error.to_string())?;
            tenant.settings.trust.permits(&url).map_err(|error| error.to_string())?;
            Some(url.into())
        }
    };
    let submitted = match body.get("submit") {
        None | Some(Value::Null | Value::Bool(true)) => true,
        Some(Value::Bool(false)) => false,
        Some(Value::String(text)) if text == "true" || text == "false" => text == "true",
        Some(_) => return Err("submit must be true or false".to_owned()),
    };
    // Encoders for mail break their lines.
    let mut encoded = text("fileInfo")?.ok_or("fileInfo is missing")?;
    encoded.retain(|character| !character.is_ascii_whitespace());
    let audio =
        STANDARD.decode(encoded).map_err(|error| format!("fileInfo is no Base64: {error}"))?;
    if audio.len() > MAX_FILE {
        return Err("the file is larger than 8 MB".to_owned());
    }
    let status = match (submitted, tenant.settings.review) {
        (false, _) => VoiceStatus::Uploaded,
        (true, Review::Manual) => VoiceStatus::Submitted,
        (true, Review::Automatic) => VoiceStatus::Approved,
    };
    Ok(Upload { name, scene, status, account: Some(tenant.app_key.clone()), callback_url, audio })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    return_code: &'static str,
    description: &'static str,
    voice_info: Vec<VoiceInfo>,
}

#[derive(Serialize)]
struct VoiceInfo {
    tenant_id: String,
    /// Ms since 1970.
    uploaddate: i64,
    voice_id: String,
    name: String,
    voicecontent: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "tenantSpaceName")]
    tenant_space_name: String,
    scene: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uploadaccount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auditaccount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auditdate: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    auditcomments: String,
}

/// `POST /apiaccess/rest/voiceNotification/v1/queryVoiceNotificationRecording`: approved ones only.
pub async fn query(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let object = object(&body)?;
    let page = |name: &'static str, default: i64| match number_field(&object, name) {
        Ok(given) => Ok(given.unwrap_or(default)),
        Err(WrongType) => Err(WireError::BadRequest(format!("{name} must be a whole number"))),
    };
    let (offset, limit) = (page("offset", 0)?, page("limit", 100)?);
    let (Ok(offset), Ok(limit @ 1..)) = (u32::try_from(offset), u32::try_from(limit.min(100)))
    else {
        return Err(WireError::BadRequest("offset must be 0 or more, limit 1 or more".to_owned()));
    };
    let voice_info = match number_field(&object, "type") {
        Ok(None | Some(0)) => recordings(&app, &tenant, offset, limit).await,
        Ok(Some(2)) => templates(&app, &tenant, offset, limit).await,
        Ok(Some(_)) | Err(WrongType) => {
            return Ok(Reply(Listed {
                return_code: "1",
                description: "type must be 0 (audio) or 2 (text)",
                voice_info: Vec::new(),
            }));
        }
    };
    let voice_info = voice_info.map_err(|error| {
        tracing::error!(%error, "recordings not read");
        WireError::Failed("the recordings could not be read; try again")
    })?;
    Ok(Reply(Listed { return_code: "0", description: "success", voice_info }))
}

async fn recordings(
    app: &App,
    tenant: &Tenant,
    offset: u32,
    limit: u32,
) -> Result<Vec<VoiceInfo>, store::StoreError> {
    let approved = Some(VoiceStatus::Approved);
    let (_, page) = app.store.voice_recordings(tenant.id, approved, offset, limit).await?;
    let info = |recording: VoiceRecording| VoiceInfo {
        tenant_id: tenant.id.0.to_string(),
        uploaddate: recording.uploaded_ms,
        voicecontent: wire_file_name(&recording),
        status: recording.status_code(),
        voice_id: recording.voice_id,
        name: recording.name,
        kind: "0",
        tenant_space_name: tenant.name.clone(),
        scene: recording.scene,
        uploadaccount: recording.upload_account,
        auditaccount: recording.audit_account,
        auditdate: recording.audited_ms,
        auditcomments: recording.comment,
    };
    Ok(page.into_iter().map(info).collect())
}

/// Texts need no review: what createVoiceTemplate takes is approved.
async fn templates(
    app: &App,
    tenant: &Tenant,
    offset: u32,
    limit: u32,
) -> Result<Vec<VoiceInfo>, store::StoreError> {
    let (_, page) = app.store.voice_templates(tenant.id, offset, limit).await?;
    let info = |template: store::VoiceTemplate| VoiceInfo {
        tenant_id: tenant.id.0.to_string(),
        uploaddate: template.created_ms,
        voice_id: template.template_id,
        name: template.name,
        voicecontent: template.text,
        kind: "2",
        tenant_space_name: tenant.name.clone(),
        scene: template.scene,
        status: "2",
        uploadaccount: None,
        auditaccount: None,
        auditdate: None,
        auditcomments: String::new(),
    };
    Ok(page.into_iter().map(info).collect())
}

#[cfg(test)]
mod tests;
