//! One action of the engine after the other.

use engine::action::Action;
use engine::intent::PlayItem;
use engine::vocabulary::Serial;
use engine::writes::Write;

use super::{Driver, Happening};

impl Driver {
    /// Everything that the engine wants now, in its order.
    pub(super) fn perform(&mut self) {
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Write(write) => self.write(write),
                Action::Reply { ticket, reply } => self.reply(ticket, reply),
                Action::Claim { claim, what } => self.disk.claim(&mut self.engine, claim, what),
                Action::Fetch { serial, playlist } => self.fetch(serial, playlist),
                Action::Open { leg, serial, to } => self.open(leg, serial, to),
                Action::Dial { leg } => self.dial(leg),
                Action::Acknowledge { leg } => self.acknowledge(leg),
                Action::Record { leg } => self.record(leg),
                Action::Play { leg, play } => self.play(leg, play),
                Action::HangUp { leg } => self.hang_up(leg),
                Action::Resume { leg, serial, wire, media, resend_until } => {
                    self.resume(leg, serial, &wire, media, resend_until);
                }
                Action::Abandon { leg, serial, wire } => self.abandon(leg, serial, &wire),
                Action::HangUpStored { leg, serial, dialog } => {
                    self.hang_up_stored(leg, serial, &dialog);
                }
                Action::TrunkHealth { trunk, works: true } => {
                    tracing::info!(%trunk, "the trunk takes calls again");
                }
                Action::TrunkHealth { trunk, works: false } => {
                    tracing::warn!(%trunk, "the trunk asked for rest or was silent: its calls wait or go elsewhere");
                }
                Action::Forget { serial } => {
                    self.fetched.remove(&serial);
                }
            }
        }
    }

    fn write(&mut self, write: Write) {
        if let Write::Ended(cdr) = &write {
            self.notes.end(cdr.intent.serial, self.clock.now().since_start);
        }
        self.disk.add(write);
    }

    /// Clips in memory are there at once; others are read or spoken meanwhile.
    fn fetch(&mut self, serial: Serial, playlist: Vec<PlayItem>) {
        let Some(tenant) = self.engine.intent(serial).map(|intent| intent.tenant) else { return };
        if let Some(clips) = self.clips.cached(tenant, &playlist) {
            return self.happened(Happening::Fetched { serial, clips: Ok(clips) });
        }
        let (clips, happenings) = (self.clips.clone(), self.happenings.clone());
        tokio::spawn(async move {
            let clips = clips.fetch(tenant, &playlist).await;
            happenings.send(Happening::Fetched { serial, clips }).await;
        });
    }
}
