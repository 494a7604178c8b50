//! ITA: both parties see a virtual number X, and reach each other by calling it while they are bound.
//!
//! Checked in this order: where the request comes from (90100200), the tenant's restriction (90102002), what is missing
//! or not supported (90100100), one number twice (90100300), `softPhone` (90100400), the lists (90106011, 90106012),
//! whom the tenant may call (90104001, 90106010, 90106006), the numbers (9010600x). What depends on other calls, the balance
//! (90102001) among it, comes after all of these.

use engine::intent::{BidirectionalCall, Binding, Caller, OrderKind, Party, Place};

use super::Agreed;
use super::order::{Directory, Form, Wish};
use super::refused::Refused;
use crate::app::{App, unix_ms};
use crate::calls::Request;
use crate::http::listener::Source;
use crate::http::ordering::{self, Called, TenantView};
use crate::http::wire::WrongType;
use crate::tenants::{Bidirectional, BindingMode, Held, Ita, Pair};

/// Judges a wish for an ITA call and binds its parties: on disk with the call, or not at all.
pub async fn agreed(
    app: &App,
    directory: Directory<'_>,
    wish: Wish,
    source: Source,
) -> Result<Agreed, Refused> {
    let view = directory.view;
    let settings = &view.tenant.settings;
    if !settings.ita.takes_from(source.0) {
        return Err(Refused::Source);
    }
    if settings.ita.restricted {
        return Err(Refused::Restricted);
    }
    supported(&wish)?;
    let form = Form::read(wish, view.tenant)?;
    if form.agent == form.called {
        return Err(Refused::OneNumber);
    }
    directory.knows_softphone(&form)?;
    if !settings.ita.callers.permits(&form.agent) {
        return Err(Refused::CallerForbidden);
    }
    if !settings.ita.callees.permits(&form.called) {
        return Err(Refused::CalleeForbidden);
    }
    let now_ms = unix_ms();
    for party in [&form.agent, &form.called] {
        if app.bindings.is_virtual(party, now_ms) {
            return Err(Refused::NumberInUse);
        }
        if settings.ita.numbers.contains(party) {
            return Err(Refused::VirtualParty);
        }
    }
    let place = directory.place(&form.agent)?;
    let route = directory.route(&form.called)?;
    let pair = Pair { tenant: view.tenant.id, a: &form.agent, b: &form.called };
    let held = bound(app, &settings.ita, pair, now_ms).await?;
    let store::NumberBinding { x, party_a, party_b, expires_ms, .. } = held.binding().clone();
    let binding = Binding { party_a, party_b, expires_ms };
    let party = Party { number: form.agent.clone(), place, presented: x.clone() };
    let Form { called, callback_url, agent_work_no, .. } = form;
    let called = Called { place: route.into(), number: called, caller_present: x, callback_url };
    let call = BidirectionalCall {
        agent_work_no,
        binding: Some(binding),
        ..ita_call(view, Caller::Dialled(party))
    };
    let order = view.order(called, OrderKind::BidirectionalCall(call));
    Ok(Agreed { order, binding: Some(held) })
}

/// The call of one bound party to the virtual number `x`: whom it is for, as an order. `None`: it reaches nobody.
pub fn arrived(app: &App, x: &str, from: &str) -> Option<Request> {
    let (tenant, called) = app.bindings.find(x, from, unix_ms())?;
    let tenant = app.tenants.by_id(tenant).filter(|tenant| !tenant.suspended)?;
    let settings = &tenant.settings;
    if settings.bidirectional_call != Bidirectional::Ita || settings.ita.restricted {
        return None;
    }
    let pair = Pair { tenant: tenant.id, a: from, b: &called };
    if !permits(&settings.ita, x, &app.bindings.of_pair(pair, unix_ms())?) {
        return None;
    }
    let view = TenantView::of(app, &tenant);
    let directory = Directory { view, softphones: &app.softphones };
    let place = match app.softphones.find(tenant.id, &called) {
        Some(_) => directory.place(&called),
        None => directory.route(&called).map(Place::Trunks).or_else(|_| directory.place(&called)),
    };
    let place = place.ok()?;
    let callback_url = settings.default_callback_url.clone();
    let called = Called { place, number: called, caller_present: x.to_owned(), callback_url };
    let call = ita_call(view, Caller::Inbound { number: from.to_owned() });
    let order = view.order(called, OrderKind::BidirectionalCall(call));
    Some(ordering::request(app, &tenant, None, order))
}

/// Whether a binding could be made today. Each party is judged as what it was bound as, whoever of the two calls.
fn permits(ita: &Ita, x: &str, binding: &store::NumberBinding) -> bool {
    ita.numbers.iter().any(|number| number == x)
        && ita.callers.permits(&binding.party_a)
        && ita.callees.permits(&binding.party_b)
}

fn supported(wish: &Wish) -> Result<(), Refused> {
    let fields = [
        ("callData", &wish.call_data),
        ("callerPresent", &wish.caller_present),
        ("agentPresent", &wish.agent_present),
    ];
    let given = fields.iter().find(|(_, field)| match field {
        Ok(field) => field.is_some(),
        Err(WrongType) => true,
    });
    given.map_or(Ok(()), |(name, _)| Err(Refused::NotOfIta(name)))
}

async fn bound(app: &App, ita: &Ita, pair: Pair<'_>, now_ms: i64) -> Result<Held, Refused> {
    if ita.numbers.is_empty() {
        return Err(Refused::NoNumbers);
    }
    if ita.binding == BindingMode::Existing && app.bindings.of_pair(pair, now_ms).is_none() {
        return Err(Refused::NotBound);
    }
    let expires_ms = now_ms + i64::from(ita.binding_lifetime_s) * 1000;
    Ok(app.bindings.hold(pair, &ita.numbers, expires_ms, now_ms).await?)
}

fn ita_call(view: TenantView<'_>, caller: Caller) -> BidirectionalCall {
    BidirectionalCall {
        caller,
        call_data: None,
        ita: true,
        connected_url: view.tenant.settings.connection_callback_url.clone(),
        agent_work_no: None,
        binding: None,
    }
}
