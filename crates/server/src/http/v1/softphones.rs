//! Softphones: the numbers that a tenant's people register as.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problem;
use crate::access::random_hex;
use crate::app::App;
use crate::http::auth::V1Tenant;
use crate::http::body::{CALL_BODY, V1Body};
use crate::tenants::{NewSoftphone, SoftphoneError, softphone_password};

/// A softphone, without its password.
#[derive(Debug, Serialize, ToSchema)]
pub struct Softphone {
    number: String,
    remark: String,
    /// It may neither register nor take calls.
    suspended: bool,
    /// Written in `offhook.toml`, read-only here.
    from_file: bool,
}

impl From<store::Softphone> for Softphone {
    fn from(row: store::Softphone) -> Softphone {
        let store::Softphone { number, remark, suspended, from_file, .. } = row;
        Softphone { number, remark, suspended, from_file }
    }
}

/// What is absent stays as it is; of a new softphone it takes its default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSoftphone {
    /// 8 to 128 characters; a new softphone without one is given one.
    #[serde(default)]
    #[schema(min_length = 8, max_length = 128)]
    password: Option<String>,
    #[serde(default)]
    #[schema(max_length = 128)]
    remark: Option<String>,
    #[serde(default)]
    suspended: Option<bool>,
}

/// A softphone as it is now, and what a phone needs to register.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoredSoftphone {
    softphone: Softphone,
    password: String,
    /// Of its digest challenges.
    realm: String,
    /// Where it registers, `ip:port`.
    registrar: Option<String>,
}

/// The tenant's softphones, by number.
#[utoipa::path(
    get,
    path = "/v1/softphones",
    responses((status = 200, body = Vec<Softphone>), (status = 401, body = Problem), (status = 403, body = Problem))
)]
pub async fn list(State(app): State<App>, V1Tenant(tenant): V1Tenant) -> Json<Vec<Softphone>> {
    Json(app.softphones.of(tenant.id).into_iter().map(Softphone::from).collect())
}

/// Make a softphone, or change one.
#[utoipa::path(
    put,
    path = "/v1/softphones/{number}",
    params(("number" = String, Path, description = "1 to 32 digits; no other tenant's softphone has it")),
    request_body = PutSoftphone,
    responses(
        (status = 200, body = StoredSoftphone, description = "it was there"),
        (status = 201, body = StoredSoftphone, description = "it is new"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem, description = "another tenant's, or written in offhook.toml"),
        (status = 413, body = Problem),
        (status = 422, body = Problem, description = "`detail` tells what to change"),
        (status = 500, body = Problem), (status = 503, body = Problem)
    )
)]
pub async fn put(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(number): Path<String>,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<(StatusCode, Json<StoredSoftphone>), Problem> {
    let wanted: PutSoftphone = super::object(&body)?;
    let sealer = &app.access.sealer;
    let found = app.softphones.find(tenant.id, &number).map(|phone| phone.row);
    let password = match (wanted.password, &found) {
        (Some(password), _) => password,
        (None, Some(row)) => softphone_password(sealer, row).map_err(|e| refused(e.into()))?,
        (None, None) => random_hex::<8>().map_err(|error| refused(error.into()))?,
    };
    let (remark, suspended) =
        found.map_or_else(Default::default, |row| (row.remark, row.suspended));
    let remark = wanted.remark.unwrap_or(remark);
    let suspended = wanted.suspended.unwrap_or(suspended);
    let new = NewSoftphone::new(number.clone(), password.clone(), remark, suspended);
    let put = app.softphones.put(tenant.id, new.map_err(refused)?, false, sealer).await;
    let is_new = put.map_err(refused)?;
    let row = app.softphones.find(tenant.id, &number).ok_or_else(Problem::not_found)?.row;
    let stored = StoredSoftphone {
        softphone: row.into(),
        password,
        realm: app.softphones.realm().to_owned(),
        registrar: app.sip_service_address(&tenant).map(|address| address.to_string()),
    };
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(stored)))
}

/// Remove a softphone: from now on nobody registers as it.
#[utoipa::path(
    delete,
    path = "/v1/softphones/{number}",
    params(("number" = String, Path, description = "the softphone's number")),
    responses(
        (status = 204, description = "it is gone"),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is written in offhook.toml"),
        (status = 500, body = Problem)
    )
)]
pub async fn remove(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(number): Path<String>,
) -> Result<StatusCode, Problem> {
    match app.softphones.remove(tenant.id, &number).await.map_err(refused)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found()),
    }
}

fn refused(error: SoftphoneError) -> Problem {
    match error {
        SoftphoneError::Store(error) => error.into(),
        SoftphoneError::Taken => Problem::conflict("taken", error.to_string()),
        SoftphoneError::Full => Problem::conflict("full", error.to_string()),
        SoftphoneError::Number => Problem::unprocessable("number", error.to_string()),
        SoftphoneError::Password => Problem::unprocessable("password", error.to_string()),
        SoftphoneError::Remark => Problem::unprocessable("remark", error.to_string()),
        SoftphoneError::Seal(_) => Problem::unavailable("seal", &error.to_string(), 5),
    }
}
