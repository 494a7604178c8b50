//! What a received message is: a copy, an answer, a part of a dialog, or news from outside.

use bytes::Bytes;
use sipx_sip::Method;

use super::Core;
use crate::{
    AcceptInvites, Address, Direction, Event, FlowId, IncomingCall, LegId, Origin, TapRecord,
    legs::{Inbound, Input, Leg},
    message::{Request, Response, Source, plain_headers, q850},
    outside::Verdict,
    reply::Reply,
    transactions::{ClientKey, Found, Owner, ServerId, refused_as},
};

impl Core {
    pub(super) fn request(&mut self, request: sipx_sip::Request, source: Source, bytes: Bytes) {
        let Some(reply) = Reply::to(&request.headers, source) else {
            self.stack.counters.malformed += 1;
            return;
        };
        let is_ack = request.method == Method::Ack;
        let finding = sipx_sip::validate_request(&request)
            .into_iter()
            .find(|finding| !finding.is_repairable());
        let status = finding.as_ref().map(sipx_sip::Finding::status);
        let knows_scheme = matches!(
            request.uri.scheme(),
            sipx_sip::Scheme::Sip | sipx_sip::Scheme::Sips | sipx_sip::Scheme::Tel
        );
        let status = status.or((!knows_scheme).then_some(416));
        let read = Request::read(request, source);
        let request = match (status, read) {
            (None, Some(request)) => request,
            (status, _) => {
                self.tap(None, source, bytes);
                if !is_ack {
                    self.answer_statelessly(&reply, status.unwrap_or(400), &[]);
                }
                return;
            }
        };
        match request.method {
            Method::Ack => self.ack(request, bytes),
            Method::Cancel => self.cancel(&request, &reply, bytes),
            _ => self.other_request(request, reply, bytes),
        }
    }

    fn ack(&mut self, request: Request, bytes: Bytes) {
        let in_dialog = self.dialog_of(&request);
        let leg = in_dialog.or_else(|| self.stack.servers.leg_of(&request));
        self.tap(leg, request.source, bytes);
        // Who writes over a connection is where it says.
        if !request.source.transport.is_reliable() && self.has_heard_us(&request, in_dialog) {
            self.outside.strangers.reached(request.source.remote, &self.stack);
        }
        if self.stack.server_request(&request) == Found::Absorbed {
            return;
        }
        match in_dialog {
            Some(leg) => {
                self.with_leg(leg, Input::Request { request: Box::new(request), server: None })
            }
            None => self.stack.counters.stray_acks += 1,
        }
    }

    /// Whether this ACK is for a refusal of ours, which only who received it can know.
    fn has_heard_us(&self, ack: &Request, in_dialog: Option<LegId>) -> bool {
        let is_stateless = || {
            let tag = ack.to_tag.as_deref();
            tag.is_some_and(|tag| tag == self.stack.random.tag_for(&refused_as(ack)))
        };
        self.stack.servers.are_heard_by(ack) || (in_dialog.is_none() && is_stateless())
    }

    fn cancel(&mut self, request: &Request, reply: &Reply, bytes: Bytes) {
        let meant = self.stack.servers.cancelled_by(request);
        let leg = meant.and_then(|(_, leg)| leg);
        self.tap(leg, request.source, bytes);
        let status = if meant.is_some() { 200 } else { 481 };
        let tag = self.stateless_tag(reply);
        let bytes = reply.start(status, None, &tag).finish(None);
        self.stack.transmit(leg, reply.destination, bytes);
        if let Some(leg) = leg {
            let q850 = q850(&request.headers);
            self.with_leg(leg, Input::Cancelled { q850 });
        }
    }

    fn other_request(&mut self, request: Request, reply: Reply, bytes: Bytes) {
        let known = self.stack.servers.leg_of(&request);
        let in_dialog = self.dialog_of(&request);
        let source = request.source;
        let leg = known.or(in_dialog);
        if let Some(leg) = leg {
            // An INVITE whose leg was reported as ended, a copy or a new one, must not look like the beginning of a leg.
            let lives = self.legs.get(&leg).is_some_and(|entry| entry.leg.is_live());
            let is_late = request.method == Method::Invite && !lives;
            self.tap((!is_late).then_some(leg), source, bytes.clone());
        }
        match self.stack.server_request(&request) {
            Found::Absorbed => {}
            Found::Merged => {
                self.tap(None, source, bytes);
                self.answer_statelessly(&reply, 482, &[]);
            }
            Found::New => match in_dialog {
                Some(leg) => {
                    let server = self.stack.start_server(&request, reply, Some(leg));
                    let request = Box::new(request);
                    let server = Some(server);
                    self.with_leg(leg, Input::Request { request, server });
                }
                None if request.to_tag.is_some() => {
                    self.tap(None, source, bytes);
                    self.answer_statelessly(&reply, 481, &[]);
                }
                None => self.outside_request(request, reply, bytes),
            },
        }
    }

    fn outside_request(&mut self, request: Request, reply: Reply, bytes: Bytes) {
        let verdict = self.outside.judge(&request, self.legs.len(), &mut self.stack);
        match verdict {
            Verdict::Refuse(status, headers) => {
                let tag = match request.method {
                    Method::Invite => self.stack.random.tag_for(&refused_as(&request)),
                    _ => self.stateless_tag(&reply),
                };
                self.tap(None, request.source, bytes);
                self.answer_with_tag(&reply, &tag, status, &headers);
            }
            Verdict::PassOn { user } => {
                self.tap(None, request.source, bytes);
                let server = self.stack.start_server(&request, reply, None);
                self.outside.pass_on(request, server, user, &mut self.stack);
            }
            Verdict::Invite { origin } => self.invited(request, reply, origin, bytes),
            Verdict::Register { user } => {
                self.tap(None, request.source, bytes);
                let server = self.stack.start_server(&request, reply, None);
                let stack = &mut self.stack;
                let (status, headers) = self.outside.registrar.register(&user, &request, stack);
                stack.respond(server, status, None, &headers, None);
            }
        }
    }

    fn invited(&mut self, mut request: Request, reply: Reply, origin: Origin, bytes: Bytes) {
        self.inbound_legs += 1;
        let id = LegId(LegId::INBOUND | self.inbound_legs);
        let source = request.source;
        let server = self.stack.start_server(&request, reply, Some(id));
        let asks = matches!(self.stack.policy.accept_invites, AcceptInvites::Ask);
        if asks && origin != Origin::Trusted {
            // A client of ours or anybody's, and not a network: it is spoken to the way it came.
            request.source.flow = request.source.flow.or(Some(FlowId::DATAGRAMS));
        }
        let Some(call) = incoming(&request, origin) else {
            self.tap(None, source, bytes);
            self.refuse_invite(server, 400, &[]);
            return;
        };
        match Inbound::new(id, server, &request, &mut self.stack) {
            Ok(leg) => {
                self.tap(Some(id), source, bytes);
                self.stack.respond(server, 100, None, &[], None);
                self.insert(id, Leg::Inbound(Box::new(leg)));
                if asks {
                    let ip = source.remote.ip();
                    self.outside.strangers.asked(id, &call.origin, ip, &mut self.stack);
                }
                let request = Box::new(call);
                self.stack.event(Event::Incoming { leg: id, request });
            }
            Err(refusal) => {
                self.tap(None, source, bytes);
                self.refuse_invite(server, refusal.status, &[refusal.header]);
            }
        }
    }

    fn refuse_invite(&mut self, server: ServerId, status: u16, headers: &[(String, String)]) {
        self.stack.counters.refused += 1;
        self.stack.respond(server, status, None, headers, None);
    }

    pub(super) fn response(&mut self, response: sipx_sip::Response, source: Source, bytes: Bytes) {
        let Some(response) = Response::read(response, source) else {
            self.stack.counters.malformed += 1;
            return;
        };
        let key = response.branch.map(|branch| ClientKey { branch, is_cancel: response.is_cancel });
        let owner = key.and_then(|key| self.stack.clients.owner(key));
        let (Some(key), Some(owner)) = (key, owner) else {
            self.stack.counters.stray_responses += 1;
            return;
        };
        self.tap(owner.leg(), source, bytes);
        match self.stack.client_response(key, &response) {
            Some(Owner::Leg(leg, purpose)) => {
                self.with_leg(leg, Input::Response { key, purpose, response: Box::new(response) })
            }
            Some(Owner::Registration(id)) => {
                self.registrations.response(id, key, &response, &mut self.stack);
            }
            Some(Owner::Probe(id)) => {
                self.probes.response(id, key, response.status, &mut self.stack);
            }
            Some(Owner::Nobody(_)) | None => {}
        }
    }

    fn dialog_of(&self, request: &Request) -> Option<LegId> {
        let tag = request.to_tag.as_deref()?;
        self.stack.dialog(&request.call_id, tag)
    }

    fn answer_statelessly(&mut self, reply: &Reply, status: u16, headers: &[(String, String)]) {
        let tag = self.stateless_tag(reply);
        self.answer_with_tag(reply, &tag, status, headers);
    }

    fn answer_with_tag(
        &mut self,
        reply: &Reply,
        tag: &str,
        status: u16,
        headers: &[(String, String)],
    ) {
        if status >= 300 {
            self.stack.counters.refused += 1;
        }
        let mut writer = reply.start(status, None, tag);
        if let Some(agent) = &self.stack.config.user_agent {
            writer = writer.header("Server", agent);
        }
        let bytes = writer.headers(headers).finish(None);
        self.stack.transmit(None, reply.destination, bytes);
    }

    /// Copies of a request get the same tag although nothing is remembered (RFC 3261 §8.2.7).
    fn stateless_tag(&self, reply: &Reply) -> String {
        self.stack.random.tag_for(reply.identity())
    }

    fn tap(&mut self, leg: Option<LegId>, source: Source, bytes: Bytes) {
        let record = TapRecord {
            leg,
            at: self.stack.now,
            direction: Direction::Received,
            transport: source.transport,
            local: source.local,
            remote: source.remote,
            bytes,
        };
        self.stack.tap(record);
    }
}

fn incoming(request: &Request, origin: Origin) -> Option<IncomingCall> {
    let target = crate::Uri::from_parsed(&request.uri).ok()?;
    Some(IncomingCall {
        from: Address::parse(&request.from).ok()?,
        to: Address::parse(&request.to).ok()?,
        request_user: target.user().to_owned(),
        call_id: request.call_id.clone(),
        source: request.source.remote,
        transport: request.source.transport,
        local: request.source.local,
        origin,
        headers: plain_headers(&request.headers),
        body: request.body.clone(),
    })
}
