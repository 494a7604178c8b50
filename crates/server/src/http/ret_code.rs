//! The reply of createCall and createVoiceNotification: `retMsg`, `retCode` and the call's serial number.

use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::wire::Reply;

/// In the printed order of its keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<S> {
    ret_msg: String,
    ret_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Created<S>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created<S> {
    call_serial_no: S,
}

/// The call is on disk. Its serial number is a text, or a number where the interface's table has one.
pub fn created(call_serial_no: impl Serialize) -> Response {
    let (ret_msg, ret_code) = ("Created successfully.".to_owned(), "0".to_owned());
    Reply(Answer { ret_msg, ret_code, result: Some(Created { call_serial_no }) }).into_response()
}

/// Refused: HTTP 200, and a code that tells what to change.
pub fn refused(code: u32, ret_msg: String) -> Response {
    let ret_code = code.to_string();
    Reply(Answer::<String> { ret_msg, ret_code, result: None }).into_response()
}
