//! A new INVITE in place of one that failed before anybody rang: with credentials, to the next
//! target (RFC 3263 §4.3), with a longer session interval (RFC 4028 §7.4). Each is a request of its
//! own, and goes to disk before it leaves.

use sipx_sip::session::MinSe;

use super::{Origin, Outbound, State, key};
use crate::{
    Dead, Destination, EndedBy, Event, Retry, TransportFault,
    legs::{Leg, end_of_refusal, ended, invite::Again},
    message::{Response, retry_after, typed},
    stack::Stack,
};

/// About what a line with credentials takes, in bytes.
const CREDENTIALS: usize = 320;
/// The longest interval that a 422 can make us ask for, in seconds.
const LONGEST: u64 = 86_400;

impl Outbound {
    /// 401 and 407 get a new INVITE where there are credentials for them, everything else is final.
    pub(super) fn challenged(
        mut self: Box<Self>,
        response: &Response,
        stack: &mut Stack,
    ) -> Option<Leg> {
        if !self.auth.challenged(response, self.to.addr.ip()) {
            let end = end_of_refusal(response, EndedBy::Peer, self.was_ringing);
            ended(stack, self.leg, end);
            return None;
        }
        // Credentials may be what makes it too long for a datagram.
        let length = self.invite.len() + CREDENTIALS;
        let to = self.failover.for_length(length, self.to, stack);
        self.again(to, stack);
        let wire = self.wire();
        stack.event(Event::Challenged { leg: self.leg, wire });
        self.stay()
    }

    /// Whether a 422 asks for more than we have asked for already.
    pub(super) fn longer_interval(&self, response: &Response) -> Option<u32> {
        let min = typed::<MinSe>(&response.headers)?.0.as_secs();
        let min = u32::try_from(min).ok().filter(|_| min <= LONGEST)?;
        self.session.min.is_none_or(|before| min > before).then_some(min)
    }

    pub(super) fn with_longer_interval(
        mut self: Box<Self>,
        response: &Response,
        stack: &mut Stack,
    ) -> Option<Leg> {
        self.session.min = self.longer_interval(response);
        self.again(self.to, stack);
        self.retried(Retry::SessionInterval, stack)
    }

    /// 503 from one of several.
    pub(super) fn unavailable(
        self: Box<Self>,
        response: &Response,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let why = Dead::Unavailable { retry_after: retry_after(&response.headers) };
        match self.failover.next.is_empty() {
            true => self.challenged(response, stack),
            false => self.next_target(why, stack),
        }
    }

    /// The target has had its time.
    pub(super) fn silent(mut self: Box<Self>, stack: &mut Stack) -> Option<Leg> {
        if stack.clients.is_overdue(self.key, stack.now) {
            // It has not: this process stood still, and the copy that is due goes first.
            self.be_patient(stack);
            return self.stay();
        }
        stack.give_up_invite(self.key, self.leg);
        self.next_target(Dead::Silent, stack)
    }

    pub(super) fn undeliverable(
        self: Box<Self>,
        fault: TransportFault,
        stack: &mut Stack,
    ) -> Option<Leg> {
        let is_calling = matches!(self.state, State::Calling { .. });
        if is_calling && !self.failover.next.is_empty() {
            self.next_target(Dead::Undeliverable(fault), stack)
        } else {
            self.unreachable(fault, stack)
        }
    }

    fn next_target(mut self: Box<Self>, why: Dead, stack: &mut Stack) -> Option<Leg> {
        if let State::Calling { patience } = &mut self.state {
            super::stop_waiting(patience.take(), stack);
        }
        let failed = self.to;
        let next =
            self.failover.after(failed).expect("the caller saw that there is another target");
        self.auth = self.auth.towards(next.addr.ip());
        self.again(next, stack);
        self.retried(Retry::NextTarget { failed, why }, stack)
    }

    fn retried(self: Box<Self>, why: Retry, stack: &mut Stack) -> Option<Leg> {
        let wire = self.wire();
        stack.event(Event::Retried { leg: self.leg, wire, why });
        self.stay()
    }

    /// Writes the next INVITE, for `to`; it waits for `Send`.
    fn again(&mut self, to: Destination, stack: &mut Stack) {
        let branch = stack.random.next();
        self.cseq += 1;
        let login = self.auth.headers(&mut stack.random, "INVITE", &self.request_uri);
        let moved = (to.transport, to.local) != (self.to.transport, self.to.local);
        let session = self.session.min.map(|min| (self.session.asked.unwrap_or(min).max(min), min));
        let again = Again {
            contact: moved.then(|| stack.contact(&self.contact_user, to)),
            credentials: &login,
            session,
            ..Again::new(stack.via(to, branch), self.cseq)
        };
        self.invite = again.written(&self.invite);
        self.key = key(branch);
        self.to = to;
        self.origin = Origin::Ours;
        self.early.clear();
        self.state = State::Prepared;
    }
}
