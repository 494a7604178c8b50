//! The return codes of createVoiceNotification, each with the message that tells what to change.

use crate::speech::template::FillError;
use crate::tenants::Barred;

/// Why a wish is not an order. Code 24 is unused (decisions.md); 1 and 3 are the engine's to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("called is missing")]
    CalledMissing,
    #[error("called must be at most 32 digits, with or without a leading +")]
    Called,
    #[error("called begins with no prefix that is routed to a trunk for this tenant")]
    NoRoute,
    #[error("called is in a premium range, which is not open to this tenant")]
    Premium,
    #[error("the tenant has no access code, so that its calls could show no number")]
    TenantNotEnabled,
    #[error(
        "callerPresent must be one of the tenant's access codes, or 11 to 14 digits where caller transparency is on"
    )]
    CallerPresent,
    #[error("callData must be a string of at most 1024 characters")]
    CallData,
    #[error("voiceContent must be the id of a recording, at most 1024 bytes")]
    VoiceContent,
    #[error("{0}")]
    CallbackUrl(String),
    #[error("playTimes must be 1 to 5")]
    PlayTimes,
    #[error("playList must have 1 to 5 entries")]
    Playlist,
    #[error("an entry of playList needs voiceId, voiceFileName or templateId, as a string")]
    NothingNamed,
    #[error("a template parameter is longer than 32 bytes")]
    ParamTooLong,
    #[error("a template parameter contains one of $ {{ }}")]
    ParamCharacter,
    #[error(
        "templateParams must be a list of 1 to 10 texts, one for each variable of the template"
    )]
    ParamsCount,
    #[error(transparent)]
    ParamsUnfit(#[from] FillError),
    #[error("a trial tenant may call only the numbers of its trust list")]
    Trial,
    #[error("the recording or template does not exist")]
    NoSuchFile,
    #[error("the recording is not meant for voice notifications")]
    WrongScene,
    #[error("the recording has not been submitted for review")]
    NotSubmitted,
    #[error("the recording has not been approved yet")]
    NotApproved,
    #[error("the recording was rejected in review")]
    Rejected,
    #[error("templateId names a recording, not a text template")]
    NotAText,
    #[error("voiceId or voiceFileName names a text template, not a recording")]
    NotAVoice,
    #[error("priority must be a whole number from 1 to 9")]
    Priority,
}

impl From<Barred> for Refused {
    fn from(barred: Barred) -> Refused {
        match barred {
            Barred::Trial => Refused::Trial,
            Barred::Premium => Refused::Premium,
            Barred::NoRoute => Refused::NoRoute,
        }
    }
}

impl Refused {
    /// `retCode` (contract §5.1, decisions.md "Voice notification").
    pub fn code(&self) -> u32 {
        match self {
            Refused::CalledMissing | Refused::Called | Refused::NoRoute | Refused::Premium => 5,
            Refused::TenantNotEnabled => 6,
            Refused::CallData => 2,
            Refused::CallerPresent => 7,
            Refused::VoiceContent => 8,
            Refused::CallbackUrl(_) => 9,
            Refused::PlayTimes => 10,
            Refused::Playlist => 11,
            Refused::NothingNamed => 12,
            Refused::ParamTooLong => 13,
            Refused::ParamCharacter => 14,
            Refused::ParamsCount => 15,
            Refused::ParamsUnfit(error) => error.return_code(),
            Refused::Trial => 16,
            Refused::NoSuchFile => 17,
            Refused::WrongScene => 18,
            Refused::NotSubmitted => 19,
            Refused::NotApproved => 20,
            Refused::Rejected => 21,
            Refused::NotAText => 22,
            Refused::NotAVoice => 23,
            Refused::Priority => 36,
        }
    }

    /// `code` of `/v1`'s problem document.
    pub fn name(&self) -> &'static str {
        match self {
            Refused::CalledMissing | Refused::Called => "called",
            Refused::NoRoute => "no_route",
            Refused::Premium => "premium",
            Refused::TenantNotEnabled => "tenant_not_enabled",
            Refused::CallData => "call_data",
            Refused::CallerPresent => "caller",
            Refused::VoiceContent => "voice_content",
            Refused::CallbackUrl(_) => "callback_url",
            Refused::PlayTimes => "play_times",
            Refused::Playlist => "playlist",
            Refused::NothingNamed => "playlist_entry",
            Refused::ParamTooLong
            | Refused::ParamCharacter
            | Refused::ParamsCount
            | Refused::ParamsUnfit(_) => "params",
            Refused::Trial => "trial",
            Refused::NoSuchFile => "no_such_material",
            Refused::WrongScene => "wrong_scene",
            Refused::NotSubmitted => "not_submitted",
            Refused::NotApproved => "not_approved",
            Refused::Rejected => "rejected",
            Refused::NotAText => "not_a_template",
            Refused::NotAVoice => "not_a_recording",
            Refused::Priority => "priority",
        }
    }
}
