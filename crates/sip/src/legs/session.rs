//! An answered leg: it talks, is re-negotiated (`offers.rs`), kept alive (RFC 4028) and hung up.

use sipx_sip::{HeaderName, Headers, Method};

use super::{
    Closing, Input, Leg, Verb, answer_simple, end_by, end_of_refusal, ended, offers::Offers,
    reason_header, reliable::Unconfirmed, session_timer::Terms,
};
use crate::{
    Body, End, EndTimer, EndedBy, Event, HangUpCause, LegId,
    auth_client::AuthClient,
    dialog::Dialog,
    message::{Request, Response, lists, q850},
    stack::Stack,
    timers::{LegTimer, TimerHandle, TimerKey},
    transactions::{Failure, Owner, Purpose, ServerId},
};

#[derive(Debug)]
pub(crate) struct Session {
    pub(super) dialog: Dialog,
    pub(super) auth: AuthClient,
    pub(super) role: Role,
    pub(super) offers: Offers,
    /// The last description of ours: what a refresh by re-INVITE repeats.
    pub(super) sent: Option<Body>,
    peer_allows_update: bool,
    timer: Option<Timer>,
    was_ringing: bool,
}

/// Whoever called owns the Call-ID, and waits longer after a glare (RFC 3261 §14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Caller,
    Callee,
}

#[derive(Debug)]
struct Timer {
    terms: Terms,
    handle: TimerHandle,
}

/// What the INVITE and its 2xx settled for the session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    terms: Option<Terms>,
    peer_allows_update: bool,
}

impl Opening {
    pub(super) fn from_answer(headers: &Headers) -> Opening {
        Opening::from_invite(headers, Terms::from_answer(headers))
    }

    pub(super) fn from_invite(headers: &Headers, terms: Option<Terms>) -> Opening {
        Opening { terms, peer_allows_update: lists(headers, &HeaderName::Allow, "UPDATE") }
    }

    pub(super) fn answer_headers(&self) -> Vec<(String, String)> {
        self.terms.map(Terms::answer_headers).unwrap_or_default()
    }
}

impl Session {
    /// We called and have acknowledged.
    pub(super) fn dialled(
        dialog: Dialog,
        auth: AuthClient,
        opening: Opening,
        sent: Option<Body>,
        was_ringing: bool,
        stack: &mut Stack,
    ) -> Session {
        let mut session = Session {
            dialog,
            auth,
            role: Role::Caller,
            offers: Offers::Idle,
            sent,
            peer_allows_update: opening.peer_allows_update,
            timer: None,
            was_ringing,
        };
        session.set_timer(opening.terms, stack);
        session
    }

    /// We were called and have answered; the ACK is awaited.
    pub(super) fn answered(
        dialog: Dialog,
        auth: AuthClient,
        opening: Opening,
        sent: Option<Body>,
        answer: Unconfirmed,
        stack: &mut Stack,
    ) -> Session {
        let mut session = Session {
            dialog,
            auth,
            role: Role::Callee,
            offers: Offers::Unconfirmed(answer),
            sent,
            peer_allows_update: opening.peer_allows_update,
            timer: None,
            was_ringing: true,
        };
        session.set_timer(opening.terms, stack);
        session
    }

    pub(super) fn identity(&self) -> (&str, &str) {
        (&self.dialog.call_id, &self.dialog.local_tag)
    }

    pub(super) fn leg(&self) -> LegId {
        self.dialog.leg
    }

    pub(super) fn handle(mut self: Box<Self>, input: Input, stack: &mut Stack) -> Option<Leg> {
        match input {
            Input::Command(command) => self.command(command, stack),
            Input::Response { key, purpose, response } => match purpose {
                Purpose::Offer => self.offer_response(key, &response, stack),
                Purpose::Refresh => self.refresh_response(&response, stack),
                Purpose::Info | Purpose::Prack => self.stay(),
                Purpose::Invite | Purpose::Cancel | Purpose::Bye => self.stay(),
            },
            Input::Failed { purpose, failure, .. } => match purpose {
                Purpose::Offer | Purpose::Refresh => self.lost(failure, stack),
                Purpose::Info | Purpose::Prack => self.stay(),
                Purpose::Invite | Purpose::Cancel | Purpose::Bye => self.stay(),
            },
            Input::Request { request, server } => self.request(request, server, stack),
            Input::Cancelled { .. } => {
                self.withdraw_their_offer(487, stack);
                self.stay()
            }
            Input::Due { timer, at } => match timer {
                LegTimer::ResendAnswer => {
                    if let Offers::Unconfirmed(answer) = &mut self.offers {
                        answer.resend(at, stack);
                    }
                    self.stay()
                }
                LegTimer::AckLimit => self.no_ack(stack),
                LegTimer::RetryOffer => {
                    self.retry_offer(stack);
                    self.stay()
                }
                LegTimer::Session => self.session_due(stack),
                LegTimer::Patience
                | LegTimer::CancelLimit
                | LegTimer::ResendProvisional
                | LegTimer::PrackLimit => self.stay(),
            },
        }
    }

    fn command(mut self: Box<Self>, verb: Verb, stack: &mut Stack) -> Option<Leg> {
        match verb {
            Verb::HangUp(cause) => self.hang_up(cause, stack),
            Verb::Offer(body) => {
                self.offer(body, stack);
                self.stay()
            }
            Verb::AnswerOffer(body) => {
                self.answer_offer(body, stack);
                self.stay()
            }
            Verb::RefuseOffer(status) => {
                let status = if (300..700).contains(&status) { status } else { 488 };
                self.withdraw_their_offer(status, stack);
                self.stay()
            }
            Verb::Info(body) => {
                let owner = Owner::Leg(self.leg(), Purpose::Info);
                self.dialog.send(stack, "INFO", owner, &[], Some(&body));
                self.stay()
            }
            Verb::Send
            | Verb::Acknowledge(_)
            | Verb::Provisional(..)
            | Verb::Answer(_)
            | Verb::PrepareAnswer(_)
            | Verb::SendAnswer
            | Verb::AnswerWhenCancelled(_)
            | Verb::Refuse { .. } => self.stay(),
        }
    }

    fn hang_up(mut self: Box<Self>, cause: HangUpCause, stack: &mut Stack) -> Option<Leg> {
        let end = end_by(EndedBy::Us, "hung up", self.was_ringing);
        let reason = reason_header(cause);
        if let Offers::Unconfirmed(_) = self.offers
            && self.role == Role::Callee
            && let Offers::Unconfirmed(answer) = std::mem::replace(&mut self.offers, Offers::Idle)
        {
            self.settle(stack);
            ended(stack, self.leg(), end);
            return Some(Closing::after_ack(self.dialog, self.auth, reason, answer));
        }
        self.bye(end, &reason, stack)
    }

    /// Ends the leg with a BYE of ours.
    pub(super) fn bye(
        mut self: Box<Self>,
        end: End,
        reason: &str,
        stack: &mut Stack,
    ) -> Option<Leg> {
        self.settle(stack);
        ended(stack, self.leg(), end);
        Some(Closing::bye(self.dialog, self.auth, reason, stack))
    }

    /// A request inside the dialog got no answer: the far side is gone (RFC 3261 §12.2.1.2).
    fn lost(self: Box<Self>, failure: Failure, stack: &mut Stack) -> Option<Leg> {
        let by = match failure {
            Failure::Timeout | Failure::NotRepeated => {
                EndedBy::Timeout(EndTimer::NoResponseInDialog)
            }
            Failure::Transport(_) => EndedBy::Transport,
        };
        let end = end_by(by, "no answer to a request inside the call", self.was_ringing);
        self.bye(end, &reason_header(HangUpCause::Failure), stack)
    }

    /// The far side no longer knows the dialog.
    pub(super) fn unknown_there(
        self: Box<Self>,
        response: &Response,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let end = end_of_refusal(response, EndedBy::Peer, self.was_ringing);
        self.bye(end, &reason_header(HangUpCause::Failure), stack)
    }

    fn no_ack(self: Box<Self>, stack: &mut Stack) -> Option<Leg> {
        if !matches!(self.offers, Offers::Unconfirmed(_)) {
            return self.stay();
        }
        stack.event(Event::NoAck { leg: self.leg() });
        let by = EndedBy::Timeout(EndTimer::NoAck);
        let end = end_by(by, "no ACK for our answer", self.was_ringing);
        self.bye(end, &reason_header(HangUpCause::Failure), stack)
    }

    fn request(
        mut self: Box<Self>,
        request: Box<Request>,
        server: Option<ServerId>,
        stack: &mut Stack,
    ) -> Option<Leg> {
        if !self.dialog.is_with(&request) {
            server.map(|server| stack.respond(server, 481, None, &[], None));
            return self.stay();
        }
        let Some(id) = server else {
            self.confirmed(&request, stack);
            return self.stay();
        };
        if !self.dialog.accept_cseq(request.cseq) {
            stack.respond(id, 500, None, &[], None);
            return self.stay();
        }
        let Some((request, server)) = answer_simple(self.leg(), request, server, stack) else {
            return self.stay();
        };
        match request.method {
            Method::Bye => {
                stack.respond(server, 200, None, &[], None);
                let mut end = end_by(EndedBy::Peer, "hung up by the far side", self.was_ringing);
                end.q850 = q850(&request.headers);
                self.settle(stack);
                ended(stack, self.leg(), end);
                None
            }
            Method::Invite | Method::Update => {
                self.offered(&request, server, stack);
                self.stay()
            }
            _ => {
                stack.respond(server, 481, None, &[], None);
                self.stay()
            }
        }
    }

    /// Takes over what a refresh agreed on; the clock starts anew.
    pub(super) fn set_timer(&mut self, terms: Option<Terms>, stack: &mut Stack) {
        if let Some(old) = self.timer.take() {
            stack.timers.cancel(old.handle);
        }
        self.timer = terms.map(|terms| {
            let key = TimerKey::Leg(self.leg(), LegTimer::Session);
            let handle = stack.timers.set(stack.now + terms.act_after(), key);
            Timer { terms, handle }
        });
    }

    pub(super) fn terms(&self) -> Option<Terms> {
        self.timer.as_ref().map(|timer| timer.terms)
    }

    fn session_due(mut self: Box<Self>, stack: &mut Stack) -> Option<Leg> {
        let Some(terms) = self.terms() else {
            return self.stay();
        };
        if !terms.we_refresh {
            self.timer = None;
            let by = EndedBy::Timeout(EndTimer::SessionExpired);
            let end = end_by(by, "the far side did not refresh the session", self.was_ringing);
            return self.bye(end, &reason_header(HangUpCause::Failure), stack);
        }
        self.refresh(terms, stack);
        self.stay()
    }

    /// Refreshes the session now; the next refresh is armed.
    fn refresh(&mut self, terms: Terms, stack: &mut Stack) {
        self.set_timer(Some(terms), stack);
        if self.peer_allows_update {
            let owner = Owner::Leg(self.leg(), Purpose::Refresh);
            let headers = terms.refresh_headers();
            self.dialog.send(stack, "UPDATE", owner, &headers, None);
        } else {
            self.refresh_by_invite(stack);
        }
    }

    /// The far side wants refreshes less often: at once again, with its interval.
    pub(super) fn refresh_too_brief(&mut self, response: &Response, stack: &mut Stack) {
        let longer = self.terms().and_then(|terms| terms.lengthened(&response.headers));
        if let Some(terms) = longer {
            self.refresh(terms, stack);
        }
    }

    fn refresh_response(
        mut self: Box<Self>,
        response: &Response,
        stack: &mut Stack,
    ) -> Option<Leg> {
        match response.status {
            ..=199 => {}
            200..=299 => {
                let terms = Terms::from_answer(&response.headers).or(self.terms());
                self.set_timer(terms, stack);
                stack.event(Event::Refreshed { leg: self.leg() });
            }
            408 | 481 => return self.unknown_there(response, stack),
            // It announced UPDATE and does not know it after all.
            405 | 501 => {
                self.peer_allows_update = false;
                self.refresh_by_invite(stack);
            }
            422 => self.refresh_too_brief(response, stack),
            // The next try is armed; the session lives until it expires at the far side.
            300.. => {}
        }
        self.stay()
    }

    /// Nothing of this leg may come due any more, and no request of the far side stays unanswered.
    fn settle(&mut self, stack: &mut Stack) {
        self.set_timer(None, stack);
        self.withdraw_their_offer(487, stack);
        self.drop_offers(stack);
    }

    pub(super) fn stay(self: Box<Self>) -> Option<Leg> {
        Some(Leg::Session(self))
    }
}
