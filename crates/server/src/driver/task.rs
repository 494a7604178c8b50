//! The task around the driver: it owns the clock and hands on what is heard and what is wanted.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use engine::Engine;
use engine::intent::{Intent, PlayItem};
use engine::vocabulary::{LegId, Now, Serial, TenantId};
use store::Store;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::commands::Commands;
use super::disk::Disk;
use super::happenings::{Happened, Happenings};
use super::trunks::CallTo;
use super::{Desk, Driver, DriverError, Found, Happening, Heard, PhoneLine, Trunks, Wanted};
use crate::admission::Admission;
use crate::app::App;
use crate::calls::{Ask, Counts};
use crate::clips::Clips;
use crate::config::{Defaults, Fraud};
use crate::http::bidirectional_call::ita;
use crate::recordings::Vault;
use crate::tenants::Tenants;

/// Inputs that are handled before what they wrote is handed to the disk.
const INPUTS_PER_TURN: usize = 256;

/// And so many before those who share the thread have their turn: whoever is refused is not to wait for all of them.
const INPUTS_IN_A_ROW: usize = 16;

/// Everything that the driver is made of.
pub struct Parts {
    pub engine: Engine,
    pub clock: Clock,
    pub store: Store,
    pub admission: Admission,
    pub sip: sip::Endpoint,
    pub sip_events: mpsc::Receiver<sip::Event>,
    pub media: media::Media,
    pub trunks: Trunks,
    pub clips: Clips,
    pub asks: mpsc::Receiver<Ask>,
    pub happenings: (Happenings, Happened),
    pub ready: Arc<AtomicBool>,
    /// Why the disk refused a write, once it has.
    pub broken: Arc<OnceLock<String>>,
    /// Rung after each commit that holds an event.
    pub doorbell: watch::Sender<u64>,
    pub vault: Vault,
    pub tenants: Tenants,
    pub app: App,
    pub defaults: Defaults,
    pub fraud: Fraud,
    pub phone_line: PhoneLine,
    pub media_timeout: Duration,
}

/// Monotonic time since the start of the process, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    pub fn now(&self) -> Now {
        Now { since_start: self.0.elapsed(), unix_ms: crate::app::unix_ms() }
    }

    fn instant(&self, at: Duration) -> tokio::time::Instant {
        (self.0 + at).into()
    }
}

/// Takes up what the last run left behind; calls are taken when this returns. The task ends when it
/// has been told to drain and the last call is over, or when the disk refuses a write.
pub fn start(parts: Parts, found: Found) -> JoinHandle<Result<(), DriverError>> {
    let (happenings, happened) = parts.happenings;
    let tenants = parts.tenants.all();
    let limits = tenants.iter().map(|tenant| (tenant.id, tenant.settings.limits(&parts.defaults)));
    let limits = limits.collect();
    let now = parts.clock.now();
    let desk = Desk {
        engine: parts.engine,
        admission: parts.admission.clone(),
        trunks: parts.trunks,
        tenants: parts.tenants,
        fraud: parts.fraud,
        drain: Duration::from_secs(parts.defaults.drain_s.into()),
        phone_line: parts.phone_line,
        media_timeout: parts.media_timeout,
        ready: parts.ready,
    };
    let task = Task {
        driver: Driver::begin(desk, found, limits, now),
        clock: parts.clock,
        commands: Commands::new(parts.sip, parts.media),
        clips: parts.clips,
        app: parts.app,
        vault: parts.vault,
        broken: parts.broken,
        disk: Disk::new(parts.store, parts.admission, happenings.clone(), parts.doorbell),
        happenings,
    };
    let inbox = Inbox { happened, sip_events: parts.sip_events, asks: parts.asks };
    tokio::spawn(task.run(inbox))
}

struct Task {
    driver: Driver,
    clock: Clock,
    commands: Commands,
    clips: Clips,
    app: App,
    vault: Vault,
    broken: Arc<OnceLock<String>>,
    disk: Disk,
    happenings: Happenings,
}

/// Where the driver hears from.
struct Inbox {
    happened: Happened,
    sip_events: mpsc::Receiver<sip::Event>,
    asks: mpsc::Receiver<Ask>,
}

impl Task {
    async fn run(mut self, mut inbox: Inbox) -> Result<(), DriverError> {
        self.do_what_is_wanted().await?;
        while !self.driver.is_done() {
            let wake_at = self.driver.wake_at(self.clock.now());
            let wake_at = wake_at.map(|at| self.clock.instant(at));
            tokio::select! {
                biased;
                Some(happening) = inbox.happened.recv() => self.hear(Heard::Happened(happening)),
                Some(event) = inbox.sip_events.recv() => self.hear(Heard::Sip(event)),
                Some(ask) = inbox.asks.recv() => self.hear(Heard::Asked(ask)),
                () = sleep_until(wake_at) => self.driver.wake(self.clock.now()),
            }
            self.do_what_is_wanted().await?;
            self.take_what_waits(&mut inbox).await?;
            self.driver.end_turn(self.clock.now());
            self.do_what_is_wanted().await?;
            if let Some(why) = self.driver.failure() {
                self.broken.get_or_init(|| why.to_owned());
            }
        }
        self.driver.ending()
    }

    /// Under load many inputs share one commit.
    async fn take_what_waits(&mut self, inbox: &mut Inbox) -> Result<(), DriverError> {
        for input in 1..=INPUTS_PER_TURN {
            if let Some(happening) = inbox.happened.try_recv() {
                self.hear(Heard::Happened(happening));
            } else if let Ok(event) = inbox.sip_events.try_recv() {
                self.hear(Heard::Sip(event));
            } else if let Ok(ask) = inbox.asks.try_recv() {
                self.hear(Heard::Asked(ask));
            } else {
                break;
            }
            self.do_what_is_wanted().await?;
            if input % INPUTS_IN_A_ROW == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard) {
        self.driver.hear(heard, self.clock.now());
    }

    /// Waits where `sip` or `media` has no room for a command: both go on without the driver, and meanwhile what it would
    /// hear waits in queues that refuse what is new.
    async fn do_what_is_wanted(&mut self) -> Result<(), DriverError> {
        while let Some(wanted) = self.driver.wanted() {
            match wanted {
                Wanted::Sip(command) => self.commands.sip(command).await?,
                Wanted::Media(command) => self.commands.media(command).await?,
                Wanted::Record { leg, intent } => match self.record(leg, *intent) {
                    Ok(record) => self.commands.media(record).await?,
                    Err(reason) => {
                        self.hear(Heard::Happened(Happening::RecordingLost { leg, reason }));
                    }
                },
                Wanted::Fetch { serial, tenant, playlist } => self.fetch(serial, tenant, playlist),
                Wanted::Ask { leg, calls } => self.ask(leg, &calls),
                Wanted::Commit { batch, writes } => self.disk.commit(batch, writes).await,
                Wanted::Claim { claim, what } => self.disk.claim(claim, what).await,
                Wanted::HangUpAll { after } => self.hang_up_all(after),
                Wanted::Count { calls, legs, asker } => {
                    // Whoever asked may have gone.
                    let _ = asker.send(Counts { calls, legs, sip: self.commands.sip_counters() });
                }
            }
        }
        Ok(())
    }

    /// The key of an encrypted recording is stored while the recording runs; without it the file would be noise, so
    /// the one fails with the other. Else: why there is no recording.
    fn record(&self, leg: LegId, intent: Intent) -> Result<media::Command, String> {
        let mode = media::RecordMode::Both;
        let new = self.vault.begin(&intent, mode).map_err(|error| error.to_string())?;
        let folder = new.path.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        if let Some(sealed_key) = new.sealed_key {
            let (vault, happenings) = (self.vault.clone(), self.happenings.clone());
            tokio::spawn(async move {
                if let Err(error) = vault.keep(&intent, sealed_key).await {
                    let reason = error.to_string();
                    happenings.send(Happening::RecordingLost { leg, reason }).await;
                }
            });
        }
        let (leg, path, seal) = (media::LegId(leg.0), new.path, new.seal);
        Ok(media::Command::Record { leg, path, mode, seal })
    }

    /// Clips in memory are there at once; others are read or spoken meanwhile.
    fn fetch(&mut self, serial: Serial, tenant: TenantId, playlist: Vec<PlayItem>) {
        if let Some(clips) = self.clips.cached(tenant, &playlist) {
            return self.hear(Heard::Happened(Happening::Fetched { serial, clips: Ok(clips) }));
        }
        let (clips, happenings) = (self.clips.clone(), self.happenings.clone());
        tokio::spawn(async move {
            let clips = clips.fetch(tenant, &playlist).await;
            happenings.send(Happening::Fetched { serial, clips }).await;
        });
    }

    /// What it depends on is in memory.
    fn ask(&mut self, leg: LegId, calls: &[CallTo]) {
        let request = calls.iter().find_map(|call| ita::arrived(&self.app, &call.x, &call.from));
        self.hear(Heard::Happened(Happening::Asked { leg, request: request.map(Box::new) }));
    }

    fn hang_up_all(&self, after: Duration) {
        let happenings = self.happenings.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            happenings.send(Happening::HangUpAll).await;
        });
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
