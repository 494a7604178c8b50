//! A server without an engine for the tests of interfaces: real store in memory, real voice library
//! and speech, and a desk that answers for the engine and keeps what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request as HttpRequest, StatusCode};
use engine::cdr::{CallerLeg, Cdr, Outcome, Progress};
use engine::events::{Event, EventKind};
use engine::intent::{BidirectionalCall, Caller, Intent, Order, OrderKind, Party, Place};
use engine::vocabulary::{CallKind, Priority, Serial, TenantId, TenantLimits};
use engine::writes::Write;
use serde_json::{Value, json};
use store::{Store, VoiceStatus};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::access::{Access, Sealer, sha256};
use crate::admission::Admission;
use crate::app::{App, unix_ms};
use crate::calls::{
    Accepted, Ask, Calls, CancelError, Counts, Note, Refusal, Request, SwitchError,
};
use crate::config::Config;
use crate::new_prefixes::NewPrefixes;
use crate::recordings::Vault;
use crate::speech::speaker::{Speaker, SpeakerSettings};
use crate::storage::Room;
use crate::tenants::{
    NewSoftphone, NumberBindings, PrefixRoute, Softphones, Tenant, TenantSettings, Tenants,
    TrialDays,
};
use crate::voices::{NewTemplate, Upload, VoiceLibrary};

pub const TENANT: TenantId = TenantId(1);
pub const OTHER: TenantId = TenantId(2);
/// As page 000 prints it.
pub const SIP_ADDRESS: &str = "10.137.203.215:5063";
pub const SECRET: &str = "a secret of sixteen and more";
pub const OPERATOR_KEY: &str = "an operator's key of 32 and more characters";

pub struct World {
    /// How full the disk is.
    pub room: watch::Sender<Room>,
    pub app: App,
    pub router: Router,
    pub token: String,
    pub other_token: String,
    pub asked: Arc<Mutex<Vec<Request>>>,
    /// What the desk answers next; without any it accepts.
    pub answers: Arc<Mutex<VecDeque<Result<Accepted, Refusal>>>>,
    pub limited: Limited,
    /// Whether calls are taken.
    pub ready: Arc<AtomicBool>,
    /// Whether the desk leaves new calls unanswered.
    pub silent: Arc<AtomicBool>,
    /// How far calls have come that the desk has.
    pub progress: Arc<Mutex<BTreeMap<Serial, Progress>>>,
    _directory: TempDir,
}

/// The limits that the engine was told of.
pub type Limited = Arc<Mutex<Vec<(TenantId, TenantLimits, Option<engine::Used>)>>>;

/// A reply as a test looks at it.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub fn settings() -> TenantSettings {
    let route = |prefix: &str| PrefixRoute { prefix: prefix.into(), route: "sim".into() };
    TenantSettings {
        routes: vec![route("88"), route("1")],
        trust: serde_json::from_value(json!(["hooks.example.com", "127.0.0.1:8800 private"]))
            .unwrap(),
        ..TenantSettings::default()
    }
}

pub fn tenant(id: TenantId, settings: TenantSettings) -> Tenant {
    let speech = Config::default().speech.with_languages(&settings.speech).unwrap();
    Tenant {
        id,
        name: format!("tenant {}", id.0),
        app_key: format!("key-{}", id.0),
        app_secret_sha256: sha256(SECRET.as_bytes()),
        access_codes: vec!["2222201".into(), "95599".into()],
        suspended: false,
        from_file: false,
        settings,
        speech: Arc::new(speech),
    }
}

impl World {
    pub async fn new() -> World {
        World::with(settings()).await
    }

    pub async fn with(settings: TenantSettings) -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::memory();
        let key = "11".repeat(32);
        let sealer = Sealer::from_text(&key).unwrap();
        let access = Access::new(store.clone(), sealer, Some(OPERATOR_KEY));
        let tenants = Tenants::default();
        for tenant in [tenant(TENANT, settings), tenant(OTHER, self::settings())] {
            store.put_tenant(tenant.to_row()).await.unwrap();
            tenants.put(tenant);
        }
        let token = access.issue_bearer(TENANT, 600, unix_ms()).await.unwrap().token;
        let other_token = access.issue_bearer(OTHER, 600, unix_ms()).await.unwrap().token;
        let voice_directory = directory.path().join("voice");
        let voices =
            VoiceLibrary::open(store.clone(), voice_directory, [TENANT, OTHER]).await.unwrap();
        let tls = crate::callbacks::tls::client_config(None).unwrap();
        let speech = SpeakerSettings::in_directory(directory.path().join("speech"));
        let config = Config { data_directory: directory.path().to_path_buf(), ..Config::default() };
        let room = watch::Sender::new(Room::Enough);
        let (calls, asks, ready) = Calls::channel(store.clone(), room.subscribe(), 16);
        ready.store(true, Ordering::Relaxed);
        let (asked, answers) = (Arc::default(), Arc::default());
        let (limited, progress) = (Limited::default(), Arc::default());
        let silent = Arc::default();
        let desk = Desk {
            asked: Arc::clone(&asked),
            answers: Arc::clone(&answers),
            limited: Arc::clone(&limited),
            progress: Arc::clone(&progress),
            silent: Arc::clone(&silent),
        };
        tokio::spawn(desk.answer(asks));
        let access = Arc::new(access);
        let at = directory.path().to_path_buf();
        let app = App {
            vault: Vault::new(Arc::clone(&access), store.clone(), at, true),
            new_prefixes: Arc::new(NewPrefixes::new(store.clone(), 3)),
            softphones: Softphones::new(store.clone(), "offhook".into()),
            bindings: NumberBindings::new(store.clone()),
            trial_days: Arc::new(TrialDays::new(store.clone())),
            store,
            calls,
            admission: Admission::new(Duration::from_secs(1)),
            config: Arc::new(config),
            access,
            tenants,
            voices: Arc::new(voices),
            speaker: Speaker::open(speech, tls).unwrap(),
            sip_address: Arc::new(OnceLock::from(SIP_ADDRESS.parse::<SocketAddr>().unwrap())),
            doorbell: watch::Sender::new(0),
        };
        let router = super::router(app.clone());
        World {
            room,
            app,
            router,
            token,
            other_token,
            asked,
            answers,
            limited,
            ready,
            silent,
            progress,
            _directory: directory,
        }
    }

    /// Replaces the tenant's settings, as a restart with another file would.
    pub fn reset(&self, change: impl FnOnce(&mut Tenant)) {
        let mut tenant = Tenant::clone(&self.app.tenants.by_id(TENANT).unwrap());
        change(&mut tenant);
        self.app.tenants.put(tenant);
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Got {
        let mut request = HttpRequest::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Got { status: parts.status, headers: parts.headers, text }
    }

    /// POST as the tenant, with its token.
    pub async fn post(&self, path: &str, body: Value) -> Got {
        let bearer = format!("Bearer {}", self.token);
        self.send(Method::POST, path, &[("Authorization", &bearer)], body.to_string()).await
    }

    /// GET as the tenant, with its token.
    pub async fn get(&self, path: &str) -> Got {
        let bearer = format!("Bearer {}", self.token);
        self.send(Method::GET, path, &[("Authorization", &bearer)], "").await
    }

    pub fn last_asked(&self) -> Request {
        self.asked.lock().unwrap().last().expect("nothing was asked").clone()
    }

    /// An uploaded recording under a known id.
    pub async fn recording(&self, id: &str, name: &str, scene: &str, status: VoiceStatus) {
        let upload = Upload {
            name: Some(name.into()),
            scene: scene.into(),
            status,
            account: None,
            callback_url: None,
            audio: wav(),
        };
        self.app.voices.add_recording_as(TENANT, id.into(), upload, unix_ms()).await.unwrap();
    }

    /// A softphone of the tenant.
    pub async fn softphone(&self, number: &str) {
        let password = format!("password of {number}");
        let new = NewSoftphone::new(number.into(), password, String::new(), false).unwrap();
        let sealer = &self.app.access.sealer;
        self.app.softphones.put(TENANT, new, false, sealer).await.unwrap();
    }

    /// Takes the SIP listener away.
    pub fn unlisted(&mut self) {
        self.app.sip_address = Arc::default();
        self.router = super::router(self.app.clone());
    }

    /// A stored template's id.
    pub async fn template(&self, text: &str) -> String {
        let new = NewTemplate {
            name: "greeting".into(),
            speed: 0,
            volume: 50,
            voice_name: "cn_kefuman_common".into(),
            text: text.parse().unwrap(),
        };
        self.app.voices.add_template(TENANT, new, unix_ms()).await.unwrap().template_id
    }

    /// An accepted call in the store, not over.
    pub async fn accepted(&self, serial: u64, created_ms: i64) -> Intent {
        self.post(super::tests::CREATE_V2, super::tests::printed()).await;
        let intent = Intent {
            serial: Serial(serial),
            tenant: TENANT,
            created_ms,
            queue_deadline_ms: created_ms + 3_600_000,
            order: self.last_asked().order,
        };
        let write =
            Write::Accepted { intent: Box::new(intent.clone()), idempotency: None, started: false };
        self.app.store.submit(vec![write]).await.unwrap();
        intent
    }

    /// A bidirectional call in the store, not over: softphone 66666666 with 88884432.
    pub async fn two_legs(&self, serial: u64, created_ms: i64) -> Intent {
        let party =
            Party { number: "66666666".into(), place: Place::Softphone, presented: "95599".into() };
        let call = BidirectionalCall {
            caller: Caller::Dialled(party),
            call_data: Some("order 7".into()),
            ita: false,
            agent_work_no: Some(401),
            binding: None,
            connected_url: None,
        };
        let order = Order {
            place: "sim".into(),
            called: "88884432".into(),
            caller_present: "2222201".into(),
            priority: Priority::LAST,
            ring_limit_s: 60,
            max_duration_s: 60,
            record: false,
            callback_url: None,
            kind: OrderKind::BidirectionalCall(call),
        };
        let intent = Intent {
            serial: Serial(serial),
            tenant: TENANT,
            created_ms,
            queue_deadline_ms: created_ms + 3_600_000,
            order,
        };
        let write =
            Write::Accepted { intent: Box::new(intent.clone()), idempotency: None, started: false };
        self.app.store.submit(vec![write]).await.unwrap();
        intent
    }

    /// Ends an accepted call with its record and its terminal event.
    pub async fn ended(&self, intent: Intent, outcome: Outcome, recorded: bool) -> Cdr {
        let at = intent.created_ms;
        let cdr = Cdr {
            trunk: Some("sim".into()),
            dialled_ms: Some(at + 10),
            alerting_ms: Some(at + 200),
            talking_ms: Some(at + 1_200),
            released_ms: at + 6_700,
            talk_duration_ms: 5_500,
            outcome,
            cause: None,
            sip_status: None,
            rounds: 1,
            digits: String::new(),
            recorded,
            media: None,
            caller: caller_leg(&intent),
            intent,
        };
        let event = Event {
            tenant: TENANT,
            serial: Some(cdr.intent.serial),
            at_ms: cdr.released_ms,
            kind: EventKind::Ended { cdr: Box::new(cdr.clone()) },
        };
        let callback = cdr.intent.order.callback_url.clone();
        let writes = vec![Write::Ended(Box::new(cdr.clone())), Write::Event { event, callback }];
        self.app.store.submit(writes).await.unwrap();
        cdr
    }
}

/// The leg of a call's first party, where it has one.
fn caller_leg(intent: &Intent) -> Option<CallerLeg> {
    let at = intent.created_ms;
    (intent.order.call_kind() != CallKind::VoiceNotification).then(|| CallerLeg {
        number: intent.order.caller_number().to_owned(),
        trunk: None,
        dialled_ms: Some(at + 1),
        alerting_ms: Some(at + 2),
        talking_ms: Some(at + 3),
        released_ms: Some(at + 6_703),
        talk_duration_ms: 6_700,
        cause: None,
        sip_status: None,
        media: None,
    })
}

/// Answers for the engine.
struct Desk {
    asked: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<VecDeque<Result<Accepted, Refusal>>>>,
    limited: Limited,
    progress: Arc<Mutex<BTreeMap<Serial, Progress>>>,
    silent: Arc<AtomicBool>,
}

impl Desk {
    async fn answer(self, mut asks: tokio::sync::mpsc::Receiver<Ask>) {
        let mut unanswered = Vec::new();
        while let Some(ask) = asks.recv().await {
            match ask {
                Ask::Accept(request, reply) => {
                    self.asked.lock().unwrap().push(*request);
                    let serial = Serial(1_308_434_073_450_058_757);
                    if self.silent.load(Ordering::Relaxed) {
                        unanswered.push(reply);
                        continue;
                    }
                    let planned = self.answers.lock().unwrap().pop_front();
                    let _ = reply.send(planned.unwrap_or(Ok(Accepted { serial, replayed: false })));
                }
                Ask::Cancel(tenant, serial, reply) => {
                    let answer = match serial.0 {
                        _ if tenant != TENANT => Err(CancelError::NotFound),
                        7 => Ok(()),
                        8 => Err(CancelError::AlreadyOver),
                        9 => Err(CancelError::Stopping),
                        _ => Err(CancelError::NotFound),
                    };
                    let _ = reply.send(answer);
                }
                Ask::SwitchRecording(tenant, serial, _, reply) => {
                    let answer = match serial.0 {
                        _ if tenant != TENANT => Err(SwitchError::NotFound),
                        7 => Ok(()),
                        8 => Err(SwitchError::AlreadyOver),
                        9 => Err(SwitchError::Unavailable),
                        10 => Err(SwitchError::NotRecording),
                        _ => Err(SwitchError::NotFound),
                    };
                    let _ = reply.send(answer);
                }
                Ask::Limit(tenant, limits, used) => {
                    self.limited.lock().unwrap().push((tenant, limits, used))
                }
                Ask::LiveNotes(serial, reply) => {
                    let note =
                        json!({"at_ms": 1, "note": "recovered", "what": serial.0.to_string()});
                    let note: Note = serde_json::from_value(note).unwrap();
                    let _ = reply.send(vec![note]);
                }
                Ask::Progress(serials, reply) => {
                    let known = self.progress.lock().unwrap();
                    let known =
                        serials.iter().filter_map(|serial| Some((*serial, *known.get(serial)?)));
                    let _ = reply.send(known.collect());
                }
                Ask::Count(reply) => {
                    let sip = sip::Counters { messages_sent: 11, ..sip::Counters::default() };
                    let _ = reply.send(Counts { calls: 3, legs: 2, sip });
                }
            }
        }
    }
}

/// Half a second of a tone, as a WAV file.
pub fn wav() -> Vec<u8> {
    let sample = |n: u32| (f64::from(n) * 0.35).sin() * 12_000.0;
    let samples: Vec<i16> = (0..4000).map(|n| sample(n) as i16).collect();
    media::Clip::from_pcm(&samples, 8000).unwrap().to_wav()
}
