//! Whether the process lives, and whether it takes calls.

use axum::extract::State;
use axum::http::StatusCode;

use super::Problem;
use crate::app::App;

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", security(()), responses((status = 200, description = "alive")))]
pub async fn healthy() -> StatusCode {
    StatusCode::OK
}

/// Ready: new calls are taken. 503 while the server starts, drains, or cannot store.
#[utoipa::path(
    get,
    path = "/readyz",
    security(()),
    responses((status = 200, description = "new calls are taken"), (status = 503, body = Problem))
)]
pub async fn ready(State(app): State<App>) -> Result<StatusCode, Problem> {
    if app.calls.is_ready() { Ok(StatusCode::OK) } else { Err(Problem::stopping()) }
}
