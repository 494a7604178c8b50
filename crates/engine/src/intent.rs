//! What was accepted: a request that cannot be wrong any more, as it stands on disk.

use serde::{Deserialize, Serialize};

use crate::route::Route;
use crate::vocabulary::{CallKind, Priority, Serial, TenantId};

/// An accepted call: everything needed to make it, also after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub serial: Serial,
    pub tenant: TenantId,
    /// When it was accepted, ms since 1970.
    pub created_ms: i64,
    /// When its wait in the queue is over without a call, ms since 1970.
    pub queue_deadline_ms: i64,
    pub order: Order,
}

/// What the caller of the interface ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Where `called` is found. At a softphone only for a caller who is there already: nothing waits for one.
    #[serde(rename = "route", with = "place_of_called")]
    pub place: Place,
    pub called: String,
    /// The number shown to the called party (`callerPresent`).
    pub caller_present: String,
    pub priority: Priority,
    /// Seconds the called party may ring.
    pub ring_limit_s: u32,
    /// Seconds from answer to hang-up at the most.
    pub max_duration_s: u32,
    /// Whether the call is recorded.
    pub record: bool,
    /// Where the release callback goes; checked against the trust list when accepted and at each try.
    pub callback_url: Option<String>,
    pub kind: OrderKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OrderKind {
    VoiceNotification { playlist: Vec<PlayItem>, play_times: u8 },
    BidirectionalCall(BidirectionalCall),
    AnonymousCall(AnonymousCall),
}

/// A caller (the customer manager) who is connected with the called party (the customer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidirectionalCall {
    pub caller: Caller,
    pub call_data: Option<String>,
    /// By virtual numbers (ITA, task kind 4 of queryCallDetailRecord).
    pub ita: bool,
    /// Where the connection callback goes; told when the two hear each other.
    #[serde(default)]
    pub connected_url: Option<String>,
    /// The agent whose call it is (`agentWorkNo`), at most five decimals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_work_no: Option<u32>,
    /// What binds its parties, where the order does. On disk with the intent or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// Two parties who reach each other by calling the number that both see (`caller_present`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub party_a: String,
    pub party_b: String,
    /// The ms since 1970 from which it holds no more.
    pub expires_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// Is called first.
    Dialled(Party),
    /// Called us: one of the two parties of an ITA binding, by its virtual number.
    Inbound { number: String },
}

/// A party that is dialled besides the called one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub number: String,
    pub place: Place,
    /// The number shown to this party (`agentPresent`).
    pub presented: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The trunks that the tenant's routes name for the number.
    Trunks(Route),
    /// Wherever the softphone of this number is registered when the call starts.
    Softphone,
}

impl Place {
    /// `None`: it is reached over no trunk.
    pub fn route(&self) -> Option<&Route> {
        match self {
            Place::Trunks(route) => Some(route),
            Place::Softphone => None,
        }
    }
}

impl From<Route> for Place {
    fn from(route: Route) -> Self {
        Place::Trunks(route)
    }
}

/// A trunk's name.
impl From<&str> for Place {
    fn from(trunk: &str) -> Self {
        Place::Trunks(trunk.into())
    }
}

/// On disk the called party's place is its route, and nothing (`null`) for a softphone.
mod place_of_called {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Place, Route};

    pub fn serialize<S: Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
        place.route().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Place, D::Error> {
        let route = Option::<Route>::deserialize(from)?;
        Ok(route.map_or(Place::Softphone, Place::Trunks))
    }
}

/// A party that comes by itself, once, with a code, and is connected with the called party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnonymousCall {
    pub call_data: Option<String>,
    /// The digits that are called: access code and UVID (contract §3).
    pub code: String,
    /// The first ms since 1970 at which the code is not good any more.
    pub valid_until_ms: i64,
    /// Where the connection callback goes; told when the two hear each other.
    #[serde(default)]
    pub connected_url: Option<String>,
}

/// One entry of a `playList`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum PlayItem {
    /// An uploaded recording.
    Recording { voice_id: String },
    /// A template whose variables have been filled in; `text` is what is spoken.
    Speech { template_id: String, text: String },
}

impl Order {
    pub fn call_kind(&self) -> CallKind {
        match self.kind {
            OrderKind::VoiceNotification { .. } => CallKind::VoiceNotification,
            OrderKind::BidirectionalCall(_) => CallKind::BidirectionalCall,
            OrderKind::AnonymousCall(_) => CallKind::AnonymousCall,
        }
    }

    /// The number that stands for the caller: in call records, and where repeated orders are told by it.
    /// Where nobody but the server calls, or the caller has no number, the one that is shown.
    pub fn caller_number(&self) -> &str {
        match &self.kind {
            OrderKind::VoiceNotification { .. } | OrderKind::AnonymousCall(_) => {
                &self.caller_present
            }
            OrderKind::BidirectionalCall(BidirectionalCall { caller, .. }) => match caller {
                Caller::Dialled(Party { number, .. }) | Caller::Inbound { number } => number,
            },
        }
    }

    /// The trunks for the caller, where it is dialled over some.
    pub fn caller_route(&self) -> Option<&Route> {
        match &self.kind {
            OrderKind::BidirectionalCall(BidirectionalCall {
                caller: Caller::Dialled(Party { place: Place::Trunks(route), .. }),
                ..
            }) => Some(route),
            OrderKind::BidirectionalCall(_)
            | OrderKind::VoiceNotification { .. }
            | OrderKind::AnonymousCall(_) => None,
        }
    }

    /// Whether its parties see a virtual number.
    pub fn is_ita(&self) -> bool {
        matches!(&self.kind, OrderKind::BidirectionalCall(BidirectionalCall { ita: true, .. }))
    }

    /// Where the connection callback goes.
    pub fn connected_url(&self) -> Option<&str> {
        match &self.kind {
            OrderKind::VoiceNotification { .. } => None,
            OrderKind::BidirectionalCall(call) => call.connected_url.as_deref(),
            OrderKind::AnonymousCall(call) => call.connected_url.as_deref(),
        }
    }
}

/// A key by which a repeated request meets its first reply (decisions.md, Idempotency).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IdempotencyKey {
    pub tenant: TenantId,
    pub kind: CallKind,
    pub key: String,
}

/// An idempotency key with the SHA-256 of the body that it came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    pub key: IdempotencyKey,
    pub body_sha256: [u8; 32],
}
