//! A stretch of a call that must not be recorded: what is said there is no part of the recording, as the rules for payment
//! cards want it.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use engine::RecordingSwitch;
use engine::vocabulary::TenantId;

use super::{Problem, calls};
use crate::app::App;
use crate::calls::SwitchError;
use crate::http::auth::V1Tenant;

/// Keep what is said from here on out of the recording. The file has silence of the same length there, and keys that
/// are pressed stand in no event, record or timeline. To pause what is paused succeeds too.
#[utoipa::path(
    post,
    path = "/v1/calls/{serial}/recording/pause",
    params(("serial" = String, Path, description = "the call's serial number")),
    responses(
        (status = 204, description = "from now on nothing is recorded; the event log says so"),
        (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the call is over, or it is not recorded (`not_recording`)"),
        (status = 503, body = Problem, description = "whether it is paused is not known: ask nobody for a card")
    )
)]
pub async fn pause(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(serial): Path<String>,
) -> Result<StatusCode, Problem> {
    switch(&app, tenant.id, &serial, RecordingSwitch::Pause).await
}

/// Record again. To resume what is not paused succeeds too.
#[utoipa::path(
    post,
    path = "/v1/calls/{serial}/recording/resume",
    params(("serial" = String, Path, description = "the call's serial number")),
    responses(
        (status = 204, description = "it is recorded again; the event log says so"),
        (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the call is over, or it is not recorded (`not_recording`)"),
        (status = 503, body = Problem)
    )
)]
pub async fn resume(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
    Path(serial): Path<String>,
) -> Result<StatusCode, Problem> {
    switch(&app, tenant.id, &serial, RecordingSwitch::Resume).await
}

async fn switch(
    app: &App,
    tenant: TenantId,
    serial: &str,
    switch: RecordingSwitch,
) -> Result<StatusCode, Problem> {
    let serial = calls::parse_serial(serial)?;
    app.calls.switch_recording(tenant, serial, switch).await.map_err(|error| match error {
        SwitchError::NotFound => Problem::not_found(),
        SwitchError::AlreadyOver => Problem::conflict("already_over", "the call is over already"),
        SwitchError::NotRecording => Problem::conflict(
            "not_recording",
            "the call is not recorded, or not yet: recording begins when it is answered, with two parties when they hear \
             each other",
        ),
        SwitchError::Unavailable => Problem::stopping(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}
