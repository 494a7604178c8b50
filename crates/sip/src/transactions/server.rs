//! Server transactions.
//!
//! INVITE:  Proceeding ──2xx──▶ Accepted ──L──▶ gone
//!               └──300–699──▶ Completed (sends it again, G) ──ACK──▶ Confirmed ──I──▶ gone
//! others:  Proceeding ──final──▶ Completed ──J──▶ gone

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sipx_sip::Method;

use crate::{
    LegId,
    message::Request,
    reply::Reply,
    stack::Stack,
    timers::{GIVE_UP, ServerTimer, T1, T2, T4, TimerHandle, TimerKey},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerId(pub u64);

/// In trees, which give back what a rush took.
#[derive(Debug, Default)]
pub(crate) struct ServerStore {
    live: BTreeMap<ServerId, Server>,
    by_key: BTreeMap<Vec<u8>, ServerId>,
    /// By Call-ID, From tag and CSeq: the same request over two paths (RFC 3261 §8.2.2.2).
    by_origin: BTreeMap<Vec<u8>, ServerId>,
    count: u64,
}

/// What a received request is to the transactions that are there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A copy of one that is being dealt with, or the ACK of a refusal: done with.
    Absorbed,
    /// The same request again over another path.
    Merged,
    New,
}

#[derive(Debug)]
struct Server {
    leg: Option<LegId>,
    is_invite: bool,
    reply: Reply,
    local_tag: String,
    key: Vec<u8>,
    origin: Option<Vec<u8>>,
    last: Option<Bytes>,
    state: State,
}

#[derive(Debug)]
enum State {
    Proceeding,
    Completed { interval: Duration, resend: Option<TimerHandle>, forget: TimerHandle },
    Confirmed,
    Accepted,
}

impl ServerStore {
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// The transaction that a CANCEL means: same branch, another method.
    pub fn cancelled_by(&self, cancel: &Request) -> Option<(ServerId, Option<LegId>)> {
        let id = self.by_key.get(&key(cancel, &Method::Invite))?;
        self.live.get(id).map(|server| (*id, server.leg))
    }

    /// The leg that a copy of a known request belongs to.
    pub fn leg_of(&self, request: &Request) -> Option<LegId> {
        let id = self.by_key.get(&key(request, matching(&request.method)))?;
        self.live.get(id)?.leg
    }

    /// Whether the sender of this ACK has received a refusal of these: it knows the tag that was drawn for it, and is
    /// where the refusal was sent.
    pub fn are_heard_by(&self, ack: &Request) -> bool {
        let id = self.by_key.get(&key(ack, &Method::Invite));
        id.and_then(|id| self.live.get(id)).is_some_and(|server| {
            matches!(server.state, State::Completed { .. })
                && ack.to_tag.as_deref() == Some(server.local_tag.as_str())
                && ack.source.remote.ip() == server.reply.destination.addr.ip()
        })
    }

    fn remove(&mut self, id: ServerId) -> Option<Server> {
        let server = self.live.remove(&id)?;
        self.by_key.remove(&server.key);
        if let Some(origin) = &server.origin {
            self.by_origin.remove(origin);
        }
        Some(server)
    }
}

impl Stack {
    /// Looks a request up and deals with it where it is nothing new.
    pub fn server_request(&mut self, request: &Request) -> Found {
        let key = key(request, matching(&request.method));
        let Some(id) = self.servers.by_key.get(&key).copied() else {
            let merged = request.to_tag.is_none()
                && request.method != Method::Ack
                && request.method != Method::Cancel
                && self.servers.by_origin.contains_key(&origin(request));
            return if merged { Found::Merged } else { Found::New };
        };
        if request.method == Method::Ack {
            return self.ack_of_refusal(id);
        }
        if let Some(server) = self.servers.live.get(&id)
            && let Some(last) = server.last.clone()
            && !matches!(server.state, State::Confirmed | State::Accepted)
        {
            let (leg, to) = (server.leg, server.reply.destination);
            self.transmit(leg, to, last);
        }
        Found::Absorbed
    }

    fn ack_of_refusal(&mut self, id: ServerId) -> Found {
        let Some(server) = self.servers.live.get_mut(&id) else {
            return Found::New;
        };
        match &server.state {
            State::Completed { resend, forget, .. } => {
                resend.iter().for_each(|handle| self.timers.cancel(*handle));
                self.timers.cancel(*forget);
                let reliable = server.reply.destination.transport.is_reliable();
                let linger = if reliable { Duration::ZERO } else { T4 };
                server.state = State::Confirmed;
                self.server_timer(id, ServerTimer::Forget, linger);
                Found::Absorbed
            }
            State::Confirmed | State::Proceeding => Found::Absorbed,
            // The ACK of a 2xx belongs to the dialog, also where a peer reuses the branch.
            State::Accepted => Found::New,
        }
    }

    /// Opens a transaction for a new request.
    pub fn start_server(
        &mut self,
        request: &Request,
        reply: Reply,
        leg: Option<LegId>,
    ) -> ServerId {
        self.servers.count += 1;
        let id = ServerId(self.servers.count);
        let key = key(request, &request.method);
        let origin = request.to_tag.is_none().then(|| origin(request));
        self.servers.by_key.insert(key.clone(), id);
        if let Some(origin) = &origin {
            self.servers.by_origin.insert(origin.clone(), id);
        }
        let local_tag = self.random.token();
        let server = Server {
            leg,
            is_invite: request.method == Method::Invite,
            reply,
            local_tag,
            key,
            origin,
            last: None,
            state: State::Proceeding,
        };
        self.servers.live.insert(id, server);
        id
    }

    /// Our tag in answers of this transaction becomes the dialog's.
    pub fn set_server_tag(&mut self, id: ServerId, tag: &str) {
        if let Some(server) = self.servers.live.get_mut(&id) {
            server.local_tag = tag.to_owned();
        }
    }

    /// Builds and sends a response; `None` where the transaction is gone or has answered finally.
    pub fn respond(
        &mut self,
        id: ServerId,
        status: u16,
        reason: Option<&str>,
        headers: &[(String, String)],
        body: Option<&crate::Body>,
    ) -> Option<Bytes> {
        let server = self.servers.live.get(&id)?;
        if !matches!(server.state, State::Proceeding) {
            return None;
        }
        let mut writer = server.reply.start(status, reason, &server.local_tag);
        if let Some(agent) = &self.config.user_agent {
            writer = writer.header("Server", agent);
        }
        let bytes = writer.headers(headers).finish(body);
        self.respond_with(id, status, bytes.clone());
        Some(bytes)
    }

    fn respond_with(&mut self, id: ServerId, status: u16, bytes: Bytes) {
        let Some(server) = self.servers.live.get_mut(&id) else {
            return;
        };
        let (leg, to, is_invite) = (server.leg, server.reply.destination, server.is_invite);
        let reliable = to.transport.is_reliable();
        server.last = Some(bytes.clone());
        self.transmit(leg, to, bytes);
        if status < 200 {
            return;
        }
        let state = if is_invite && status < 300 {
            self.server_timer(id, ServerTimer::Forget, GIVE_UP);
            State::Accepted
        } else {
            let linger = if is_invite || !reliable { GIVE_UP } else { Duration::ZERO };
            State::Completed {
                interval: T1,
                resend: (is_invite && !reliable)
                    .then(|| self.server_timer(id, ServerTimer::Resend, T1)),
                forget: self.server_timer(id, ServerTimer::Forget, linger),
            }
        };
        if let Some(server) = self.servers.live.get_mut(&id) {
            server.state = state;
        }
    }

    /// Whither responses of this transaction go.
    pub fn reply_destination(&self, id: ServerId) -> Option<crate::Destination> {
        self.servers.live.get(&id).map(|server| server.reply.destination)
    }

    pub fn server_due(&mut self, id: ServerId, timer: ServerTimer, at: Instant) {
        match timer {
            ServerTimer::Forget => {
                if let Some(server) = self.servers.remove(id)
                    && let State::Completed { resend: Some(handle), .. } = server.state
                {
                    self.timers.cancel(handle);
                }
            }
            ServerTimer::Resend => self.resend_response(id, at),
        }
    }

    fn resend_response(&mut self, id: ServerId, at: Instant) {
        let Some(server) = self.servers.live.get_mut(&id) else {
            return;
        };
        let State::Completed { interval, resend, .. } = &mut server.state else {
            return;
        };
        *interval = (*interval * 2).min(T2);
        let again = at + *interval;
        *resend = Some(self.timers.set(again, TimerKey::Server(id, ServerTimer::Resend)));
        if let Some(last) = server.last.clone() {
            let (leg, to) = (server.leg, server.reply.destination);
            self.transmit(leg, to, last);
        }
    }

    fn server_timer(&mut self, id: ServerId, timer: ServerTimer, after: Duration) -> TimerHandle {
        let at = self.now + after;
        self.timers.set(at, TimerKey::Server(id, timer))
    }
}

/// An ACK is matched to the INVITE that it acknowledges.
fn matching(method: &Method) -> &Method {
    if *method == Method::Ack { &Method::Invite } else { method }
}

/// RFC 3261 §17.2.3: branch, sent-by and method; for peers older than that the whole origin.
fn key(request: &Request, method: &Method) -> Vec<u8> {
    let via = &request.via;
    let mut key = Vec::with_capacity(96);
    match via.branch() {
        Some(branch) if via.has_rfc3261_branch() => key.extend_from_slice(branch),
        Some(_) | None => {
            key.extend_from_slice(b"2543 ");
            key.extend(origin(request));
            key.extend_from_slice(&request.uri.to_bytes());
        }
    }
    key.push(0);
    key.extend_from_slice(via.host.to_string().as_bytes());
    key.extend_from_slice(&via.port.unwrap_or(5060).to_be_bytes());
    key.extend_from_slice(method.as_bytes());
    key
}

/// What an INVITE has in common with the ACK of its refusal, and the address that the refusal goes to.
pub(crate) fn refused_as(request: &Request) -> Vec<u8> {
    let mut out = b"refused ".to_vec();
    out.extend(key(request, &Method::Invite));
    out.extend(origin(request));
    out.extend_from_slice(request.source.remote.ip().to_string().as_bytes());
    out
}

fn origin(request: &Request) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(request.call_id.as_bytes());
    out.push(0);
    out.extend_from_slice(request.from_tag.as_deref().unwrap_or_default().as_bytes());
    out.push(0);
    out.extend_from_slice(&request.cseq.to_be_bytes());
    out
}
