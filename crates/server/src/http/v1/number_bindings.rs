//! Bindings of ITA calls: which two parties reach each other by calling which virtual number.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problem;
use crate::app::{App, unix_ms};
use crate::http::auth::V1Tenant;
use crate::http::body::{CALL_BODY, V1Body};
use crate::tenants::{BindError, Pair, is_number};

/// A binding that is live: a call to `number` from either party reaches the other.
#[derive(Debug, Serialize, ToSchema)]
pub struct NumberBinding {
    number: String,
    a: String,
    b: String,
    /// When it is over, ms since 1970.
    expires_ms: i64,
}

impl From<store::NumberBinding> for NumberBinding {
    fn from(row: store::NumberBinding) -> NumberBinding {
        let store::NumberBinding { x, party_a, party_b, expires_ms, tenant: _ } = row;
        NumberBinding { number: x, a: party_a, b: party_b, expires_ms }
    }
}

/// The numbers of two parties.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Parties {
    a: String,
    b: String,
}

/// The tenant's live bindings, by their parties.
#[utoipa::path(
    get,
    path = "/v1/number_bindings",
    responses((status = 200, body = Vec<NumberBinding>), (status = 401, body = Problem), (status = 403, body = Problem))
)]
pub async fn list(State(app): State<App>, V1Tenant(tenant): V1Tenant) -> Json<Vec<NumberBinding>> {
    Json(app.bindings.of(tenant.id, unix_ms()).into_iter().map(NumberBinding::from).collect())
}

/// Bind two parties to the first virtual number of the tenant that neither has; where they are bound
/// already, that binding holds for its whole lifetime again.
#[utoipa::path(
    post,
    path = "/v1/number_bindings",
    request_body = Parties,
    responses(
        (status = 201, body = NumberBinding),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem, description = "no virtual number is free for the two, theirs is no longer one, or there is no room for another binding"),
        (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 500, body = Problem)
    )
)]
pub async fn create(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<(StatusCode, Json<NumberBinding>), Problem> {
    let parties = parties(&body)?;
    let pair = Pair { tenant: tenant.id, a: &parties.a, b: &parties.b };
    let (ita, now_ms) = (&tenant.settings.ita, unix_ms());
    let expires_ms = now_ms + i64::from(ita.binding_lifetime_s) * 1000;
    match app.bindings.bind(pair, &ita.numbers, expires_ms, now_ms).await {
        Ok(bound) => Ok((StatusCode::CREATED, Json(bound.into()))),
        Err(BindError::Store(error)) => Err(error.into()),
        Err(error @ BindError::Exhausted) => Err(Problem::conflict("exhausted", error.to_string())),
        Err(error @ BindError::Full) => Err(Problem::conflict("full", error.to_string())),
        Err(error @ BindError::Inconsistent) => {
            Err(Problem::conflict("inconsistent", error.to_string()))
        }
    }
}

/// End the binding of two parties: calls to its number reach nobody from now on.
#[utoipa::path(
    post,
    path = "/v1/number_bindings/end",
    request_body = Parties,
    responses(
        (status = 204, description = "it is over"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem), (status = 500, body = Problem)
    )
)]
pub async fn end(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<StatusCode, Problem> {
    let parties = parties(&body)?;
    let pair = Pair { tenant: tenant.id, a: &parties.a, b: &parties.b };
    match app.bindings.end(pair, unix_ms()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found()),
    }
}

fn parties(body: &[u8]) -> Result<Parties, Problem> {
    let parties: Parties = super::object(body)?;
    let plain = |number: &str| is_number(number.strip_prefix('+').unwrap_or(number));
    if plain(&parties.a) && plain(&parties.b) && parties.a != parties.b {
        Ok(parties)
    } else {
        let what = "a and b must be two different numbers of 1 to 32 digits";
        Err(Problem::unprocessable("parties", what))
    }
}
