//! From what a client wrote to an order that cannot be wrong, or the result code that says why not.
//!
//! Checked in this order: the tenant (30010010002, 30010010003); then `called`, `callData`, `callerPresent`, and whether
//! the tenant may call the number (30010000003, whose description names the field).

use engine::intent::{AnonymousCall, Order, OrderKind};
use engine::route::Route;

use super::refused::Refused;
use crate::http::ordering::{self, Called, Field, TenantView, may_show};
use crate::http::wire::WrongType;
use crate::tenants::{Barred, MAX_CODE_PREFIX, is_callable};

/// What a client asks for, in whichever interface's words; nothing in it has been judged.
#[derive(Debug, Clone)]
pub struct Wish {
    pub called: Field<String>,
    pub call_data: Field<String>,
    pub caller_present: Field<String>,
}

/// A wish that is good, without its code.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What its code begins with.
    pub access_code: String,
    route: Route,
    called: String,
    call_data: Option<String>,
    caller_present: String,
}

/// Judges a wish. Pure.
pub fn judge(wish: Wish, view: TenantView<'_>) -> Result<Wanted, Refused> {
    let TenantView { tenant, fraud, .. } = view;
    let first = tenant.access_codes.first().ok_or(Refused::TenantNotEnabled)?;
    let access_code = tenant.settings.anonymous_call.access_code.as_ref().unwrap_or(first);
    if access_code.len() > MAX_CODE_PREFIX {
        return Err(Refused::AccessCodeTooLong);
    }
    let called = match wish.called {
        Ok(Some(number)) if is_callable(&number) => number,
        Ok(_) | Err(WrongType) => return Err(Refused::Called),
    };
    let call_data = ordering::call_data(wish.call_data).map_err(|WrongType| Refused::CallData)?;
    let caller_present = match wish.caller_present {
        Ok(None) => first.clone(),
        Ok(Some(number)) if may_show(&number, tenant) => number,
        Ok(Some(_)) | Err(WrongType) => return Err(Refused::CallerPresent),
    };
    let route = tenant.settings.may_call(&called, fraud).map_err(|barred| match barred {
        Barred::Trial => Refused::Trial,
        Barred::Premium => Refused::Premium,
        Barred::NoRoute => Refused::NoRoute,
    })?;
    Ok(Wanted { access_code: access_code.clone(), route, called, call_data, caller_present })
}

impl Wanted {
    pub fn order(&self, code: String, valid_until_ms: i64, view: TenantView<'_>) -> Order {
        let settings = &view.tenant.settings;
        let called = Called {
            place: self.route.clone().into(),
            number: self.called.clone(),
            caller_present: self.caller_present.clone(),
            callback_url: settings.default_callback_url.clone(),
        };
        let call = AnonymousCall {
            call_data: self.call_data.clone(),
            code,
            valid_until_ms,
            connected_url: settings.connection_callback_url.clone(),
        };
        view.order(called, OrderKind::AnonymousCall(call))
    }
}
