//! Long-lived API keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use crate::access::IssueError;
use crate::app::App;
use crate::http::auth::V1Tenant;

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
    let issued = app.access.create_api_key(tenant.id).await.map_err(|error| match error {
        IssueError::Store(error) => Problem::from(error),
        IssueError::Random(error) => Problem::unavailable("random", &error.to_string(), 5),
    })?;
    Ok((StatusCode::CREATED, Json(ApiKey { key: issued.token })))
}
