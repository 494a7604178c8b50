//! What reaches the telephone network, and the driver over it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engine::events::EventKind;
use engine::vocabulary::{Serial, TenantId, TrunkName};
use engine::{Engine, Start, Used};
use store::{NaturalKey, Recovery};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

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
    sip: sip::Endpoint,
    sip_events: mpsc::Receiver<sip::Event>,
    media: media::Media,
    carriers: BTreeMap<TrunkName, sim::Carrier>,
    trunks: Vec<Trunk>,
}

/// Lines under a driver: calls are taken.
pub struct Driven {
    pub driver: JoinHandle<Result<(), DriverError>>,
    pub sip: Vec<(sip::Transport, SocketAddr)>,
    pub carriers: BTreeMap<TrunkName, sim::Carrier>,
}

impl Lines {
    pub async fn open(app: &App, happenings: &Happenings) -> Result<Lines, ServeError> {
        let (config, store) = (&app.config, &app.store);
        let mut found = store.recover().await?;
        for unfinished in &mut found.unfinished_started {
            unfinished.ringing_ms = rang_at(app, unfinished.intent.serial).await?;
        }
        let (sip, sip_events) = network::start_sip(config, store, &found).await?;
        let media = network::start_media(config, happenings.clone())?;
        let carriers = simulated::start_carriers(config).await?;
        let trunks = network::resolve_trunks(config, &carriers, happenings).await;
        Ok(Lines { found, sip, sip_events, media, carriers, trunks })
    }

    pub async fn drive(
        self,
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
        let parts = Parts {
            engine,
            clock,
            store: app.store.clone(),
            sip: self.sip,
            sip_events: self.sip_events,
            media: self.media,
            trunks: Trunks::new(self.trunks, &network::call_secret(&app.store).await?),
            clips: Clips::new(app.clone()),
            asks,
            happenings,
            ready,
            doorbell: app.doorbell.clone(),
            vault: app.vault.clone(),
            tenants: app.tenants.clone(),
            defaults: app.config.defaults.clone(),
            fraud: app.config.fraud.clone(),
        };
        let found = Found {
            recovery: self.found,
            natural_keys: natural_keys(app).await?,
            used_today: used_today(app).await?,
        };
        let driver = Driver::start(parts, found);
        Ok(Driven { driver, sip: addresses, carriers: self.carriers })
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
