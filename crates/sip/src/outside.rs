//! Requests outside any dialog: what each method gets from whom.

use std::collections::HashMap;

use sipx_sip::{HeaderName, Method};

use crate::{
    AcceptInvites, AcceptRegister, Address, Body, Event, Origin, OutsideRequest, Policy, RequestId,
    auth_server::{AuthServer, Login},
    message::{Request, plain_headers, split_values, texts},
    registrar::Registrar,
    stack::Stack,
    strangers::{Admission, NOBODY_HERE, Strangers},
    timers::{GIVE_UP, TimerHandle, TimerKey},
    transactions::ServerId,
    writer::{ALLOW, check_headers},
};

/// What to do with a request that belongs to no dialog.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answered without keeping anything, so that a flood of them costs no memory.
    Refuse(u16, Vec<(String, String)>),
    /// It becomes an inbound leg.
    Invite { origin: Origin },
    /// A phone of ours registers.
    Register { user: String },
    /// The caller answers it.
    PassOn { user: Option<String> },
}

impl Verdict {
    fn refuse(status: u16) -> Verdict {
        Verdict::Refuse(status, Vec::new())
    }
}

/// The state that outside requests need: who may come in, and what the caller has not answered yet.
#[derive(Debug)]
pub(crate) struct Outside {
    auth: AuthServer,
    pub registrar: Registrar,
    pub strangers: Strangers,
    waiting: HashMap<RequestId, (ServerId, TimerHandle)>,
    count: u64,
    pub is_draining: bool,
}

/// Requests that may wait for the caller's answer at a time.
const MAX_WAITING: usize = 4096;
const LATER: &str = "5";

impl Outside {
    pub fn new(policy: &Policy) -> Outside {
        Outside {
            auth: AuthServer::default(),
            registrar: Registrar::new(policy.phones.clone()),
            strangers: Strangers::new(policy.strangers),
            waiting: HashMap::new(),
            count: 0,
            is_draining: false,
        }
    }

    pub fn judge(&mut self, request: &Request, legs: usize, stack: &mut Stack) -> Verdict {
        if let Some(unsupported) = unsupported(request) {
            return Verdict::Refuse(420, vec![("Unsupported".to_owned(), unsupported)]);
        }
        match request.method {
            Method::Options if self.is_draining => Verdict::Refuse(503, retry_later()),
            Method::Options => Verdict::Refuse(200, capabilities()),
            Method::Invite => self.judge_invite(request, legs, stack),
            Method::Register => self.judge_register(request, stack),
            // They ask for a dialog that there is none of.
            Method::Bye | Method::Prack | Method::Update | Method::Info | Method::Notify => {
                Verdict::refuse(481)
            }
            Method::Refer => Verdict::refuse(403),
            Method::Message | Method::Subscribe | Method::Publish => {
                Verdict::Refuse(405, vec![allow()])
            }
            _ => Verdict::Refuse(501, vec![allow()]),
        }
    }

    fn judge_invite(&mut self, request: &Request, legs: usize, stack: &mut Stack) -> Verdict {
        let policy = stack.policy.clone();
        let origin = match &policy.accept_invites {
            AcceptInvites::Never => return Verdict::refuse(403),
            AcceptInvites::Open => Ok(Origin::Stranger),
            AcceptInvites::Digest(digest) => {
                match self.auth.check(digest, request, &mut stack.random, stack.now) {
                    Login::Accepted(user) => Ok(Origin::User(user)),
                    Login::Challenge(headers) => Err(Verdict::Refuse(401, headers)),
                }
            }
            AcceptInvites::Ask => self.origin_of(request, stack),
        };
        let origin = match origin {
            Ok(origin) => origin,
            Err(refusal) => return refusal,
        };
        if self.is_draining || stack.congested || legs >= stack.config.max_legs {
            return Verdict::Refuse(503, retry_later());
        }
        if is_encoded(request) {
            let none = ("Accept-Encoding".to_owned(), "identity".to_owned());
            return Verdict::Refuse(415, vec![none]);
        }
        Verdict::Invite { origin }
    }

    /// Who calls, where the caller of this crate decides what becomes of it.
    fn origin_of(&mut self, request: &Request, stack: &mut Stack) -> Result<Origin, Verdict> {
        let ip = request.source.remote.ip();
        if self.strangers.is_full() {
            return Err(Verdict::Refuse(503, retry_later()));
        }
        if self.strangers.is_trusted(ip) {
            return Ok(Origin::Trusted);
        }
        let shows_password = request.headers.value(&HeaderName::Authorization).is_some();
        if shows_password || self.registrar.is_behind(request.source) {
            let random = &mut stack.random;
            return match self.auth.check(&self.registrar, request, random, stack.now) {
                Login::Accepted(user) => Ok(Origin::User(user)),
                Login::Challenge(headers) => Err(Verdict::Refuse(401, headers)),
            };
        }
        let number = crate::Uri::from_parsed(&request.uri).map(|uri| uri.user().to_owned());
        match self.strangers.admit(&number.unwrap_or_default(), request.source, stack) {
            Admission::LetIn(origin) => Ok(origin),
            Admission::NobodyHere => Err(Verdict::refuse(NOBODY_HERE)),
            Admission::Later => Err(Verdict::Refuse(503, retry_later())),
        }
    }

    fn judge_register(&mut self, request: &Request, stack: &mut Stack) -> Verdict {
        let policy = stack.policy.clone();
        let user = match &policy.accept_register {
            AcceptRegister::Never => return Verdict::refuse(403),
            AcceptRegister::Open => None,
            AcceptRegister::Digest(digest) => {
                match self.auth.check(digest, request, &mut stack.random, stack.now) {
                    Login::Accepted(user) => Some(user),
                    Login::Challenge(headers) => return Verdict::Refuse(401, headers),
                }
            }
            AcceptRegister::Phones => {
                // The caller would not hear of it: the phone tries again.
                if stack.congested {
                    return Verdict::Refuse(503, retry_later());
                }
                let random = &mut stack.random;
                return match self.auth.check(&self.registrar, request, random, stack.now) {
                    Login::Accepted(user) => Verdict::Register { user },
                    Login::Challenge(headers) => Verdict::Refuse(401, headers),
                };
            }
        };
        if stack.congested || self.waiting.len() >= MAX_WAITING {
            return Verdict::Refuse(503, retry_later());
        }
        Verdict::PassOn { user }
    }

    /// Reports a request to the caller and waits for its answer.
    pub fn pass_on(
        &mut self,
        request: Request,
        server: ServerId,
        user: Option<String>,
        stack: &mut Stack,
    ) {
        let addresses = Address::parse(&request.from).ok().zip(Address::parse(&request.to).ok());
        let Some((from, to)) = addresses else {
            stack.respond(server, 400, None, &[], None);
            return;
        };
        self.count += 1;
        let id = RequestId(self.count);
        let key = TimerKey::Unanswered(id);
        let limit = stack.timers.set(stack.now + GIVE_UP - LEAD, key);
        self.waiting.insert(id, (server, limit));
        stack.event(Event::Request(Box::new(OutsideRequest {
            id,
            method: request.method.to_string(),
            from,
            to,
            source: request.source.remote,
            transport: request.source.transport,
            local: request.source.local,
            flow: request.source.flow,
            authenticated: user,
            headers: plain_headers(&request.headers),
            body: request.body,
        })));
    }

    pub fn respond(
        &mut self,
        id: RequestId,
        status: u16,
        headers: &[(String, String)],
        body: Option<&Body>,
        stack: &mut Stack,
    ) {
        let Some((server, limit)) = self.waiting.remove(&id) else {
            return;
        };
        stack.timers.cancel(limit);
        // A registrar answers with Contacts, which only a dialog writes by itself.
        let others: Vec<_> = headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("Contact"))
            .cloned()
            .collect();
        let clean = |(_, value): &(String, String)| !value.chars().any(char::is_control);
        let sound = (200..700).contains(&status)
            && check_headers(&others).is_ok()
            && headers.iter().all(clean);
        if sound {
            stack.respond(server, status, None, headers, body);
        } else {
            tracing::warn!(status, "the answer to a SIP request cannot be written; 500 is sent");
            stack.respond(server, 500, None, &[], None);
        }
    }

    pub fn unanswered(&mut self, id: RequestId, stack: &mut Stack) {
        if let Some((server, _)) = self.waiting.remove(&id) {
            stack.respond(server, 408, None, &[], None);
        }
    }
}

/// The caller's time ends before the far side's Timer F does.
const LEAD: std::time::Duration = std::time::Duration::from_secs(2);

fn unsupported(request: &Request) -> Option<String> {
    // CANCEL and ACK never get here; everything else has to be understood (RFC 3261 §8.2.2.3).
    let required = split_values(&texts(&request.headers, &HeaderName::Require));
    let known = |option: &String| {
        option.eq_ignore_ascii_case("timer")
            || (option.eq_ignore_ascii_case("100rel") && request.method == Method::Invite)
    };
    let unknown: Vec<String> = required.into_iter().filter(|o| !known(o)).collect();
    (!unknown.is_empty()).then(|| unknown.join(", "))
}

fn is_encoded(request: &Request) -> bool {
    texts(&request.headers, &HeaderName::ContentEncoding)
        .iter()
        .any(|encoding| !encoding.eq_ignore_ascii_case("identity"))
}

fn capabilities() -> Vec<(String, String)> {
    vec![
        allow(),
        ("Accept".to_owned(), "application/sdp".to_owned()),
        ("Supported".to_owned(), "timer, 100rel".to_owned()),
    ]
}

fn allow() -> (String, String) {
    ("Allow".to_owned(), ALLOW.to_owned())
}

fn retry_later() -> Vec<(String, String)> {
    vec![("Retry-After".to_owned(), LATER.to_owned())]
}
