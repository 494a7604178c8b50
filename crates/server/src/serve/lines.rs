//! What reaches the telephone network, and the driver over it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use engine::events::EventKind;
use engine::vocabulary::{TenantId, TrunkName};
use engine::{Engine, Start};
use store::{NaturalKey, Recovery, Store, StoreError, crash_point};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::heartbeat::{self, Beat};
use super::{ServeError, network, simulated};
use crate::app::{App, unix_ms};
use crate::calls::Ask;
use crate::clips::Clips;
use crate::driver::{self, Clock, DriverError, Found, Happening, Happenings, Parts, Trunk, Trunks};
use crate::recordings;

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
        let mut found = recover(store).await?;
        crash_point!("recovery_found");
        for unfinished in &mut found.unfinished_started {
            let recording = config.data_directory.join(recordings::path(&unfinished.intent));
            unfinished.recorded = tokio::fs::try_exists(recording).await.unwrap_or(false);
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
            first_leg: first_leg(unix_ms()),
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
            directory: app.config.data_directory.clone(),
            tenants: app.tenants.clone(),
            defaults: app.config.defaults.clone(),
        };
        for unfinished in &mut self.found.unfinished_started {
            let sent_ms = unfinished.attempt.as_ref().map(|attempt| attempt.at_ms);
            let beat = self.last_beat.zip(sent_ms);
            unfinished.down_for = beat.and_then(|(beat, sent_ms)| beat.elapsed_since(sent_ms));
        }
        let tenants = app.tenants.all();
        let refusing = tenants.iter().filter(|tenant| tenant.settings.refuse_duplicates);
        let refusing: Vec<TenantId> = refusing.map(|tenant| tenant.id).collect();
        let found = Found {
            recovery: self.found,
            natural_keys: natural_keys(&app.store, &refusing).await?,
        };
        let driver = driver::start(parts, found);
        Ok(Driven { driver, broken, sip: addresses, carriers: self.carriers })
    }
}

/// What the last run left behind, with what only the event log remembers: whether it rang.
pub async fn recover(store: &Store) -> Result<Recovery, StoreError> {
    let mut found = store.recover().await?;
    for unfinished in &mut found.unfinished_started {
        let events = store.events_of(unfinished.intent.serial).await?;
        let rang = events.iter().find(|(_, event)| matches!(event.kind, EventKind::Ringing { .. }));
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
