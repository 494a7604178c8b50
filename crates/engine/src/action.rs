//! What the engine hears and what it wants done; between them it only decides.

use std::net::IpAddr;
use std::time::Duration;

use crate::cdr::{Cause, MediaSummary};
use crate::intent::{Intent, PlayItem};
use crate::quotas::Used;
use crate::request::{RecordingSwitch, Reply, Request, Ticket};
use crate::route::Route;
use crate::vocabulary::{BindingId, LegId, Pace, Serial, TenantId, TenantLimits, TrunkName};
use crate::writes::{Unfinished, Write};

/// A batch of writes that goes to disk as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchNumber(pub u64);

/// Names a claim until its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimId(pub u64);

#[derive(Debug)]
pub enum Input {
    Accept {
        ticket: Ticket,
        request: Box<Request>,
    },
    /// A tenant cancels one of its calls.
    Cancel {
        ticket: Ticket,
        tenant: TenantId,
        serial: Serial,
    },
    /// A tenant wants a stretch of a call kept out of its recording, or the recording to go on.
    SwitchRecording {
        ticket: Ticket,
        tenant: TenantId,
        serial: Serial,
        switch: RecordingSwitch,
    },
    /// [`Action::SwitchRecording`] is done; one for each, in their order.
    RecordingSwitched {
        leg: LegId,
    },
    /// The answer to [`Action::Claim`]; empty where nothing fits.
    Claimed {
        claim: ClaimId,
        calls: Vec<Intent>,
    },
    /// The answer to [`Action::Fetch`].
    Fetched {
        serial: Serial,
        result: Result<(), FetchFault>,
    },
    /// The answer to [`Action::FindPhone`]; empty where the softphone is not registered.
    PhoneFound {
        serial: Serial,
        bindings: Vec<BindingId>,
    },
    /// An INVITE from outside, numbered by who received it. It gets [`Action::TakeIn`] or
    /// [`Action::Refuse`] in the same step.
    Incoming {
        leg: LegId,
        arrival: Arrival,
        source: IpAddr,
        origin: Origin,
    },
    Leg {
        leg: LegId,
        input: LegInput,
    },
    TenantLimits {
        tenant: TenantId,
        limits: TenantLimits,
    },
    /// What the store counted of the tenant's day; after its limits.
    UsedToday {
        tenant: TenantId,
        used: Used,
    },
    /// What the tenant's ITA calls have talked in all, and those that wait on disk; after its limits.
    Balance {
        tenant: TenantId,
        talked: Duration,
        waiting: Vec<Serial>,
    },
    Trunk {
        trunk: TrunkName,
        pace: Pace,
        up: bool,
    },
    /// A call that the last run of the server left in the middle of dialling or talking.
    Recovered(Box<Unfinished>),
    /// Calls that wait on disk, counted at start.
    Waiting {
        tenant: TenantId,
        route: Route,
        calls: u32,
    },
    Committed(BatchNumber),
    /// The disk refused; nothing after it is accepted or dialled.
    CommitFailed,
    /// No new calls are dialled; those that are up go on.
    Drain,
    /// End everything that is up.
    HangUpAll,
}

/// Whom an INVITE from outside is for.
#[derive(Debug)]
pub enum Arrival {
    /// The digits that were called: perhaps the code of an anonymous call.
    Code(String),
    /// A party of an ITA binding called its virtual number: the call that connects it
    /// ([`Caller::Inbound`](crate::intent::Caller::Inbound)).
    Bound(Box<Request>),
}

/// Who stands behind an INVITE from outside, which decides how many wrong codes it may send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody, and its address is what a datagram says.
    Claimed,
    /// Nobody, and it has received what was sent to its address.
    Reached,
    /// A trunk of ours.
    Trunk,
    /// The softphone of this number, which has shown its password.
    Softphone(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegInput {
    /// The INVITE is built and its port bound; nothing left yet.
    Prepared {
        wire: Vec<u8>,
        media: Vec<u8>,
    },
    /// The far side asked for credentials; the INVITE that carries them is built.
    Challenged {
        wire: Vec<u8>,
        media: Vec<u8>,
    },
    /// The INVITE failed before it rang, at one of the trunk's several targets or for a detail that
    /// is put right; the next one is built.
    Retried {
        wire: Vec<u8>,
        media: Vec<u8>,
    },
    /// The first response of any kind: the far side has the INVITE.
    Trying,
    Ringing,
    /// The far side describes what can be heard before it answers; it has rung.
    EarlyMedia,
    Answered {
        dialog: Vec<u8>,
    },
    /// Inbound: its port is bound and our description is ready.
    TakenIn,
    /// Inbound: the 200 is built and waits for the disk.
    Answering {
        dialog: Vec<u8>,
    },
    /// The far side has put us on hold, or is back.
    Held(bool),
    /// Nothing at all was heard for the media time-out, without being on hold.
    Quiet,
    PlayStarted,
    PlayFinished {
        play: PlayId,
    },
    /// By RFC 4733 or as a tone. Where two legs are bridged `media` has carried it across.
    Digit(char),
    /// By SIP INFO, which nobody but the engine carries across.
    InfoDigit(char),
    /// The engine's own: the INVITE of a leg that races an earlier one has left.
    Left,
    /// The engine's own: what the silent leg says that this one is to replace.
    Earlier {
        leg: LegId,
        input: Box<LegInput>,
    },
    RecordingStarted,
    RecordingFailed,
    /// No common codec, a broken session description, no port.
    MediaFailed(Cause),
    /// The leg is over; comes exactly once for each leg that was opened.
    Ended {
        cause: Cause,
        sip_status: Option<u16>,
        media: Option<MediaSummary>,
        then: Then,
    },
}

/// What the far side's refusal asks for besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Then {
    #[default]
    Nothing,
    /// The trunk wants no INVITE for so long (503 with Retry-After, RFC 3261 §21.5.4).
    Rest(Duration),
    /// It is to be tried elsewhere (3xx), and the tenant's rules allow that.
    Redirect(Redirect),
}

/// Where a call is sent on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub called: String,
    /// The trunks that the tenant's routes name for it.
    pub route: Route,
}

/// One `Play`, so that a late end of an earlier one meets nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlayId(pub u32);

/// Why the clips of a call could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFault {
    /// The recording or template has gone since the call was accepted.
    Missing,
    /// The speech engine failed or took too long.
    Speech,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Add to the current batch.
    Write(Write),
    Reply {
        ticket: Ticket,
        reply: Reply,
    },
    Claim {
        claim: ClaimId,
        what: Claim,
    },
    /// Have the clips of the playlist ready to send.
    Fetch {
        serial: Serial,
        playlist: Vec<PlayItem>,
    },
    /// Where is the softphone of this number registered?
    FindPhone {
        serial: Serial,
        number: String,
    },
    /// Bind a port and build the INVITE; send nothing.
    Open {
        leg: LegId,
        serial: Serial,
        to: Dialled,
    },
    /// Send the INVITE that was built last.
    Dial {
        leg: LegId,
    },
    /// Acknowledge the answer.
    Acknowledge {
        leg: LegId,
    },
    /// Inbound: bind a port for the caller's offer; answered by [`LegInput::TakenIn`].
    TakeIn {
        leg: LegId,
        serial: Serial,
    },
    /// Inbound: 180.
    Ring {
        leg: LegId,
    },
    /// Inbound: 183 with our description, so that the caller hears what the called side sends.
    Progress {
        leg: LegId,
    },
    /// Inbound: build the 200 and send nothing; answered by [`LegInput::Answering`].
    Answer {
        leg: LegId,
    },
    /// Inbound: send the 200 that was built.
    SendAnswer {
        leg: LegId,
    },
    /// Inbound, not answered: refuse it. It ends like any other leg where a call has it.
    Refuse {
        leg: LegId,
        with: Refused,
    },
    /// The leg hears a ringback tone until something else is bound to be heard.
    Ringback {
        leg: LegId,
    },
    /// `to` hears what `from` sends, one way.
    Forward {
        from: LegId,
        to: LegId,
    },
    /// The two hear each other from now on.
    Bridge {
        leg: LegId,
        with: LegId,
    },
    /// Say [`LegInput::Quiet`] when nothing comes for the media time-out.
    Watch {
        leg: LegId,
    },
    SendDigit {
        leg: LegId,
        digit: char,
    },
    /// Record both ways of the leg; of two parties the caller's leg, a party per channel.
    Record {
        leg: LegId,
    },
    /// From now on silence goes into the recording of the leg, or again what is heard. Answered by
    /// [`Input::RecordingSwitched`].
    SwitchRecording {
        leg: LegId,
        switch: RecordingSwitch,
    },
    /// Play the fetched clips once, in order.
    Play {
        leg: LegId,
        play: PlayId,
    },
    /// The only verb that ends a leg, always allowed. An inbound leg that is not answered is refused with 480, or
    /// with 503 while its port is being bound.
    HangUp {
        leg: LegId,
    },
    /// After a restart: the same INVITE from the same port, as a retransmission.
    Resume {
        leg: LegId,
        serial: Serial,
        wire: Vec<u8>,
        media: Vec<u8>,
    },
    /// After a restart: take back an INVITE whose fate is unknown.
    Abandon {
        leg: LegId,
        serial: Serial,
        wire: Vec<u8>,
    },
    /// After a restart: hang up a call that was up.
    HangUpStored {
        leg: LegId,
        serial: Serial,
        dialog: Vec<u8>,
    },
    /// A trunk asked for rest or was silent too often (false), or works again (true).
    TrunkHealth {
        trunk: TrunkName,
        works: bool,
    },
    /// The record is on disk: let go of clips and notes.
    Forget {
        serial: Serial,
    },
}

/// Where an INVITE goes and who it says it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    pub via: Via,
    pub called: String,
    pub caller_present: String,
    /// With the serial it gives Call-ID and From-tag.
    pub attempt: u32,
    /// A leg that it will hear: they are to share a thread of `media`.
    pub beside: Option<LegId>,
}

/// How an INVITE leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    Trunk(TrunkName),
    /// To one place of a softphone.
    Softphone(BindingId),
}

impl Via {
    pub fn trunk(&self) -> Option<&TrunkName> {
        match self {
            Via::Trunk(trunk) => Some(trunk),
            Via::Softphone(_) => None,
        }
    }
}

/// Why an INVITE from outside is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The code is wrong, used or expired, or too many were tried: one same answer.
    Unknown,
    /// Nothing is free for it (503).
    Busy,
    /// A rule of the tenant forbids it (403).
    Forbidden,
    /// The called side ended so before it answered.
    Ended(Cause),
}

/// What is taken out of the backlog, in its own order: priority, then age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    Ready {
        tenant: TenantId,
        route: Route,
        limit: u32,
    },
    /// Calls whose time in the queue is over.
    Expired {
        now_ms: i64,
        limit: u32,
    },
    One {
        tenant: TenantId,
        serial: Serial,
    },
}
