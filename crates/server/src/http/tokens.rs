//! tokenByAkSk (contract §1): an access token for an app key and its secret.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use serde::Serialize;

use super::body::{ApiBody, CALL_BODY};
use super::wire::{Reply, WireError, WrongType, header_text, object, text_field};
use crate::access::{same, sha256};
use crate::app::{App, unix_ms};

const X_TOKEN_EXPIRE: HeaderName = HeaderName::from_static("x-token-expire");
/// Seconds that a token lives where the client names none, and at the most.
const DEFAULT_LIFETIME_S: u32 = 600;
const MAX_LIFETIME_S: u32 = 3600;

/// The reply, in the printed order of its keys; every value is a string.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_token: String,
    apply_type: &'static str,
    create_time: String,
    expires: String,
    scope: &'static str,
    app_key: String,
    #[serde(rename = "UserID")]
    user_id: &'static str,
}

/// `POST /apigovernance/api/oauth/tokenByAkSk`
pub async fn token_by_ak_sk(
    State(app): State<App>,
    headers: HeaderMap,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<impl axum::response::IntoResponse, WireError> {
    let object = object(&body)?;
    let field = |name: &str| {
        let missing =
            || WireError::BadRequest(format!("{name} must be a string that is not empty"));
        text_field(&object, name).map_err(|WrongType| missing())?.ok_or_else(missing)
    };
    let (app_key, app_secret) = (field("app_key")?, field("app_secret")?);
    let lifetime_s = lifetime(&headers)?;
    let given = sha256(app_secret.as_bytes());
    let tenant = app.tenants.by_app_key(&app_key);
    // The same answer for an unknown key and for a wrong secret: keys cannot be found out.
    let tenant = tenant.filter(|tenant| same(&tenant.app_secret_sha256, &given));
    let tenant = tenant.ok_or(WireError::WrongSecret)?;
    if tenant.suspended {
        return Err(WireError::Unauthorised("the account is suspended; contact the operator"));
    }
    let now_ms = unix_ms();
    let issued = app.access.issue_bearer(tenant.id, lifetime_s, now_ms).await.map_err(|error| {
        tracing::error!(%error, "token not issued");
        WireError::Failed("the token could not be stored; try again")
    })?;
    Ok(Reply(Answer {
        access_token: issued.token,
        apply_type: "Bearer",
        create_time: (now_ms / 1000).to_string(),
        expires: lifetime_s.to_string(),
        scope: "default",
        app_key,
        user_id: "Anonymous",
    }))
}

/// Whole seconds; more than the maximum counts as the maximum, and the reply says so.
fn lifetime(headers: &HeaderMap) -> Result<u32, WireError> {
    if !headers.contains_key(&X_TOKEN_EXPIRE) {
        return Ok(DEFAULT_LIFETIME_S);
    }
    let seconds = header_text(headers, &X_TOKEN_EXPIRE).and_then(|text| text.parse::<u64>().ok());
    match seconds {
        Some(0) | None => Err(WireError::BadRequest(format!(
            "X-Token-Expire must be 1 to {MAX_LIFETIME_S} seconds"
        ))),
        Some(seconds) => Ok(seconds.min(MAX_LIFETIME_S.into()) as u32),
    }
}
