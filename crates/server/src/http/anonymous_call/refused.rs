//! The result codes of createcall, each with the description that tells what to change.

/// Why there is no task. What depends on other calls (30010010001) is the engine's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("anonymous calls are not switched on for this tenant")]
    Disabled,
    #[error("the server has no SIP listener that an app could call")]
    NoSipServer,
    #[error("called must be at most 32 digits, with or without a leading +")]
    Called,
    #[error("callData must be a string of at most 1024 characters")]
    CallData,
    #[error(
        "callerPresent must be one of the tenant's access codes, or 11 to 14 digits where caller transparency is on"
    )]
    CallerPresent,
    #[error("called begins with no prefix that is routed to a trunk for this tenant")]
    NoRoute,
    #[error("called is in a premium range, which is not open to this tenant")]
    Premium,
    #[error("a trial tenant may call only the numbers of its trust list")]
    Trial,
    #[error("the tenant has no access code")]
    TenantNotEnabled,
    #[error(
        "the access code of anonymous calls is too long for codes behind it: write anonymous_call.access_code, at most 8 digits"
    )]
    AccessCodeTooLong,
    #[error("the server takes no calls now")]
    Stopping,
    #[error("the task was not stored in time; ask for another")]
    TooSlow,
    #[error("no free code was found; try again")]
    NoCode,
    #[error("the server is starting or stopping; try again in a moment")]
    NotReady,
}

impl Refused {
    /// `resultCode` (page 000, table 3).
    pub fn code(self) -> &'static str {
        match self {
            Refused::Disabled => "30010000001",
            Refused::NoSipServer => "30010000002",
            Refused::Called
            | Refused::CallData
            | Refused::CallerPresent
            | Refused::NoRoute
            | Refused::Premium
            | Refused::Trial => "30010000003",
            Refused::TenantNotEnabled => "30010010002",
            Refused::AccessCodeTooLong => "30010010003",
            Refused::Stopping => "30010019999",
            Refused::TooSlow => "30011010001",
            Refused::NoCode => "30011019999",
            Refused::NotReady => "30010009999",
        }
    }

    /// `code` of `/v1`'s problem document.
    pub fn name(self) -> &'static str {
        match self {
            Refused::Disabled => "service_off",
            Refused::NoSipServer => "no_sip_server",
            Refused::Called => "called",
            Refused::CallData => "call_data",
            Refused::CallerPresent => "caller_shown",
            Refused::NoRoute => "no_route",
            Refused::Premium => "premium",
            Refused::Trial => "trial",
            Refused::TenantNotEnabled => "tenant_not_enabled",
            Refused::AccessCodeTooLong => "access_code_too_long",
            Refused::Stopping => "stopping",
            Refused::TooSlow => "too_slow",
            Refused::NoCode => "no_code",
            Refused::NotReady => "not_ready",
        }
    }

    /// Whether the request is good and the server is not.
    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Refused::NoSipServer
                | Refused::Stopping
                | Refused::TooSlow
                | Refused::NoCode
                | Refused::NotReady
        )
    }
}
