//! How a dialled leg begins: prepared anew, or taken over from an earlier process.

use super::{Origin, Outbound, SessionInterval, State, key};
use crate::{
    Credentials, Destination, EndedBy, Event, Failover, HangUpCause, Invite, Wire,
    auth_client::AuthClient,
    legs::{
        Leg, end_by, ended,
        invite::{self, Again},
        stored::StoredInvite,
    },
    stack::Stack,
};

impl Outbound {
    /// Builds the INVITE and reports it; nothing is sent.
    pub fn prepare(invite: Invite, stack: &mut Stack) -> Option<Leg> {
        let leg = invite.leg;
        let refuse = |stack: &mut Stack, reason: &str| {
            ended(stack, leg, end_by(EndedBy::Core, reason, false));
            None
        };
        if leg.is_inbound() {
            return refuse(stack, "the id of a dialled leg has its top bit set");
        }
        let Some(to) = stack.resolved(invite.destination) else {
            return refuse(stack, "no listener of ours fits the destination");
        };
        if stack.has_dialog(&invite.call_id, &invite.from_tag) {
            return refuse(stack, "another leg has this Call-ID and tag");
        }
        let branch = stack.random.next();
        let mut bytes = match invite::first(stack, &invite, to, branch) {
            Ok(bytes) => bytes,
            Err(reason) => return refuse(stack, &reason),
        };
        let contact_user = invite.from.user().to_owned();
        let mut failover = invite.failover.resolved(stack);
        let (wanted, to) = (to, failover.for_length(bytes.len(), to, stack));
        if to != wanted {
            let contact = stack.contact(&contact_user, to);
            let again = Again { contact: Some(contact), ..Again::new(stack.via(to, branch), 1) };
            bytes = again.written(&bytes);
        }
        stack.add_dialog(&invite.call_id, &invite.from_tag, leg);
        let outbound = Outbound {
            leg,
            call_id: invite.call_id,
            from_tag: invite.from_tag,
            contact_user,
            request_uri: invite.request_uri.to_string(),
            invite: bytes,
            cseq: 1,
            key: key(branch),
            to,
            auth: AuthClient::new(invite.credentials, to.addr.ip()),
            failover,
            session: SessionInterval { asked: invite.session_expires, min: None },
            offer: invite.body,
            early: Vec::new(),
            was_ringing: false,
            origin: Origin::Ours,
            state: State::Prepared,
        };
        let wire = outbound.wire();
        stack.event(Event::Prepared { leg, wire });
        Some(Leg::Outbound(Box::new(outbound)))
    }

    /// After a restart: the stored INVITE again, as if just sent.
    pub fn resume(wire: Wire, credentials: Option<Credentials>, stack: &mut Stack) -> Option<Leg> {
        let outbound = Outbound::stored(wire, credentials, stack)?;
        stack.repeat_client(outbound.client());
        Some(Leg::Outbound(Box::new(outbound)))
    }

    /// After a restart: CANCEL the stored INVITE and hear what still comes.
    pub fn abandon(wire: Wire, stack: &mut Stack) -> Option<Leg> {
        let mut outbound = Outbound::stored(wire, None, stack)?;
        stack.adopt_client(outbound.client());
        let cause = HangUpCause::Failure;
        let cancel = outbound.send_cancel(cause, stack);
        outbound.state = State::Cancelling { cause, cancel };
        Some(Leg::Outbound(Box::new(outbound)))
    }

    /// `None` (and `Ended`) where the record does not fit this process.
    fn stored(wire: Wire, credentials: Option<Credentials>, stack: &mut Stack) -> Option<Outbound> {
        let leg = wire.leg;
        let read = StoredInvite::read(&wire.bytes);
        let is_bound = stack.is_bound(wire.local, wire.transport);
        let reason = match (&read, is_bound || wire.transport.is_reliable()) {
            (None, _) => "the stored INVITE cannot be read",
            (Some(_), false) => "the socket of the stored INVITE is not bound",
            (Some(_), true) => "",
        };
        let Some(read) = read.filter(|_| reason.is_empty()) else {
            ended(stack, leg, end_by(EndedBy::Core, reason, false));
            return None;
        };
        stack.add_dialog(&read.call_id, &read.from_tag, leg);
        let to = Destination {
            addr: wire.remote,
            transport: wire.transport,
            // A stream is opened from any port: what matters to the far side is the branch.
            local: is_bound.then_some(wire.local),
            flow: None,
            tls: wire.tls,
        };
        Some(Outbound {
            leg,
            call_id: read.call_id,
            from_tag: read.from_tag,
            contact_user: String::new(),
            request_uri: read.uri,
            invite: wire.bytes,
            cseq: read.cseq,
            key: key(read.branch),
            to,
            auth: AuthClient::new(credentials, wire.remote.ip()),
            failover: Failover::default(),
            session: SessionInterval::default(),
            offer: read.body,
            early: Vec::new(),
            was_ringing: false,
            origin: if read.has_login { Origin::StoredLogin } else { Origin::Stored },
            state: State::Calling { patience: None },
        })
    }
}
