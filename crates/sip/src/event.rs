//! What the core tells the caller.

use std::{net::SocketAddr, time::Instant};

use bytes::Bytes;

use crate::{
    Address, BindingId, Body, Destination, DialogSnapshot, FlowId, KeptBindings, LegId, ProbeId,
    RegistrationId, RequestId, Retry, Transport, Uri, Wire,
};

/// Everything that happens to legs and registrations.
#[derive(Clone, Debug)]
pub enum Event {
    /// The INVITE of `Prepare`: put it on disk, then `Send`.
    Prepared {
        leg: LegId,
        wire: Box<Wire>,
    },
    /// 401 or 407 was answered by a new INVITE: put it on disk, then `Send`.
    Challenged {
        leg: LegId,
        wire: Box<Wire>,
    },
    /// The first response of any kind, 100 included, to an INVITE of a dialled leg: once for each
    /// INVITE that was sent, before what else the response causes.
    Trying {
        leg: LegId,
    },
    /// A new INVITE takes the place of one that failed before anybody rang: put it on disk, then
    /// `Send`.
    Retried {
        leg: LegId,
        wire: Box<Wire>,
        why: Retry,
    },
    /// 101 to 199; each fork shows its own.
    Provisional {
        leg: LegId,
        status: u16,
        body: Option<Body>,
    },
    /// The first 2xx: put the dialog on disk, then `Acknowledge`.
    Answered {
        leg: LegId,
        dialog: Box<DialogSnapshot>,
        body: Option<Body>,
    },
    /// What `PrepareAnswer` would send: put the dialog on disk, then `SendAnswer`. After a crash
    /// `HangUpDialog` ends it, also where the 200 never left.
    Answering {
        leg: LegId,
        dialog: Box<DialogSnapshot>,
    },
    /// Exactly once for each leg that was prepared, resumed or came in.
    Ended {
        leg: LegId,
        end: End,
    },
    /// The far side's re-INVITE or UPDATE; no body asks us for an offer.
    Offered {
        leg: LegId,
        body: Option<Body>,
    },
    /// The answer to our `Offer`.
    OfferAnswered {
        leg: LegId,
        body: Option<Body>,
    },
    /// The far side keeps the session as it was.
    OfferRefused {
        leg: LegId,
        status: u16,
    },
    /// The session was refreshed without a new description: by an UPDATE or by our own session timer
    /// (RFC 4028). Like `Offered`, `OfferAnswered` and `Info` it shows that the far side is alive.
    Refreshed {
        leg: LegId,
    },
    /// The ACK for our 2xx; a body is the answer to our offer in it.
    Confirmed {
        leg: LegId,
        dialog: Box<DialogSnapshot>,
        body: Option<Body>,
    },
    /// No ACK came for our 2xx within 64·T1; a BYE has been sent and `Ended` follows.
    NoAck {
        leg: LegId,
    },
    /// INFO from the far side; it has been answered 200.
    Info {
        leg: LegId,
        body: Option<Body>,
    },
    /// An INVITE that policy let in.
    Incoming {
        leg: LegId,
        request: Box<IncomingCall>,
    },
    /// Where a phone of ours is reached from now on: all of it, the preferred first; nowhere where it
    /// is empty. To call one, `Invite` takes its `uri` and its `destination`, and no `Failover`.
    Bound {
        user: String,
        bindings: Vec<Binding>,
    },
    /// What of it a later process needs ([`crate::Command::Restore`]), all of it again; nothing where it is empty. Told
    /// with each `Bound`, and for refreshes about once in half a lifetime.
    Keep {
        user: String,
        bindings: KeptBindings,
    },
    Registered {
        id: RegistrationId,
        /// Seconds until it would lapse; refreshed by the core before that.
        expires: u32,
    },
    RegistrationFailed {
        id: RegistrationId,
        failure: RegistrationFailure,
    },
    /// The registrar confirmed the removal, or did not answer it, or there was nothing to remove.
    Unregistered {
        id: RegistrationId,
    },
    /// What came of a `Probe`.
    Probed {
        id: ProbeId,
        outcome: ProbeOutcome,
    },
    /// A request outside any dialog that policy let through; answer with `Respond` within 30 s.
    Request(Box<OutsideRequest>),
    /// Every message on the wire, for timelines.
    Message(TapRecord),
}

/// How a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The final status of the INVITE where it was refused.
    pub status: Option<u16>,
    /// The reason phrase, or a sentence that says what happened.
    pub reason: String,
    pub by: EndedBy,
    /// From the far side's Reason header (RFC 3326).
    pub q850: Option<u16>,
    /// Seconds, from Retry-After.
    pub retry_after: Option<u32>,
    /// Whether a 18x was seen (dialled) or sent (inbound).
    pub was_ringing: bool,
    /// Where a 3xx sent us, in its order of preference (`q`, RFC 3261 §8.1.3.4); at most 8.
    pub contacts: Vec<Uri>,
}

/// What came of the question whether a peer is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// A final response, whatever it says: 200 as well as 405 proves that somebody is there.
    Answered { status: u16 },
    /// Nothing final within the time of the probe.
    NoResponse,
    /// Nobody takes a connection there, or none of our listeners reaches it.
    Unreachable,
}

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Us,
    Peer,
    Timeout(EndTimer),
    /// The message could not be delivered: connection refused, lost or too slow.
    Transport,
    /// The request could not be built, or a broken invariant cost this leg.
    Core,
}

/// Which time limit ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndTimer {
    /// Timer B: nothing at all answered the INVITE for 64·T1.
    NoResponse,
    /// A CANCEL was not followed by a final response within 64·T1.
    NoResponseToCancel,
    /// No ACK for our 2xx within 64·T1.
    NoAck,
    /// No PRACK for our reliable provisional within 64·T1.
    NoPrack,
    /// The session was not refreshed (RFC 4028).
    SessionExpired,
    /// A request inside the dialog was not answered (Timer F).
    NoResponseInDialog,
}

/// A new call from the far side.
#[derive(Clone, Debug)]
pub struct IncomingCall {
    pub from: Address,
    pub to: Address,
    /// User part of the Request-URI, percent-decoded.
    pub request_user: String,
    pub call_id: String,
    pub source: SocketAddr,
    pub transport: Transport,
    /// The bound address that it came in on.
    pub local: SocketAddr,
    pub origin: Origin,
    /// Every header as it came, except credentials.
    pub headers: Vec<(String, String)>,
    pub body: Option<Body>,
}

/// As whom the far side of a new call is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody vouches for it, nor for its address: a datagram says so.
    Stranger,
    /// Nobody vouches for it, but its address is its own: it has acknowledged an answer that was sent there within the
    /// last ten minutes, or holds a connection.
    Reached,
    /// It has an address of [`crate::Command::Trust`].
    Trusted,
    /// It has shown the password of this user.
    User(String),
}

impl Origin {
    /// The user that showed its password.
    pub fn user(&self) -> Option<&str> {
        match self {
            Origin::User(user) => Some(user),
            Origin::Stranger | Origin::Reached | Origin::Trusted => None,
        }
    }
}

/// One place where a phone of ours is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub id: BindingId,
    /// The Contact, as which the phone wants to be called.
    pub uri: Uri,
    /// Over the connection, or to the address, that the phone registered from.
    pub destination: Destination,
    /// `q` of the Contact in thousandths: higher ones are to be tried first.
    pub preference: u16,
    /// What the phone calls itself, at most 128 characters.
    pub user_agent: Option<String>,
}

/// A request outside any dialog.
#[derive(Clone, Debug)]
pub struct OutsideRequest {
    pub id: RequestId,
    pub method: String,
    pub from: Address,
    pub to: Address,
    pub source: SocketAddr,
    pub transport: Transport,
    pub local: SocketAddr,
    /// The connection that it came over.
    pub flow: Option<FlowId>,
    pub authenticated: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<Body>,
}

/// Why a registration is not up, and when it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationFailure {
    /// The registrar's status; `None` where none came.
    pub status: Option<u16>,
    pub reason: String,
    /// Seconds until the next try.
    pub retry_in: u32,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Received,
    Sent,
}

/// One message on the wire. Values of Authorization headers are blanked.
#[derive(Clone, Debug)]
pub struct TapRecord {
    pub leg: Option<LegId>,
    pub at: Instant,
    pub direction: Direction,
    pub transport: Transport,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub bytes: Bytes,
}
