//! The interfaces: the list of routes is the index of the product.

pub mod anonymous_call;
pub mod auth;
pub mod bidirectional_call;
pub mod body;
pub mod call_records;
pub mod call_state;
pub mod called_info;
pub mod listener;
pub mod ordering;
pub mod recording_address;
pub mod recordings;
pub mod ret_code;
pub mod softphones;
pub mod templates;
pub mod tokens;
pub mod two_legs;
pub mod v1;
pub mod voice_notification;
pub mod wire;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};

use crate::app::App;
use wire::WireError;

/// Every route of the server.
pub fn router(app: App) -> Router {
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, handlers)| router.route(path, handlers));
    router
        .merge(v1::router())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// The routes outside `/v1`, which its own document lists. A list, so that a test holds against it what each does
/// with another tenant's things.
fn routes() -> [(&'static str, MethodRouter<App>); 16] {
    [
        ("/apigovernance/api/oauth/tokenByAkSk", post(tokens::token_by_ak_sk)),
        (
            "/apiaccess/rest/voiceNotification/v2/createVoiceNotification",
            post(voice_notification::create_v2),
        ),
        (
            "/apiaccess/rest/voiceNotification/v1/createVoiceNotification",
            post(voice_notification::create_v1),
        ),
        (
            "/apiaccess/rest/voiceNotification/v1/queryVoiceNotificationRecording",
            post(recordings::query),
        ),
        ("/apiaccess/rest/cc-management/v1/importVoiceFile/upload", post(recordings::upload)),
        ("/apiaccess/rest/cc-management/v1/createVoiceTemplate", post(templates::create)),
        (
            "/apiaccess/CC-Management/v1/mobileAgent/queryCallDetailRecord",
            post(call_records::query),
        ),
        (
            "/apiaccess/CC-Management/v1/mobileAgent/getRecordingAddress",
            post(recording_address::address),
        ),
        ("/apiaccess/ccmessaging/v1/mobileagent/createcall", post(anonymous_call::create)),
        ("/apiaccess/CC-Management/v3/mobileAgent/createCall", post(bidirectional_call::create_v3)),
        ("/apiaccess/CC-Management/v1/mobileAgent/createCall", post(bidirectional_call::create_v1)),
        ("/apiaccess/CC-Management/v1/mobileAgent/queryCallState", post(call_state::query)),
        ("/apiaccess/CC-Management/v1/mobileAgent/queryPhone", post(softphones::query_v1)),
        ("/apiaccess/CC-Management/v2/mobileAgent/queryPhone", post(softphones::query_v2)),
        ("/apiaccess/CC-Management/v1/mobileAgent/getCalledInfo", post(called_info::query)),
        ("/recordings/{tenant}/{name}", get(recording_address::download)),
    ]
}

async fn not_found(uri: axum::http::Uri) -> Response {
    if is_v1(&uri) {
        v1::Problem::not_found().into_response()
    } else {
        WireError::NotFound.into_response()
    }
}

async fn wrong_method(uri: axum::http::Uri) -> Response {
    if is_v1(&uri) {
        v1::Problem::wrong_method().into_response()
    } else {
        WireError::WrongMethod.into_response()
    }
}

fn is_v1(uri: &axum::http::Uri) -> bool {
    uri.path().starts_with("/v1/")
}

#[cfg(test)]
mod isolation_tests;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
