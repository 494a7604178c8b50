//! Programs that order calls: some with a key and the patience to ask again until they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::intent::{AnonymousCall, Idempotency, IdempotencyKey, Order, OrderKind};
use engine::vocabulary::{DailyLimits, Pace, Serial, TenantId, TenantLimits};
use engine::{Refusal, Request};
use store::Store;
use tokio::sync::oneshot;

use super::agenda::Agenda;
use super::cast::Charter;
use super::nature::{Dice, Nature, at_once};
use super::orders;
use super::settings::CAPACITY;
use crate::calls::{Accepted, Ask, earlier};

pub const TENANTS: [TenantId; 2] = [TenantId(1), TenantId(2)];
/// Refuses a call whose like is not over yet.
pub const STRICT: TenantId = TENANTS[1];
/// What the numbers of the last calls begin with, which take every place.
pub const LAST_CALLS: &str = "7700";
const TRIES: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Clients {
    charter: Charter,
    wants: Vec<Want>,
    agenda: Agenda<Step>,
    /// What the clients were told: the server has these calls.
    pub promised: BTreeSet<Serial>,
    by_key: BTreeMap<String, Serial>,
    /// Codes that clients were told are good, for whoever calls with them.
    pub codes: Vec<AnonymousCall>,
    rounds: u32,
}

struct Want {
    /// `None` before the first try: a code is good from then on.
    request: Option<Request>,
    tries: u32,
    answer: Option<Waiting>,
}

struct Waiting {
    until: Duration,
    reply: oneshot::Receiver<Result<Accepted, Refusal>>,
}

enum Step {
    Ask(usize),
    Cancel(Serial, TenantId),
}

impl Clients {
    /// `calls` orders within the first 50 s.
    pub fn new(charter: Charter, calls: u64, dice: &mut Dice) -> Clients {
        let mut clients = Clients {
            charter,
            wants: Vec::new(),
            agenda: Agenda::default(),
            promised: BTreeSet::new(),
            by_key: BTreeMap::new(),
            codes: Vec::new(),
            rounds: 0,
        };
        for _ in 0..calls {
            let at = Duration::from_millis(100 + dice.below(50_000));
            clients.want(at, dice);
        }
        clients
    }

    fn want(&mut self, at: Duration, dice: &mut Dice) {
        let number = self.wants.len();
        let request = match self.charter {
            Charter::Notifications => Some(request(number, dice, orders::notification)),
            Charter::EveryKind | Charter::Silence => None,
        };
        self.wants.push(Want { request, tries: 0, answer: None });
        self.agenda.put(at, Step::Ask(number));
    }

    /// One order for each call that may be up at once, no faster than the paces allow.
    pub fn take_every_place(&mut self, now: Duration, trunks: [&str; 2]) {
        let each = [(trunks[0], TENANTS[0]), (trunks[1], TENANTS[1])];
        for place in 0..CAPACITY {
            let (trunk, tenant) = each[place as usize % 2];
            let number = self.wants.len();
            let mut order = orders::notification(&mut Dice::new(0));
            order.place = trunk.into();
            order.called = format!("{LAST_CALLS}{}", CAPACITY * self.rounds + place);
            order.ring_limit_s = 20;
            let (limits, queue_timeout) = (limits(tenant), Duration::from_secs(300));
            let request = Request { tenant, limits, idempotency: None, queue_timeout, order };
            self.wants.push(Want { request: Some(request), tries: 0, answer: None });
            let at = now + Duration::from_millis(1_000 + 400 * u64::from(place));
            self.agenda.put(at, Step::Ask(number));
        }
        self.rounds += 1;
    }

    /// How many calls took every place.
    pub fn last_calls(&self) -> usize {
        (CAPACITY * self.rounds) as usize
    }

    pub fn next(&self) -> Option<Duration> {
        let patience = self.wants.iter().filter_map(|want| want.answer.as_ref().map(|w| w.until));
        patience.chain(self.agenda.next()).min()
    }

    pub fn are_done(&self) -> bool {
        self.next().is_none()
    }

    /// What is asked now of the server that is `up`; what `store` knows already is no question.
    pub fn step(&mut self, up: Option<&Store>, nature: &mut Nature) -> Vec<Ask> {
        self.lose_patience(nature);
        let mut asks = Vec::new();
        while let Some(step) = self.agenda.take(nature.now) {
            match (step, up) {
                (Step::Ask(number), Some(store)) => {
                    asks.extend(self.ask(number, store, nature));
                }
                (Step::Ask(number), None) => self.again(number, nature),
                (Step::Cancel(serial, tenant), Some(_)) => {
                    nature.say(format_args!("cancel {serial}"));
                    asks.push(Ask::Cancel(tenant, serial, oneshot::channel().0));
                }
                (Step::Cancel(..), None) => {}
            }
        }
        asks
    }

    /// Looks for replies.
    pub fn listen(&mut self, nature: &mut Nature) {
        for number in 0..self.wants.len() {
            let Some(waiting) = &mut self.wants[number].answer else { continue };
            match waiting.reply.try_recv() {
                Ok(reply) => {
                    self.wants[number].answer = None;
                    self.told(number, reply, nature);
                }
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => {
                    self.wants[number].answer = None;
                    self.again(number, nature);
                }
            }
        }
    }

    fn ask(&mut self, number: usize, store: &Store, nature: &mut Nature) -> Option<Ask> {
        let (charter, wall_ms) = (self.charter, nature.wall_ms());
        let want = &mut self.wants[number];
        want.tries += 1;
        nature.say(format_args!("order {number}, try {}", want.tries));
        let dice = &mut nature.dice;
        let request = want.request.get_or_insert_with(|| {
            assert!(charter.has_every_kind(), "the others are drawn beforehand");
            request(number, dice, |dice| orders::any(charter, number, wall_ms, dice))
        });
        let request = request.clone();
        if let Some(known) = at_once(earlier(store, request.idempotency.as_ref())) {
            self.told(number, known, nature);
            return None;
        }
        let (sender, reply) = oneshot::channel();
        want.answer = Some(Waiting { until: nature.now + PATIENCE, reply });
        Some(Ask::Accept(Box::new(request), sender))
    }

    fn told(&mut self, number: usize, reply: Result<Accepted, Refusal>, nature: &mut Nature) {
        // The connection breaks on the way back.
        if nature.dice.percent(5) {
            nature.say(format_args!("order {number}: the reply is lost"));
            return self.again(number, nature);
        }
        nature.say(format_args!("order {number}: {reply:?}"));
        match reply {
            Ok(Accepted { serial, replayed }) => {
                let fresh = self.promised.insert(serial);
                assert!(fresh || replayed, "{serial} was given to two orders");
                let asked = self.wants[number].request.as_ref().expect("it was asked");
                let Request { tenant, idempotency, order, .. } = asked;
                if let (true, OrderKind::AnonymousCall(call)) = (fresh, &order.kind) {
                    self.codes.push(call.clone());
                }
                if let Some(Idempotency { key, .. }) = idempotency {
                    let first = *self.by_key.entry(key.key.clone()).or_insert(serial);
                    assert_eq!(first, serial, "one key, two calls");
                }
                if nature.dice.percent(8) {
                    let at = nature.in_ms(0, 20_000);
                    self.agenda.put(at, Step::Cancel(serial, *tenant));
                } else if nature.dice.percent(10) {
                    // A client that does not trust its own memory.
                    self.again(number, nature);
                }
            }
            Err(Refusal::KeyReused) => panic!("the same body under the same key was refused"),
            Err(Refusal::QueueFull { .. } | Refusal::DailyLimit { .. } | Refusal::Duplicate) => {}
            Err(Refusal::BalanceUsedUp) => panic!("no tenant of this world has a balance"),
            Err(Refusal::CodeTaken) => panic!("no two orders have one code"),
            Err(Refusal::Stopping) => self.again(number, nature),
        }
    }

    /// Only with a key, or where it has not asked: without it the client cannot know whether the call exists.
    fn again(&mut self, number: usize, nature: &mut Nature) {
        let want = &self.wants[number];
        let may_ask = want.request.as_ref().is_none_or(|request| request.idempotency.is_some());
        if may_ask && want.tries < TRIES {
            let at = nature.in_ms(500, 4_000);
            self.agenda.put(at, Step::Ask(number));
        }
    }

    fn lose_patience(&mut self, nature: &mut Nature) {
        for number in 0..self.wants.len() {
            let answer = &mut self.wants[number].answer;
            if answer.take_if(|waiting| waiting.until <= nature.now).is_some() {
                self.again(number, nature);
            }
        }
    }
}

/// Most of them have a key.
fn request(number: usize, dice: &mut Dice, draw: impl FnOnce(&mut Dice) -> Order) -> Request {
    let tenant = TENANTS[dice.below(2) as usize];
    let has_key = dice.percent(80);
    let order = draw(dice);
    let idempotency = has_key.then(|| Idempotency {
        key: IdempotencyKey { tenant, kind: order.call_kind(), key: format!("order-{number}") },
        body_sha256: [number as u8; 32],
    });
    let queue_timeout = Duration::from_secs(300);
    Request { tenant, limits: limits(tenant), idempotency, queue_timeout, order }
}

pub fn limits(tenant: TenantId) -> TenantLimits {
    TenantLimits {
        pace: Pace { calls_per_second: 4, concurrent_calls: 5 },
        queue_length: 30,
        refuse_duplicates: tenant == STRICT,
        daily: DailyLimits::default(),
        ita_minutes: None,
    }
}
