//! Whether the process lives, and whether it takes calls.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use crate::app::App;
use crate::storage::{Lack, Room};

/// A server that takes calls.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `enough`, or `low`: the disk is nearly full and somebody should make room.
    disk: &'static str,
    /// What is left, where it is little.
    #[serde(skip_serializing_if = "Option::is_none")]
    free_mb: Option<u64>,
}

/// Alive: the process answers.
#[utoipa::path(get, path = "/healthz", security(()), responses((status = 200, description = "alive")))]
pub async fn healthy() -> StatusCode {
    StatusCode::OK
}

/// Ready: new calls are taken. 503 while the server starts, drains, or cannot store (`stopping`), has
/// no room on its disk (`storage_full`), or waits for its database (`storage_away`).
#[utoipa::path(
    get,
    path = "/readyz",
    security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Problem))
)]
pub async fn ready(State(app): State<App>) -> Result<Json<Readiness>, Problem> {
    if !app.calls.is_ready() {
        return Err(Problem::stopping());
    }
    let storage = app.calls.storage();
    match storage.lack() {
        Some(Lack::Room { free_mb }) => Err(Problem::unavailable(
            "storage_full",
            &format!("{free_mb} MiB are left on the disk: no call is accepted until there is room"),
            30,
        )),
        Some(Lack::Database) => Err(Problem::unavailable(
            "storage_away",
            "the database does not answer: no call is accepted until it does",
            5,
        )),
        None => Ok(Json(match storage.room() {
            Room::Enough => Readiness { disk: "enough", free_mb: None },
            Room::Low { free_mb } | Room::Full { free_mb } => {
                Readiness { disk: "low", free_mb: Some(free_mb) }
            }
        })),
    }
}
