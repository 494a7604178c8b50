//! What reaches the telephone network, and the driver over it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use engine::events::EventKind;
use engine::vocabulary::{Serial, TenantId, TrunkName};
use engine::{Engine, Start, Used};
use store::{NaturalKey, Recovery, crash_point};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::heartbeat::{self, Beat};
use super::{ServeError, network, simulated};
use crate::app::{App, unix_ms};
use crate::calls::Ask;
use crate::clips::Clips;
use crate::driver::{
    Clock, Driver, DriverError, Found, Happening, Happenings, Parts, Trunk, Trunks,
};

/// Open, and carrying nothing yet.
pub struct Lines {
    found: Recovery,
    last_beat: Option<Beat>,
    sip: sip::Endpoint,
    sip_events: mpsc::Receiver<sip::Event>,
    media: media::Media,
    carriers: BTreeMap<TrunkName, sim::Carrier>,
    trunks: Vec<Trunk>,
}

/// Lines under a driver: calls are taken.
pub struct Driven {
    pub driver: JoinHandle<Result<(), DriverError>>,
    /// Why the disk refused a write, once it has.
    pub broken: Arc<OnceLock<String>>,
    pub sip: Vec<(sip::Transport, SocketAddr)>,
    pub carriers: BTreeMap<TrunkName, sim::Carrier>,
}

impl Lines {
    pub async fn open(app: &App, happenings: &Happenings) -> Result<Lines, ServeError> {
        let (config, store) = (&app.config, &app.store);
        let last_beat = heartbeat::last(&config.data_directory);
        let mut found = store.recover().await?;
        crash_point!("recovery_found");
        for unfinished in &mut found.unfinished_started {
            unfinished.ringing_ms = rang_at(app, unfinished.intent.serial).await?;
            unfinished.recorded = app.vault.has(&unfinished.intent).await;
        }
        let (sip, sip_events) = network::start_sip(config, store, &found).await?;
        let media = network::start_media(config, happenings.clone())?;
        let carriers = simulated::start_carriers(config).await?;
        let trunks = network::resolve_trunks(config, &carriers, happenings).await;
        Ok(Lines { found, last_beat, sip, sip_events, media, carriers, trunks })
    }

    pub async fn drive(
        mut self,
        app: &App,
        clock: Clock,
        happenings: (Happenings, mpsc::Receiver<Happening>),
        asks: mpsc::Receiver<Ask>,
        ready: Arc<AtomicBool>,
    ) -> Result<Driven, ServeError> {
        let addresses = self.sip.local_addresses();
        let capacity = self.media.capacity();
        let limited_by = capacity.limited_by;
        tracing::info!(calls = capacity.legs, ?limited_by, "calls at the same time");
        let engine = Engine::new(Start {
            node: app.config.node,
            highest_serial: self.found.highest_serial,
            // Twenty bits a millisecond: above every leg of an earlier run.
            first_leg: (unix_ms() as u64) << 20,
            capacity: u32::try_from(capacity.legs).unwrap_or(u32::MAX),
        });
        let broken = Arc::new(OnceLock::new());
        let parts = Parts {
            engine,
            clock,
            store: app.store.clone(),
            admission: app.admission.clone(),
            sip: self.sip,
            sip_events: self.sip_events,
            media: self.media,
            trunks: Trunks::new(self.trunks, &network::call_secret(&app.store).await?),
            clips: Clips::new(app.clone()),
            asks,
            happenings,
            ready,
            broken: broken.clone(),
            doorbell: app.doorbell.clone(),
            vault: app.vault.clone(),
            tenants: app.tenants.clone(),
            defaults: app.config.defaults.clone(),
            fraud: app.config.fraud.clone(),
        };
        let (natural_keys, used_today) = (natural_keys(app).await?, used_today(app).await?);
        for unfinished in &mut self.found.unfinished_started {
            let sent_ms = unfinished.attempt.as_ref().map(|attempt| attempt.at_ms);
            let beat = self.last_beat.zip(sent_ms);
            unfinished.down_for = beat.and_then(|(beat, sent_ms)| beat.elapsed_since(sent_ms));
        }
        let found = Found { recovery: self.found, natural_keys, used_today };
        let driver = Driver::start(parts, found);
        Ok(Driven { driver, broken, sip: addresses, carriers: self.carriers })
    }
}

/// Read only where a tenant refuses duplicates: there may be very many.
async fn natural_keys(app: &App) -> Result<Vec<NaturalKey>, ServeError> {
    let mut keys = Vec::new();
    for tenant in app.tenants.all().iter().filter(|tenant| tenant.settings.refuse_duplicates) {
        keys.extend(app.store.natural_keys(tenant.id).await?);
    }
    Ok(keys)
}

/// Counted only where a tenant's day is limited.
async fn used_today(app: &App) -> Result<Vec<(TenantId, Used)>, ServeError> {
    let mut all = Vec::new();
    for tenant in app.tenants.all() {
        let used = tenant.used_today(&app.store, &app.config.defaults, unix_ms()).await?;
        all.extend(used.map(|used| (tenant.id, used)));
    }
    Ok(all)
}

/// Only the event log remembers it.
async fn rang_at(app: &App, serial: Serial) -> Result<Option<i64>, ServeError> {
    let events = app.store.events_of(serial).await?;
    let rang = events.iter().find(|(_, event)| matches!(event.kind, EventKind::Ringing { .. }));
    Ok(rang.map(|(_, event)| event.at_ms))
}
