//! A leg after its end: it waits for the ACK that has to come before our BYE, or for the answer to
//! the BYE, which may be a challenge.

use super::{Input, Leg, reason_header, reliable::Unconfirmed};
use crate::{
    Credentials, End, EndedBy, HangUpCause,
    auth_client::AuthClient,
    dialog::Dialog,
    stack::Stack,
    timers::LegTimer,
    transactions::{ClientKey, Owner, Purpose},
};
use sipx_sip::Method;

#[derive(Debug)]
pub(crate) struct Closing {
    dialog: Dialog,
    auth: AuthClient,
    reason: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A callee says BYE only after the ACK (RFC 3261 §15).
    AwaitsAck(Box<Unconfirmed>),
    Bye(ClientKey),
}

impl Closing {
    /// Sends the BYE.
    pub(super) fn bye(dialog: Dialog, auth: AuthClient, reason: &str, stack: &mut Stack) -> Leg {
        let auth = auth.fresh();
        let mut dialog = dialog;
        let owner = Owner::Leg(dialog.leg, Purpose::Bye);
        let key = dialog.send_bye(stack, owner, Some(reason), &[]);
        Leg::Closing(Box::new(Closing {
            dialog,
            auth,
            reason: reason.to_owned(),
            state: State::Bye(key),
        }))
    }

    /// Sends the BYE once the ACK for our 2xx is there, or will not come.
    pub(super) fn after_ack(
        dialog: Dialog,
        auth: AuthClient,
        reason: String,
        answer: Unconfirmed,
    ) -> Leg {
        Leg::Closing(Box::new(Closing {
            dialog,
            auth,
            reason,
            state: State::AwaitsAck(Box::new(answer)),
        }))
    }

    /// A dialog from the store. Where we had called, its ACK may never have left: it goes first.
    pub(super) fn restored(
        mut dialog: Dialog,
        credentials: Option<Credentials>,
        cause: HangUpCause,
        stack: &mut Stack,
    ) -> Closing {
        let leg = dialog.leg;
        stack.add_dialog(&dialog.call_id, &dialog.local_tag, leg);
        let to = dialog.destination();
        if !leg.is_inbound() {
            let ack = dialog.ack(stack, dialog.invite_cseq, None, &[]);
            stack.transmit(Some(leg), to, ack);
        }
        let reason = reason_header(cause);
        let owner = Owner::Leg(leg, Purpose::Bye);
        let key = dialog.send_bye(stack, owner, Some(&reason), &[]);
        let end = End {
            status: None,
            reason: "hung up after a restart".to_owned(),
            by: EndedBy::Us,
            q850: None,
            retry_after: None,
            was_ringing: true,
            contacts: Vec::new(),
        };
        super::ended(stack, leg, end);
        Closing {
            auth: AuthClient::new(credentials, to.addr.ip()),
            dialog,
            reason,
            state: State::Bye(key),
        }
    }

    pub(super) fn identity(&self) -> (&str, &str) {
        (&self.dialog.call_id, &self.dialog.local_tag)
    }

    pub(super) fn handle(mut self: Box<Self>, input: Input, stack: &mut Stack) -> Option<Leg> {
        match (input, self.state) {
            (Input::Response { key, response, .. }, State::Bye(bye)) if key == bye => {
                let sent_to = self.dialog.destination().addr.ip();
                if response.status < 200 {
                    self.state = State::Bye(bye);
                    return Some(Leg::Closing(self));
                }
                if !self.auth.challenged(&response, sent_to) {
                    return None;
                }
                let uri = self.dialog.request_uri().to_owned();
                let login = self.auth.headers(&mut stack.random, "BYE", &uri);
                let owner = Owner::Leg(self.dialog.leg, Purpose::Bye);
                let key = self.dialog.send_bye(stack, owner, Some(&self.reason), &login);
                self.state = State::Bye(key);
                Some(Leg::Closing(self))
            }
            (Input::Failed { key, .. }, State::Bye(bye)) if key == bye => None,
            (Input::Request { request, server }, state) => {
                self.state = state;
                self.request(&request, server, stack)
            }
            (Input::Due { timer, at }, State::AwaitsAck(mut answer)) => match timer {
                LegTimer::AckLimit => {
                    answer.stop(stack);
                    Some(Closing::bye(self.dialog, self.auth, &self.reason, stack))
                }
                LegTimer::ResendAnswer => {
                    answer.resend(at, stack);
                    self.state = State::AwaitsAck(answer);
                    Some(Leg::Closing(self))
                }
                LegTimer::Patience
                | LegTimer::CancelLimit
                | LegTimer::ResendProvisional
                | LegTimer::PrackLimit
                | LegTimer::RetryOffer
                | LegTimer::Session => {
                    self.state = State::AwaitsAck(answer);
                    Some(Leg::Closing(self))
                }
            },
            (
                Input::Command(_)
                | Input::Response { .. }
                | Input::Failed { .. }
                | Input::Cancelled { .. }
                | Input::Due { .. },
                state,
            ) => {
                self.state = state;
                Some(Leg::Closing(self))
            }
        }
    }

    fn request(
        mut self: Box<Self>,
        request: &crate::message::Request,
        server: Option<crate::transactions::ServerId>,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let is_theirs = self.dialog.is_with(request);
        let is_bye = request.method == Method::Bye && is_theirs;
        let status = if is_bye { 200 } else { 481 };
        match server {
            Some(server) => {
                stack.respond(server, status, None, &[], None);
            }
            None => match self.state {
                State::AwaitsAck(answer) if is_theirs && answer.number == request.cseq => {
                    answer.stop(stack);
                    return Some(Closing::bye(self.dialog, self.auth, &self.reason, stack));
                }
                state => self.state = state,
            },
        }
        // Both hung up at once: nothing is left to wait for but the answer to our BYE.
        if is_bye && let State::AwaitsAck(answer) = self.state {
            answer.stop(stack);
            return None;
        }
        Some(Leg::Closing(self))
    }
}
