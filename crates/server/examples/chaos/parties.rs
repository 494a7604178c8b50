//! Calls of two parties among the load: both numbers are the carrier's, or an application dials the code that it got.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sim::client::ExpectedCall;
use sim::{AppPhone, AppPhoneConfig, Behaviour, Carrier};

use crate::Fault;

/// Their numbers begin so, and have a trunk of their own: the queue of the notifications keeps the other full.
pub const PREFIX: &str = "139";

/// The tenant's, and nowhere: the managers are called at their numbers.
pub const SOFTPHONE: &str = "66666666";

/// Answer, and hang up.
const MANAGERS: &[(&str, Duration)] =
    &[("13900000001", Duration::from_millis(400)), ("13900000002", Duration::from_millis(1_500))];

/// Whom a manager or an application is connected with, and the weight of each such call beside the notifications.
const CUSTOMERS: &[(&str, Behaviour, u32)] = &[
    ("13900000011", Behaviour::Answer { ring: Duration::ZERO }, 4),
    ("13900000012", Behaviour::Answer { ring: Duration::from_millis(500) }, 4),
    ("13900000013", Behaviour::Refuse { ring: Duration::ZERO, status: 486 }, 2),
];

/// Then an application hangs up.
const TALK: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Clone)]
pub enum Order {
    Notification(String),
    Bidirectional(String),
    Anonymous(String),
}

pub fn behave(carrier: &Carrier) {
    for (number, talk) in MANAGERS {
        carrier.behave(*number, Behaviour::HangUp { talk: *talk });
    }
    for (number, behaviour, _) in CUSTOMERS {
        carrier.behave(*number, behaviour.clone());
    }
}

pub fn is_manager(number: &str) -> bool {
    MANAGERS.iter().any(|(manager, _)| *manager == number)
}

pub fn is_customer(number: &str) -> bool {
    CUSTOMERS.iter().any(|(customer, ..)| *customer == number)
}

/// Bodies, and how often each is asked for.
pub fn orders() -> impl Iterator<Item = (u32, Order)> {
    CUSTOMERS.iter().flat_map(|(called, _, share)| {
        let bidirectional = MANAGERS.iter().map(|(caller, _)| {
            let body = json!({ "softPhone": SOFTPHONE, "caller": caller, "called": called });
            (*share, Order::Bidirectional(body.to_string()))
        });
        let body = json!({ "called": called }).to_string();
        bidirectional.chain([(*share, Order::Anonymous(body))]).collect::<Vec<_>>()
    })
}

/// The applications.
pub struct Callers(Arc<AppPhone>);

impl Callers {
    pub async fn start() -> Result<Callers, Fault> {
        let config = AppPhoneConfig { keep_for: Duration::ZERO, ..AppPhoneConfig::default() };
        Ok(Callers(Arc::new(AppPhone::start(config).await?)))
    }

    /// Once, as the code is good once: over UDP the INVITE is sent again until a server is there.
    pub fn dial(&self, expected: &ExpectedCall) {
        let (app, ExpectedCall { service, code, .. }) = (self.0.clone(), expected.clone());
        tokio::spawn(async move {
            match app.dial(service, &code).await {
                Ok(mut phone) => {
                    // What becomes of the call the far end and the server say.
                    if phone.until_answered().await.is_ok() && phone.wait(TALK).await.is_ok() {
                        let _ = phone.hang_up().await;
                    }
                    phone.end().await;
                }
                Err(fault) => eprintln!("chaos: a code was not dialled: {fault}"),
            }
        });
    }
}
