//! getRecordingAddress (contract §6) and the download that it leads to: an address that is signed,
//! and void after five minutes. It names a WAV file; with `.opus` in place of `.wav` the same recording comes as Ogg Opus.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use engine::cdr::Cdr;
use engine::vocabulary::{Serial, TenantId};
use serde::{Deserialize, Serialize};

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::listener::Scheme;
use super::wire::{Reply, WireError, WrongType, object, text_field};
use crate::app::{App, unix_ms};
use crate::recordings::OpenError;

/// Seconds that an address is good for.
const VALID_S: i64 = 300;
/// Bytes of a serial number in a request (contract §6, retCode 12).
const MAX_SERIAL: usize = 50;

/// `retCode` is a number here, unlike everywhere else.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ret_code: u8,
    ret_msg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Address>,
}

#[derive(Serialize)]
struct Address {
    url: String,
}

/// `POST /apiaccess/CC-Management/v1/mobileAgent/getRecordingAddress`
pub async fn address(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    scheme: Scheme,
    headers: HeaderMap,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let object = object(&body)?;
    let refused = |ret_code, ret_msg| Ok(Reply(Answer { ret_code, ret_msg, result: None }));
    let serial = match text_field(&object, "callSerialNo") {
        Ok(Some(text)) if text.len() <= MAX_SERIAL => text,
        Ok(_) | Err(WrongType) => {
            return refused(12, "callSerialNo must be a string of at most 50 characters");
        }
    };
    let recorded = match serial.parse::<u64>() {
        Ok(serial) => recorded_call(&app, tenant.id, Serial(serial)).await?,
        Err(_) => None,
    };
    let Some(cdr) = recorded else {
        return refused(5, "there is no recorded call with this callSerialNo");
    };
    if !app.vault.has(&cdr.intent).await {
        return refused(5, "the recording of this call is no longer there");
    }
    let expires = unix_ms() / 1000 + VALID_S;
    let link = link(tenant.id, cdr.intent.serial, expires);
    let signature = app.access.sealer.sign_link(&link);
    let base = base_url(&app, scheme, &headers);
    let url = format!("{base}{link}&signature={signature}");
    Ok(Reply(Answer { ret_code: 0, ret_msg: "success", result: Some(Address { url }) }))
}

#[derive(Deserialize)]
pub struct Signed {
    expires: i64,
    signature: String,
}

/// `GET /recordings/{tenant}/{serial}.wav?expires=…&signature=…`, or `.opus`: the signature is for the recording in either
/// form.
pub async fn download(
    State(app): State<App>,
    Path((tenant, name)): Path<(String, String)>,
    signed: Result<Query<Signed>, QueryRejection>,
) -> Result<Response, WireError> {
    let unsigned = |_| WireError::BadRequest("the address has no expires and signature".to_owned());
    let Query(signed) = signed.map_err(unsigned)?;
    let tenant = tenant.parse().ok().map(TenantId).ok_or(WireError::NotFound)?;
    let (serial, form) = name.rsplit_once('.').ok_or(WireError::NotFound)?;
    if !matches!(form, "wav" | "opus") {
        return Err(WireError::NotFound);
    }
    let serial = serial.parse().map(Serial).map_err(|_| WireError::NotFound)?;
    let good =
        app.access.sealer.verify_link(&link(tenant, serial, signed.expires), &signed.signature);
    if !good || signed.expires < unix_ms() / 1000 {
        return Err(WireError::Forbidden);
    }
    let cdr = recorded_call(&app, tenant, serial).await?.ok_or(WireError::NotFound)?;
    let recording = app.vault.open(&cdr).await.map_err(|error| match error {
        OpenError::Missing => WireError::NotFound,
        error => {
            tracing::error!(%serial, %error, "a recording cannot be opened");
            WireError::Failed("the recording cannot be opened; the server's log says why")
        }
    })?;
    let (kind, body) = match form {
        "opus" => {
            let place = app.vault.opus.enter();
            let place = place.ok_or(WireError::Busy(
                "too many recordings are downloaded as Opus now; try again, or take the WAV file",
            ))?;
            ("audio/ogg", Body::new(app.vault.opus.body(recording, place)))
        }
        _ => ("audio/wav", Body::new(recording)),
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{serial}.{form}\"")),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((StatusCode::OK, headers, body).into_response())
}

/// What is signed: the path and the time, so that neither can be changed.
fn link(tenant: TenantId, serial: Serial, expires: i64) -> String {
    format!("/recordings/{}/{serial}.wav?expires={expires}", tenant.0)
}

fn base_url(app: &App, scheme: Scheme, headers: &HeaderMap) -> String {
    if let Some(base) = &app.config.http.public_url {
        return base.trim_end_matches('/').to_owned();
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.map_or_else(|| app.config.http.bind.to_string(), str::to_owned);
    format!("{}://{host}", scheme.name())
}

async fn recorded_call(
    app: &App,
    tenant: TenantId,
    serial: Serial,
) -> Result<Option<Cdr>, WireError> {
    let cdr = app.store.cdr(tenant, serial).await.map_err(|error| {
        tracing::error!(%error, "call record not read");
        WireError::Failed("the call record could not be read; try again")
    })?;
    Ok(cdr.filter(|cdr| cdr.recorded))
}

#[cfg(test)]
mod tests;
