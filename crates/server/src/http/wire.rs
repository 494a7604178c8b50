//! The wire habits of `/apiaccess`: bodies, statuses, and fields that clients send in either type.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// Contract: `/apiaccess` replies with this very content type.
pub const JSON_UTF8: &str = "application/json;charset=UTF-8";

/// A reply of `/apiaccess`: 200 with `body`, its keys in the order of the struct.
pub struct Reply<T>(pub T);

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self.0)
    }
}

/// A status other than 200 on `/apiaccess` (contract §1, decisions.md "Wire").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// 400: the body is no JSON object, or a header is wrong.
    BadRequest(String),
    /// 401: suspended, or the service is switched off.
    Unauthorised(&'static str),
    /// 403: no token, or one that is wrong, expired or another tenant's.
    Forbidden,
    /// 403 of `tokenByAkSk`: the key or the secret is wrong; which of them is not said.
    WrongSecret,
    /// 404: no such path.
    NotFound,
    /// 405: the path takes another method.
    WrongMethod,
    /// 413: more than the interface takes, in bytes.
    TooLarge(usize),
    /// 422: an `Idempotency-Key` came again with another body.
    KeyReused,
    /// 500: the server cannot do it now.
    Failed(&'static str),
    /// 503: it does so much of it that there is no place for more.
    Busy(&'static str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    error_code: &'a str,
    exception_info: &'a str,
}

impl IntoResponse for WireError {
    fn into_response(self) -> Response {
        let (status, error_code, text) = match &self {
            WireError::BadRequest(what) => (StatusCode::BAD_REQUEST, "0", what.clone()),
            WireError::Unauthorised(why) => (StatusCode::UNAUTHORIZED, "0", (*why).to_owned()),
            WireError::Forbidden => (
                StatusCode::FORBIDDEN,
                "1",
                "auth fail! illegal or expired token info. please apply or refresh the access token from the server!"
                    .to_owned(),
            ),
            WireError::WrongSecret => {
                (StatusCode::FORBIDDEN, "1", "auth fail! app_key or app_secret is wrong.".to_owned())
            }
            WireError::NotFound => {
                (StatusCode::NOT_FOUND, "0", "no such interface; check the request path".to_owned())
            }
            WireError::WrongMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "0",
                "this interface takes another method; the pages name it".to_owned(),
            ),
            WireError::TooLarge(limit) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "0", format!("the body is larger than {limit} bytes"))
            }
            WireError::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "0",
                "this Idempotency-Key came before with another body; take a new key".to_owned(),
            ),
            WireError::Failed(why) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "0", (*why).to_owned())
            }
            WireError::Busy(why) => (StatusCode::SERVICE_UNAVAILABLE, "0", (*why).to_owned()),
        };
        let mut response = json(status, &ErrorBody { error_code, exception_info: &text });
        if let WireError::Failed(_) | WireError::Busy(_) = self {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_SOON);
        }
        response
    }
}

/// A reply that says when to come again, in seconds.
pub fn later(mut response: Response, retry_after_s: u32) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
    response
}

/// Seconds after which a client may try again when the server stops or is busy.
const RETRY_SOON: header::HeaderValue = header::HeaderValue::from_static("5");

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_vec(body).expect("replies have string keys and finite numbers");
    (status, [(header::CONTENT_TYPE, JSON_UTF8)], text).into_response()
}

/// The JSON object of a request. Clients send any content type; the body decides.
pub fn object(body: &Bytes) -> Result<Map<String, Value>, WireError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(WireError::BadRequest("the body must be a JSON object".to_owned())),
        // serde_json names line and column and never quotes the body.
        Err(error) => Err(WireError::BadRequest(format!("the body is no JSON: {error}"))),
    }
}

/// A header's value as text; absent, or not ASCII, is `None`.
pub fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A field that is a string by its table and sometimes a number on the wire. `Ok(None)`: absent,
/// null or empty. `Err`: another type, or a number that is no whole one.
pub fn text_field(object: &Map<String, Value>, name: &str) -> Result<Option<String>, WrongType> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => {
            Ok(Some(number.to_string()))
        }
        Some(Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(WrongType)
        }
    }
}

/// A whole number, as a JSON number (`1`, `1.0`) or a string of it. `Ok(None)`: absent, null or "".
pub fn number_field(object: &Map<String, Value>, name: &str) -> Result<Option<i64>, WrongType> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| WrongType),
        Some(Value::Number(number)) => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15);
            number.as_i64().or(whole.map(|n| n as i64)).map(Some).ok_or(WrongType)
        }
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Err(WrongType),
    }
}

/// The field is there and cannot be read as what its table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongType;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object_of(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn text_comes_as_string_or_number() {
        let body =
            object_of(json!({"a": "8899", "b": 8899, "c": null, "d": "", "e": 1.5, "f": true}));
        assert_eq!(text_field(&body, "a"), Ok(Some("8899".into())));
        assert_eq!(text_field(&body, "b"), Ok(Some("8899".into())));
        for absent in ["c", "d", "missing"] {
            assert_eq!(text_field(&body, absent), Ok(None), "{absent}");
        }
        for wrong in ["e", "f"] {
            assert_eq!(text_field(&body, wrong), Err(WrongType), "{wrong}");
        }
    }

    #[test]
    fn numbers_come_as_number_or_string() {
        let body = object_of(
            json!({"a": 2, "b": "2", "c": 2.0, "d": " 2 ", "e": 2.5, "f": "two", "g": [], "h": 1e300}),
        );
        for good in ["a", "b", "c", "d"] {
            assert_eq!(number_field(&body, good), Ok(Some(2)), "{good}");
        }
        for wrong in ["e", "f", "g", "h"] {
            assert_eq!(number_field(&body, wrong), Err(WrongType), "{wrong}");
        }
        assert_eq!(number_field(&body, "missing"), Ok(None));
    }

    #[test]
    fn a_body_that_is_no_object_names_the_position() {
        let broken = Bytes::from_static(b"{\"called\": \"1\"\n \"x\": 2}");
        let Err(WireError::BadRequest(what)) = object(&broken) else { panic!("accepted") };
        assert!(what.contains("line 2"), "{what}");
        assert!(object(&Bytes::from_static(b"[1]")).is_err());
        assert!(object(&Bytes::from_static(b"")).is_err());
        assert!(object(&Bytes::from("[".repeat(10_000))).is_err());
    }
}
