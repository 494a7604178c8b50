//! Registrations at registrars (RFC 3261 §10): kept up, tried again, given up on request.
//!
//! Trying ──200──▶ Up ──¾ of its life──▶ Trying        Trying ──refused, silent──▶ Waiting ──▶ Trying
//! any ──Unregister──▶ Leaving ──answer, Timer F──▶ gone

use std::{collections::HashMap, time::Duration};

use sipx_sip::HeaderName;

use crate::{
    Destination, Event, Registration, RegistrationFailure, RegistrationId,
    auth_client::AuthClient,
    message::{Response, retry_after, split_values, text, texts, uri_of},
    stack::Stack,
    timers::{TimerHandle, TimerKey},
    transactions::{ClientKey, Failure, NewClient, Owner},
    writer::{ALLOW, Writer},
};

#[derive(Debug, Default)]
pub(crate) struct Registrations {
    live: HashMap<RegistrationId, Entry>,
}

#[derive(Debug)]
struct Entry {
    wanted: Registration,
    call_id: String,
    tag: String,
    cseq: u32,
    auth: AuthClient,
    /// Lifetime that is asked for, after a 423 what the registrar insists on.
    expires: u32,
    failures: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Trying(ClientKey),
    Up(TimerHandle),
    Waiting(TimerHandle),
    Leaving(ClientKey),
}

/// Seconds after the first failure; doubled with each, up to the longest.
const FIRST_RETRY: u32 = 30;
const LONGEST_RETRY: u32 = 1800;
/// Lifetimes that are asked for and accepted, in seconds.
const SHORTEST: u32 = 60;
const LONGEST: u32 = 86_400;

impl Registrations {
    /// Starts one, or takes the place of the one with the same id.
    pub fn register(&mut self, wanted: Registration, stack: &mut Stack) {
        let id = wanted.id;
        if let Some(old) = self.live.remove(&id) {
            stop(old.state, stack);
        }
        let auth = AuthClient::new(wanted.credentials.clone(), wanted.registrar.addr.ip());
        let mut entry = Entry {
            call_id: format!("{}@offhook", stack.random.token()),
            tag: stack.random.token(),
            cseq: 0,
            auth,
            expires: wanted.expires.clamp(SHORTEST, LONGEST),
            failures: 0,
            wanted,
            state: State::Trying(NOT_SENT),
        };
        entry.state = State::Trying(entry.send(entry.expires, stack));
        self.live.insert(id, entry);
    }

    pub fn unregister(&mut self, id: RegistrationId, stack: &mut Stack) {
        let Some(mut entry) = self.live.remove(&id) else {
            stack.event(Event::Unregistered { id });
            return;
        };
        entry.auth.next_request();
        let key = entry.send(0, stack);
        stop(std::mem::replace(&mut entry.state, State::Leaving(key)), stack);
        self.live.insert(id, entry);
    }

    pub fn due(&mut self, id: RegistrationId, stack: &mut Stack) {
        if let Some(entry) = self.live.get_mut(&id)
            && matches!(entry.state, State::Up(_) | State::Waiting(_))
        {
            entry.auth.next_request();
            entry.state = State::Trying(entry.send(entry.expires, stack));
        }
    }

    pub fn response(
        &mut self,
        id: RegistrationId,
        key: ClientKey,
        response: &Response,
        stack: &mut Stack,
    ) {
        let Some(entry) = self.live.get_mut(&id) else {
            return;
        };
        let is_leaving = match entry.state {
            State::Trying(ours) if ours == key => false,
            State::Leaving(ours) if ours == key => true,
            State::Trying(_) | State::Leaving(_) | State::Up(_) | State::Waiting(_) => return,
        };
        let sent_to = entry.wanted.registrar.addr.ip();
        match response.status {
            ..=199 => {}
            401 | 407 if entry.auth.challenged(response, sent_to) => {
                let expires = if is_leaving { 0 } else { entry.expires };
                let key = entry.send(expires, stack);
                entry.state = if is_leaving { State::Leaving(key) } else { State::Trying(key) };
            }
            _ if is_leaving => {
                self.live.remove(&id);
                stack.event(Event::Unregistered { id });
            }
            200..=299 => entry.confirmed(response, stack),
            423 if entry.raise_expires(response) => {
                entry.state = State::Trying(entry.send(entry.expires, stack));
            }
            status => {
                let retry = retry_after(&response.headers);
                entry.failed(Some(status), response.reason.clone(), retry, stack);
            }
        }
    }

    pub fn request_failed(&mut self, id: RegistrationId, failure: Failure, stack: &mut Stack) {
        let Some(entry) = self.live.get_mut(&id) else {
            return;
        };
        match entry.state {
            State::Leaving(_) => {
                self.live.remove(&id);
                stack.event(Event::Unregistered { id });
            }
            State::Trying(_) => {
                let reason = match failure {
                    Failure::Timeout | Failure::NotRepeated => {
                        "the registrar does not answer".to_owned()
                    }
                    Failure::Transport(fault) => format!("the registrar cannot be used: {fault}"),
                };
                entry.failed(None, reason, None, stack);
            }
            State::Up(_) | State::Waiting(_) => {}
        }
    }
}

/// Stands in until the first REGISTER has its key.
const NOT_SENT: ClientKey = ClientKey { branch: 0, is_cancel: true };

impl Entry {
    fn send(&mut self, expires: u32, stack: &mut Stack) -> ClientKey {
        let to = self.destination(stack);
        let aor = &self.wanted.aor;
        let domain = crate::Uri::new("", aor.host())
            .map(|uri| match aor.port() {
                Some(port) => uri.with_port(port),
                None => uri,
            })
            .map_or_else(|_| String::new(), |uri| uri.to_string());
        self.cseq += 1;
        let branch = stack.random.next();
        let login = self.auth.headers(&mut stack.random, "REGISTER", &domain);
        let bytes = Writer::request("REGISTER", &domain)
            .header("Via", stack.via(to, branch))
            .header("Max-Forwards", "70")
            .header("From", format!("<{aor}>;tag={}", self.tag))
            .header("To", format!("<{aor}>"))
            .header("Call-ID", &self.call_id)
            .header("CSeq", format!("{} REGISTER", self.cseq))
            .header("Contact", stack.contact(&self.wanted.contact_user, to))
            .header("Expires", expires.to_string())
            .header("Allow", ALLOW)
            .maybe("User-Agent", stack.config.user_agent.as_ref())
            .headers(&login)
            .finish(None);
        let key = ClientKey { branch, is_cancel: false };
        stack.start_client(NewClient {
            key,
            owner: Owner::Registration(self.wanted.id),
            is_invite: false,
            bytes,
            to,
        });
        key
    }

    fn destination(&self, stack: &Stack) -> Destination {
        let registrar = self.wanted.registrar;
        let local = registrar.local;
        Destination {
            local: local.or_else(|| stack.local_for(registrar.addr, registrar.transport)),
            ..registrar
        }
    }

    fn confirmed(&mut self, response: &Response, stack: &mut Stack) {
        let expires = self.granted(response, stack).clamp(1, LONGEST);
        self.failures = 0;
        // Early enough for a lost REGISTER to be sent again before the binding lapses.
        let refresh = Duration::from_secs(u64::from(expires)) * 3 / 4;
        let key = TimerKey::Registration(self.wanted.id);
        self.state = State::Up(stack.timers.set(stack.now + refresh, key));
        stack.event(Event::Registered { id: self.wanted.id, expires });
    }

    /// The lifetime of our own Contact among those that are listed.
    fn granted(&self, response: &Response, stack: &Stack) -> u32 {
        let ours = uri_of(&stack.contact(&self.wanted.contact_user, self.destination(stack)));
        let contacts = split_values(&texts(&response.headers, &HeaderName::Contact));
        let own = contacts.iter().find(|contact| uri_of(contact) == ours);
        let parameter = own.and_then(|contact| expires_param(contact));
        let header = || text(&response.headers, &HeaderName::Expires)?.parse().ok();
        parameter.or_else(header).unwrap_or(self.expires)
    }

    fn raise_expires(&mut self, response: &Response) -> bool {
        let wanted: Option<u32> =
            text(&response.headers, &HeaderName::MinExpires).and_then(|value| value.parse().ok());
        match wanted {
            Some(min) if min > self.expires && min <= LONGEST => {
                self.expires = min;
                true
            }
            Some(_) | None => false,
        }
    }

    fn failed(
        &mut self,
        status: Option<u16>,
        reason: String,
        retry: Option<u32>,
        stack: &mut Stack,
    ) {
        let backoff = FIRST_RETRY.saturating_mul(1 << self.failures.min(6));
        self.failures += 1;
        let base = retry.unwrap_or(backoff).clamp(1, LONGEST_RETRY);
        // Registrations that failed together do not come back together.
        let retry_in =
            base + u32::try_from(stack.random.between(0, u64::from(base) / 5 + 1)).unwrap_or(0);
        let key = TimerKey::Registration(self.wanted.id);
        let at = stack.now + Duration::from_secs(retry_in.into());
        self.state = State::Waiting(stack.timers.set(at, key));
        stack.event(Event::RegistrationFailed {
            id: self.wanted.id,
            failure: RegistrationFailure { status, reason, retry_in },
        });
    }
}

fn stop(state: State, stack: &mut Stack) {
    match state {
        State::Up(timer) | State::Waiting(timer) => stack.timers.cancel(timer),
        State::Trying(key) | State::Leaving(key) => stack.drop_client(key),
    }
}

/// The `expires` parameter of a Contact, after its URI.
fn expires_param(contact: &str) -> Option<u32> {
    let params = contact.rsplit_once('>').map_or(contact, |(_, params)| params);
    params.split(';').find_map(|param| {
        let (name, value) = param.split_once('=')?;
        let is_expires = name.trim().eq_ignore_ascii_case("expires");
        is_expires.then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lifetime_of_a_contact() {
        assert_eq!(expires_param("<sip:a@h;expires=1>;q=1;Expires=60"), Some(60));
        assert_eq!(expires_param("<sip:a@h>"), None);
    }
}
