//! Bodies with a limit in bytes and in time, read before a handler sees them.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use http_body_util::LengthLimitError;

use super::v1::Problem;
use super::wire::WireError;

/// The limit of every interface that starts or asks for something.
pub const CALL_BODY: usize = 64 * 1024;
/// The page of the upload allows files of 8 MB; Base64 makes them a third larger.
pub const UPLOAD_BODY: usize = 12 * 1024 * 1024;
/// A body that comes more slowly is given up: 30 s, and longer for what is large.
fn body_timeout(limit: usize) -> Duration {
    Duration::from_secs(30 + (limit / SLOWEST_BYTES_PER_S) as u64)
}

const SLOWEST_BYTES_PER_S: usize = 128 * 1024;

/// A body of at most `LIMIT` bytes, refused in the words of `/apiaccess`.
pub struct ApiBody<const LIMIT: usize>(pub Bytes);

/// A body of at most `LIMIT` bytes, refused in the words of `/v1`.
pub struct V1Body<const LIMIT: usize>(pub Bytes);

impl<S: Sync, const LIMIT: usize> FromRequest<S> for ApiBody<LIMIT> {
    type Rejection = WireError;

    async fn from_request(request: Request, _: &S) -> Result<Self, WireError> {
        match read(request, LIMIT).await {
            Ok(bytes) => Ok(ApiBody(bytes)),
            Err(NotRead::TooLarge) => Err(WireError::TooLarge(LIMIT)),
            Err(NotRead::Broken) => {
                Err(WireError::BadRequest("the body did not arrive whole in time".to_owned()))
            }
        }
    }
}

impl<S: Sync, const LIMIT: usize> FromRequest<S> for V1Body<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        match read(request, LIMIT).await {
            Ok(bytes) => Ok(V1Body(bytes)),
            Err(NotRead::TooLarge) => Err(Problem::too_large(LIMIT)),
            Err(NotRead::Broken) => {
                Err(Problem::bad_request("the body did not arrive whole in time"))
            }
        }
    }
}

enum NotRead {
    TooLarge,
    Broken,
}

async fn read(request: Request, limit: usize) -> Result<Bytes, NotRead> {
    let declared = request.headers().get(axum::http::header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(NotRead::TooLarge);
    }
    match tokio::time::timeout(body_timeout(limit), to_bytes(request.into_body(), limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // Without a declared length only reading on shows that it is too large.
        Ok(Err(error)) if is_too_large(&error) => Err(NotRead::TooLarge),
        Ok(Err(_)) | Err(_) => Err(NotRead::Broken),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<LengthLimitError>())
}
