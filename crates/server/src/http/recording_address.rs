//! getRecordingAddress (contract §6) and the download that it leads to: an address that is signed,
//! and void after five minutes.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use engine::cdr::Cdr;
use engine::vocabulary::{Serial, TenantId};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::listener::Scheme;
use super::wire::{Reply, WireError, WrongType, object, text_field};
use crate::app::{App, unix_ms};

/// Seconds that an address is good for.
const VALID_S: i64 = 300;
/// Bytes of a serial number in a request (contract §6, retCode 12).
const MAX_SERIAL: usize = 50;
/// Bytes read from the file at once.
const CHUNK: usize = 64 * 1024;

/// `retCode` is a number here, unlike everywhere else.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ret_code: u8,
    ret_msg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Address>,
}

#[derive(Serialize)]
struct Address {
    url: String,
}

/// `POST /apiaccess/CC-Management/v1/mobileAgent/getRecordingAddress`
pub async fn address(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    scheme: Scheme,
    headers: HeaderMap,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let object = object(&body)?;
    let refused = |ret_code, ret_msg| Ok(Reply(Answer { ret_code, ret_msg, result: None }));
    let serial = match text_field(&object, "callSerialNo") {
        Ok(Some(text)) if text.len() <= MAX_SERIAL => text,
        Ok(_) | Err(WrongType) => {
            return refused(12, "callSerialNo must be a string of at most 50 characters");
        }
    };
    let recorded = match serial.parse::<u64>() {
        Ok(serial) => recorded_call(&app, tenant.id, Serial(serial)).await?,
        Err(_) => None,
    };
    let Some(cdr) = recorded else {
        return refused(5, "there is no recorded call with this callSerialNo");
    };
    if tokio::fs::metadata(file(&app, &cdr)).await.is_err() {
        return refused(5, "the recording of this call is no longer there");
    }
    let expires = unix_ms() / 1000 + VALID_S;
    let link = link(tenant.id, cdr.intent.serial, expires);
    let signature = app.access.sealer.sign_link(&link);
    let base = base_url(&app, scheme, &headers);
    let url = format!("{base}{link}&signature={signature}");
    Ok(Reply(Answer { ret_code: 0, ret_msg: "success", result: Some(Address { url }) }))
}

#[derive(Deserialize)]
pub struct Signed {
    expires: i64,
    signature: String,
}

/// `GET /recordings/{tenant}/{serial}?expires=…&signature=…`
pub async fn download(
    State(app): State<App>,
    Path((tenant, name)): Path<(String, String)>,
    signed: Result<Query<Signed>, QueryRejection>,
) -> Result<Response, WireError> {
    let unsigned = |_| WireError::BadRequest("the address has no expires and signature".to_owned());
    let Query(signed) = signed.map_err(unsigned)?;
    let tenant = tenant.parse().ok().map(TenantId).ok_or(WireError::NotFound)?;
    let serial = name.strip_suffix(".wav").and_then(|serial| serial.parse().ok()).map(Serial);
    let serial = serial.ok_or(WireError::NotFound)?;
    let good =
        app.access.sealer.verify_link(&link(tenant, serial, signed.expires), &signed.signature);
    if !good || signed.expires < unix_ms() / 1000 {
        return Err(WireError::Forbidden);
    }
    let cdr = recorded_call(&app, tenant, serial).await?.ok_or(WireError::NotFound)?;
    let file = File::open(file(&app, &cdr)).await.map_err(|_| WireError::NotFound)?;
    let length = file.metadata().await.map_err(|_| WireError::NotFound)?.len();
    let headers = [
        (header::CONTENT_TYPE, "audio/wav".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{serial}.wav\"")),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    let body = Body::new(FileBody { file, left: length });
    Ok((StatusCode::OK, headers, body).into_response())
}

/// What is signed: the path and the time, so that neither can be changed.
fn link(tenant: TenantId, serial: Serial, expires: i64) -> String {
    format!("/recordings/{}/{serial}.wav?expires={expires}", tenant.0)
}

fn base_url(app: &App, scheme: Scheme, headers: &HeaderMap) -> String {
    if let Some(base) = &app.config.http.public_url {
        return base.trim_end_matches('/').to_owned();
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.map_or_else(|| app.config.http.bind.to_string(), str::to_owned);
    format!("{}://{host}", scheme.name())
}

async fn recorded_call(
    app: &App,
    tenant: TenantId,
    serial: Serial,
) -> Result<Option<Cdr>, WireError> {
    let cdr = app.store.cdr(serial).await.map_err(|error| {
        tracing::error!(%error, "call record not read");
        WireError::Failed("the call record could not be read; try again")
    })?;
    Ok(cdr.filter(|cdr| cdr.intent.tenant == tenant && cdr.recorded))
}

fn file(app: &App, cdr: &Cdr) -> PathBuf {
    app.config.data_directory.join(crate::recordings::path(&cdr.intent))
}

/// A file as it lies on disk, read as fast as the client takes it.
struct FileBody {
    file: File,
    left: u64,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK))];
        let mut buffer = ReadBuf::new(&mut chunk);
        match ready!(Pin::new(&mut self.file).poll_read(context, &mut buffer)) {
            Err(error) => Poll::Ready(Some(Err(error))),
            Ok(()) => {
                let filled = buffer.filled().len();
                if filled == 0 {
                    let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Some(Err(cut)));
                }
                self.left -= filled as u64;
                chunk.truncate(filled);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(chunk)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests;
