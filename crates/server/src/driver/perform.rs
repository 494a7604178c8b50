//! One action of the engine after the other.

use engine::action::{Action, Claim, ClaimId};
use engine::intent::PlayItem;
use engine::vocabulary::Serial;
use engine::writes::Write;

use super::{Driver, Wanted};

impl Driver {
    /// Everything that the engine wants now, in its order.
    pub(super) fn perform(&mut self) {
        while let Some(action) = self.engine.poll() {
            match action {
                Action::Write(write) => self.write(write),
                Action::Reply { ticket, reply } => self.reply(ticket, reply),
                Action::Claim { claim, what } => self.claim(claim, what),
                Action::Fetch { serial, playlist } => self.fetch(serial, playlist),
                Action::Open { leg, serial, to } => self.open(leg, serial, to),
                Action::Dial { leg } => self.dial(leg),
                Action::Acknowledge { leg } => self.acknowledge(leg),
                Action::Record { leg } => self.record(leg),
                Action::SwitchRecording { leg, switch } => self.switch_recording(leg, switch),
                Action::Play { leg, play } => self.play(leg, play),
                Action::HangUp { leg } => self.hang_up(leg),
                Action::Resume { leg, serial, wire, media } => {
                    self.resume(leg, serial, &wire, media);
                }
                Action::Abandon { leg, serial, wire } => self.abandon(leg, serial, &wire),
                Action::HangUpStored { leg, serial, dialog } => {
                    self.hang_up_stored(leg, serial, &dialog);
                }
                Action::FindPhone { serial, number } => self.find_phone(serial, number),
                Action::TakeIn { leg, serial } => self.take_in(leg, serial),
                Action::Ring { leg } => self.ring(leg),
                Action::Progress { leg } => self.progress(leg),
                Action::Answer { leg } => self.answer(leg),
                Action::SendAnswer { leg } => self.send_answer(leg),
                Action::Refuse { leg, with } => self.refuse(leg, with),
                Action::Ringback { leg } => self.ringback(leg),
                Action::Forward { from, to } => self.forward(from, to),
                Action::Bridge { leg, with } => self.bridge(leg, with),
                Action::Watch { leg } => self.watch(leg),
                Action::SendDigit { leg, digit } => self.send_digit(leg, digit),
                Action::TrunkHealth { trunk, works: true } => {
                    tracing::info!(%trunk, "the trunk takes calls again");
                }
                Action::TrunkHealth { trunk, works: false } => {
                    tracing::warn!(%trunk, "the trunk asked for rest or was silent: its calls wait or go elsewhere");
                }
                Action::Forget { serial } => {
                    self.forget(serial);
                    self.fetched.remove(&serial);
                }
            }
        }
    }

    fn write(&mut self, write: Write) {
        if let Write::Ended(cdr) = &write {
            self.notes.end(cdr.intent.serial, self.now.since_start);
        }
        self.batches.add(write);
    }

    /// What is in the open batch is in the backlog before it is claimed.
    fn claim(&mut self, claim: ClaimId, what: Claim) {
        if let Some((batch, writes)) = self.batches.close(&mut self.engine) {
            self.wanted.push_back(Wanted::Commit { batch, writes });
        }
        let what = match what {
            Claim::Ready { tenant, route, limit } => store::Claim::Ready { tenant, route, limit },
            Claim::Expired { now_ms, limit } => store::Claim::Expired { now_ms, limit },
            Claim::One { tenant, serial } => store::Claim::One { tenant, serial },
        };
        self.wanted.push_back(Wanted::Claim { claim, what });
    }

    fn fetch(&mut self, serial: Serial, playlist: Vec<PlayItem>) {
        let Some(tenant) = self.engine.intent(serial).map(|intent| intent.tenant) else { return };
        self.wanted.push_back(Wanted::Fetch { serial, tenant, playlist });
    }
}
