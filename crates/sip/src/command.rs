//! What the caller asks of the core.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Address, Credentials, DialogSnapshot, DigestUser, Failover, Hop, KeptBindings, Uri, Wire,
};

/// One dial attempt or one inbound INVITE; never reused.
///
/// The caller chooses ids of dialled legs with the top bit clear; the core gives ids with the top
/// bit set to inbound legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

impl LegId {
    pub(crate) const INBOUND: u64 = 1 << 63;

    /// Whether the far side opened this leg.
    pub fn is_inbound(self) -> bool {
        self.0 & Self::INBOUND != 0
    }
}

/// One registration at a registrar; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistrationId(pub u64);

/// One question whether a peer is alive; chosen by the caller. A later one with the same id takes
/// the place of the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub u64);

/// A request outside any dialog that waits for [`Command::Respond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One stream connection; given by the endpoint, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

impl FlowId {
    /// The flow of whoever is reached over UDP at the address that it sent from, whatever its Contact
    /// says: the two addresses are all there is to it (RFC 5626 §3.1).
    pub const DATAGRAMS: FlowId = FlowId(u64::MAX);
}

/// One place where a phone of ours is reached; the same as long as the phone refreshes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingId(pub u64);

/// Whom a TLS connection has to be with: an entry of [`crate::TlsSettings`]. Chosen by the caller;
/// it lies on disk with a call, so it should mean the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsPeer(pub u64);

/// How SIP messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Transport {
    Udp,
    Tcp,
    /// TLS 1.2 or 1.3 over TCP.
    Tls,
}

impl Transport {
    /// Whether the transport itself delivers: no retransmission of ours then.
    pub fn is_reliable(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls => true,
        }
    }

    /// The name as it stands in Via (RFC 3261 §20.42).
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }
}

/// Where a request goes, and from which of our sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub addr: SocketAddr,
    pub transport: Transport,
    /// The listener (its bound address) that sends; `None` takes the first that fits.
    pub local: Option<SocketAddr>,
    /// An open connection to use first: how a registered phone behind NAT is reached.
    pub flow: Option<FlowId>,
    /// Over TLS: who has to be there. A connection of ours is opened for nobody unnamed.
    pub tls: Option<TlsPeer>,
}

impl Destination {
    /// From any listener of this transport, over any connection.
    pub fn new(addr: SocketAddr, transport: Transport) -> Destination {
        Destination { addr, transport, local: None, flow: None, tls: None }
    }

    /// Over TLS, to nobody else than `peer`.
    pub fn tls(addr: SocketAddr, peer: TlsPeer) -> Destination {
        Destination { tls: Some(peer), ..Destination::new(addr, Transport::Tls) }
    }

    pub(crate) fn hop(&self) -> Hop {
        Hop { transport: self.transport, remote: self.addr, tls: self.tls }
    }
}

/// A message body: bytes that this crate never reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// For example `application/sdp`.
    pub content_type: String,
    pub bytes: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(bytes: impl Into<Bytes>) -> Body {
        Body { content_type: "application/sdp".to_owned(), bytes: bytes.into() }
    }
}

/// A call to be dialled.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Chosen by the caller, top bit clear, never reused.
    pub leg: LegId,
    pub destination: Destination,
    pub request_uri: Uri,
    pub from: Address,
    pub to: Address,
    /// RFC 3325; only for trunks that trust us.
    pub p_asserted_identity: Option<Address>,
    /// Derived by the caller from serial and attempt, so that a restart knows it again.
    pub call_id: String,
    /// Likewise; a token of RFC 3261 §25.1.
    pub from_tag: String,
    pub credentials: Option<Credentials>,
    /// What is tried when `destination` is dead.
    pub failover: Failover,
    /// Seconds after which a session that nobody refreshes is over (RFC 4028), 90 to 86,400; `None`
    /// leaves it to the far side to ask.
    pub session_expires: Option<u32>,
    /// Further headers. Names that the core writes itself and values with line breaks are refused.
    pub headers: Vec<(String, String)>,
    /// The offer; `None` asks the far side for one.
    pub body: Option<Body>,
}

/// Keep a contact registered at a registrar (RFC 3261 §10).
#[derive(Clone, Debug)]
pub struct Registration {
    pub id: RegistrationId,
    pub registrar: Destination,
    /// The address of record, also its domain is the Request-URI.
    pub aor: Uri,
    /// User part of our Contact; host and port are the listener's public ones.
    pub contact_user: String,
    pub credentials: Option<Credentials>,
    /// Asked-for lifetime in seconds, 60 to 86,400; the registrar may shorten it.
    pub expires: u32,
}

/// One OPTIONS outside any dialog (RFC 3261 §11).
#[derive(Clone, Debug)]
pub struct Probe {
    pub id: ProbeId,
    pub destination: Destination,
    pub request_uri: Uri,
    pub from: Address,
    /// Given up after so long; more than 32 s (Timer F) has no effect.
    pub timeout: Duration,
}

impl Probe {
    /// Long enough for a request that was lost three times, and short for whoever waits.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
}

/// Why a leg is hung up: a Reason header (RFC 3326) and, where an INVITE is still to be refused,
/// its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpCause {
    Normal,
    Busy,
    /// The ring limit passed.
    NoAnswer,
    Rejected,
    /// Something on our side failed.
    Failure,
    /// The process is going down.
    Shutdown,
}

impl HangUpCause {
    /// Q.850 cause value.
    pub fn q850(self) -> u16 {
        match self {
            HangUpCause::Normal => 16,
            HangUpCause::Busy => 17,
            HangUpCause::NoAnswer => 19,
            HangUpCause::Rejected => 21,
            HangUpCause::Failure | HangUpCause::Shutdown => 41,
        }
    }

    /// Status for an inbound INVITE that has no final answer yet.
    pub fn status(self) -> u16 {
        match self {
            HangUpCause::Normal | HangUpCause::NoAnswer => 480,
            HangUpCause::Busy => 486,
            HangUpCause::Rejected => 603,
            HangUpCause::Failure => 500,
            HangUpCause::Shutdown => 503,
        }
    }
}

/// What the core is told to do. A command for a leg that is over is ignored: the answer to it, the
/// leg's `Ended`, is on its way already.
#[derive(Clone, Debug)]
pub enum Command {
    /// Build the INVITE and send nothing. Answered by `Prepared`, or by `Ended` where it cannot be
    /// built.
    Prepare(Box<Invite>),
    /// Transmit what was prepared: the first INVITE, or the one with credentials.
    Send {
        leg: LegId,
    },
    /// ACK the 2xx; the body is the answer where the INVITE carried no offer.
    Acknowledge {
        leg: LegId,
        body: Option<Body>,
    },
    /// 180 for an inbound leg; with a body it is early media.
    Ring {
        leg: LegId,
        body: Option<Body>,
    },
    /// 183 for an inbound leg.
    Progress {
        leg: LegId,
        body: Option<Body>,
    },
    /// 200 for an inbound leg.
    Answer {
        leg: LegId,
        body: Option<Body>,
    },
    /// The same in two steps, for whoever has the dialog on disk before the far side knows of it:
    /// nothing is sent, `Answering` follows, unless the leg has ended.
    PrepareAnswer {
        leg: LegId,
        body: Option<Body>,
    },
    /// The 200 of `PrepareAnswer`.
    SendAnswer {
        leg: LegId,
    },
    /// Answer an inbound leg in the moment in which it is cancelled: the race that a simulated
    /// carrier offers to its users. The far side then has a call that it did not want any more.
    AnswerWhenCancelled {
        leg: LegId,
        body: Option<Body>,
    },
    /// A final refusal of an inbound leg; `status` is 300 to 699, else 500 is sent. With 3xx a header
    /// `Contact` says where to.
    Refuse {
        leg: LegId,
        status: u16,
        reason: Option<String>,
        headers: Vec<(String, String)>,
    },
    /// Refuse an inbound leg whose number means nothing here, in the same words as every other
    /// (404, without further headers), and count it as a wrong guess of its source.
    TurnAway {
        leg: LegId,
    },
    /// Accept the far side's re-INVITE or UPDATE (`Offered`).
    AnswerOffer {
        leg: LegId,
        body: Option<Body>,
    },
    /// Refuse it; `status` is 300 to 699, else 488 is sent.
    RefuseOffer {
        leg: LegId,
        status: u16,
    },
    /// Our own re-INVITE; answered by `OfferAnswered` or `OfferRefused`.
    Offer {
        leg: LegId,
        body: Body,
    },
    /// The only verb to end a leg: nothing, CANCEL, refusal, ACK and BYE, or BYE, as its state
    /// demands.
    HangUp {
        leg: LegId,
        cause: HangUpCause,
    },
    /// INFO inside the dialog.
    Info {
        leg: LegId,
        body: Body,
    },
    Register(Box<Registration>),
    Unregister {
        id: RegistrationId,
    },
    /// Ask a peer whether it is alive; answered by `Probed`.
    Probe(Box<Probe>),
    /// Answer a request that policy let through. `status` is 200 to 699, else 500 is sent.
    Respond {
        request: RequestId,
        status: u16,
        headers: Vec<(String, String)>,
        body: Option<Body>,
    },
    /// After a restart: the same bytes again from the same port; the leg lives on as if just sent.
    Resume {
        wire: Box<Wire>,
        credentials: Option<Credentials>,
    },
    /// After a restart: CANCEL the stored INVITE; a 2xx that still comes gets ACK and BYE.
    Abandon {
        wire: Box<Wire>,
    },
    /// After a restart: BYE a dialog that was on disk.
    HangUpDialog {
        dialog: Box<DialogSnapshot>,
        credentials: Option<Credentials>,
        cause: HangUpCause,
    },
    /// From now on the ACK of a refused INVITE over UDP waits for `Settle`: a far side that has not been
    /// acknowledged keeps its transaction, and the same INVITE, sent again after a crash, meets the same
    /// refusal instead of ringing anew. Challenges are acknowledged at once.
    HoldRefusals,
    /// How this leg ended is on disk: the refusal may be acknowledged.
    Settle {
        leg: LegId,
    },
    /// These are the phones that may register, from now on: by user name, HA1 in the realm of
    /// [`crate::PhonePolicy`]. Who is missing or has another password loses its bindings.
    SetUsers(BTreeMap<String, DigestUser>),
    /// One more of them, one with another password, or (`None`) one less.
    SetUser {
        user: String,
        login: Option<DigestUser>,
    },
    /// Where this phone was, as an earlier process was told by [`crate::Event::Keep`]; after `SetUsers`.
    Restore {
        user: String,
        bindings: KeptBindings,
    },
    /// Calls from these addresses come in without a password, with any number: trunks. All of them;
    /// the earlier ones are forgotten. Over UDP an address proves little: the network has to keep
    /// others from sending in a trunk's name.
    Trust {
        sources: BTreeSet<IpAddr>,
    },
    /// Answer OPTIONS and new INVITEs with 503 from now on; calls that are up go on.
    Drain,
}
