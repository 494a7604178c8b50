//! The carrier's registrar: who has registered, from where, until when (RFC 3261 §10.3).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::{Command, OutsideRequest};

/// Seconds that a registration lives where the phone names none, and at the most.
const DEFAULT_EXPIRES: u32 = 3600;
/// Shorter lives are refused with 423.
const MIN_EXPIRES: u32 = 60;
/// Users that may be registered at a time.
const MAX_USERS: usize = 10_000;

/// One user's contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Value of Contact as it came.
    pub contact: String,
    pub source: SocketAddr,
    /// The user that digest authentication recognised.
    pub authenticated: Option<String>,
    pub until: Instant,
}

#[derive(Default)]
pub(crate) struct Registrar {
    by_user: BTreeMap<String, Binding>,
}

/// What a REGISTER came to.
pub(crate) enum Outcome {
    Registered,
    Removed,
    Queried,
    Refused,
}

impl Registrar {
    /// Takes a REGISTER; the response to give.
    pub fn take(&mut self, request: &OutsideRequest, now: Instant) -> (Command, Outcome) {
        self.by_user.retain(|_, binding| binding.until > now);
        let user = request.to.user().to_owned();
        let Some(contact) = header(request, "contact", "m") else {
            return (self.confirm(request, &user, now), Outcome::Queried);
        };
        match expires(request, contact) {
            0 => {
                self.by_user.remove(&user);
                (self.confirm(request, &user, now), Outcome::Removed)
            }
            short if short < MIN_EXPIRES => {
                let least = ("Min-Expires".to_owned(), MIN_EXPIRES.to_string());
                (respond(request, 423, vec![least]), Outcome::Refused)
            }
            _ if self.by_user.len() >= MAX_USERS && !self.by_user.contains_key(&user) => {
                let later = ("Retry-After".to_owned(), "60".to_owned());
                (respond(request, 503, vec![later]), Outcome::Refused)
            }
            seconds => {
                let life = Duration::from_secs(seconds.min(DEFAULT_EXPIRES).into());
                let binding = Binding {
                    contact: contact.to_owned(),
                    source: request.source,
                    authenticated: request.authenticated.clone(),
                    until: now + life,
                };
                self.by_user.insert(user.clone(), binding);
                (self.confirm(request, &user, now), Outcome::Registered)
            }
        }
    }

    pub fn bindings(&self, now: Instant) -> BTreeMap<String, Binding> {
        let alive = self.by_user.iter().filter(|(_, binding)| binding.until > now);
        alive.map(|(user, binding)| (user.clone(), binding.clone())).collect()
    }

    fn confirm(&self, request: &OutsideRequest, user: &str, now: Instant) -> Command {
        let headers = self.by_user.get(user).map(|binding| {
            let left = binding.until.saturating_duration_since(now).as_secs();
            let bare = bare(&binding.contact);
            ("Contact".to_owned(), format!("{bare};expires={left}"))
        });
        respond(request, 200, headers.into_iter().collect())
    }
}

fn respond(request: &OutsideRequest, status: u16, headers: Vec<(String, String)>) -> Command {
    Command::Respond { request: request.id, status, headers, body: None }
}

fn header<'r>(request: &'r OutsideRequest, name: &str, compact: &str) -> Option<&'r str> {
    let named = |(known, _): &&(String, String)| {
        known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(compact)
    };
    request.headers.iter().find(named).map(|(_, value)| value.as_str())
}

/// The contact's own lifetime, else that of the Expires header.
fn expires(request: &OutsideRequest, contact: &str) -> u32 {
    let own = contact.rsplit_once('>').map_or(contact, |(_, parameters)| parameters);
    let own = own.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("expires").then(|| value.trim())
    });
    own.or_else(|| header(request, "expires", "expires"))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(DEFAULT_EXPIRES)
}

/// A contact without its header parameters.
fn bare(contact: &str) -> &str {
    match contact.rfind('>') {
        Some(end) => &contact[..=end],
        None => contact.split(';').next().unwrap_or(contact),
    }
}
