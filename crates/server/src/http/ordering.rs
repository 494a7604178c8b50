//! What every interface that starts a call shares: the keys of repeated requests, the forms of numbers and callback
//! addresses, handing in.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName};
use engine::intent::{Idempotency, IdempotencyKey, Order, OrderKind, Place};
use engine::vocabulary::{CallKind, Priority, TenantId};

use super::wire::WrongType;
use crate::access::sha256;
use crate::app::{App, unix_ms};
use crate::callbacks::trust::parse_callback_url;
use crate::calls::{Accepted, Quota, Refusal, Request};
use crate::config::{Defaults, Fraud};
use crate::tenants::Tenant;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of an `Idempotency-Key`.
const MAX_KEY: usize = 255;
/// Seconds that a client is asked to wait when the server has too much to do.
pub const BUSY_RETRY_S: u32 = 1;
/// Characters of `callData`, as the pages count.
const MAX_CALL_DATA: usize = 1024;

/// A field as it came: there, absent, or of a type that its table does not know.
pub type Field<T> = Result<Option<T>, WrongType>;

/// Whom a wish is judged for.
#[derive(Debug, Clone, Copy)]
pub struct TenantView<'a> {
    pub tenant: &'a Tenant,
    pub defaults: &'a Defaults,
    pub fraud: &'a Fraud,
}

/// Who is called, and what is told of it.
#[derive(Debug)]
pub struct Called {
    pub place: Place,
    pub number: String,
    pub caller_present: String,
    pub callback_url: Option<String>,
}

/// Why an order was not placed.
#[derive(Debug)]
pub enum NotPlaced<R> {
    Refused(R),
    ByEngine(Refusal),
}

impl<'a> TenantView<'a> {
    pub fn of(app: &'a App, tenant: &'a Tenant) -> TenantView<'a> {
        TenantView { tenant, defaults: &app.config.defaults, fraud: &app.config.fraud }
    }

    /// An order of the lowest priority, with the tenant's limits.
    pub fn order(&self, called: Called, kind: OrderKind) -> Order {
        let (settings, defaults) = (&self.tenant.settings, self.defaults);
        let Called { place, number, caller_present, callback_url } = called;
        Order {
            place,
            called: number,
            caller_present,
            priority: Priority::LAST,
            ring_limit_s: settings.ring_limit_s.unwrap_or(defaults.ring_limit_s),
            max_duration_s: settings.max_duration_s.unwrap_or(defaults.max_duration_s),
            record: settings.record,
            callback_url,
            kind,
        }
    }
}

/// Whether a tenant's calls may show the number.
pub fn may_show(number: &str, tenant: &Tenant) -> bool {
    let transparent = tenant.settings.caller_transparency
        && (11..=14).contains(&number.len())
        && is_digits(number);
    transparent || tenant.access_codes.iter().any(|code| code == number)
}

/// `Err`: too long, or no text.
pub fn call_data(field: Field<String>) -> Result<Option<String>, WrongType> {
    match field {
        Ok(Some(data)) if data.chars().count() > MAX_CALL_DATA => Err(WrongType),
        field => field,
    }
}

/// Where the release callback goes: the address of the request, or else the tenant's. In clear, as it stands in the log
/// and is judged again at each try. `Err`: what is wrong with it.
pub fn callback_url(field: Field<String>, tenant: &Tenant) -> Result<Option<String>, String> {
    match field.map_err(|WrongType| "callBackUrl must be a string".to_owned())? {
        None => Ok(tenant.settings.default_callback_url.clone()),
        Some(given) => {
            let url = parse_callback_url(&given).map_err(|error| error.to_string())?;
            tenant.settings.trust.permits(&url).map_err(|error| error.to_string())?;
            Ok(Some(url.into()))
        }
    }
}

/// The `Idempotency-Key` of a request, with the hash of the body as it came.
pub fn idempotency(
    tenant: TenantId,
    kind: CallKind,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Option<Idempotency>, String> {
    let Some(value) = headers.get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim);
    match key.filter(|key| !key.is_empty() && key.len() <= MAX_KEY) {
        Some(key) => Ok(Some(Idempotency {
            key: IdempotencyKey { tenant, kind, key: key.to_owned() },
            body_sha256: sha256(body),
        })),
        None => Err(format!("Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters")),
    }
}

/// An order with what the engine limits and remembers it by.
pub fn request(
    app: &App,
    tenant: &Tenant,
    idempotency: Option<Idempotency>,
    order: Order,
) -> Request {
    Request {
        tenant: tenant.id,
        limits: tenant.settings.limits(&app.config.defaults),
        idempotency,
        queue_timeout: tenant.settings.queue_timeout(&app.config.defaults),
        order,
    }
}

/// Hands an order in and keeps an eye on where its tenant calls.
pub async fn place(app: &App, request: Request) -> Result<Accepted, Refusal> {
    let (tenant, called) = (request.tenant, request.order.called.clone());
    let accepted = app.calls.accept(request).await?;
    if !accepted.replayed {
        match app.new_prefixes.note(tenant, accepted.serial, &called, unix_ms()).await {
            Ok(true) => app.doorbell.send_modify(|count| *count += 1),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "where a tenant calls could not be stored"),
        }
    }
    Ok(accepted)
}

/// What a client is told whose tenant has used up its day.
pub fn quota_text(quota: Quota, retry_after_s: u32) -> String {
    let what = match quota {
        Quota::Calls => "calls",
        Quota::Minutes => "minutes",
    };
    format!("the tenant's {what} of today are used up; its day is over in {retry_after_s} s")
}

/// Where the queue is full.
pub fn queue_text(retry_after_s: u32) -> String {
    format!("too many calls wait; try again in {retry_after_s} s")
}

pub const DUPLICATE_TEXT: &str =
    "a call with this caller and called is not finished; try again later";

pub const BUSY_TEXT: &str = "the server has too much to do; try again in a moment";

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}
