//! Puts the server together, in the order in which its parts need each other, and takes it down.

mod descriptors;
mod interfaces;
mod jobs;
pub mod lines;
mod memory;
mod network;
mod phones;
mod retention;
mod simulated;
mod whereabouts;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::vocabulary::TrunkName;
use store::Store;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::{Access, Sealer};
use crate::admission::Admission;
use crate::app::{App, unix_ms};
use crate::callbacks::client::{CallbackClient, ClientSettings};
use crate::callbacks::delivery::Delivery;
use crate::callbacks::tls;
use crate::calls::Calls;
use crate::certificates;
use crate::config::Config;
use crate::driver::{Clock, DriverError, Happening, Happenings};
use crate::http::listener::ServedCertificate;
use crate::new_prefixes::NewPrefixes;
use crate::recordings::Vault;
use crate::speech::speaker::{Speaker, SpeakerSettings};
use crate::storage;
use crate::tenants::{FirstRun, NumberBindings, Provisioner, Softphones, TrialDays};
use crate::voices::VoiceLibrary;
use interfaces::Interfaces;
use lines::{Driven, Lines};

/// Requests that may wait for the driver; one more waits in its handler.
const ASKS: usize = 4_096;

/// What is left after the time to drain: longer than a BYE needs on a good line.
const HANG_UP_GRACE: Duration = Duration::from_secs(3);

/// Why the server does not start; who is at fault and what to do.
pub type ServeError = Box<dyn std::error::Error + Send + Sync>;

/// A server that takes calls.
pub struct Running {
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    /// Bound SIP addresses.
    pub sip: Vec<(sip::Transport, SocketAddr)>,
    /// The carriers behind trunks of kind `sim`.
    pub carriers: BTreeMap<TrunkName, sim::Carrier>,
    /// Only at the very first start: the tenant that was made, with its secret.
    pub first_run: Option<FirstRun>,
    pub app: App,
    drain: Duration,
    happenings: Happenings,
    endpoint: sip::Endpoint,
    https_certificate: Option<Arc<ServedCertificate>>,
    driver: JoinHandle<Result<(), DriverError>>,
    broken: Arc<OnceLock<String>>,
    callbacks: JoinHandle<()>,
    listeners: Vec<JoinHandle<()>>,
    stop_listening: watch::Sender<bool>,
    stop_callbacks: watch::Sender<bool>,
}

/// Opens everything and takes calls.
///
/// # Errors
/// A part cannot start: an address in use, a data directory of another process, a bad certificate.
pub async fn start(config: Config) -> Result<Running, ServeError> {
    let clock = Clock::start();
    std::fs::create_dir_all(&config.data_directory)
        .map_err(|error| format!("data_directory {}: {error}", config.data_directory.display()))?;
    let store = Store::open(config.storage.store(&config.data_directory)?).await?;
    let (calls, asks, ready) = Calls::channel(store.clone(), storage::watch(&config), ASKS);
    let doorbell = watch::Sender::new(0);
    let app = open_app(config, &store, calls, doorbell.clone()).await?;
    let provisioner = Provisioner {
        store: &store,
        config: &app.config,
        access: &app.access,
        voices: &app.voices,
        speaker: &app.speaker,
        softphones: &app.softphones,
        bindings: &app.bindings,
    };
    // What may fail for reasons of the machine comes before a first run's secret is made.
    let (happenings, happened) = Happenings::channel();
    let interfaces = Interfaces::bind(&app.config).await?;
    let lines = Lines::open(&app, &happenings).await?;
    let first_run = provisioner.run(&app.tenants, unix_ms()).await?;
    let (stop_callbacks, stop) = watch::channel(false);
    // The registrar knows who may register before the driver tells it who had.
    phones::start(&app.softphones, lines.endpoint(), stop.clone())?;
    let Driven { driver, broken, sip, carriers, endpoint } =
        lines.drive(&app, clock, (happenings.clone(), happened), asks, ready).await?;

    let config = app.config.clone();
    let settings = ClientSettings {
        extra_ca: config.callbacks.extra_ca.clone(),
        name_servers: config.dns.servers.clone(),
        ..ClientSettings::default()
    };
    let delivery = Delivery::new(app.clone(), CallbackClient::new(settings)?);
    let callbacks = tokio::spawn(delivery.run(doorbell.subscribe(), stop));
    jobs::start(&app, happenings.clone(), stop_callbacks.subscribe());
    app.admission.beat(stop_callbacks.subscribe());
    memory::start(app.store.clone(), stop_callbacks.subscribe());
    retention::start(&app, stop_callbacks.subscribe());

    let (stop_listening, stop) = watch::channel(false);
    let (http, https) = interfaces.addresses()?;
    let https_certificate = interfaces.certificate();
    Ok(Running {
        http,
        https,
        sip,
        carriers,
        first_run,
        drain: Duration::from_secs(config.defaults.drain_s.into()),
        happenings,
        endpoint,
        https_certificate,
        driver,
        broken,
        callbacks,
        listeners: interfaces.serve(&app, &stop),
        app,
        stop_listening,
        stop_callbacks,
    })
}

impl Running {
    /// One JSON line: where the server can be reached.
    pub fn announcement(&self) -> String {
        let sip = |wanted| {
            let found = self.sip.iter().find(|(transport, _)| *transport == wanted);
            found.map(|(_, address)| address.to_string())
        };
        let carriers: BTreeMap<String, String> = self
            .carriers
            .iter()
            .map(|(name, carrier)| (name.to_string(), carrier.udp_address().to_string()))
            .collect();
        serde_json::json!({
            "ready": true,
            "http": self.http.to_string(),
            "https": self.https.map(|address| address.to_string()),
            "sip_udp": sip(sip::Transport::Udp),
            "sip_tcp": sip(sip::Transport::Tcp),
            // Without a certificate nobody can connect.
            "sip_tls": self.app.config.sip.tls.and(sip(sip::Transport::Tls)),
            "carriers": carriers,
        })
        .to_string()
    }

    /// Reads every certificate, key and file of authorities again. New connections use them; open
    /// ones and their calls stay. Where one cannot be used the old ones stay, and the log says why.
    pub fn reload_certificates(&self) {
        match certificates::sip_tls(&self.app.config) {
            Ok(settings) => self.endpoint.set_tls(settings),
            Err(error) => tracing::error!(%error, "SIP keeps the certificates that it has"),
        }
        if let Some(Err(error)) = self.https_certificate.as_ref().map(|served| served.reload()) {
            tracing::error!(%error, "HTTPS keeps the certificate that it has");
        }
        tracing::info!("certificates were read again");
    }

    /// Resolves when the driver ends by itself, which only a broken disk makes it do; then only
    /// [`close`](Self::close) is left to do.
    pub async fn failed(&mut self) -> DriverError {
        match (&mut self.driver).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => DriverError::Disk("the driver ended without being told to".into()),
            Err(panic) => DriverError::Disk(format!("the driver panicked: {panic}")),
        }
    }

    /// Takes no new calls; running ones may finish within the drain limit, then they are hung up.
    /// `hurry` ends the wait.
    ///
    /// # Errors
    /// The disk refused a write meanwhile.
    pub async fn drain(mut self, hurry: impl Future<Output = ()>) -> Result<(), DriverError> {
        self.happenings.tell(Happening::Drain);
        let in_time = tokio::select! {
            ended = &mut self.driver => Some(ended),
            () = tokio::time::sleep(self.drain) => None,
            () = hurry => None,
        };
        let ended = match in_time {
            Some(ended) => ended,
            None => {
                self.happenings.tell(Happening::HangUpAll);
                match tokio::time::timeout(HANG_UP_GRACE, &mut self.driver).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        self.driver.abort();
                        tracing::warn!(
                            "calls were still up at the end; the next start resolves them"
                        );
                        // A process whose disk failed never says that it ended well.
                        Ok(self
                            .broken
                            .get()
                            .map_or(Ok(()), |why| Err(DriverError::Disk(why.clone()))))
                    }
                }
            }
        };
        self.close().await;
        ended
            .unwrap_or_else(|panic| Err(DriverError::Disk(format!("the driver panicked: {panic}"))))
    }

    /// Interfaces last, so that `/readyz` says 503 while calls finish; callbacks after the last call.
    pub async fn close(self) {
        let _ = self.stop_callbacks.send(true);
        let _ = tokio::time::timeout(HANG_UP_GRACE, self.callbacks).await;
        let _ = self.stop_listening.send(true);
        for listener in self.listeners {
            let _ = listener.await;
        }
        for carrier in self.carriers.into_values() {
            carrier.shut_down().await;
        }
        self.app.store.close().await;
    }
}

async fn open_app(
    config: Config,
    store: &Store,
    calls: Calls,
    doorbell: watch::Sender<u64>,
) -> Result<App, ServeError> {
    let sealer = match &config.access.seal_key {
        Some(key) => Sealer::from_text(key.reveal())?,
        None => Sealer::from_file(&config.data_directory.join("seal.key"))?,
    };
    let operator_key = config.access.operator_key.as_ref().map(|key| key.reveal().to_owned());
    let access = Access::new(store.clone(), sealer, operator_key.as_deref());
    let voices = config.data_directory.join("voices");
    let voices = VoiceLibrary::open(store.clone(), voices, []).await?;
    let settings = SpeakerSettings::in_directory(config.data_directory.join("speech"));
    let speaker =
        Speaker::open(settings, tls::client_config(config.callbacks.extra_ca.as_deref())?)?;
    let access = Arc::new(access);
    let softphones = Softphones::new(store.clone(), config.sip.realm.clone());
    let (directory, encrypt) = (config.data_directory.clone(), config.recordings.encrypt);
    Ok(App {
        store: store.clone(),
        vault: Vault::new(Arc::clone(&access), store.clone(), directory, encrypt),
        new_prefixes: Arc::new(NewPrefixes::new(store.clone(), config.fraud.alarm_digits)),
        calls,
        admission: Admission::new(Duration::from_millis(config.admission.patience_ms.into())),
        config: Arc::new(config),
        access,
        tenants: Default::default(),
        softphones,
        bindings: NumberBindings::new(store.clone()),
        trial_days: Arc::new(TrialDays::new(store.clone())),
        sip_address: Arc::default(),
        voices: Arc::new(voices),
        speaker,
        doorbell,
    })
}
