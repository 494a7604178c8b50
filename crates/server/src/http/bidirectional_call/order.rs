//! From what a client wrote to an order that cannot be wrong, or the return code that says why not.
//!
//! What is checked, in this order, the first finding is the answer: the tenant (6); the forms of the manager's number,
//! of `called` (5), of `agentWorkNo` (5), `callData` (2), `callerPresent`, `agentPresent` (5), `callBackUrl` (9); whether
//! `softPhone` is one of the tenant's (8); whom the tenant may call: the manager (16, 5), then the customer (16, 5). What
//! depends on other calls (21, 1, 3) comes after all of these.

use engine::intent::{BidirectionalCall, Caller, Order, OrderKind, Party, Place};
use engine::route::Route;

use super::refused::Refused;
use crate::http::ordering::{self, Called, Field, TenantView, may_show};
use crate::http::wire::WrongType;
use crate::tenants::{Barred, Softphones, Tenant, is_callable};

/// What a client asks for, in whichever interface's words; nothing in it has been judged.
#[derive(Debug, Clone)]
pub struct Wish {
    pub manager: Manager,
    pub called: Field<String>,
    pub call_data: Field<String>,
    pub caller_present: Field<String>,
    /// v1 only, and the two below.
    pub agent_present: Field<String>,
    pub agent_work_no: Field<i64>,
    pub callback_url: Field<String>,
}

/// Who is called first.
#[derive(Debug, Clone)]
pub enum Manager {
    /// v3: a softphone of the tenant, which is called unless `caller` names another number.
    Softphone { number: Field<String>, caller: Field<String> },
    /// v1: a softphone of the tenant or any number that it may call.
    Number(Field<String>),
}

/// Whom a wish is judged for, and its softphones.
#[derive(Clone, Copy)]
pub struct Directory<'a> {
    pub view: TenantView<'a>,
    pub softphones: &'a Softphones,
}

/// A wish whose fields have the form that their table wants.
#[derive(Debug)]
pub struct Form {
    /// Whom `softPhone` names, where the interface has it.
    pub softphone: Option<String>,
    /// Who is called first.
    pub agent: String,
    pub called: String,
    pub call_data: Option<String>,
    pub caller_present: Option<String>,
    pub agent_present: Option<String>,
    pub callback_url: Option<String>,
    pub agent_work_no: Option<u32>,
}

/// The greatest number of five decimals: an agent's work number.
const MAX_WORK_NO: i64 = 99_999;

/// Judges a wish for an AICC call. Pure: softphones are in memory.
pub fn judge(wish: Wish, directory: Directory<'_>) -> Result<Order, Refused> {
    let view = directory.view;
    let default = view.tenant.access_codes.first().ok_or(Refused::TenantNotEnabled)?;
    let form = Form::read(wish, view.tenant)?;
    let shown = |given: &Option<String>| given.clone().unwrap_or_else(|| default.clone());
    let presented = shown(&form.agent_present);
    let caller_present = shown(&form.caller_present);
    directory.knows_softphone(&form)?;
    let place = directory.place(&form.agent)?;
    let route = directory.route(&form.called)?;
    let caller = Caller::Dialled(Party { number: form.agent.clone(), place, presented });
    let call = BidirectionalCall {
        caller,
        call_data: form.call_data.clone(),
        ita: false,
        connected_url: view.tenant.settings.connection_callback_url.clone(),
        agent_work_no: form.agent_work_no,
        binding: None,
    };
    let Form { called, callback_url, .. } = form;
    let called = Called { place: route.into(), number: called, caller_present, callback_url };
    Ok(view.order(called, OrderKind::BidirectionalCall(call)))
}

impl Form {
    pub fn read(wish: Wish, tenant: &Tenant) -> Result<Form, Refused> {
        let (softphone, agent) = match wish.manager {
            Manager::Softphone { number, caller } => {
                let softphone = number_of(number, Refused::Softphone)?;
                let softphone = softphone.ok_or(Refused::SoftphoneMissing)?;
                let caller = number_of(caller, Refused::Caller)?;
                let agent = caller.unwrap_or_else(|| softphone.clone());
                (Some(softphone), agent)
            }
            Manager::Number(caller) => {
                (None, number_of(caller, Refused::Caller)?.ok_or(Refused::CallerMissing)?)
            }
        };
        let called = number_of(wish.called, Refused::Called)?.ok_or(Refused::CalledMissing)?;
        let agent_work_no = match wish.agent_work_no {
            Ok(None) => None,
            Ok(Some(number @ 0..=MAX_WORK_NO)) => Some(number as u32),
            Ok(Some(_)) | Err(WrongType) => return Err(Refused::AgentWorkNo),
        };
        let call_data =
            ordering::call_data(wish.call_data).map_err(|WrongType| Refused::CallData)?;
        let shown = |field: Field<String>, refused: Refused| match field {
            Ok(None) => Ok(None),
            Ok(Some(number)) if may_show(&number, tenant) => Ok(Some(number)),
            Ok(Some(_)) | Err(WrongType) => Err(refused),
        };
        Ok(Form {
            softphone,
            agent,
            called,
            call_data,
            caller_present: shown(wish.caller_present, Refused::CallerPresent)?,
            agent_present: shown(wish.agent_present, Refused::AgentPresent)?,
            callback_url: ordering::callback_url(wish.callback_url, tenant)
                .map_err(Refused::CallbackUrl)?,
            agent_work_no,
        })
    }
}

impl Directory<'_> {
    /// Whether `softPhone` is one that the tenant has and has not suspended.
    pub fn knows_softphone(&self, form: &Form) -> Result<(), Refused> {
        let Some(number) = &form.softphone else { return Ok(()) };
        match self.softphones.find(self.view.tenant.id, number) {
            Some(phone) if !phone.row.suspended => Ok(()),
            Some(_) | None => Err(Refused::SoftphoneUnknown),
        }
    }

    /// Where the manager is found: at a softphone of the tenant, or over its trunks.
    pub fn place(&self, agent: &str) -> Result<Place, Refused> {
        let settings = &self.view.tenant.settings;
        match self.softphones.find(self.view.tenant.id, agent) {
            Some(_) if settings.is_trial_agent(agent) == Some(false) => Err(Refused::CallerTrial),
            Some(phone) if phone.row.suspended => Err(Refused::SoftphoneUnknown),
            Some(_) => Ok(Place::Softphone),
            None => {
                let route = settings.may_be_agent(agent, self.view.fraud);
                route.map(Place::Trunks).map_err(|barred| match barred {
                    Barred::Trial => Refused::CallerTrial,
                    Barred::Premium => Refused::CallerPremium,
                    Barred::NoRoute => Refused::CallerNoRoute,
                })
            }
        }
    }

    /// The trunks to the customer.
    pub fn route(&self, called: &str) -> Result<Route, Refused> {
        self.view.tenant.settings.may_call(called, self.view.fraud).map_err(|barred| match barred {
            Barred::Trial => Refused::CalledTrial,
            Barred::Premium => Refused::CalledPremium,
            Barred::NoRoute => Refused::CalledNoRoute,
        })
    }
}

fn number_of(field: Field<String>, refused: Refused) -> Result<Option<String>, Refused> {
    match field {
        Ok(None) => Ok(None),
        Ok(Some(number)) if is_callable(&number) => Ok(Some(number)),
        Ok(Some(_)) | Err(WrongType) => Err(refused),
    }
}
