//! queryPhone, v1 and v2 (contract §6): the numbers that a tenant's people register as, with their passwords.

use std::net::SocketAddr;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::wire::{Reply, WireError, WrongType, number_field, object};
use crate::app::App;
use crate::tenants::{Tenant, softphone_password};

/// Softphones of one reply at the most; a higher limit is taken for this one.
const MAX_LIMIT: i64 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<T> {
    ret_code: &'static str,
    ret_msg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<T>,
}

/// v1, whose port is a number.
#[derive(Serialize)]
struct FoundV1 {
    total: usize,
    #[serde(rename = "regIPAddress")]
    address: String,
    phone: Vec<Phone>,
    #[serde(rename = "regPort")]
    port: u16,
}

/// v2, whose ports are texts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundV2 {
    total: usize,
    single_reg_serv: [Registrar; 1],
    phone: Vec<Phone>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registrar {
    #[serde(rename = "regIPAddress")]
    reg_address: String,
    reg_port: String,
    sip_service_port: String,
    sip_service_ip: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Phone {
    phone_num: String,
    password: String,
    id: String,
    /// 0 may register, 1 suspended.
    status: &'static str,
    remark: String,
    tenant_id: String,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Unreadable,
    NoSoftphone,
    NoAddress,
    Page,
    NoAccessCode,
}

impl Refused {
    fn answer<T>(self) -> Answer<T> {
        let (ret_code, ret_msg) = match self {
            Refused::Unreadable => {
                ("1", "the passwords cannot be opened; the server's log says why")
            }
            Refused::NoSoftphone => ("2", "the tenant has no softphone; /v1/softphones makes one"),
            Refused::NoAddress => ("3", "the server has no SIP listener to register at"),
            Refused::Page => ("4", "limit and offset must be whole numbers, offset 0 or more"),
            Refused::NoAccessCode => ("5", "the tenant has no access code"),
        };
        Answer { ret_code, ret_msg, result: None }
    }
}

struct Page {
    total: usize,
    address: SocketAddr,
    phones: Vec<Phone>,
}

/// `POST /apiaccess/CC-Management/v1/mobileAgent/queryPhone`
pub async fn query_v1(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let found = |Page { total, address, phones }| FoundV1 {
        total,
        address: address.ip().to_string(),
        phone: phones,
        port: address.port(),
    };
    Ok(Reply(answer(page(&app, &tenant, &object(&body)?).map(found))))
}

/// `POST /apiaccess/CC-Management/v2/mobileAgent/queryPhone`
pub async fn query_v2(
    State(app): State<App>,
    ApiTenant(tenant): ApiTenant,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let found = |Page { total, address, phones }| {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let registrar = Registrar {
            reg_address: ip.clone(),
            reg_port: port.clone(),
            sip_service_port: port,
            sip_service_ip: ip,
        };
        FoundV2 { total, single_reg_serv: [registrar], phone: phones }
    };
    Ok(Reply(answer(page(&app, &tenant, &object(&body)?).map(found))))
}

fn answer<T>(found: Result<T, Refused>) -> Answer<T> {
    match found {
        Ok(found) => Answer { ret_code: "0", ret_msg: "success", result: Some(found) },
        Err(refused) => refused.answer(),
    }
}

fn page(app: &App, tenant: &Tenant, body: &Map<String, Value>) -> Result<Page, Refused> {
    if tenant.access_codes.is_empty() {
        return Err(Refused::NoAccessCode);
    }
    let number = |name, default| match number_field(body, name) {
        Ok(given) => Ok(given.unwrap_or(default)),
        Err(WrongType) => Err(Refused::Page),
    };
    let limit = number("limit", MAX_LIMIT)?.clamp(1, MAX_LIMIT) as usize;
    let offset = usize::try_from(number("offset", 0)?).map_err(|_| Refused::Page)?;
    let address = app.sip_service_address(tenant).ok_or(Refused::NoAddress)?;
    let all = app.softphones.of(tenant.id);
    if all.is_empty() {
        return Err(Refused::NoSoftphone);
    }
    let total = all.len();
    let phone = |row: store::Softphone| {
        let password = softphone_password(&app.access.sealer, &row).map_err(|error| {
            tracing::error!(tenant = tenant.id.0, %error, "a softphone's password cannot be opened");
            Refused::Unreadable
        })?;
        Ok(Phone {
            id: row.number.clone(),
            phone_num: row.number,
            password,
            status: if row.suspended { "1" } else { "0" },
            remark: row.remark,
            tenant_id: tenant.id.0.to_string(),
        })
    };
    let phones = all.into_iter().skip(offset).take(limit).map(phone).collect::<Result<_, _>>()?;
    Ok(Page { total, address, phones })
}

#[cfg(test)]
mod tests;
