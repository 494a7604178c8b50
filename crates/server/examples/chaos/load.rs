//! Requests at a steady pace. Whoever gets no reply asks again, with the same key, until there is one: so each request is
//! one accepted call, whatever died in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sim::client::{Entry, Recording, VoiceNotification};
use sim::{CallbackReceiver, Client, ClientError};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::parties::{self, Callers, Order};
use crate::server::Server;
use crate::{Fault, Shared, lock};

/// 50 requests a second.
const PACE: Duration = Duration::from_millis(20);

/// Requests at once after each start, before the pace: so that an early kill meets work.
const BURST: usize = 20;

/// Requests that wait for a reply.
const OPEN: usize = 1_000;

/// Numbers of the simulated carrier that are notified, and the weight of each. Together 100; calls of two parties are 30
/// besides.
const NUMBERS: &[(&str, u32)] =
    &[("1001", 55), ("13800000000", 20), ("100201", 8), ("1486", 7), ("2603", 5), ("100301", 5)];

pub struct Load {
    served_by: watch::Sender<Option<Client>>,
    shared: Arc<Made>,
    finish: watch::Sender<bool>,
    maker: JoinHandle<()>,
}

/// What was made so far.
struct Made {
    serials: Shared<BTreeSet<String>>,
    accepted: watch::Sender<usize>,
    next_key: AtomicUsize,
    orders: Vec<(u32, Order)>,
    callers: Callers,
}

impl Load {
    pub async fn start(
        server: &Server,
        receiver: &CallbackReceiver,
        seed: u64,
    ) -> Result<Load, Fault> {
        let client = server.client()?;
        let wav = media::Clip::from_pcm(&[0; 800], 8_000)?.to_wav();
        let voice = client.upload_recording(&Recording::wav(wav)).await?;
        let body = |number: &str| {
            let mut wanted = VoiceNotification::new(number, vec![Entry::recording(&voice)]);
            wanted.call_back_url = Some(receiver.url());
            wanted.to_json()
        };
        let notifications =
            NUMBERS.iter().map(|(number, share)| (*share, Order::Notification(body(number))));
        let shared = Arc::new(Made {
            serials: Shared::default(),
            accepted: watch::Sender::new(0),
            next_key: AtomicUsize::new(0),
            orders: notifications.chain(parties::orders()).collect(),
            callers: Callers::start().await?,
        });
        let (served_by, serving) = watch::channel(Some(client));
        let (finish, finished) = watch::channel(false);
        let random = StdRng::seed_from_u64(seed);
        let maker = tokio::spawn(make(shared.clone(), serving, finished, random));
        Ok(Load { served_by, shared, finish, maker })
    }

    pub fn accepted(&self) -> usize {
        *self.shared.accepted.borrow()
    }

    pub async fn reaches(&self, accepted: usize) {
        // The sender lives in `self`.
        let _ = self.shared.accepted.subscribe().wait_for(|count| *count >= accepted).await;
    }

    /// The server is about to die: those who ask wait for the next.
    pub fn pause(&self) {
        self.served_by.send_replace(None);
    }

    pub fn resume(&self, client: Client) {
        self.served_by.send_replace(Some(client));
    }

    /// Makes no more; the serial numbers of all, once each request has its reply.
    pub async fn finish(self, limit: Duration) -> Result<BTreeSet<String>, Fault> {
        self.finish.send_replace(true);
        let made = tokio::time::timeout(limit, self.maker).await;
        made.map_err(|_| "requests are left without a reply")??;
        let serials = lock(&self.shared.serials).clone();
        let replies = *self.shared.accepted.borrow();
        if serials.len() != replies {
            return Err(format!("{replies} requests got {} serial numbers", serials.len()).into());
        }
        Ok(serials)
    }
}

async fn make(
    shared: Arc<Made>,
    mut serving: watch::Receiver<Option<Client>>,
    mut finished: watch::Receiver<bool>,
    mut random: StdRng,
) {
    let mut requests = JoinSet::new();
    serving.mark_changed();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*finished.borrow_and_update() {
        let Ok(is_new) = serving.has_changed() else { break };
        if serving.borrow_and_update().is_none() {
            let _ = serving.changed().await;
            serving.mark_changed();
            continue;
        }
        let now = if is_new { BURST } else { 1 };
        for _ in 0..now {
            let key = shared.next_key.fetch_add(1, Ordering::Relaxed);
            let order = chosen(&shared.orders, &mut random);
            requests.spawn(ask(shared.clone(), serving.clone(), format!("request-{key}"), order));
        }
        while requests.try_join_next().is_some() {}
        if requests.len() >= OPEN {
            requests.join_next().await;
        }
        tokio::select! {
            _ = pace.tick() => {}
            _ = finished.changed() => {}
        }
    }
    while requests.join_next().await.is_some() {}
}

fn chosen(orders: &[(u32, Order)], random: &mut StdRng) -> Order {
    let mut at = random.random_range(0..orders.iter().map(|(share, _)| share).sum());
    for (share, order) in orders {
        match at.checked_sub(*share) {
            Some(rest) => at = rest,
            None => return order.clone(),
        }
    }
    unreachable!("the number is below the sum of the shares")
}

/// Until a reply says that the call is accepted.
async fn ask(
    shared: Arc<Made>,
    mut serving: watch::Receiver<Option<Client>>,
    key: String,
    order: Order,
) {
    loop {
        let client = serving.borrow_and_update().clone();
        if let Some(client) = client {
            match placed(&client, &order, &key, &shared.callers).await {
                Ok(serial) => {
                    lock(&shared.serials).insert(serial);
                    shared.accepted.send_modify(|count| *count += 1);
                    return;
                }
                // It died, or is about to.
                Err(ClientError::NoReply { .. }) => {}
                Err(refused) => eprintln!("refused, and asked again: {refused}"),
            }
        }
        tokio::select! {
            changed = serving.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}

/// The serial number of the call; for that of an application the application has set out by then.
async fn placed(
    client: &Client,
    order: &Order,
    key: &str,
    callers: &Callers,
) -> Result<String, ClientError> {
    match order {
        Order::Notification(body) => {
            client.create_voice_notification(body.as_str(), Some(key)).await?.call_serial_no()
        }
        Order::Bidirectional(body) => {
            client.create_call(body.as_str(), Some(key)).await?.call_serial_no()
        }
        Order::Anonymous(body) => {
            let reply = client.create_anonymous_call(body.as_str(), Some(key)).await?;
            let expected = reply.expected_call()?;
            callers.dial(&expected);
            Ok(expected.serial)
        }
    }
}
