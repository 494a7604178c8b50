//! createCall, v3 (page 001) and v1 (contract §6): the manager is called, then the customer, and they are connected.

pub mod ita;
mod order;
mod refused;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use engine::intent::{Idempotency, Order};
use engine::vocabulary::CallKind;
use serde_json::{Map, Value};

pub use order::{Directory, Manager, Wish, judge};
pub use refused::Refused;

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::listener::Source;
use super::ordering::{
    BUSY_RETRY_S, BUSY_TEXT, DUPLICATE_TEXT, NotPlaced, TenantView, idempotency, place, queue_text,
    quota_text, request,
};
use super::ret_code::{created, refused};
use super::wire::{WireError, later, number_field, object, text_field};
use crate::app::{App, unix_ms};
use crate::calls::{Accepted, Refusal, Request};
use crate::tenants::{Bidirectional, Held, Tenant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V3,
}

/// In whose words a request is answered: the tenant's kind of call and the interface's version.
#[derive(Debug, Clone, Copy)]
struct Words {
    ita: bool,
    version: Version,
}

/// `POST /apiaccess/CC-Management/v3/mobileAgent/createCall`
pub async fn create_v3(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    source: Source,
    headers: HeaderMap,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Response, WireError> {
    create(&app, &tenant, source, &headers, &body, Version::V3).await
}

/// `POST /apiaccess/CC-Management/v1/mobileAgent/createCall`
pub async fn create_v1(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    source: Source,
    headers: HeaderMap,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Response, WireError> {
    create(&app, &tenant, source, &headers, &body, Version::V1).await
}

async fn create(
    app: &App,
    tenant: &Tenant,
    source: Source,
    headers: &HeaderMap,
    body: &Bytes,
    version: Version,
) -> Result<Response, WireError> {
    let ita = match tenant.settings.bidirectional_call {
        Bidirectional::Off => {
            return Err(WireError::Unauthorised("the bidirectional call service is switched off"));
        }
        Bidirectional::Aicc => false,
        Bidirectional::Ita => true,
    };
    let words = Words { ita, version };
    if ita && !app.calls.is_ready() {
        return Ok(words.refuse(&Refused::NotReady));
    }
    let Some(_under_way) = app.admission.enter() else { return Ok(words.busy()) };
    let object = object(body)?;
    let kind = CallKind::BidirectionalCall;
    let idempotency = idempotency(tenant.id, kind, headers, body).map_err(WireError::BadRequest)?;
    let wish = match version {
        Version::V1 => wish_v1(&object),
        Version::V3 => wish_v3(&object),
    };
    match order_call(app, tenant, wish, source, idempotency).await {
        Ok(accepted) => Ok(words.accepted(accepted)),
        Err(NotPlaced::Refused(why)) => Ok(words.refuse(&why)),
        Err(NotPlaced::ByEngine(Refusal::KeyReused)) => Err(WireError::KeyReused),
        Err(NotPlaced::ByEngine(refusal)) => Ok(words.not_taken(refusal)),
    }
}

/// An order that may be placed.
pub struct Agreed {
    order: Order,
    /// What binds its parties, under ITA.
    binding: Option<Held>,
}

/// Judges a wish by the rules of the tenant's kind of call and hands it in. A repeated request gets its reply before
/// anything is judged: the first one may have taken the last number or the last minute.
pub async fn order_call(
    app: &App,
    tenant: &Tenant,
    wish: Wish,
    source: Source,
    idempotency: Option<Idempotency>,
) -> Result<Accepted, NotPlaced<Refused>> {
    if let Some(earlier) = app.calls.repeated(idempotency.as_ref()).await {
        return earlier.map_err(NotPlaced::ByEngine);
    }
    let directory = Directory { view: TenantView::of(app, tenant), softphones: &app.softphones };
    let agreed = match tenant.settings.bidirectional_call {
        Bidirectional::Ita => ita::agreed(app, directory, wish, source).await,
        Bidirectional::Aicc | Bidirectional::Off => {
            judge(wish, directory).map(|order| Agreed { order, binding: None })
        }
    };
    let Agreed { order, binding } = agreed.map_err(NotPlaced::Refused)?;
    let accepted = place_of_today(app, tenant, request(app, tenant, idempotency, order)).await?;
    if let Some(binding) = binding.filter(|_| !accepted.replayed) {
        binding.keep();
    }
    Ok(accepted)
}

/// Hands an order in; a trial tenant's only while its day has calls left.
async fn place_of_today(
    app: &App,
    tenant: &Tenant,
    request: Request,
) -> Result<Accepted, NotPlaced<Refused>> {
    if !tenant.settings.is_on_trial() {
        return place(app, request).await.map_err(NotPlaced::ByEngine);
    }
    let day_start_ms = request.limits.daily.day_start_ms(unix_ms());
    let reserved = app.trial_days.reserve(tenant.id, day_start_ms).await;
    let call = match reserved {
        Ok(Some(call)) => call,
        Ok(None) => return Err(NotPlaced::Refused(Refused::TrialDay)),
        Err(error) => return Err(NotPlaced::Refused(error.into())),
    };
    let accepted = place(app, request).await.map_err(NotPlaced::ByEngine)?;
    if !accepted.replayed {
        call.keep();
    }
    Ok(accepted)
}

impl Words {
    fn accepted(self, accepted: Accepted) -> Response {
        match self.version {
            Version::V1 => created(accepted.serial.0),
            Version::V3 => created(accepted.serial.to_string()),
        }
    }

    /// Refused: HTTP 200, and a code that tells what to change.
    fn refuse(self, why: &Refused) -> Response {
        if self.ita {
            let (code, printed) = why.ita_code();
            refused(code, format!("{printed}: {why}"))
        } else {
            refused(why.code(), why.to_string())
        }
    }

    /// The server itself has no time: nothing was looked at.
    fn busy(self) -> Response {
        let response = self.full(BUSY_TEXT.to_owned());
        later(response, BUSY_RETRY_S)
    }

    fn full(self, why: String) -> Response {
        if self.ita {
            refused(90_104_029, format!("Too Many Requests: {why}"))
        } else {
            refused(1, why)
        }
    }

    fn not_taken(self, refusal: Refusal) -> Response {
        match refusal {
            Refusal::QueueFull { retry_after_s } => {
                later(self.full(queue_text(retry_after_s)), retry_after_s)
            }
            Refusal::DailyLimit { quota, retry_after_s } => {
                let why = quota_text(quota, retry_after_s);
                let response = match self.ita {
                    true => refused(90_102_002, format!("Request Restriction: {why}")),
                    false => refused(1, why),
                };
                later(response, retry_after_s)
            }
            // Of ITA alone; its words are those of the code.
            Refusal::BalanceUsedUp => self.refuse(&Refused::Balance),
            Refusal::Duplicate => match self.ita {
                true => refused(90_104_003, format!("Request Forbidden: {DUPLICATE_TEXT}")),
                false => refused(1, DUPLICATE_TEXT.to_owned()),
            },
            // A call of two dialled legs has no code that could be taken, and its key is judged before.
            Refusal::Stopping | Refusal::CodeTaken | Refusal::KeyReused => {
                let why = "the server takes no calls now, so there is no call SN";
                let response = match self.ita {
                    true => refused(90_104_008, format!("Service Process Failure: {why}")),
                    false => refused(3, why.to_owned()),
                };
                later(response, 5)
            }
        }
    }
}

/// What a body of v3 asks for.
pub fn wish_v3(body: &Map<String, Value>) -> Wish {
    let manager = Manager::Softphone {
        number: text_field(body, "softPhone"),
        caller: text_field(body, "caller"),
    };
    wish(body, manager)
}

/// What a body of v1 asks for.
pub fn wish_v1(body: &Map<String, Value>) -> Wish {
    Wish {
        agent_work_no: number_field(body, "agentWorkNo"),
        agent_present: text_field(body, "agentPresent"),
        callback_url: text_field(body, "callBackUrl"),
        ..wish(body, Manager::Number(text_field(body, "caller")))
    }
}

fn wish(body: &Map<String, Value>, manager: Manager) -> Wish {
    Wish {
        manager,
        called: text_field(body, "called"),
        call_data: text_field(body, "callData"),
        caller_present: text_field(body, "callerPresent"),
        agent_present: Ok(None),
        agent_work_no: Ok(None),
        callback_url: Ok(None),
    }
}

#[cfg(test)]
mod tests;
