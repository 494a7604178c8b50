//! createCall, v3 (page 001) and v1 (contract §6): the manager is called, then the customer, and they are connected.

pub mod ita;
mod order;
mod refused;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use engine::intent::Order;
use engine::vocabulary::CallKind;
use serde::Serialize;
use serde_json::{Map, Value};

pub use order::{Manager, TenantView, Wish, judge};
pub use refused::Refused;

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::listener::Source;
use super::ordering::{
    BUSY_RETRY_S, BUSY_TEXT, idempotency, place, queue_text, quota_text, request,
};
use super::wire::{Reply, WireError, number_field, object, text_field};
use crate::app::{App, unix_ms};
use crate::calls::{Accepted, Refusal, Request, earlier};
use crate::tenants::{Bidirectional, Tenant};

/// The reply, in the printed order of its keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ret_msg: String,
    ret_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Created>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    call_serial_no: SerialNo,
}

/// A text in v3, a number in v1.
#[derive(Serialize)]
#[serde(untagged)]
enum SerialNo {
    Text(String),
    Number(u64),
}

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
    let order = match agreed(app, tenant, wish, source).await {
        Ok(order) => order,
        Err(refused) => return Ok(words.refuse(&refused)),
    };
    match place_of_today(app, tenant, request(app, tenant, idempotency, order)).await {
        Ok(accepted) => Ok(words.accepted(accepted)),
        Err(NotPlaced::Refused(refused)) => Ok(words.refuse(&refused)),
        Err(NotPlaced::ByEngine(Refusal::KeyReused)) => Err(WireError::KeyReused),
        Err(NotPlaced::ByEngine(refusal)) => Ok(words.not_taken(refusal)),
    }
}

/// Judges a wish by the rules of the tenant's kind of call. Under ITA the parties are bound, on disk, when this returns.
pub async fn agreed(
    app: &App,
    tenant: &Tenant,
    wish: Wish,
    source: Source,
) -> Result<Order, Refused> {
    let (defaults, fraud) = (&app.config.defaults, &app.config.fraud);
    let view = TenantView { tenant, defaults, fraud, softphones: &app.softphones };
    match tenant.settings.bidirectional_call {
        Bidirectional::Ita => ita::agreed(app, view, wish, source).await,
        Bidirectional::Aicc | Bidirectional::Off => judge(wish, view),
    }
}

/// Why an order was not placed.
pub enum NotPlaced {
    Refused(Refused),
    ByEngine(Refusal),
}

/// Hands an order in; a trial tenant's only while its day has calls left.
pub async fn place_of_today(
    app: &App,
    tenant: &Tenant,
    request: Request,
) -> Result<Accepted, NotPlaced> {
    if !tenant.settings.is_on_trial() {
        return place(app, request).await.map_err(NotPlaced::ByEngine);
    }
    // A repeated request starts no call, so it is none of the day's.
    if let Some(Ok(accepted)) = earlier(&app.store, &request).await {
        return Ok(accepted);
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
        let call_serial_no = match self.version {
            Version::V1 => SerialNo::Number(accepted.serial.0),
            Version::V3 => SerialNo::Text(accepted.serial.to_string()),
        };
        let ret_msg = "Created successfully.".to_owned();
        let result = Some(Created { call_serial_no });
        Reply(Answer { ret_msg, ret_code: "0".to_owned(), result }).into_response()
    }

    /// Refused: HTTP 200, and a code that tells what to change.
    fn refuse(self, refused: &Refused) -> Response {
        if self.ita {
            let (code, printed) = refused.ita_code();
            answer(code, format!("{printed}: {refused}"))
        } else {
            answer(refused.code(), refused.to_string())
        }
    }

    /// The server itself has no time: nothing was looked at.
    fn busy(self) -> Response {
        let response = self.full(BUSY_TEXT.to_owned());
        later(response, BUSY_RETRY_S)
    }

    fn full(self, why: String) -> Response {
        if self.ita {
            answer(90_104_029, format!("Too Many Requests: {why}"))
        } else {
            answer(1, why)
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
                    true => answer(90_102_002, format!("Request Restriction: {why}")),
                    false => answer(1, why),
                };
                later(response, retry_after_s)
            }
            Refusal::Duplicate => {
                let why = "a call with this caller and called is not finished; try again later";
                match self.ita {
                    true => answer(90_104_003, format!("Request Forbidden: {why}")),
                    false => answer(1, why.to_owned()),
                }
            }
            // A call of two dialled legs has no code that could be taken, and its key is judged before.
            Refusal::Stopping | Refusal::CodeTaken | Refusal::KeyReused => {
                let why = "the server takes no calls now, so there is no call SN";
                let response = match self.ita {
                    true => answer(90_104_008, format!("Service Process Failure: {why}")),
                    false => answer(3, why.to_owned()),
                };
                later(response, 5)
            }
        }
    }
}

fn answer(code: u32, ret_msg: String) -> Response {
    Reply(Answer { ret_msg, ret_code: code.to_string(), result: None }).into_response()
}

fn later(mut response: Response, retry_after_s: u32) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
    response
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
