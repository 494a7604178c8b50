//! Delivers callbacks from the event log: at least once, each attempt kept.
//!
//! The store says what is due and gives each delivery once at a time; after a restart it gives again
//! what was not stored as delivered. A receiver that hangs holds only its own places.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use engine::events::Event;
use engine::intent::Intent;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use store::{
    CallbackAttempt, CallbackDue, CallbackId, CallbackNext, CallbackResult, StoreError, crash_point,
};
use tokio::sync::{Notify, Semaphore, watch};

use super::client::{Attempt, AttemptResult, CallbackClient};
use super::release::{self, Signing};
use super::schedule::{self, Next, Outcome};
use super::signature::Algorithm;
use super::trust::{Permit, parse_callback_url};
use crate::app::{App, unix_ms};
use crate::tenants::{SignatureKind, Tenant};

/// Deliveries that are read from the store at once.
pub const PAGE: u32 = 128;
/// Deliveries in hand: on the wire or waiting for their receiver's turn.
const IN_HAND: usize = 4_096;
/// Deliveries on the wire to one host and port.
const PER_RECEIVER: usize = 32;
/// Deliveries in hand for one host and port. Those past it are left to the store, which gives them
/// again a minute later: a receiver that hangs takes no place from the others.
const WAITING_PER_RECEIVER: usize = 512;
/// How long one waits for its turn: with the attempt's own time it ends before the store would give
/// the delivery to somebody else (60 s).
const TURN: Duration = Duration::from_secs(30);
/// How long nothing is looked for when nothing is due and no bell rings.
pub const IDLE: Duration = Duration::from_secs(30);
/// What is due is looked for no oftener than this: under load the bell rings with each commit.
const APART: Duration = Duration::from_millis(10);

/// How long a store that does not answer is left alone.
const AFTER_AN_ERROR: Duration = Duration::from_secs(1);

pub struct Delivery {
    app: App,
    client: CallbackClient,
    in_hand: Arc<Semaphore>,
    receivers: Mutex<BTreeMap<String, Weak<Receiver>>>,
    /// Rung when an attempt has been stored: its next try may be the first that is due.
    stored: Notify,
}

/// One host and port.
struct Receiver {
    places: Semaphore,
    turns: Semaphore,
}

impl Delivery {
    pub fn new(app: App, client: CallbackClient) -> Arc<Delivery> {
        let in_hand = Arc::new(Semaphore::new(IN_HAND));
        Arc::new(Delivery {
            app,
            client,
            in_hand,
            receivers: Mutex::default(),
            stored: Notify::new(),
        })
    }

    /// Runs until `stop` says so, and until what is on the wire then has been stored.
    pub async fn run(
        self: Arc<Self>,
        mut doorbell: watch::Receiver<u64>,
        mut stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            let next_look = tokio::time::Instant::now() + APART;
            doorbell.borrow_and_update();
            let wait = match self.app.store.callbacks_due(unix_ms(), PAGE).await {
                Ok(due) => {
                    if self.start(due).await == PAGE as usize {
                        continue;
                    }
                    self.until_next().await
                }
                Err(error) => {
                    tracing::error!(%error, "callbacks that are due could not be read");
                    AFTER_AN_ERROR
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // An error means that the driver is gone; then `stop` follows.
                _ = doorbell.changed() => {}
                () = self.stored.notified() => {}
                _ = stop.changed() => {}
            }
            tokio::time::sleep_until(next_look).await;
        }
        // All permits back: every delivery in hand has been stored.
        let _ = self.in_hand.acquire_many(IN_HAND as u32).await;
    }

    async fn start(self: &Arc<Self>, due: Vec<CallbackDue>) -> usize {
        let given = due.len();
        for callback in due {
            let Ok(permit) = self.in_hand.clone().acquire_owned().await else { break };
            let delivery = self.clone();
            tokio::spawn(async move {
                delivery.deliver(callback).await;
                drop(permit);
            });
        }
        given
    }

    async fn until_next(&self) -> Duration {
        match self.app.store.next_callback_ms().await {
            Ok(Some(next)) => Duration::from_millis((next - unix_ms()).max(1) as u64).min(IDLE),
            Ok(None) => IDLE,
            Err(error) => {
                tracing::error!(%error, "the next callback could not be read");
                AFTER_AN_ERROR
            }
        }
    }

    async fn deliver(&self, due: CallbackDue) {
        let receiver = self.receiver(&due.url);
        let Ok(_place) = receiver.places.try_acquire() else { return };
        let Ok(_turn) = tokio::time::timeout(TURN, receiver.turns.acquire()).await else { return };
        let at_ms = unix_ms();
        let (request, attempt) = self.attempt(&due, at_ms).await;
        let (result, outcome) = judged(&attempt.result);
        let jitter = f64::from(rand::random::<i16>()) / f64::from(i16::MAX);
        let next = follow_up(due.attempt_number, unix_ms(), outcome, jitter);
        let duration_ms = attempt.duration.as_millis() as u32;
        let number = due.attempt_number;
        let stored =
            CallbackAttempt { id: due.id, number, at_ms, duration_ms, request, result, next };
        match self.app.store.callback_attempt(stored).await {
            Ok(()) => {}
            // The store gave it to somebody else while this one took too long; that one's attempt stands.
            Err(StoreError::Conflict { .. }) => {
                tracing::warn!("a callback's attempt took so long that it was made twice");
            }
            Err(error) => {
                tracing::error!(%error, "a callback's attempt could not be stored; it is made again");
            }
        }
        self.stored.notify_one();
    }

    /// What was sent, for the record, and what came of it.
    async fn attempt(&self, due: &CallbackDue, at_ms: i64) -> (String, Attempt) {
        let not_sent = |why: String| {
            let result = AttemptResult::Failed {
                failure: super::client::Failure::AddressRefused(why),
                status: None,
            };
            (String::new(), Attempt { result, duration: Duration::ZERO })
        };
        let Some(tenant) = self.app.tenants.by_id(due.id.tenant) else {
            return not_sent("the tenant does not exist any more".into());
        };
        let permit = match permit(&tenant, &due.url) {
            Ok(permit) => permit,
            Err(why) => return not_sent(why),
        };
        let shared_key = self.shared_key(&tenant, &due.url).await;
        let signing = shared_key.as_deref().map(|shared_key| Signing {
            algorithm: match tenant.settings.signature {
                SignatureKind::HmacSha256 => Algorithm::HmacSha256,
                SignatureKind::Sha256 => Algorithm::Sha256,
            },
            shared_key,
            timestamp_ms: at_ms,
            nonce: rand::random(),
        });
        let zone = tenant.settings.time_zone.0;
        let kind = &due.event.kind;
        let call = match self.call(&due.event).await {
            Ok(call) => call,
            Err(error) => return not_sent(error.to_string()),
        };
        let Some(body) = release::body(kind, call.as_ref(), zone, signing.as_ref()) else {
            return not_sent(format!("there is nothing to tell of {}", kind.name()));
        };
        let id = webhook_id(due.id);
        let request = format!(
            "POST {}\nwebhook-id: {id}\nwebhook-timestamp: {}\n\n{}",
            due.url,
            at_ms / 1000,
            String::from_utf8_lossy(&body)
        );
        crash_point!("callback_before_post");
        let attempt = self.client.post(&permit, headers(&id, at_ms), Bytes::from(body)).await;
        crash_point!("callback_after_post");
        (request, attempt)
    }

    /// The call of an event whose body takes more than the event has; gone with its record, at the latest.
    async fn call(&self, event: &Event) -> Result<Option<Intent>, StoreError> {
        let Some(serial) = event.serial.filter(|_| release::needs_call(&event.kind)) else {
            return Ok(None);
        };
        let store = &self.app.store;
        match store.intent(event.tenant, serial).await? {
            Some((intent, _)) => Ok(Some(intent)),
            None => Ok(store.cdr(event.tenant, serial).await?.map(|cdr| cdr.intent)),
        }
    }

    /// Only a callback whose address came by the interface is signed (contract §5.4).
    async fn shared_key(&self, tenant: &Tenant, url: &str) -> Option<String> {
        let settings = &tenant.settings;
        let written = [&settings.default_callback_url, &settings.connection_callback_url];
        if written.into_iter().any(|own| own.as_deref() == Some(url)) {
            return None;
        }
        match self.app.access.callback_shared_key(tenant.id).await {
            Ok(key) => key,
            Err(error) => {
                tracing::error!(tenant = tenant.id.0, %error, "a callback goes unsigned");
                None
            }
        }
    }

    /// The host and port of an address; kept while anybody waits for it.
    fn receiver(&self, url: &str) -> Arc<Receiver> {
        let name = url::Url::parse(url).map_or_else(
            |_| url.to_owned(),
            |url| format!("{:?}:{:?}", url.host_str(), url.port_or_known_default()),
        );
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = receivers.get(&name).and_then(Weak::upgrade) {
            return receiver;
        }
        receivers.retain(|_, receiver| receiver.strong_count() > 0);
        let receiver = Arc::new(Receiver {
            places: Semaphore::new(WAITING_PER_RECEIVER),
            turns: Semaphore::new(PER_RECEIVER),
        });
        receivers.insert(name, Arc::downgrade(&receiver));
        receiver
    }
}

/// The same at every try and after every restart: the place of the event.
pub fn webhook_id(id: CallbackId) -> String {
    format!("{}-{}", id.tenant.0, id.position)
}

/// What the schedule says, as the store keeps it.
pub fn follow_up(attempt: u32, ended_ms: i64, outcome: Outcome, jitter: f64) -> CallbackNext {
    match schedule::next(attempt, ended_ms, outcome, jitter) {
        Next::Delivered => CallbackNext::Delivered,
        Next::RetryAt(at) => CallbackNext::RetryAt(at),
        Next::Dead(_) => CallbackNext::Dead,
    }
}

/// The trust list is asked at every try: an entry that was taken out holds at once.
fn permit(tenant: &Tenant, url: &str) -> Result<Permit, String> {
    let url = parse_callback_url(url).map_err(|error| error.to_string())?;
    tenant.settings.trust.permits(&url).map_err(|error| error.to_string())
}

fn headers(id: &str, at_ms: i64) -> HeaderMap {
    let value = |text: String| HeaderValue::from_str(&text).expect("digits and a dash");
    HeaderMap::from_iter([
        (HeaderName::from_static("webhook-id"), value(id.to_owned())),
        (HeaderName::from_static("webhook-timestamp"), value((at_ms / 1000).to_string())),
        (HeaderName::from_static("user-agent"), HeaderValue::from_static("offhook")),
    ])
}

fn judged(result: &AttemptResult) -> (CallbackResult, Outcome) {
    match result {
        AttemptResult::Answered { status, body, retry_after } => (
            CallbackResult::Reply { status: *status, body: body.clone() },
            Outcome::Answered { status: *status, retry_after: *retry_after },
        ),
        AttemptResult::Failed { failure, .. } => {
            (CallbackResult::Error { why: failure.to_string() }, Outcome::Unanswered)
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::cdr::Outcome as CallOutcome;

    use super::*;
    use crate::callbacks::client::ClientSettings;
    use crate::http::testing::World;

    const T0: i64 = 1_700_000_000_000;

    /// A machine that stood still for longer than a delivery is left to who has it.
    #[tokio::test]
    async fn an_attempt_that_was_made_twice_is_kept_once_and_the_next_one_follows() {
        let world = World::new().await;
        world.recording("100001", "welcome.wav", "3", store::VoiceStatus::Approved).await;
        let mut intent = world.accepted(1, T0).await;
        // Nobody trusts it, so that no attempt leaves the machine.
        intent.order.callback_url = Some("http://untrusted.example.com/".into());
        let serial = intent.serial;
        world.ended(intent, CallOutcome::Played, false).await;
        let client = CallbackClient::new(ClientSettings::default()).unwrap();
        let delivery = Delivery::new(world.app.clone(), client);
        let store = &world.app.store;
        let [first] = &store.callbacks_due(T0 + 60_000, 10).await.unwrap()[..] else { panic!() };
        let late = unix_ms() + store::OFFER_MS * 2;
        delivery.deliver(first.clone()).await;
        delivery.deliver(first.clone()).await;
        let (state, attempts) =
            store.callbacks_of(first.id.tenant, serial).await.unwrap().remove(0);
        assert_eq!((state.attempts, attempts.len()), (1, 1));
        let [second] = &store.callbacks_due(late, 10).await.unwrap()[..] else { panic!() };
        assert_eq!((second.id, second.attempt_number), (first.id, 2), "it goes on");
    }
}
