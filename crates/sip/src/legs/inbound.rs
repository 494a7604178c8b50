//! Offered to the caller of this crate (`Incoming`) ──Ring, Progress──▶ early ──Answer──▶ a session
//!                  │                                  └─PrepareAnswer─▶ prepared ──SendAnswer──▶ a session
//!                  └──────────── Refuse, HangUp, CANCEL, BYE ─────────────▶ over
//! Where the far side requires 100rel each provisional waits for its PRACK, and what follows waits
//! behind it.

use std::collections::VecDeque;

use sipx_sip::{HeaderName, Method};

use super::{
    Input, Leg, Session, Verb, answer_simple, end_by, ended,
    reliable::Unconfirmed,
    session::Opening,
    session_timer::{Asked, asked},
};
use crate::{
    Body, End, EndTimer, EndedBy, Event, LegId,
    auth_client::AuthClient,
    dialog::Dialog,
    message::{Request, lists, typed},
    stack::Stack,
    timers::LegTimer,
    transactions::ServerId,
    writer::{ALLOW, check_headers},
};

#[derive(Debug)]
pub(crate) struct Inbound {
    server: ServerId,
    dialog: Dialog,
    opening: Opening,
    was_ringing: bool,
    provisionals: Provisionals,
    on_cancel: OnCancel,
    answer: Prepared,
}

/// The 200 that waits until its dialog is on disk.
#[derive(Debug)]
enum Prepared {
    No,
    Yes(Option<Body>),
}

#[derive(Debug)]
enum OnCancel {
    Refuse,
    Answer(Option<Body>),
}

#[derive(Debug)]
enum Provisionals {
    Unreliable,
    /// RFC 3262: the RSeq of the next one.
    Reliable {
        next: u32,
    },
    /// One is on its way; commands that have to wait for its PRACK.
    Unconfirmed {
        answer: Box<Unconfirmed>,
        waiting: VecDeque<Verb>,
    },
}

/// Commands that may wait for a PRACK.
const MAX_WAITING: usize = 8;

impl Inbound {
    /// Takes an INVITE that policy let in. `Err` carries the status that refuses it.
    pub fn new(
        leg: LegId,
        server: ServerId,
        invite: &Request,
        stack: &mut Stack,
    ) -> Result<Inbound, Refusal> {
        let opening = match asked(&invite.headers) {
            Asked::TooBrief(min) => {
                return Err(Refusal {
                    status: 422,
                    header: ("Min-SE".to_owned(), min.to_string()),
                });
            }
            Asked::Nothing => Opening::from_invite(&invite.headers, None),
            Asked::Agreed(terms) => Opening::from_invite(&invite.headers, Some(terms)),
        };
        let tag = stack.random.token();
        let user = crate::Uri::from_parsed(&invite.uri).map(|uri| uri.user().to_owned());
        let contact = stack.contact(&user.unwrap_or_default(), invite.source.destination());
        let dialog = Dialog::as_callee(leg, invite, tag, contact);
        stack.add_dialog(&dialog.call_id, &dialog.local_tag, leg);
        stack.set_server_tag(server, &dialog.local_tag);
        let provisionals = if lists(&invite.headers, &HeaderName::Require, "100rel") {
            let next = u32::try_from(stack.random.between(1, 1 << 30)).unwrap_or(1);
            Provisionals::Reliable { next }
        } else {
            Provisionals::Unreliable
        };
        Ok(Inbound {
            server,
            dialog,
            opening,
            was_ringing: false,
            provisionals,
            on_cancel: OnCancel::Refuse,
            answer: Prepared::No,
        })
    }

    pub fn identity(&self) -> (&str, &str) {
        (&self.dialog.call_id, &self.dialog.local_tag)
    }

    pub fn handle(mut self: Box<Self>, input: Input, stack: &mut Stack) -> Option<Leg> {
        match input {
            Input::Command(command) => self.command(command, stack),
            Input::Cancelled { q850 } => {
                if let OnCancel::Answer(body) =
                    std::mem::replace(&mut self.on_cancel, OnCancel::Refuse)
                {
                    return self.answer(body, stack);
                }
                stack.respond(self.server, 487, None, &[], None);
                let mut end = end_by(EndedBy::Peer, "cancelled by the far side", self.was_ringing);
                end.q850 = q850;
                self.over(end, stack)
            }
            Input::Request { request, server } => self.request(request, server, stack),
            Input::Due { timer, at } => match (timer, &mut self.provisionals) {
                (LegTimer::ResendProvisional, Provisionals::Unconfirmed { answer, .. }) => {
                    answer.resend(at, stack);
                    Some(Leg::Inbound(self))
                }
                (LegTimer::PrackLimit, Provisionals::Unconfirmed { .. }) => {
                    stack.respond(self.server, 504, None, &[], None);
                    let by = EndedBy::Timeout(EndTimer::NoPrack);
                    let end = end_by(by, "no PRACK for our provisional", self.was_ringing);
                    self.over(end, stack)
                }
                (
                    LegTimer::ResendProvisional
                    | LegTimer::PrackLimit
                    | LegTimer::Patience
                    | LegTimer::CancelLimit
                    | LegTimer::ResendAnswer
                    | LegTimer::AckLimit
                    | LegTimer::RetryOffer
                    | LegTimer::Session,
                    Provisionals::Unreliable
                    | Provisionals::Reliable { .. }
                    | Provisionals::Unconfirmed { .. },
                ) => Some(Leg::Inbound(self)),
            },
            Input::Response { .. } | Input::Failed { .. } => Some(Leg::Inbound(self)),
        }
    }

    fn command(mut self: Box<Self>, verb: Verb, stack: &mut Stack) -> Option<Leg> {
        let ends = matches!(verb, Verb::HangUp(_) | Verb::Refuse { .. });
        if let Provisionals::Unconfirmed { waiting, .. } = &mut self.provisionals
            && !ends
        {
            if waiting.len() < MAX_WAITING {
                waiting.push_back(verb);
            }
            return Some(Leg::Inbound(self));
        }
        match verb {
            Verb::Provisional(status, body) => self.provisional(status, body, stack),
            Verb::Answer(body) => self.answer(body, stack),
            Verb::PrepareAnswer(body) => {
                let leg = self.dialog.leg;
                let dialog = Box::new(self.dialog.snapshot());
                self.answer = Prepared::Yes(body);
                stack.event(Event::Answering { leg, dialog });
                Some(Leg::Inbound(self))
            }
            Verb::SendAnswer => match std::mem::replace(&mut self.answer, Prepared::No) {
                Prepared::Yes(body) => self.answer(body, stack),
                Prepared::No => Some(Leg::Inbound(self)),
            },
            Verb::AnswerWhenCancelled(body) => {
                self.on_cancel = OnCancel::Answer(body);
                Some(Leg::Inbound(self))
            }
            Verb::Refuse { status, reason, headers } => {
                let status = if (300..700).contains(&status) { status } else { 500 };
                // Where a redirect leads is the caller's to say (RFC 3261 §8.2.2.2, §21.3).
                let headers = if (300..400).contains(&status) {
                    redirect_headers(headers)
                } else {
                    check_headers(&headers).map(|()| headers).unwrap_or_default()
                };
                self.refuse(status, reason.as_deref(), &headers, stack)
            }
            Verb::HangUp(cause) => {
                let reason = ("Reason".to_owned(), super::reason_header(cause));
                self.refuse(cause.status(), None, &[reason], stack)
            }
            Verb::Send
            | Verb::Acknowledge(_)
            | Verb::AnswerOffer(_)
            | Verb::RefuseOffer(_)
            | Verb::Offer(_)
            | Verb::Info(_) => Some(Leg::Inbound(self)),
        }
    }

    fn provisional(
        mut self: Box<Self>,
        status: u16,
        body: Option<Body>,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let mut headers = self.dialog_headers();
        let leg = self.dialog.leg;
        self.was_ringing |= status == 180;
        self.provisionals = match self.provisionals {
            Provisionals::Reliable { next } => {
                headers.push(("Require".to_owned(), "100rel".to_owned()));
                headers.push(("RSeq".to_owned(), next.to_string()));
                let sent = stack.respond(self.server, status, None, &headers, body.as_ref());
                match sent.zip(stack.reply_destination(self.server)) {
                    None => Provisionals::Reliable { next },
                    Some((bytes, to)) => Provisionals::Unconfirmed {
                        answer: Box::new(Unconfirmed::provisional(leg, next, bytes, to, stack)),
                        waiting: VecDeque::new(),
                    },
                }
            }
            other => {
                stack.respond(self.server, status, None, &headers, body.as_ref());
                other
            }
        };
        Some(Leg::Inbound(self))
    }

    fn answer(self: Box<Self>, body: Option<Body>, stack: &mut Stack) -> Option<Leg> {
        let mut headers = self.dialog_headers();
        headers.push(("Allow".to_owned(), ALLOW.to_owned()));
        headers.push(("Supported".to_owned(), "timer".to_owned()));
        headers.extend(self.opening.answer_headers());
        let sent = stack.respond(self.server, 200, None, &headers, body.as_ref());
        let Some((bytes, to)) = sent.zip(stack.reply_destination(self.server)) else {
            return Some(Leg::Inbound(self));
        };
        let leg = self.dialog.leg;
        let unconfirmed = Unconfirmed::answer(leg, self.dialog.invite_cseq, bytes, to, stack);
        let auth = AuthClient::new(None, to.addr.ip());
        let session = Session::answered(self.dialog, auth, self.opening, body, unconfirmed, stack);
        Some(Leg::Session(Box::new(session)))
    }

    fn refuse(
        self: Box<Self>,
        status: u16,
        reason: Option<&str>,
        headers: &[(String, String)],
        stack: &mut Stack,
    ) -> Option<Leg> {
        stack.respond(self.server, status, reason, headers, None);
        let end =
            End { status: Some(status), ..end_by(EndedBy::Us, "refused by us", self.was_ringing) };
        self.over(end, stack)
    }

    fn request(
        self: Box<Self>,
        request: Box<Request>,
        server: Option<ServerId>,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let leg = self.dialog.leg;
        if !self.dialog.is_with(&request) {
            server.map(|server| stack.respond(server, 481, None, &[], None));
            return Some(Leg::Inbound(self));
        }
        let Some((request, server)) = answer_simple(leg, request, server, stack) else {
            return Some(Leg::Inbound(self));
        };
        match request.method {
            Method::Prack => self.prack(&request, server, stack),
            Method::Bye => {
                stack.respond(server, 200, None, &[], None);
                stack.respond(self.server, 487, None, &[], None);
                let end = end_by(EndedBy::Peer, "hung up by the far side", self.was_ringing);
                self.over(end, stack)
            }
            Method::Invite | Method::Update => {
                let later = [("Retry-After".to_owned(), "2".to_owned())];
                stack.respond(server, 500, None, &later, None);
                Some(Leg::Inbound(self))
            }
            _ => {
                stack.respond(server, 481, None, &[], None);
                Some(Leg::Inbound(self))
            }
        }
    }

    fn prack(
        mut self: Box<Self>,
        request: &Request,
        server: ServerId,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let rack = typed::<sipx_sip::rel::RAck>(&request.headers);
        self.dialog.accept_cseq(request.cseq);
        match self.provisionals {
            Provisionals::Unconfirmed { answer, waiting }
                if rack.as_ref().is_some_and(|rack| {
                    rack.rseq == answer.number && rack.cseq == self.dialog.invite_cseq
                }) =>
            {
                stack.respond(server, 200, None, &[], None);
                let next = answer.number + 1;
                answer.stop(stack);
                self.provisionals = Provisionals::Reliable { next };
                let leg = Leg::Inbound(self);
                waiting
                    .into_iter()
                    .try_fold(leg, |leg, verb| leg.handle(Input::Command(verb), stack))
            }
            other => {
                self.provisionals = other;
                stack.respond(server, 481, None, &[], None);
                Some(Leg::Inbound(self))
            }
        }
    }

    fn over(self: Box<Self>, end: End, stack: &mut Stack) -> Option<Leg> {
        if let Provisionals::Unconfirmed { answer, .. } = self.provisionals {
            answer.stop(stack);
        }
        ended(stack, self.dialog.leg, end);
        None
    }

    fn dialog_headers(&self) -> Vec<(String, String)> {
        let contact = self.dialog.contact().unwrap_or_default().to_owned();
        let routes = self.dialog.routes.iter();
        let mut headers: Vec<_> =
            routes.map(|route| ("Record-Route".to_owned(), route.clone())).collect();
        headers.push(("Contact".to_owned(), contact));
        headers
    }
}

/// Contacts that say where to, beside headers of the caller's own.
fn redirect_headers(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let is_contact = |(name, _): &(String, String)| name.eq_ignore_ascii_case("contact");
    let (contacts, others): (Vec<_>, Vec<_>) = headers.into_iter().partition(is_contact);
    let clean = |(_, value): &(String, String)| !value.chars().any(char::is_control);
    let mut headers = check_headers(&others).map(|()| others).unwrap_or_default();
    headers.extend(contacts.into_iter().filter(clean));
    headers
}

/// Why an INVITE cannot become a leg.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: u16,
    pub header: (String, String),
}
