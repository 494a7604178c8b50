//! What is asked of the engine, and what an earlier run left behind.

use std::net::IpAddr;

use super::{CONCURRENT, Storm};
use crate::bidirectional_call::arrived_call;
use crate::world::{idempotency, intent, limits, order, pace, request};
use engine::action::{Arrival, Input, Origin};
use engine::intent::{AnonymousCall, BidirectionalCall, Caller, Order, OrderKind, Party, Place};
use engine::vocabulary::{LegId, Priority, Side};
use engine::writes::{Attempt, FoundLeg, Unfinished};
use engine::{Request, Ticket};

/// So few codes that many are wrong, used or taken, and some are right.
const CODES: u64 = 25;

impl Storm {
    /// Some calls of an earlier run, in each state that a crash can leave.
    pub fn recover(&mut self) {
        for number in 0..self.random.below(6) {
            let age = self.random.below(60_000) as i64;
            let kind = self.kind();
            let intent = intent(number + 1, self.now.unix_ms - age, Order { kind, ..order() });
            let legs = self.found_legs(number * 4 + 1, &intent.order.kind, intent.created_ms);
            let cancelled = self.random.chance(5);
            self.accepted.insert(intent.serial);
            let found = Unfinished { intent, ringing_ms: None, recorded: false, cancelled, legs };
            for leg in &found.legs {
                self.dialogs.extend(leg.answered.is_some().then_some(leg.leg));
                self.attempts.insert(leg.leg);
                self.sides.insert(leg.leg, leg.side());
            }
            self.input(Input::Recovered(Box::new(found)));
        }
        self.perform();
    }

    fn found_legs(&mut self, first: u64, kind: &OrderKind, at_ms: i64) -> Vec<FoundLeg> {
        let found = |number: u64, side, answered: bool| {
            let leg = LegId(first + number);
            let attempt = Attempt {
                serial: engine::vocabulary::Serial(first / 4 + 1),
                leg,
                side,
                trunk: Some("carrier".into()),
                number: number as u32 + 1,
                at_ms,
                wire: vec![],
                media: vec![],
            };
            FoundLeg { leg, attempt: Some(attempt), answered: answered.then(|| (vec![], at_ms)) }
        };
        let up = self.random.chance(3);
        match kind {
            OrderKind::VoiceNotification { .. } => vec![found(0, Side::Called, up)],
            OrderKind::BidirectionalCall(_) if self.random.chance(2) => {
                vec![found(0, Side::Caller, up)]
            }
            OrderKind::BidirectionalCall(_) => {
                vec![found(0, Side::Caller, true), found(1, Side::Called, up)]
            }
            OrderKind::AnonymousCall(_) if self.random.chance(2) => Vec::new(),
            OrderKind::AnonymousCall(_) => vec![found(0, Side::Called, up)],
        }
    }

    pub fn ask_for_a_call(&mut self) {
        let order = self.order();
        let mut request = self.request(order);
        if self.random.chance(3) {
            let key = self.random.below(10).to_string();
            request.idempotency = Some(idempotency(&key, self.random.below(2) as u8));
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.input(Input::Accept { ticket, request: Box::new(request) });
    }

    /// With a code, right or wrong, or to a virtual number.
    pub fn somebody_calls(&mut self) {
        let arrival = if self.random.chance(6) {
            let mut order = Order { kind: arrived_call().kind, ..self.order() };
            if self.random.chance(2) {
                order.place = Place::Softphone;
            }
            Arrival::Bound(Box::new(self.request(order)))
        } else {
            Arrival::Code(self.random.below(CODES).to_string())
        };
        let source = IpAddr::from((self.random.below(5_000) as u32).to_be_bytes());
        let leg = self.comes();
        let origin = match self.random.below(4) {
            0 => Origin::Claimed,
            1 => Origin::Reached,
            2 => Origin::Trunk,
            _ => Origin::Softphone("66666666".into()),
        };
        self.input(Input::Incoming { leg, arrival, source, origin });
    }

    fn request(&self, order: Order) -> Request {
        let mut request = request(order);
        request.limits = limits(pace(100, CONCURRENT));
        request.limits.queue_length = 20;
        request
    }

    fn order(&mut self) -> Order {
        let mut order = Order { kind: self.kind(), ..order() };
        order.priority = Priority::new(1 + self.random.below(9) as u8).expect("1 to 9");
        order.record = self.random.chance(4);
        if self.random.chance(2) {
            order.place = Place::Trunks("carrier*2,backup*1".parse().expect("a route"));
        }
        order
    }

    fn kind(&mut self) -> OrderKind {
        match self.random.below(8) {
            0..=2 => {
                let OrderKind::VoiceNotification { playlist, .. } = order().kind else {
                    panic!("the plain order is a notification")
                };
                let play_times = 1 + self.random.below(3) as u8;
                OrderKind::VoiceNotification { playlist, play_times }
            }
            3..=5 => {
                let place = match self.random.below(3) {
                    0 => Place::Softphone,
                    1 => Place::Trunks("backup*1,carrier*0".parse().expect("a route")),
                    _ => Place::Trunks("carrier".into()),
                };
                let caller = Party { number: "66666666".into(), place, presented: "95599".into() };
                OrderKind::BidirectionalCall(BidirectionalCall {
                    caller: Caller::Dialled(caller),
                    call_data: None,
                    ita: false,
                    agent_work_no: None,
                    binding: None,
                    connected_url: None,
                })
            }
            _ => OrderKind::AnonymousCall(AnonymousCall {
                call_data: None,
                code: self.random.below(CODES).to_string(),
                valid_until_ms: self.now.unix_ms + self.random.below(90_000) as i64,
                connected_url: None,
            }),
        }
    }
}
