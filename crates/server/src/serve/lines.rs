//! What reaches the telephone network, and the driver over it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::events::EventKind;
use engine::vocabulary::{Serial, Side, TenantId, TrunkName};
use engine::{Engine, Start, Used};
use store::{NaturalKey, Recovery, Store, StoreError, crash_point};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{ServeError, network, simulated};
use crate::app::{App, unix_ms};
use crate::calls::Ask;
use crate::certificates;
use crate::clips::Clips;
use crate::driver::{self, Clock, DriverError, Found, Happened, Happenings, Parts, Trunk, Trunks};

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
    /// Why the disk refused a write, once it has.
    pub broken: Arc<OnceLock<String>>,
    pub sip: Vec<(sip::Transport, SocketAddr)>,
    pub carriers: BTreeMap<TrunkName, sim::Carrier>,
    /// Another handle to the endpoint that the driver commands.
    pub endpoint: sip::Endpoint,
}

impl Lines {
    pub async fn open(app: &App, happenings: &Happenings) -> Result<Lines, ServeError> {
        let (config, store) = (&app.config, &app.store);
        let mut found = recover(store).await?;
        for unfinished in &mut found.unfinished_started {
            unfinished.recorded = app.vault.has(&unfinished.intent).await;
        }
        let tls = certificates::sip_tls(config)?;
        let (sip, sip_events) = network::start_sip(config, &tls, store, &found).await?;
        if let Some(address) = network::sip_service_address(config, &sip) {
            app.sip_address.get_or_init(|| address);
        }
        let media = network::start_media(config, happenings.clone())?;
        let carriers = simulated::start_carriers(config).await?;
        let trunks = network::resolve_trunks(config, &carriers, &tls, happenings).await?;
        Ok(Lines { found, sip, sip_events, media, carriers, trunks })
    }

    /// Another handle to the endpoint that the driver will command.
    pub fn endpoint(&self) -> sip::Endpoint {
        self.sip.clone()
    }

    pub async fn drive(
        self,
        app: &App,
        clock: Clock,
        happenings: (Happenings, Happened),
        asks: mpsc::Receiver<Ask>,
        ready: Arc<AtomicBool>,
    ) -> Result<Driven, ServeError> {
        let (addresses, endpoint) = (self.sip.local_addresses(), self.sip.clone());
        let capacity = self.media.capacity();
        let limited_by = capacity.limited_by;
        tracing::info!(calls = capacity.legs, ?limited_by, "calls at the same time");
        let engine = Engine::new(Start {
            node: app.config.node,
            highest_serial: self.found.highest_serial,
            first_leg: first_leg(unix_ms()),
            capacity: u32::try_from(capacity.legs).unwrap_or(u32::MAX),
        });
        let host = app.sip_address.get().map_or("localhost".into(), |at| at.ip().to_string());
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
            app: app.clone(),
            defaults: app.config.defaults.clone(),
            fraud: app.config.fraud.clone(),
            phone_line: network::phone_line(&app.config, host),
            media_timeout: app.config.phones.media_timeout(),
        };
        let tenants = app.tenants.all();
        let refusing = tenants.iter().filter(|tenant| tenant.settings.refuse_duplicates);
        let refusing: Vec<TenantId> = refusing.map(|tenant| tenant.id).collect();
        let found = Found {
            recovery: self.found,
            natural_keys: natural_keys(&app.store, &refusing).await?,
            used_today: used_today(app).await?,
            ita: ita(app).await?,
            registrations: app.store.registrations().await?,
        };
        let driver = driver::start(parts, found);
        Ok(Driven { driver, broken, sip: addresses, carriers: self.carriers, endpoint })
    }
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

/// What waits is read only where a balance bounds a tenant's ITA calls.
async fn ita(app: &App) -> Result<Vec<(TenantId, Duration, Vec<Serial>)>, ServeError> {
    let mut talked: BTreeMap<_, _> = app.store.ita_talked_by_all().await?.into_iter().collect();
    let mut all = Vec::new();
    for tenant in app.tenants.all() {
        let talked = talked.remove(&tenant.id).unwrap_or_default();
        let waiting = match tenant.settings.ita.balance_minutes {
            Some(_) => app.store.ita_waiting(tenant.id).await?,
            None => Vec::new(),
        };
        all.push((tenant.id, talked, waiting));
    }
    Ok(all)
}

/// What the last run left behind, with what only the event log remembers: whether it rang.
pub async fn recover(store: &Store) -> Result<Recovery, StoreError> {
    let mut found = store.recover().await?;
    crash_point!("recovery_found");
    for unfinished in &mut found.unfinished_started {
        let events = store.events_of(unfinished.intent.tenant, unfinished.intent.serial).await?;
        let is_ringing =
            |kind: &EventKind| matches!(kind, EventKind::Ringing { side: Side::Called, .. });
        let rang = events.iter().find(|(_, event)| is_ringing(&event.kind));
        unfinished.ringing_ms = rang.map(|(_, event)| event.at_ms);
    }
    Ok(found)
}

/// Read only for tenants that refuse duplicates: there may be very many.
pub async fn natural_keys(
    store: &Store,
    refusing: &[TenantId],
) -> Result<Vec<NaturalKey>, StoreError> {
    let mut keys = Vec::new();
    for tenant in refusing {
        keys.extend(store.natural_keys(*tenant).await?);
    }
    Ok(keys)
}

/// Twenty bits a millisecond: above every leg of an earlier run.
pub fn first_leg(unix_ms: i64) -> u64 {
    (unix_ms as u64) << 20
}
