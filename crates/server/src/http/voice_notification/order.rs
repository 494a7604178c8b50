//! From what a client wrote to an order that cannot be wrong, or the return code that says why not.
//!
//! What is checked, in this order, the first finding is the answer: the tenant (6); `called` (5);
//! `callData` of v1 (2); the form of `playList` (11, 12) and of its parameters (15, 13, 14), entry by entry; `callBackUrl` (9);
//! `callerPresent` (7); `playTimes` (10); `priority` (36); what the tenant may call (16, then a premium
//! range or a number without a route: 5); the material of each entry (17, 22, 23, 18, 19, 20, 21, and 15 or 13 where the
//! parameters do not fit the template). A client that corrects what it is told is never told of an
//! earlier field again. What depends on other calls (1, 3) comes after all of these.

use engine::intent::{Order, OrderKind, PlayItem};
use engine::vocabulary::Priority;
use store::{VoiceRecording, VoiceStatus};

use crate::http::ordering::{self, Called, Field, TenantView, may_show};
use crate::http::wire::WrongType;
use crate::speech::template::Template;
use crate::tenants::is_callable;
use crate::voices::{Found, Shelf, WireStatus as _};

use super::refused::Refused;

/// What a client asks for, in whichever interface's words; nothing in it has been judged.
#[derive(Debug, Clone)]
pub struct Wish {
    pub called: Field<String>,
    /// v1 only.
    pub call_data: Field<String>,
    pub playlist: PlaylistWish,
    pub callback_url: Field<String>,
    pub caller_present: Field<String>,
    pub play_times: Field<i64>,
    pub priority: Field<i64>,
}

#[derive(Debug, Clone)]
pub enum PlaylistWish {
    /// `playList` of v2; `Err`: no list.
    List(Field<Vec<Entry>>),
    /// `voiceContent` of v1: one recording's id.
    Content(Field<String>),
}

/// One entry of a play list, as it came.
#[derive(Debug, Clone)]
pub struct Entry {
    pub voice_id: Field<String>,
    pub voice_file_name: Field<String>,
    pub template_id: Field<String>,
    /// `Err`: no list of texts and numbers.
    pub template_params: Field<Vec<String>>,
}

const MAX_ENTRIES: usize = 5;
const MAX_PARAMS: usize = 10;
/// Bytes of one template parameter.
const MAX_PARAM: usize = 32;
/// Bytes of v1's `voiceContent`.
const MAX_CONTENT: usize = 1024;

/// Judges a wish. Pure: the shelf is in memory.
pub fn judge(wish: Wish, view: TenantView<'_>, shelf: &Shelf) -> Result<Order, Refused> {
    let settings = &view.tenant.settings;
    let default_caller = view.tenant.access_codes.first().ok_or(Refused::TenantNotEnabled)?;
    let called = called(wish.called)?;
    // Taken for its length alone: no callback of a voice notification carries it back.
    ordering::call_data(wish.call_data).map_err(|WrongType| Refused::CallData)?;
    let entries = playlist_form(wish.playlist)?;
    let callback_url =
        ordering::callback_url(wish.callback_url, view.tenant).map_err(Refused::CallbackUrl)?;
    let caller_present = match wish.caller_present.map_err(|WrongType| Refused::CallerPresent)? {
        None => default_caller.clone(),
        Some(number) if may_show(&number, view.tenant) => number,
        Some(_) => return Err(Refused::CallerPresent),
    };
    let play_times = match wish.play_times.map_err(|WrongType| Refused::PlayTimes)? {
        None => 1,
        Some(times @ 1..=5) => times as u8,
        Some(_) => return Err(Refused::PlayTimes),
    };
    let priority = match wish.priority.map_err(|WrongType| Refused::Priority)? {
        None => Priority::LAST,
        Some(value) => u8::try_from(value).ok().and_then(Priority::new).ok_or(Refused::Priority)?,
    };
    let route = settings.may_call(&called, view.fraud)?;
    let playlist = entries.iter().map(|entry| material(entry, shelf)).collect::<Result<_, _>>()?;
    let called = Called { place: route.into(), number: called, caller_present, callback_url };
    let order = view.order(called, OrderKind::VoiceNotification { playlist, play_times });
    Ok(Order { priority, ..order })
}

fn called(field: Field<String>) -> Result<String, Refused> {
    let number = field.map_err(|WrongType| Refused::Called)?.ok_or(Refused::CalledMissing)?;
    if is_callable(&number) { Ok(number) } else { Err(Refused::Called) }
}

/// What an entry names, its form checked.
#[derive(Debug)]
enum Named {
    VoiceId(String),
    FileName(String),
    /// v1's `voiceContent`, which has a code of its own.
    Content(String),
    Template {
        id: String,
        params: Vec<String>,
    },
}

fn playlist_form(wish: PlaylistWish) -> Result<Vec<Named>, Refused> {
    let entries = match wish {
        PlaylistWish::List(entries) => entries.map_err(|WrongType| Refused::Playlist)?,
        PlaylistWish::Content(content) => {
            let content = content.map_err(|WrongType| Refused::VoiceContent)?;
            let content = content.filter(|content| content.len() <= MAX_CONTENT);
            return Ok(vec![Named::Content(content.ok_or(Refused::VoiceContent)?)]);
        }
    };
    let entries = entries.unwrap_or_default();
    if entries.is_empty() || entries.len() > MAX_ENTRIES {
        return Err(Refused::Playlist);
    }
    entries.into_iter().map(entry_form).collect()
}

/// Where an entry names several, the first in the page's order counts.
fn entry_form(entry: Entry) -> Result<Named, Refused> {
    let named = |field: Field<String>| field.map_err(|WrongType| Refused::NothingNamed);
    if let Some(id) = named(entry.voice_id)? {
        return Ok(Named::VoiceId(id));
    }
    if let Some(name) = named(entry.voice_file_name)? {
        return Ok(Named::FileName(name));
    }
    let id = named(entry.template_id)?.ok_or(Refused::NothingNamed)?;
    let params = match entry.template_params.map_err(|WrongType| Refused::ParamsCount)? {
        None => Vec::new(),
        Some(params) if params.is_empty() || params.len() > MAX_PARAMS => {
            return Err(Refused::ParamsCount);
        }
        Some(params) => params,
    };
    if params.iter().any(|param| param.len() > MAX_PARAM) {
        return Err(Refused::ParamTooLong);
    }
    if params.iter().any(|param| param.contains(['$', '{', '}'])) {
        return Err(Refused::ParamCharacter);
    }
    Ok(Named::Template { id, params })
}

fn material(named: &Named, shelf: &Shelf) -> Result<PlayItem, Refused> {
    match named {
        Named::VoiceId(id) => match shelf.find(id) {
            Some(Found::Recording(recording)) => playable(&recording),
            Some(Found::Template(_)) => Err(Refused::NotAVoice),
            None => Err(Refused::NoSuchFile),
        },
        Named::FileName(name) => match shelf.find_named(name) {
            Some(Found::Recording(recording)) => playable(&recording),
            Some(Found::Template(_)) => Err(Refused::NotAVoice),
            None => Err(Refused::NoSuchFile),
        },
        Named::Content(id) => match shelf.find(id) {
            Some(Found::Recording(recording)) => playable(&recording),
            Some(Found::Template(_)) => Err(Refused::NotAVoice),
            None => Err(Refused::VoiceContent),
        },
        Named::Template { id, params } => match shelf.find(id) {
            Some(Found::Template(template)) => spoken(id, &template.parsed, params),
            Some(Found::Recording(_)) => Err(Refused::NotAText),
            None => Err(Refused::NoSuchFile),
        },
    }
}

fn playable(recording: &VoiceRecording) -> Result<PlayItem, Refused> {
    if !recording.scene_is_playable() {
        return Err(Refused::WrongScene);
    }
    match recording.status {
        VoiceStatus::Uploaded => Err(Refused::NotSubmitted),
        VoiceStatus::Submitted => Err(Refused::NotApproved),
        VoiceStatus::Rejected => Err(Refused::Rejected),
        VoiceStatus::Approved => Ok(PlayItem::Recording { voice_id: recording.voice_id.clone() }),
    }
}

/// The intent holds what is spoken, so that a call says what it was asked to say.
fn spoken(id: &str, template: &Template, params: &[String]) -> Result<PlayItem, Refused> {
    let text = template.fill(params)?.to_string();
    Ok(PlayItem::Speech { template_id: id.to_owned(), text })
}
