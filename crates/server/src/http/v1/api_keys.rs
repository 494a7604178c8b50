//! Long-lived API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problem;
use crate::access::IssueError;
use crate::app::App;
use crate::http::auth::V1Tenant;
use crate::http::body::{CALL_BODY, V1Body};

/// A key that does not expire. It is shown once: the server keeps its SHA-256.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKey {
    key: String,
}

/// Make an API key for this tenant.
#[utoipa::path(
    post,
    path = "/v1/api_keys",
    responses((status = 201, body = ApiKey), (status = 401, body = Problem), (status = 500, body = Problem))
)]
pub async fn create(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
) -> Result<(StatusCode, Json<ApiKey>), Problem> {
    let issued = app.access.create_api_key(tenant.id).await?;
    Ok((StatusCode::CREATED, Json(ApiKey { key: issued.token })))
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Store(error) => Problem::from(error),
            IssueError::Random(error) => Problem::unavailable("random", &error.to_string(), 5),
        }
    }
}

/// The key or token that is to be void.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    key: String,
}

/// Void an API key or a token of this tenant, at once.
#[utoipa::path(
    post,
    path = "/v1/api_keys/revoke",
    request_body = Revoked,
    responses(
        (status = 204, description = "it opens nothing any more"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem)
    )
)]
pub async fn revoke(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<StatusCode, Problem> {
    let revoked: Revoked = super::object(&body)?;
    let found = app.access.revoke(tenant.id, &revoked.key).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found()) }
}
