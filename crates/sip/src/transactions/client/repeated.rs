//! Requests that are sent again: in their intervals, after a standstill of this process, and a CANCEL that found nothing.

use std::time::{Duration, Instant};

use super::{Client, ClientKey, Failure, NewClient, Owner, State, cancel_of};
use crate::{
    stack::Stack,
    timers::{ClientTimer, STOOD_STILL, T2, TimerKey},
};

impl Stack {
    /// Where this process stood still, the silence was its own: what may be sent again gets its whole time anew.
    pub(super) fn time_is_over(&mut self, key: ClientKey) -> Option<(Owner, Failure)> {
        let client = self.clients.live.remove(&key)?;
        self.stop_resending(&client.state);
        let Client { owner, is_invite, bytes, to, state, .. } = client;
        let State::Sent { resend: Some(resend), give_up, was_late, .. } = state else {
            return Some((owner, Failure::Timeout));
        };
        let is_missing = resend.at() < give_up.at();
        match is_invite {
            true if is_missing || was_late => Some((owner, Failure::NotRepeated)),
            false if is_missing => {
                self.start_client(NewClient { key, owner, is_invite, bytes, to });
                None
            }
            _ => Some((owner, Failure::Timeout)),
        }
    }

    pub(super) fn resend_request(&mut self, key: ClientKey, at: Instant) {
        let Some(client) = self.clients.live.get_mut(&key) else {
            return;
        };
        let State::Sent { interval, resend, give_up, was_late, .. } = &mut client.state else {
            return;
        };
        let late = resend.map_or(Duration::ZERO, |due| at.saturating_duration_since(due.at()));
        if late > STOOD_STILL {
            *was_late = true;
            if !client.is_invite {
                // The time that it stood still is no part of the request's.
                self.timers.cancel(*give_up);
                let until = give_up.at() + late;
                *give_up = self.timers.set(until, TimerKey::Client(key, ClientTimer::GiveUp));
            }
        }
        // A doubles without bound, E up to T2 (RFC 3261 §17.1.1.2, §17.1.2.2).
        *interval *= 2;
        if !client.is_invite {
            *interval = (*interval).min(T2);
        }
        *resend = (*interval <= client.longest_interval)
            .then(|| self.timers.set(at + *interval, TimerKey::Client(key, ClientTimer::Resend)));
        let (leg, to, bytes) = (client.owner.leg(), client.to, client.bytes.clone());
        self.transmit(leg, to, bytes);
    }

    /// The far side has no INVITE for this CANCEL (RFC 3261 §9.2). It may come over a connection that is older and
    /// slower, and its responses with it. A second CANCEL over UDP would be a copy and get the same answer.
    pub(super) fn cancel_again(&mut self, cancel: ClientKey) {
        let Some(bytes) = self.clients.live.get(&cancel).map(|client| client.bytes.clone()) else {
            return;
        };
        let invite = ClientKey { is_cancel: false, ..cancel };
        if let Some(client) = self.clients.live.get_mut(&invite)
            && client.to.transport.is_reliable()
        {
            client.cancel = Some(bytes);
            self.client_timer(invite, ClientTimer::CancelAgain, T2);
        }
    }

    pub(super) fn cancel_client_again(&mut self, key: ClientKey) {
        let Some(client) = self.clients.live.get(&key) else { return };
        if let (State::Sent { .. } | State::Proceeding, Some(leg)) =
            (&client.state, client.owner.leg())
        {
            let cancel = client.cancel.clone().unwrap_or_else(|| cancel_of(&client.bytes));
            self.cancel_client(key, leg, cancel, client.to);
        }
    }
}
