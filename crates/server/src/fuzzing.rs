//! What fuzz targets may reach of the interfaces: requests and templates as bytes, without a server around them.

use std::sync::Arc;

use axum::body::Bytes;
use engine::intent::Order;
use engine::vocabulary::TenantId;
use serde_json::json;
use store::{VoiceRecording, VoiceStatus, VoiceTemplate};

use crate::config::{Config, Defaults, Fraud};
use crate::http::ordering::TenantView;
use crate::http::v1::voice_notifications;
use crate::http::voice_notification::{Wish, judge, wish_v1, wish_v2};
use crate::http::wire;
use crate::speech::normalise;
use crate::speech::template::{FillError, Template};
use crate::tenants::{PrefixRoute, Tenant, TenantSettings};
use crate::voices::{Shelf, SpokenTemplate};

/// The interface whose words a request is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    ApiAccessV1,
    ApiAccessV2,
    Own,
}

/// Why a request is no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// HTTP 400.
    Body,
    /// The documented return code.
    Code(u32),
}

/// A tenant with one recording (`100001`) and one template (`200001`), who may be called back at
/// `http://127.0.0.1:8800` and may call 88… and 1….
pub struct Desk {
    tenant: Tenant,
    defaults: Defaults,
    fraud: Fraud,
    shelf: Shelf,
}

impl Default for Desk {
    fn default() -> Desk {
        let route = |prefix: &str| PrefixRoute { prefix: prefix.into(), route: "carrier".into() };
        let trust = serde_json::from_value(json!(["127.0.0.1:8800 private"]));
        let settings = TenantSettings {
            routes: vec![route("88"), route("1")],
            trust: trust.expect("it is an entry of a trust list"),
            ..TenantSettings::default()
        };
        let tenant = Tenant {
            id: TENANT,
            name: "fuzzed".to_owned(),
            app_key: "key".to_owned(),
            app_secret_sha256: [0; 32],
            access_codes: vec!["2222201".to_owned()],
            suspended: false,
            from_file: true,
            settings,
            speech: Arc::new(Config::default().speech),
        };
        Desk { tenant, defaults: Defaults::default(), fraud: Fraud::default(), shelf: shelf() }
    }
}

impl Desk {
    /// What becomes of a request's body.
    pub fn order(&self, words: Words, body: &[u8]) -> Result<Order, Refusal> {
        let view =
            TenantView { tenant: &self.tenant, defaults: &self.defaults, fraud: &self.fraud };
        let refused = |refused: crate::http::voice_notification::Refused| {
            assert!(!refused.to_string().is_empty() && !refused.name().is_empty());
            Refusal::Code(refused.code())
        };
        judge(wish(words, body)?, view, &self.shelf).map_err(refused)
    }
}

/// The text of a template, filled and as it would be spoken; `None` where it is no template.
pub fn speak(template: &str, values: &[&str]) -> Option<Result<String, FillError>> {
    let template: Template = template.parse().ok()?;
    let again: Template = template.to_string().parse().expect("a template's text is a template");
    assert_eq!(again, template);
    let filled = match template.fill(values) {
        Ok(filled) => filled,
        Err(error) => return Some(Err(error)),
    };
    // What lies on disk is read back before it is spoken.
    let stored = filled.to_string();
    let read = stored.parse().expect("what was filled in is read back");
    assert_eq!(filled, read);
    Some(Ok(normalise::spoken(&read, normalise::language_of(&stored))))
}

const TENANT: TenantId = TenantId(1);

fn wish(words: Words, body: &[u8]) -> Result<Wish, Refusal> {
    let fields = || wire::object(&Bytes::copy_from_slice(body)).map_err(|_| Refusal::Body);
    match words {
        Words::ApiAccessV1 => fields().map(|fields| wish_v1(&fields)),
        Words::ApiAccessV2 => fields().map(|fields| wish_v2(&fields)),
        Words::Own => voice_notifications::read(body).map_err(|_| Refusal::Body),
    }
}

fn shelf() -> Shelf {
    let mut shelf = Shelf::default();
    shelf.put_recording(VoiceRecording {
        tenant: TENANT,
        voice_id: "100001".to_owned(),
        name: "welcome.wav".to_owned(),
        scene: "3".to_owned(),
        status: VoiceStatus::Approved,
        uploaded_ms: 0,
        upload_account: None,
        audited_ms: None,
        audit_account: None,
        comment: String::new(),
        callback_url: None,
        file_name: "voice/100001.wav".to_owned(),
        format: "wav".to_owned(),
        duration_ms: 1_000,
        size_bytes: 8_058,
        sha256: [0; 32],
    });
    let text = "Your code is ${NUM_6}, said on ${DATE}, at ${TIME}, to ${TXT_32}.";
    shelf.put_template(SpokenTemplate {
        template: VoiceTemplate {
            tenant: TENANT,
            template_id: "200001".to_owned(),
            name: "code".to_owned(),
            scene: "3".to_owned(),
            speed: 0,
            volume: 50,
            voice_name: String::new(),
            text: text.to_owned(),
            created_ms: 0,
        },
        parsed: text.parse().expect("it is a template"),
    });
    shelf
}
