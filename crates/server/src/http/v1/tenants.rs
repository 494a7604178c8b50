//! Tenants, to be read: one's own, and all of them for the operator.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Problem;
use crate::app::App;
use crate::http::auth::{V1Operator, V1Tenant};
use crate::tenants::Tenant;

/// A tenant, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantView {
    /// The number of its VDN.
    id: u32,
    name: String,
    app_key: String,
    access_codes: Vec<String>,
    suspended: bool,
    /// Written in `offhook.toml`, applied at each start.
    from_file: bool,
    /// As in `[[tenant]]`; what is absent takes the process's default.
    #[schema(value_type = Object)]
    settings: Value,
}

impl From<&Tenant> for TenantView {
    fn from(tenant: &Tenant) -> TenantView {
        TenantView {
            id: tenant.id.0,
            name: tenant.name.clone(),
            app_key: tenant.app_key.clone(),
            access_codes: tenant.access_codes.clone(),
            suspended: tenant.suspended,
            from_file: tenant.from_file,
            settings: serde_json::to_value(&tenant.settings)
                .expect("settings have string keys only"),
        }
    }
}

/// The tenant that asks.
#[utoipa::path(get, path = "/v1/tenant", responses((status = 200, body = TenantView), (status = 401, body = Problem)))]
#[expect(clippy::unused_async, reason = "axum takes async handlers")]
pub async fn own(V1Tenant(tenant): V1Tenant) -> Json<TenantView> {
    Json(TenantView::from(&*tenant))
}

/// All tenants; needs the operator's key (`[access] operator_key`).
#[utoipa::path(
    get,
    path = "/v1/tenants",
    responses((status = 200, body = Vec<TenantView>), (status = 401, body = Problem), (status = 403, body = Problem))
)]
#[expect(clippy::unused_async, reason = "axum takes async handlers")]
pub async fn list(State(app): State<App>, _: V1Operator) -> Json<Vec<TenantView>> {
    Json(app.tenants.all().iter().map(|tenant| TenantView::from(&**tenant)).collect())
}
