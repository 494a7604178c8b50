//! Offer and answer inside a dialog (RFC 3261 §14, RFC 3311, RFC 6337): one at a time.
//!
//! Idle ──Offer──▶ Ours ──2xx: ACK──▶ Idle        Idle ──re-INVITE──▶ Theirs ──AnswerOffer──▶
//!                  └─491─▶ Retry ──due──▶ Ours      Unconfirmed ──ACK──▶ Idle

use sipx_sip::Method;

use super::{
    Leg,
    reliable::Unconfirmed,
    session::{Role, Session},
    session_timer::{Asked, Terms, asked},
};
use crate::{
    Body, Event,
    auth_client::AuthClient,
    message::{Request, Response},
    stack::Stack,
    timers::{LegTimer, TimerHandle, TimerKey},
    transactions::{ClientKey, Owner, Purpose, ServerId},
    writer::ALLOW,
};
use std::time::Duration;

#[derive(Debug)]
pub(super) enum Offers {
    Idle,
    Ours {
        key: ClientKey,
        cseq: u32,
        body: Option<Body>,
        why: Why,
        auth: Box<AuthClient>,
    },
    /// 491: both offered at once.
    Retry {
        at: TimerHandle,
        body: Option<Body>,
        why: Why,
    },
    Theirs {
        server: ServerId,
        cseq: u32,
        kind: Kind,
        terms: Option<Terms>,
    },
    /// Our 2xx to an INVITE, until its ACK.
    Unconfirmed(Unconfirmed),
}

/// What our re-INVITE is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The caller's `Offer`: it hears the answer.
    Offer,
    /// Our own session refresh.
    Refresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invite,
    Update,
}

impl Session {
    /// Our own re-INVITE.
    pub(super) fn offer(&mut self, body: Body, stack: &mut Stack) {
        match std::mem::replace(&mut self.offers, Offers::Idle) {
            Offers::Idle => self.send_offer(Some(body), Why::Offer, None, stack),
            // A newer offer takes the place of the one that waits; it goes out in its time.
            Offers::Retry { at, why, .. } => {
                if why == Why::Offer {
                    self.offer_refused(491, stack);
                }
                self.offers = Offers::Retry { at, body: Some(body), why: Why::Offer };
            }
            busy @ (Offers::Ours { .. } | Offers::Theirs { .. } | Offers::Unconfirmed(_)) => {
                self.offers = busy;
                self.offer_refused(491, stack);
            }
        }
    }

    /// A session refresh for a peer without UPDATE: the same description again.
    pub(super) fn refresh_by_invite(&mut self, stack: &mut Stack) {
        if let (Offers::Idle, Some(body)) = (&self.offers, self.sent.clone()) {
            self.send_offer(Some(body), Why::Refresh, None, stack);
        }
    }

    fn send_offer(
        &mut self,
        body: Option<Body>,
        why: Why,
        auth: Option<Box<AuthClient>>,
        stack: &mut Stack,
    ) {
        let mut auth = auth.unwrap_or_else(|| Box::new(self.auth.fresh()));
        let uri = self.dialog.request_uri().to_owned();
        let mut headers = auth.headers(&mut stack.random, "INVITE", &uri);
        headers.extend(self.terms().map(Terms::refresh_headers).unwrap_or_default());
        let owner = Owner::Leg(self.leg(), Purpose::Offer);
        let (key, cseq) = self.dialog.send(stack, "INVITE", owner, &headers, body.as_ref());
        self.offers = Offers::Ours { key, cseq, body, why, auth };
    }

    pub(super) fn offer_response(
        mut self: Box<Self>,
        key: ClientKey,
        response: &Response,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let (cseq, body, why, mut auth) = match std::mem::replace(&mut self.offers, Offers::Idle) {
            Offers::Ours { key: ours, cseq, body, why, auth } if ours == key => {
                (cseq, body, why, auth)
            }
            other => {
                self.offers = other;
                return self.stay();
            }
        };
        match response.status {
            ..=199 => {
                self.offers = Offers::Ours { key, cseq, body, why, auth };
            }
            200..=299 => self.offer_accepted((key, cseq), body, why, response, stack),
            491 => {
                let at = self.glare_timer(stack);
                self.offers = Offers::Retry { at, body, why };
            }
            408 | 481 => return self.unknown_there(response, stack),
            401 | 407 if auth.challenged(response, self.dialog.destination().addr.ip()) => {
                self.send_offer(body, why, Some(auth), stack);
            }
            422 if why == Why::Refresh => self.refresh_too_brief(response, stack),
            status => {
                if why == Why::Offer {
                    self.offer_refused(status, stack);
                }
            }
        }
        self.stay()
    }

    fn offer_accepted(
        &mut self,
        (key, cseq): (ClientKey, u32),
        body: Option<Body>,
        why: Why,
        response: &Response,
        stack: &mut Stack,
    ) {
        self.dialog.refresh_target(&response.headers);
        let ack = self.dialog.ack(stack, cseq, None, &[]);
        let (tag, to) = (self.dialog.remote_tag.clone(), self.dialog.destination());
        stack.send_ack(key, self.leg(), &tag, ack, to);
        let terms = Terms::from_answer(&response.headers);
        self.set_timer(terms, stack);
        self.sent = body;
        let leg = self.leg();
        stack.event(match why {
            Why::Offer => Event::OfferAnswered { leg, body: response.body.clone() },
            Why::Refresh => Event::Refreshed { leg },
        });
    }

    /// RFC 3261 §14.1: whoever owns the Call-ID waits 2.1 to 4 s, the other up to 2 s.
    fn glare_timer(&self, stack: &mut Stack) -> TimerHandle {
        let wait = match self.role {
            Role::Caller => stack.random.between(2_100, 4_000),
            Role::Callee => stack.random.between(0, 2_000),
        };
        let at = stack.now + Duration::from_millis(wait);
        let key = TimerKey::Leg(self.leg(), LegTimer::RetryOffer);
        stack.timers.set(at, key)
    }

    pub(super) fn retry_offer(&mut self, stack: &mut Stack) {
        match std::mem::replace(&mut self.offers, Offers::Idle) {
            Offers::Retry { body, why, .. } => self.send_offer(body, why, None, stack),
            other => self.offers = other,
        }
    }

    /// Their re-INVITE or UPDATE.
    pub(super) fn offered(&mut self, request: &Request, server: ServerId, stack: &mut Stack) {
        let kind = match request.method {
            Method::Update => Kind::Update,
            _ => Kind::Invite,
        };
        let busy = match &self.offers {
            Offers::Idle | Offers::Retry { .. } => None,
            Offers::Ours { .. } | Offers::Unconfirmed(_) => Some(491),
            Offers::Theirs { .. } => Some(500),
        };
        let only_refresh = kind == Kind::Update && request.body.is_none();
        if let Some(status) = busy.filter(|_| !only_refresh) {
            let later = [("Retry-After".to_owned(), "2".to_owned())];
            let headers = if status == 500 { &later[..] } else { &[] };
            stack.respond(server, status, None, headers, None);
            return;
        }
        let terms = match asked(&request.headers) {
            Asked::TooBrief(min) => {
                let header = ("Min-SE".to_owned(), min.to_string());
                stack.respond(server, 422, None, &[header], None);
                return;
            }
            Asked::Nothing => None,
            Asked::Agreed(terms) => Some(terms),
        };
        self.dialog.refresh_target(&request.headers);
        if only_refresh {
            let headers = self.answer_headers(terms);
            stack.respond(server, 200, None, &headers, None);
            self.set_timer(terms, stack);
            stack.event(Event::Refreshed { leg: self.leg() });
            return;
        }
        self.drop_offers(stack);
        self.offers = Offers::Theirs { server, cseq: request.cseq, kind, terms };
        stack.event(Event::Offered { leg: self.leg(), body: request.body.clone() });
    }

    pub(super) fn answer_offer(&mut self, body: Option<Body>, stack: &mut Stack) {
        let (server, cseq, kind, terms) = match std::mem::replace(&mut self.offers, Offers::Idle) {
            Offers::Theirs { server, cseq, kind, terms } => (server, cseq, kind, terms),
            other => {
                self.offers = other;
                return;
            }
        };
        let headers = self.answer_headers(terms);
        let sent = stack.respond(server, 200, None, &headers, body.as_ref());
        self.set_timer(terms, stack);
        self.sent = body.or(self.sent.take());
        let to = stack.reply_destination(server);
        if let (Kind::Invite, Some((bytes, to))) = (kind, sent.zip(to)) {
            let answer = Unconfirmed::answer(self.leg(), cseq, bytes, to, stack);
            self.offers = Offers::Unconfirmed(answer);
        }
    }

    /// Refuses what the far side offered, if anything.
    pub(super) fn withdraw_their_offer(&mut self, status: u16, stack: &mut Stack) {
        if let Offers::Theirs { server, .. } = self.offers {
            stack.respond(server, status, None, &[], None);
            self.offers = Offers::Idle;
        }
    }

    /// An ACK inside the dialog.
    pub(super) fn confirmed(&mut self, ack: &Request, stack: &mut Stack) {
        match std::mem::replace(&mut self.offers, Offers::Idle) {
            Offers::Unconfirmed(answer) if answer.number == ack.cseq => {
                answer.stop(stack);
                stack.event(Event::Confirmed {
                    leg: self.leg(),
                    dialog: Box::new(self.dialog.snapshot()),
                    body: ack.body.clone(),
                });
            }
            other => self.offers = other,
        }
    }

    /// Takes back what would still come due.
    pub(super) fn drop_offers(&mut self, stack: &mut Stack) {
        match std::mem::replace(&mut self.offers, Offers::Idle) {
            Offers::Retry { at, why, .. } => {
                stack.timers.cancel(at);
                if why == Why::Offer {
                    self.offer_refused(491, stack);
                }
            }
            Offers::Unconfirmed(answer) => answer.stop(stack),
            Offers::Ours { .. } | Offers::Theirs { .. } | Offers::Idle => {}
        }
    }

    fn offer_refused(&self, status: u16, stack: &mut Stack) {
        stack.event(Event::OfferRefused { leg: self.leg(), status });
    }

    fn answer_headers(&self, terms: Option<Terms>) -> Vec<(String, String)> {
        let mut headers: Vec<_> = self
            .dialog
            .contact()
            .map(|contact| ("Contact".to_owned(), contact.to_owned()))
            .into_iter()
            .collect();
        headers.push(("Allow".to_owned(), ALLOW.to_owned()));
        headers.push(("Supported".to_owned(), "timer".to_owned()));
        headers.extend(terms.map(Terms::answer_headers).unwrap_or_default());
        headers
    }
}
