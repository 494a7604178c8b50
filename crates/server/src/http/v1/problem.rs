//! Errors of `/v1`: problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::StoreError;
use utoipa::ToSchema;

use crate::calls::{Quota, Refusal};
use crate::http::ordering::{BUSY_RETRY_S, BUSY_TEXT, quota_text};

/// An error: what it is (`code`, stable), and what to do about it (`detail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: String,
    detail: String,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

impl Problem {
    fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub fn unauthorised() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorised",
            "send Authorization: Bearer with a token of tokenByAkSk or an API key that is valid",
        )
    }

    pub fn suspended() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "suspended", "the tenant is suspended")
    }

    pub fn tenant_only() -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "tenant_only",
            "the operator's key opens tenants' settings only; use a tenant's token",
        )
    }

    pub fn operator_only() -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "operator_only", "this needs the operator's key")
    }

    /// Also for what belongs to another tenant: whether it exists is not said.
    pub fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here for this tenant")
    }

    pub fn wrong_method() -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong_method",
            "/v1/openapi.json lists the methods of each path",
        )
    }

    pub fn too_large(limit: usize) -> Problem {
        let detail = format!("the body is larger than {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    pub fn conflict(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, code, detail)
    }

    /// The request is understood and cannot be done as it stands.
    pub fn unprocessable(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// The tenant has used up what it may; more is there after `retry_after_s`.
    pub fn quota(code: &str, detail: String, retry_after_s: u32) -> Problem {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail);
        Problem { retry_after_s: Some(retry_after_s), ..problem }
    }

    pub fn unavailable(code: &str, detail: &str, retry_after_s: u32) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        Problem { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// The server itself has no time.
    pub fn busy() -> Problem {
        Problem::unavailable("busy", BUSY_TEXT, BUSY_RETRY_S)
    }

    pub fn stopping() -> Problem {
        Problem::unavailable("stopping", "the server takes no calls now", 5)
    }
}

/// Why a call is not started.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::QueueFull { retry_after_s } => {
                Problem::unavailable("queue_full", "too many calls wait", retry_after_s)
            }
            Refusal::DailyLimit { quota, retry_after_s } => {
                let code = match quota {
                    Quota::Calls => "calls_per_day",
                    Quota::Minutes => "minutes_per_day",
                };
                Problem::quota(code, quota_text(quota, retry_after_s), retry_after_s)
            }
            Refusal::Duplicate => {
                Problem::conflict("duplicate", "a call with this caller and called is not finished")
            }
            Refusal::BalanceUsedUp => {
                Problem::unprocessable("balance", "the tenant's minutes are used up")
            }
            Refusal::KeyReused => Problem::unprocessable(
                "key_reused",
                "this Idempotency-Key came before with another body",
            ),
            Refusal::CodeTaken => {
                Problem::unavailable("code_taken", "no free code was found; try again", 1)
            }
            Refusal::Stopping => Problem::stopping(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        tracing::error!(%error, "the store did not answer");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "storage",
            "the storage did not answer; the server's log says why",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem has string keys only");
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, kind, body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
