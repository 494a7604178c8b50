//! A tenant keeps a stretch of a call out of its recording (card data), and lets the recording go on.
//!
//! The reply comes when `media` has done it and the log says so: who has it may ask for the card's number. A crash
//! cannot resume what was paused, for it ends the call and with it the recording.

use std::collections::VecDeque;

use super::{Engine, Mode};
use crate::action::Action;
use crate::cdr::Recording;
use crate::events::EventKind;
use crate::request::{RecordingSwitch, Refusal, Reply, Ticket};
use crate::vocabulary::{LegId, Now, Serial, TenantId};

/// Switches of one call that may be under way.
const AT_A_TIME: usize = 16;

/// Who waits for `media`, in the order of its answers; with what the log is to say, where anything changes.
#[derive(Debug, Default)]
pub(super) struct Switches(VecDeque<(Ticket, Option<EventKind>)>);

impl Engine {
    /// Whether a stretch of the call is being kept out of its recording.
    pub fn is_recording_paused(&self, serial: Serial) -> bool {
        let call = self.calls.get(&serial);
        call.is_some_and(|call| matches!(call.room.draft().recording, Recording::Paused(_)))
    }

    pub(super) fn switch_recording(
        &mut self,
        ticket: Ticket,
        tenant: TenantId,
        serial: Serial,
        switch: RecordingSwitch,
    ) {
        if self.mode == Mode::Broken {
            return self.refuse(ticket, Refusal::Stopping);
        }
        let call = self.calls.get_mut(&serial);
        let call = call.filter(|call| call.room.draft().intent.tenant == tenant);
        let Some(call) = call else {
            return self.gate.now(Action::Reply { ticket, reply: Reply::NotFound });
        };
        let recording = &mut call.room.draft_mut().recording;
        let (Recording::Running(leg) | Recording::Paused(leg)) = *recording else {
            return self.gate.now(Action::Reply { ticket, reply: Reply::NotRecording });
        };
        let (wanted, said) = match switch {
            RecordingSwitch::Pause => (Recording::Paused(leg), EventKind::RecordingPaused { leg }),
            RecordingSwitch::Resume => {
                (Recording::Running(leg), EventKind::RecordingResumed { leg })
            }
        };
        if call.switches.0.len() >= AT_A_TIME {
            return self.refuse(ticket, Refusal::QueueFull { retry_after_s: 1 });
        }
        let changes = *recording != wanted;
        *recording = wanted;
        call.switches.0.push_back((ticket, changes.then_some(said)));
        self.gate.act(serial, Action::SwitchRecording { leg, switch });
    }

    pub(super) fn recording_switched(&mut self, leg: LegId, now: Now) {
        let Some(serial) = self.legs.get(&leg).map(|owner| owner.serial) else { return };
        let Some(call) = self.calls.get_mut(&serial) else { return };
        let tenant = call.room.draft().intent.tenant;
        let Some((ticket, said)) = call.switches.0.pop_front() else { return };
        let reply = Action::Reply { ticket, reply: Reply::RecordingSwitched };
        match said {
            Some(_) if self.mode == Mode::Broken => self.refuse(ticket, Refusal::Stopping),
            Some(said) => {
                self.event(tenant, serial, said, None, now);
                self.gate.reply_after(self.gate.open_batch(), reply);
            }
            None => self.gate.now(reply),
        }
    }

    /// The call ended before `media` could say anything.
    pub(super) fn forget_switches(&mut self, switches: Switches) {
        for (ticket, _) in switches.0 {
            self.gate.now(Action::Reply { ticket, reply: Reply::NotFound });
        }
    }
}
