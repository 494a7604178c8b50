//! Prepared ──Send──▶ Calling ──first 2xx──▶ Answered ──Acknowledge──▶ a session
//!    ▲  └─HangUp─▶ over  │ └─refused, timer B─▶ over    └──HangUp─▶ ACK, BYE, closing
//!    ├────401, 407, 422──┤
//!    └─dead, and another target is left (`retry.rs`)
//!                        └─HangUp─▶ Cancelling (CANCEL waits for a 1xx) ──487, limit──▶ over
//!                                        └──2xx crossed it──▶ ACK, BYE, closing

use std::time::{Duration, Instant};

use bytes::Bytes;
use sipx_sip::{HeaderName, Method};

use super::{
    Closing, Input, Leg, Session, Verb, answer_simple, end_by, end_of_refusal, ended,
    reason_header, session::Opening,
};
use crate::{
    Body, Destination, EndTimer, EndedBy, Event, Failover, HangUpCause, LegId, TransportFault,
    Wire,
    auth_client::AuthClient,
    dialog::Dialog,
    message::{Request, Response, lists, typed},
    stack::Stack,
    timers::{GIVE_UP, LegTimer, TimerHandle, TimerKey},
    transactions::{ClientKey, Failure, NewClient, Owner, Purpose, ServerId, follow_up},
};

mod retry;
mod start;

#[derive(Debug)]
pub(crate) struct Outbound {
    leg: LegId,
    call_id: String,
    from_tag: String,
    contact_user: String,
    request_uri: String,
    /// The present INVITE as it is on disk and on the wire.
    invite: Bytes,
    cseq: u32,
    key: ClientKey,
    to: Destination,
    auth: AuthClient,
    failover: Failover,
    session: SessionInterval,
    offer: Option<Body>,
    early: Vec<Early>,
    was_ringing: bool,
    origin: Origin,
    state: State,
}

/// Who wrote the INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Ours,
    /// An earlier process, which may have heard more than we do: it may be ringing.
    Stored,
    /// An earlier process, in answer to a challenge.
    StoredLogin,
}

#[derive(Debug)]
enum State {
    Prepared,
    /// `patience` runs while nothing has answered and there is another target.
    Calling {
        patience: Option<TimerHandle>,
    },
    Cancelling {
        cause: HangUpCause,
        cancel: Cancel,
    },
    Answered {
        dialog: Box<Dialog>,
        opening: Opening,
    },
}

/// RFC 3261 §9.1: no CANCEL before the far side has answered anything.
#[derive(Debug)]
enum Cancel {
    AwaitsProvisional,
    Sent { limit: TimerHandle, until: Instant },
}

/// A fork that rings.
#[derive(Debug)]
struct Early {
    dialog: Dialog,
    /// The last reliable provisional that was acknowledged (RFC 3262).
    rseq: Option<u32>,
}

/// Seconds of RFC 4028: what we ask for, and the least that the far side has insisted on.
#[derive(Clone, Copy, Debug, Default)]
struct SessionInterval {
    asked: Option<u32>,
    min: Option<u32>,
}

const MAX_FORKS: usize = 16;

/// Twice T2 and some: a 2xx without its ACK is repeated every 4 s at the latest (RFC 3261 §13.3.1.4), and one copy may be
/// lost.
const REPEATED_ANSWER: Duration = Duration::from_secs(10);

impl Outbound {
    pub fn identity(&self) -> (&str, &str) {
        (&self.call_id, &self.from_tag)
    }

    pub fn handle(self: Box<Self>, input: Input, stack: &mut Stack) -> Option<Leg> {
        match input {
            Input::Command(command) => self.command(command, stack),
            Input::Response { key, purpose: Purpose::Invite, response } if key == self.key => {
                self.response(&response, stack)
            }
            Input::Response { purpose: Purpose::Cancel, response, .. }
                if response.status == 481 =>
            {
                self.unknown_there(stack)
            }
            Input::Response { .. } => self.stay(),
            Input::Failed { purpose, failure, .. } => self.failed(purpose, failure, stack),
            Input::Request { request, server } => self.request(request, server, stack),
            Input::Due { timer, .. } => match (timer, &self.state) {
                (LegTimer::Patience, State::Calling { .. }) => self.silent(stack),
                (LegTimer::CancelLimit, State::Cancelling { .. }) => {
                    stack.leave_behind(self.key, self.leg);
                    let by = EndedBy::Timeout(EndTimer::NoResponseToCancel);
                    self.over(by, "no final response to our CANCEL", stack)
                }
                (
                    LegTimer::Patience
                    | LegTimer::CancelLimit
                    | LegTimer::ResendAnswer
                    | LegTimer::AckLimit
                    | LegTimer::ResendProvisional
                    | LegTimer::PrackLimit
                    | LegTimer::RetryOffer
                    | LegTimer::Session,
                    _,
                ) => self.stay(),
            },
            Input::Cancelled { .. } => self.stay(),
        }
    }

    fn command(mut self: Box<Self>, verb: Verb, stack: &mut Stack) -> Option<Leg> {
        match (verb, std::mem::replace(&mut self.state, State::Prepared)) {
            (Verb::Send, State::Prepared) => {
                self.start(stack);
                self.stay()
            }
            (Verb::HangUp(_), State::Prepared) => {
                self.over(EndedBy::Us, "hung up before it was sent", stack)
            }
            (Verb::HangUp(cause), State::Calling { patience }) => {
                stop_waiting(patience, stack);
                let may_ring = self.origin != Origin::Ours;
                let cancel = if may_ring || stack.clients.is_proceeding(self.key) {
                    self.send_cancel(cause, stack)
                } else {
                    Cancel::AwaitsProvisional
                };
                self.state = State::Cancelling { cause, cancel };
                self.stay()
            }
            (Verb::HangUp(cause), State::Answered { dialog, .. }) => {
                self.hang_up_answered(*dialog, cause, "hung up", stack)
            }
            (Verb::Acknowledge(body), State::Answered { dialog, opening }) => {
                Some(self.acknowledge(*dialog, opening, body, stack))
            }
            (
                Verb::Send
                | Verb::Acknowledge(_)
                | Verb::HangUp(_)
                | Verb::Provisional(..)
                | Verb::Answer(_)
                | Verb::PrepareAnswer(_)
                | Verb::SendAnswer
                | Verb::AnswerWhenCancelled(_)
                | Verb::Refuse { .. }
                | Verb::AnswerOffer(_)
                | Verb::RefuseOffer(_)
                | Verb::Offer(_)
                | Verb::Info(_),
                state,
            ) => {
                self.state = state;
                self.stay()
            }
        }
    }

    fn response(mut self: Box<Self>, response: &Response, stack: &mut Stack) -> Option<Leg> {
        match std::mem::replace(&mut self.state, State::Calling { patience: None }) {
            State::Calling { patience } => {
                stop_waiting(patience, stack);
                match response.status {
                    ..=199 => self.provisional(response, stack),
                    200..=299 => self.answered(response, stack),
                    300.. => self.refused(response, stack),
                }
            }
            State::Cancelling { cause, cancel } => match (response.status, cancel) {
                (..=199, Cancel::AwaitsProvisional) => {
                    let cancel = self.send_cancel(cause, stack);
                    self.state = State::Cancelling { cause, cancel };
                    self.stay()
                }
                (..=199, cancel) => {
                    self.state = State::Cancelling { cause, cancel };
                    self.stay()
                }
                (200..=299, cancel) => {
                    stop(cancel, stack);
                    let dialog = self.dialog(response, stack);
                    match dialog {
                        Some(dialog) => {
                            let reason = "the answer crossed our CANCEL";
                            self.hang_up_answered(dialog, cause, reason, stack)
                        }
                        None => self.over(EndedBy::Us, "cancelled", stack),
                    }
                }
                (300.., cancel) => {
                    stop(cancel, stack);
                    let end = end_of_refusal(response, EndedBy::Us, self.was_ringing);
                    ended(stack, self.leg, end);
                    None
                }
            },
            // Later 2xx are the client transaction's business, and it delivers the first only.
            state @ (State::Prepared | State::Answered { .. }) => {
                self.state = state;
                self.stay()
            }
        }
    }

    fn provisional(mut self: Box<Self>, response: &Response, stack: &mut Stack) -> Option<Leg> {
        if response.status == 100 {
            return self.stay();
        }
        if !self.acknowledge_provisional(response, stack) {
            return self.stay();
        }
        self.was_ringing |= (180..190).contains(&response.status);
        stack.event(Event::Provisional {
            leg: self.leg,
            status: response.status,
            body: response.body.clone(),
        });
        self.stay()
    }

    /// PRACK for a reliable provisional (RFC 3262 §4); `false` where it is a copy or out of order.
    fn acknowledge_provisional(&mut self, response: &Response, stack: &mut Stack) -> bool {
        if !lists(&response.headers, &HeaderName::Require, "100rel") {
            return true;
        }
        let Some(rseq) = typed::<sipx_sip::rel::RSeq>(&response.headers) else {
            return true;
        };
        let tag = response.to_tag.as_deref().unwrap_or_default();
        let known = self.early.iter().position(|early| early.dialog.remote_tag == tag);
        let index = match known {
            Some(index) => index,
            None if self.early.len() >= MAX_FORKS => return false,
            None => {
                let Some(dialog) =
                    Dialog::as_caller(stack, self.leg, &self.invite, self.to, response)
                else {
                    return false;
                };
                self.early.push(Early { dialog, rseq: None });
                self.early.len() - 1
            }
        };
        let early = &mut self.early[index];
        if early.rseq.is_some_and(|last| rseq.0 != last.wrapping_add(1)) {
            return false;
        }
        early.rseq = Some(rseq.0);
        let rack = format!("{} {} INVITE", rseq.0, self.cseq);
        let owner = Owner::Leg(self.leg, Purpose::Prack);
        early.dialog.send(stack, "PRACK", owner, &[("RAck".to_owned(), rack)], None);
        true
    }

    fn answered(mut self: Box<Self>, response: &Response, stack: &mut Stack) -> Option<Leg> {
        let Some(dialog) = self.dialog(response, stack) else {
            return self.over(EndedBy::Peer, "a 2xx that opens no dialog", stack);
        };
        stack.event(Event::Answered {
            leg: self.leg,
            dialog: Box::new(dialog.snapshot()),
            body: response.body.clone(),
        });
        self.state = State::Answered {
            dialog: Box::new(dialog),
            opening: Opening::from_answer(&response.headers),
        };
        self.stay()
    }

    fn refused(self: Box<Self>, response: &Response, stack: &mut Stack) -> Option<Leg> {
        // Credentials that were good once: the far side is through with that INVITE, and a new one
        // would ring a second time.
        if self.origin == Origin::StoredLogin && matches!(response.status, 401 | 407) {
            let reason = "the far side does not know the INVITE that was sent again";
            return self.over(EndedBy::Peer, reason, stack);
        }
        let may_go_on = !self.was_ringing && self.early.is_empty();
        match response.status {
            503 if may_go_on && !self.failover.next.is_empty() => self.unavailable(response, stack),
            422 if may_go_on && self.longer_interval(response).is_some() => {
                self.with_longer_interval(response, stack)
            }
            _ => self.challenged(response, stack),
        }
    }

    fn failed(
        self: Box<Self>,
        purpose: Purpose,
        failure: Failure,
        stack: &mut Stack,
    ) -> Option<Leg> {
        match (purpose, failure) {
            (Purpose::Invite, Failure::Timeout | Failure::NotRepeated)
                if self.origin != Origin::Ours && matches!(self.state, State::Calling { .. }) =>
            {
                self.take_back(stack)
            }
            (Purpose::Invite, Failure::Timeout) => self.unanswered(stack),
            (Purpose::Invite, Failure::NotRepeated) => {
                stack.take_back(self.leg, self.client());
                self.unanswered(stack)
            }
            (Purpose::Invite, Failure::Transport(fault)) => self.undeliverable(fault, stack),
            (Purpose::Cancel, Failure::Transport(fault)) => {
                stack.leave_behind(self.key, self.leg);
                self.unreachable(fault, stack)
            }
            // The INVITE itself decides; its limit runs.
            (Purpose::Cancel, Failure::Timeout | Failure::NotRepeated)
            | (
                Purpose::Bye | Purpose::Prack | Purpose::Offer | Purpose::Refresh | Purpose::Info,
                Failure::Timeout | Failure::NotRepeated | Failure::Transport(_),
            ) => self.stay(),
        }
    }

    /// Nothing was heard of an INVITE of an earlier process; its phone may ring all the same.
    fn take_back(mut self: Box<Self>, stack: &mut Stack) -> Option<Leg> {
        stack.adopt_client(self.client());
        let cause = HangUpCause::Failure;
        let cancel = self.send_cancel(cause, stack);
        self.state = State::Cancelling { cause, cancel };
        self.stay()
    }

    fn unanswered(self: Box<Self>, stack: &mut Stack) -> Option<Leg> {
        let by = EndedBy::Timeout(EndTimer::NoResponse);
        self.over(by, "the far side does not answer", stack)
    }

    fn unreachable(self: Box<Self>, fault: TransportFault, stack: &mut Stack) -> Option<Leg> {
        let reason = format!("the far side cannot be reached: {fault}");
        self.over(EndedBy::Transport, &reason, stack)
    }

    fn request(
        self: Box<Self>,
        request: Box<Request>,
        server: Option<ServerId>,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let Some((request, server)) = answer_simple(self.leg, request, server, stack) else {
            return self.stay();
        };
        let is_answered =
            matches!(&self.state, State::Answered { dialog, .. } if dialog.is_with(&request));
        match request.method {
            Method::Bye if is_answered => {
                stack.respond(server, 200, None, &[], None);
                self.over(EndedBy::Peer, "hung up by the far side", stack)
            }
            // Its offer would cross ours (RFC 3311 §5.2, RFC 3261 §14.2).
            Method::Invite | Method::Update => {
                stack.respond(server, 491, None, &[], None);
                self.stay()
            }
            _ => {
                stack.respond(server, 481, None, &[], None);
                self.stay()
            }
        }
    }

    fn acknowledge(
        self: Box<Self>,
        mut dialog: Dialog,
        opening: Opening,
        body: Option<Body>,
        stack: &mut Stack,
    ) -> Leg {
        let bytes = dialog.ack(stack, self.cseq, body.as_ref(), &[]);
        let (tag, to) = (dialog.remote_tag.clone(), dialog.destination());
        stack.send_ack(self.key, self.leg, &tag, bytes, to);
        let sent = self.offer.or(body);
        let session = Session::dialled(dialog, self.auth, opening, sent, self.was_ringing, stack);
        Leg::Session(Box::new(session))
    }

    fn hang_up_answered(
        self: Box<Self>,
        mut dialog: Dialog,
        cause: HangUpCause,
        reason: &str,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let bytes = dialog.ack(stack, self.cseq, None, &[]);
        let (tag, to) = (dialog.remote_tag.clone(), dialog.destination());
        stack.send_ack(self.key, self.leg, &tag, bytes, to);
        ended(stack, self.leg, end_by(EndedBy::Us, reason, self.was_ringing));
        Some(Closing::bye(dialog, self.auth, &reason_header(cause), stack))
    }

    /// The dialog of a 2xx; its CSeq goes on from the fork's PRACKs.
    fn dialog(&self, response: &Response, stack: &Stack) -> Option<Dialog> {
        let mut dialog = Dialog::as_caller(stack, self.leg, &self.invite, self.to, response)?;
        let tag = &dialog.remote_tag;
        let mut forks = self.early.iter().map(|early| &early.dialog);
        if let Some(fork) = forks.find(|fork| fork.remote_tag == *tag) {
            dialog.local_cseq = fork.local_cseq;
        }
        Some(dialog)
    }

    fn start(&mut self, stack: &mut Stack) {
        // The INVITE in place of a refused one is on disk.
        stack.settle_refusal(self.leg);
        stack.start_client(self.client());
        self.be_patient(stack);
    }

    fn be_patient(&mut self, stack: &mut Stack) {
        let patience = (!self.failover.next.is_empty()).then(|| {
            let key = TimerKey::Leg(self.leg, LegTimer::Patience);
            let patience = self.failover.patience.min(GIVE_UP / 2);
            stack.timers.set(stack.now + patience, key)
        });
        self.state = State::Calling { patience };
    }

    fn client(&self) -> NewClient {
        NewClient {
            key: self.key,
            owner: Owner::Leg(self.leg, Purpose::Invite),
            is_invite: true,
            bytes: self.invite.clone(),
            to: self.to,
        }
    }

    fn send_cancel(&self, cause: HangUpCause, stack: &mut Stack) -> Cancel {
        stack.start_client(NewClient {
            key: ClientKey { branch: self.key.branch, is_cancel: true },
            owner: Owner::Leg(self.leg, Purpose::Cancel),
            is_invite: false,
            bytes: follow_up(&self.invite, "CANCEL", None, Some(&reason_header(cause))),
            to: self.to,
        });
        let key = TimerKey::Leg(self.leg, LegTimer::CancelLimit);
        let until = stack.now + GIVE_UP;
        let limit = stack.timers.set(until, key);
        Cancel::Sent { limit, until }
    }

    /// RFC 3261 §9.2: the far side has no transaction for the INVITE that we cancel. One of an earlier process never
    /// came there, or was answered; an answer that lacks its ACK is repeated, and heard before long.
    fn unknown_there(mut self: Box<Self>, stack: &mut Stack) -> Option<Leg> {
        let is_ours = self.origin == Origin::Ours;
        if let State::Cancelling { cancel: Cancel::Sent { limit, until }, .. } = &mut self.state
            && !is_ours
        {
            stack.timers.cancel(*limit);
            *until = (*until).min(stack.now + REPEATED_ANSWER);
            *limit = stack.timers.set(*until, TimerKey::Leg(self.leg, LegTimer::CancelLimit));
        }
        self.stay()
    }

    fn wire(&self) -> Box<Wire> {
        Box::new(Wire {
            leg: self.leg,
            transport: self.to.transport,
            local: self.to.local.expect("resolved when the leg was made"),
            remote: self.to.addr,
            tls: self.to.tls,
            bytes: self.invite.clone(),
        })
    }

    fn over(self: Box<Self>, by: EndedBy, reason: &str, stack: &mut Stack) -> Option<Leg> {
        match self.state {
            State::Cancelling { cancel, .. } => stop(cancel, stack),
            State::Calling { patience } => stop_waiting(patience, stack),
            State::Prepared | State::Answered { .. } => {}
        }
        ended(stack, self.leg, end_by(by, reason, self.was_ringing));
        None
    }

    fn stay(self: Box<Self>) -> Option<Leg> {
        Some(Leg::Outbound(self))
    }
}

fn key(branch: u64) -> ClientKey {
    ClientKey { branch, is_cancel: false }
}

fn stop(cancel: Cancel, stack: &mut Stack) {
    match cancel {
        Cancel::AwaitsProvisional => {}
        Cancel::Sent { limit, .. } => stack.timers.cancel(limit),
    }
}

fn stop_waiting(patience: Option<TimerHandle>, stack: &mut Stack) {
    if let Some(patience) = patience {
        stack.timers.cancel(patience);
    }
}
