//! Who asks: the Bearer token of a request, as `/apiaccess` and as `/v1` answer for it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, header};

use super::v1::Problem;
use super::wire::{WireError, header_text};
use crate::access::Rights;
use crate::app::{App, unix_ms};
use crate::tenants::Tenant;

pub const X_APP_KEY: HeaderName = HeaderName::from_static("x-app-key");

/// The tenant of a request to `/apiaccess`: token good, `X-APP-Key` fitting where it is there,
/// not suspended.
pub struct ApiTenant(pub Arc<Tenant>);

/// The tenant of a request to `/v1`.
pub struct V1Tenant(pub Arc<Tenant>);

/// Whoever may see every tenant.
pub struct V1Operator;

impl FromRequestParts<App> for ApiTenant {
    type Rejection = WireError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WireError> {
        let token = bearer(parts).ok_or(WireError::Forbidden)?;
        let rights = app.access.authenticate(token, unix_ms()).await.map_err(|error| {
            tracing::error!(%error, "token not looked up");
            WireError::Failed("the token could not be checked; try again")
        })?;
        let Some(Rights::Tenant(id)) = rights else { return Err(WireError::Forbidden) };
        let tenant = app.tenants.by_id(id).ok_or(WireError::Forbidden)?;
        let key = parts.headers.get(X_APP_KEY);
        if key.is_some_and(|key| key.as_bytes() != tenant.app_key.as_bytes()) {
            return Err(WireError::Forbidden);
        }
        if tenant.suspended {
            return Err(WireError::Unauthorised("the account is suspended; contact the operator"));
        }
        Ok(ApiTenant(tenant))
    }
}

/// The same where the interface's table has `X-APP-Key` as mandatory (page 000).
pub struct KeyedTenant(pub Arc<Tenant>);

impl FromRequestParts<App> for KeyedTenant {
    type Rejection = WireError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WireError> {
        let ApiTenant(tenant) = ApiTenant::from_request_parts(parts, app).await?;
        if parts.headers.contains_key(X_APP_KEY) {
            Ok(KeyedTenant(tenant))
        } else {
            Err(WireError::Forbidden)
        }
    }
}

impl FromRequestParts<App> for V1Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match v1_rights(parts, app).await? {
            Rights::Tenant(id) => {
                let tenant = app.tenants.by_id(id).ok_or_else(Problem::unauthorised)?;
                if tenant.suspended { Err(Problem::suspended()) } else { Ok(V1Tenant(tenant)) }
            }
            Rights::Operator => Err(Problem::tenant_only()),
        }
    }
}

impl FromRequestParts<App> for V1Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match v1_rights(parts, app).await? {
            Rights::Operator => Ok(V1Operator),
            Rights::Tenant(_) => Err(Problem::operator_only()),
        }
    }
}

async fn v1_rights(parts: &Parts, app: &App) -> Result<Rights, Problem> {
    let token = bearer(parts).ok_or_else(Problem::unauthorised)?;
    let rights = app.access.authenticate(token, unix_ms()).await.map_err(Problem::from)?;
    rights.ok_or_else(Problem::unauthorised)
}

/// The token after `Bearer`, whose case RFC 9110 §11.1 leaves free.
fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = header_text(&parts.headers, &header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
