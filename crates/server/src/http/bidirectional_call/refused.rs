//! The return codes of createCall, AICC's and ITA's, each with the message that tells what to change.

use store::StoreError;

use crate::tenants::BindError;

/// Why a wish is not an order. What only the engine can say (codes 1 and 3) is not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the tenant has no access code, so that its calls could show no number")]
    TenantNotEnabled,
    #[error("softPhone is missing")]
    SoftphoneMissing,
    #[error("softPhone must be at most 32 digits")]
    Softphone,
    #[error("softPhone is none of the tenant's softphones, or is suspended")]
    SoftphoneUnknown,
    #[error("caller is missing")]
    CallerMissing,
    #[error("caller must be at most 32 digits, with or without a leading +")]
    Caller,
    #[error("caller is in a premium range, which is not open to this tenant")]
    CallerPremium,
    #[error("Caller is not configured")]
    CallerNoRoute,
    #[error("the agent-side number of a trial tenant must be in its trust list")]
    CallerTrial,
    #[error("called is missing")]
    CalledMissing,
    #[error("called must be at most 32 digits, with or without a leading +")]
    Called,
    #[error("called is in a premium range, which is not open to this tenant")]
    CalledPremium,
    /// As page 001 prints it: no route of the tenant leads there.
    #[error("Called is not configured")]
    CalledNoRoute,
    #[error("a trial tenant may call only the numbers of its trust list")]
    CalledTrial,
    #[error("agentWorkNo must be a whole number of at most 5 digits")]
    AgentWorkNo,
    #[error("callData must be a string of at most 1024 characters")]
    CallData,
    #[error(
        "callerPresent must be one of the tenant's access codes, or 11 to 14 digits where caller transparency is on"
    )]
    CallerPresent,
    #[error(
        "agentPresent must be one of the tenant's access codes, or 11 to 14 digits where caller transparency is on"
    )]
    AgentPresent,
    #[error("{0}")]
    CallbackUrl(String),
    #[error("a trial tenant makes at most 10 bidirectional calls a day")]
    TrialDay,
    /// From here on ITA's alone.
    #[error("{0} is not supported by ITA calls")]
    NotOfIta(&'static str),
    #[error("caller and called are one number")]
    OneNumber,
    #[error("requests from this address are not taken")]
    Source,
    #[error("the tenant's ITA calls are restricted")]
    Restricted,
    #[error("the tenant's minutes are used up")]
    Balance,
    #[error("the tenant's list of callers does not let this number call")]
    CallerForbidden,
    #[error("the tenant's list of callees does not let this number be called")]
    CalleeForbidden,
    #[error("a party is a virtual number that is bound to others")]
    NumberInUse,
    #[error("a party is one of the tenant's virtual numbers")]
    VirtualParty,
    #[error("the tenant has no virtual numbers")]
    NoNumbers,
    #[error("every virtual number is bound to one of the two parties already")]
    NumbersUsedUp,
    #[error("the two parties are not bound, and the tenant's bindings are made beforehand")]
    NotBound,
    #[error("the two parties are bound to a number that is no virtual number any more")]
    Inconsistent,
    #[error("the server is starting or stopping; try again in a moment")]
    NotReady,
    #[error("the storage did not answer; the server's log says why")]
    Storage,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        tracing::error!(%error, "what a bidirectional call depends on could not be read or written");
        Refused::Storage
    }
}

impl From<BindError> for Refused {
    fn from(error: BindError) -> Refused {
        match error {
            BindError::Exhausted | BindError::Full => Refused::NumbersUsedUp,
            BindError::Inconsistent => Refused::Inconsistent,
            BindError::Store(error) => error.into(),
        }
    }
}

impl Refused {
    /// `retCode` of an AICC call (page 001, table 3). What ITA alone knows has no code of its own here and is never met.
    pub fn code(&self) -> u32 {
        match self {
            Refused::TenantNotEnabled => 6,
            Refused::CallData => 2,
            Refused::SoftphoneUnknown => 8,
            Refused::CallbackUrl(_) => 9,
            Refused::CallerTrial | Refused::CalledTrial => 16,
            Refused::TrialDay => 21,
            Refused::Storage | Refused::NotReady => 3,
            Refused::SoftphoneMissing
            | Refused::Softphone
            | Refused::CallerMissing
            | Refused::Caller
            | Refused::CallerPremium
            | Refused::CallerNoRoute
            | Refused::CalledMissing
            | Refused::Called
            | Refused::CalledPremium
            | Refused::CalledNoRoute
            | Refused::AgentWorkNo
            | Refused::CallerPresent
            | Refused::AgentPresent
            | Refused::NotOfIta(_)
            | Refused::OneNumber
            | Refused::Source
            | Refused::Restricted
            | Refused::Balance
            | Refused::CallerForbidden
            | Refused::CalleeForbidden
            | Refused::NumberInUse
            | Refused::VirtualParty
            | Refused::NoNumbers
            | Refused::NumbersUsedUp
            | Refused::NotBound
            | Refused::Inconsistent => 5,
        }
    }

    /// `retCode` of an ITA call with its printed `retMsg` (page 001, table 4).
    pub fn ita_code(&self) -> (u32, &'static str) {
        match self {
            Refused::SoftphoneMissing
            | Refused::Softphone
            | Refused::CallerMissing
            | Refused::Caller
            | Refused::CalledMissing
            | Refused::Called
            | Refused::AgentWorkNo
            | Refused::CallData
            | Refused::CallerPresent
            | Refused::AgentPresent
            | Refused::CallbackUrl(_)
            | Refused::NotOfIta(_) => (90_100_100, "Invalid Input Parameter"),
            Refused::Source => (90_100_200, "Auth Failed"),
            Refused::OneNumber => (90_100_300, "Bad Request"),
            Refused::SoftphoneUnknown => (90_100_400, "Not found"),
            Refused::Storage => (90_100_600, "Internal Server Error"),
            Refused::Balance => (90_102_001, "Insufficient Balance"),
            Refused::Restricted | Refused::TrialDay => (90_102_002, "Request Restriction"),
            Refused::CallerTrial | Refused::CalledTrial => (90_104_001, "Insufficient Permission"),
            Refused::NotReady | Refused::TenantNotEnabled => (90_104_004, "Service Unavailable"),
            Refused::NumberInUse => (90_106_001, "Binding relationship already exists"),
            Refused::NotBound => (90_106_002, "Binding relationship not exists"),
            Refused::NumbersUsedUp => (90_106_003, "Insufficient Number resources"),
            Refused::NoNumbers => (90_106_004, "No corresponding number found"),
            Refused::Inconsistent => (90_106_005, "Inconsistent binding data"),
            Refused::VirtualParty | Refused::CallerNoRoute | Refused::CalledNoRoute => {
                (90_106_006, "Other Error")
            }
            Refused::CallerPremium | Refused::CalledPremium => (90_106_010, "Policy Forbid"),
            Refused::CallerForbidden => (90_106_011, "Caller Forbid"),
            Refused::CalleeForbidden => (90_106_012, "Callee forbid"),
        }
    }

    /// `code` of `/v1`'s problem document.
    pub fn name(&self) -> &'static str {
        match self {
            Refused::TenantNotEnabled => "tenant_not_enabled",
            Refused::SoftphoneMissing | Refused::Softphone | Refused::SoftphoneUnknown => {
                "softphone"
            }
            Refused::CallerMissing | Refused::Caller => "caller",
            Refused::CalledMissing | Refused::Called => "called",
            Refused::CallerPremium | Refused::CalledPremium => "premium",
            Refused::CallerNoRoute | Refused::CalledNoRoute => "no_route",
            Refused::CallerTrial | Refused::CalledTrial => "trial",
            Refused::TrialDay => "trial_day",
            Refused::AgentWorkNo => "agent_work_no",
            Refused::CallData => "call_data",
            Refused::CallerPresent => "caller_shown",
            Refused::AgentPresent => "agent_shown",
            Refused::CallbackUrl(_) => "callback_url",
            Refused::NotOfIta(_) => "not_of_ita",
            Refused::OneNumber => "one_number",
            Refused::Source => "source",
            Refused::Restricted => "restricted",
            Refused::Balance => "balance",
            Refused::CallerForbidden => "caller_forbidden",
            Refused::CalleeForbidden => "callee_forbidden",
            Refused::NumberInUse => "number_in_use",
            Refused::VirtualParty => "virtual_party",
            Refused::NoNumbers => "no_numbers",
            Refused::NumbersUsedUp => "numbers_used_up",
            Refused::NotBound => "not_bound",
            Refused::Inconsistent => "inconsistent",
            Refused::NotReady => "not_ready",
            Refused::Storage => "storage",
        }
    }
}
