//! Orders of every kind, as their tenants' programs draw them.

use engine::intent::{
    AnonymousCall, BidirectionalCall, Caller, Order, OrderKind, Party, Place, PlayItem,
};
use engine::vocabulary::Priority;

use super::cast::{
    CODE, CUSTOMER, Charter, FRAGILE, LINE, MANAGER, PHONES, REGISTERED, SOFTPHONE, STREAM,
};
use super::nature::Dice;

/// What stands for the virtual number of an ITA order until its parties are bound.
pub const TO_BE_BOUND: &str = "to be bound";

/// A notification.
pub fn notification(dice: &mut Dice) -> Order {
    let route = match dice.below(10) {
        0..=4 => LINE.to_owned(),
        5 | 6 => REGISTERED.to_owned(),
        7 | 8 => format!("{LINE}*2,{REGISTERED}*1"),
        _ => format!("{LINE}*1,{REGISTERED}*0"),
    };
    Order {
        place: Place::Trunks(route.parse().expect("a route")),
        called: format!("{CUSTOMER}{}", dice.below(12)),
        caller_present: "2222201".into(),
        priority: Priority::new(1 + dice.below(9) as u8).expect("1 to 9"),
        ring_limit_s: 10 + dice.below(30) as u32,
        max_duration_s: 8 + dice.below(30) as u32,
        record: false,
        callback_url: dice.percent(85).then(|| "http://192.0.2.9/callback".to_owned()),
        kind: OrderKind::VoiceNotification {
            playlist: vec![PlayItem::Recording { voice_id: "100001".into() }],
            play_times: 1 + dice.below(3) as u8,
        },
    }
}

/// The `number`th order of a world with every kind of call. A code is good from `wall_ms` on.
pub fn any(charter: Charter, number: usize, wall_ms: i64, dice: &mut Dice) -> Order {
    let kind = dice.below(100);
    let connected_url = dice.percent(70).then(|| "http://192.0.2.9/connected".to_owned());
    let mut order = notification(dice);
    if charter == Charter::Silence {
        order.max_duration_s += 90;
    }
    order.place = trunks(dice);
    order.kind = match kind {
        0..20 => return order,
        20..65 => {
            let caller = Caller::Dialled(manager(kind < 42, dice));
            OrderKind::BidirectionalCall(connecting(caller, false, connected_url))
        }
        65..75 => {
            order.caller_present = TO_BE_BOUND.to_owned();
            let softphone = dice.percent(40);
            let caller = Caller::Dialled(manager(softphone, dice));
            OrderKind::BidirectionalCall(connecting(caller, true, connected_url))
        }
        _ => OrderKind::AnonymousCall(AnonymousCall {
            call_data: None,
            code: format!("{CODE}{number:04}{:08}", dice.below(100_000_000)),
            valid_until_ms: wall_ms + 10_000 + dice.below(80_000) as i64,
            connected_url,
        }),
    };
    order
}

/// The order behind a call of `from` to the virtual number `x`.
pub fn to_virtual_number(x: &str, from: &str, called: &str, dice: &mut Dice) -> Order {
    let mut order = notification(dice);
    let place = if called.starts_with(SOFTPHONE) { Place::Softphone } else { trunks(dice) };
    let caller = Caller::Inbound { number: from.to_owned() };
    let connected_url = Some("http://192.0.2.9/connected".to_owned());
    let call = connecting(caller, true, connected_url);
    (order.place, order.called) = (place, called.to_owned());
    order.caller_present = x.to_owned();
    order.kind = OrderKind::BidirectionalCall(call);
    order
}

fn connecting(caller: Caller, ita: bool, connected_url: Option<String>) -> BidirectionalCall {
    let (agent_work_no, binding) = (None, None);
    BidirectionalCall { caller, call_data: None, ita, connected_url, agent_work_no, binding }
}

fn manager(has_softphone: bool, dice: &mut Dice) -> Party {
    let presented = "2222201".to_owned();
    if has_softphone {
        let phone = &PHONES[dice.below(PHONES.len() as u64) as usize];
        return Party { number: phone.number.to_owned(), place: Place::Softphone, presented };
    }
    let number = format!("{MANAGER}{}", dice.below(6));
    Party { number, place: trunks(dice), presented }
}

fn trunks(dice: &mut Dice) -> Place {
    let route = match dice.below(10) {
        0..=2 => LINE.to_owned(),
        3 => REGISTERED.to_owned(),
        4 => STREAM.to_owned(),
        5 => FRAGILE.to_owned(),
        6 => format!("{LINE}*2,{REGISTERED}*1"),
        7 => format!("{FRAGILE}*1,{LINE}*0"),
        8 => format!("{STREAM}*2,{FRAGILE}*1"),
        _ => format!("{STREAM}*1,{LINE}*1,{REGISTERED}*0"),
    };
    Place::Trunks(route.parse().expect("a route"))
}
