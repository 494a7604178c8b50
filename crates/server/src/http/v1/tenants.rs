//! Tenants: one's own to be read; all of them, and changing them, for the operator.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use engine::vocabulary::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Problem;
use crate::access::{SealError, random_hex, sha256};
use crate::app::{App, unix_ms};
use crate::http::auth::{V1Operator, V1Tenant};
use crate::http::body::{CALL_BODY, V1Body};
use crate::tenants::{Tenant, TenantSettings};

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
    /// Seconds that its ITA calls have talked in all, where a balance bounds them; of `/v1/tenant` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    ita_talked_s: Option<u64>,
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
            ita_talked_s: None,
        }
    }
}

/// The tenant that asks.
#[utoipa::path(get, path = "/v1/tenant", responses((status = 200, body = TenantView), (status = 401, body = Problem), (status = 500, body = Problem)))]
pub async fn own(
    State(app): State<App>,
    V1Tenant(tenant): V1Tenant,
) -> Result<Json<TenantView>, Problem> {
    let mut view = TenantView::from(&*tenant);
    if tenant.settings.ita.balance_minutes.is_some() {
        view.ita_talked_s = Some(app.store.ita_talked(tenant.id).await?.as_secs());
    }
    Ok(Json(view))
}

/// All tenants; needs the operator's key (`[access] operator_key`).
#[utoipa::path(
    get,
    path = "/v1/tenants",
    responses((status = 200, body = Vec<TenantView>), (status = 401, body = Problem), (status = 403, body = Problem))
)]
pub async fn list(State(app): State<App>, _: V1Operator) -> Json<Vec<TenantView>> {
    Json(app.tenants.all().iter().map(|tenant| TenantView::from(&**tenant)).collect())
}

/// What the operator writes. All of it replaces what was there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    name: String,
    /// Numbers that its calls may show, 1 to 32 digits; the first is the default.
    access_codes: Vec<String>,
    #[serde(default)]
    suspended: bool,
    /// As in `[[tenant]]`.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: TenantSettings,
    /// Signs its callbacks; absent: as it was.
    #[serde(default)]
    callback_shared_key: Option<String>,
}

/// A tenant as it is now; its secret where it is new, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct PutTenant {
    tenant: TenantView,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_secret: Option<String>,
}

/// Make a tenant, or replace the settings of one; needs the operator's key.
#[utoipa::path(
    put,
    path = "/v1/tenants/{id}",
    params(("id" = u32, Path, description = "the number of its VDN, 1 or higher")),
    request_body = NewTenant,
    responses(
        (status = 200, body = PutTenant, description = "it was there"),
        (status = 201, body = PutTenant, description = "it is new: app_secret is shown now only"),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem, description = "it is written in offhook.toml"),
        (status = 422, body = Problem, description = "`detail` names the setting")
    )
)]
pub async fn put(
    State(app): State<App>,
    _: V1Operator,
    Path(id): Path<String>,
    V1Body(body): V1Body<CALL_BODY>,
) -> Result<(StatusCode, Json<PutTenant>), Problem> {
    let id = id.parse().ok().filter(|id| *id > 0).map(TenantId);
    let id = id.ok_or_else(|| Problem::bad_request("the id must be 1 or higher"))?;
    let wanted: NewTenant = super::object(&body)?;
    check(&app, id, &wanted)?;
    let found = app.tenants.by_id(id);
    if found.as_ref().is_some_and(|found| found.from_file) {
        return Err(Problem::conflict(
            "from_file",
            "this tenant is written in offhook.toml; change it there",
        ));
    }
    let (app_key, app_secret_sha256, app_secret) = match &found {
        Some(found) => (found.app_key.clone(), found.app_secret_sha256, None),
        None => {
            let secret = random_hex::<16>().map_err(no_random)?;
            (random_hex::<16>().map_err(no_random)?, sha256(secret.as_bytes()), Some(secret))
        }
    };
    let speech = Tenant::speech(id, &wanted.settings, &app.config.speech)
        .map_err(|error| Problem::unprocessable("settings", error.to_string()))?;
    let tenant = Tenant {
        id,
        name: wanted.name,
        app_key,
        app_secret_sha256,
        access_codes: wanted.access_codes,
        suspended: wanted.suspended,
        from_file: false,
        settings: wanted.settings,
        speech,
    };
    app.store.put_tenant(tenant.to_row()).await?;
    if let Some(key) = wanted.callback_shared_key {
        app.access.put_callback_shared_key(id, &key).await?;
    }
    let view = TenantView::from(&tenant);
    let defaults = &app.config.defaults;
    let (limits, used) = (
        tenant.settings.limits(defaults),
        tenant.used_today(&app.store, defaults, unix_ms()).await?,
    );
    app.tenants.put(tenant);
    app.calls.limit(id, limits, used).await;
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(PutTenant { tenant: view, app_secret })))
}

fn check(app: &App, id: TenantId, wanted: &NewTenant) -> Result<(), Problem> {
    let refused = |what: String| Problem::unprocessable("settings", what);
    for code in &wanted.access_codes {
        if code.is_empty() || code.len() > 32 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused(format!("access_codes: `{code}` is not 1 to 32 digits")));
        }
        let others = app.tenants.all();
        if others.iter().any(|other| other.id != id && other.access_codes.contains(code)) {
            return Err(refused(format!("access_codes: `{code}` belongs to another tenant")));
        }
    }
    let numbers = &wanted.settings.ita.numbers;
    let has = |other: &Tenant| other.id != id && overlap(&other.settings.ita.numbers, numbers);
    if app.tenants.all().iter().any(|other| has(other)) {
        return Err(refused("ita.numbers: a number belongs to another tenant".to_owned()));
    }
    let is_trunk = |name: &_| app.config.trunks.iter().any(|trunk| trunk.name == *name);
    wanted.settings.check(is_trunk).map_err(|(key, what)| refused(format!("{key}: {what}")))
}

fn overlap(numbers: &[String], others: &[String]) -> bool {
    numbers.iter().any(|number| others.contains(number))
}

fn no_random(error: SealError) -> Problem {
    Problem::unavailable("random", &error.to_string(), 5)
}
