//! Which legs hear each other, and the way of a packet from one to the other. The legs' own code runs guarded, one leg at a
//! time: a panic in one costs its partner nothing but what it would have heard.

use std::time::Duration;

use super::{Worker, guarded};
use crate::codec::Codec;
use crate::command::LegId;
use crate::event::{Event, MediaFault};
use crate::leg::{Context, Leg, Receipt};

impl Worker {
    pub(super) fn bridge(&mut self, leg: LegId, with: LegId) {
        if let Err(fault) = self.may_link(with, leg) {
            return self.fail(leg, fault);
        }
        self.link(with, leg);
        self.link(leg, with);
        let relayed = match (self.codec(leg), self.codec(with)) {
            (Some(one), Some(other)) => one == other,
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        self.out.push(Event::Bridged { leg, with, relayed });
    }

    pub(super) fn forward(&mut self, from: LegId, to: LegId) {
        match self.may_link(from, to) {
            Ok(()) => self.link(from, to),
            Err(fault) => self.fail(to, fault),
        }
    }

    pub(super) fn unbridge(&mut self, leg: LegId) {
        if self.legs.contains(leg) {
            self.detach(leg);
        } else {
            self.fail(leg, MediaFault::UnknownLeg);
        }
    }

    /// Unties a leg that is about to go, or shall be alone. Without this its socket would stay watched.
    pub(super) fn detach(&mut self, id: LegId) {
        let Some(leg) = self.legs.find(id) else { return };
        let (hears, heard_by) = (leg.hears(), leg.heard_by());
        if let Some(other) = hears {
            self.unlink(other, id);
        }
        if let Some(other) = heard_by {
            self.unlink(id, other);
        }
    }

    /// Waits until something is due or comes, and passes on what came.
    pub(super) fn wait_and_pass_on(&mut self, limit: Duration) {
        self.poller.wait(limit);
        for index in 0..self.poller.ready_count() {
            let id = self.poller.ready(index);
            let Some(leg) = self.legs.find(id) else { continue };
            let mut cx = Context {
                shared: &self.shared,
                batch: &mut self.batch,
                out: &mut self.out,
                crossings: &mut self.crossings,
            };
            if guarded(|| leg.receive_rtp(&mut cx)).is_err() {
                self.panicked.push(id);
            } else if leg.is_flooded() && leg.receipt() == Receipt::OnArrival {
                leg.be_heard_by(leg.heard_by(), Receipt::Flooded);
                self.poller.forget(leg.rtp_socket());
            }
            self.deliver();
        }
        self.bury();
    }

    /// Hands over what legs have received for others.
    pub(super) fn deliver(&mut self) {
        for crossing in self.crossings.waiting() {
            let Some(leg) = self.legs.find(crossing.to) else { continue };
            if !self.panicked.contains(&crossing.to) && guarded(|| leg.cross(crossing)).is_err() {
                self.panicked.push(crossing.to);
            }
        }
        self.crossings.clear();
    }

    /// Takes away the legs that have panicked.
    pub(super) fn bury(&mut self) {
        while let Some(leg) = self.panicked.pop() {
            self.remove_panicked(leg);
        }
    }

    fn may_link(&mut self, from: LegId, to: LegId) -> Result<(), MediaFault> {
        if from == to {
            return Err(MediaFault::WithItself);
        }
        if !self.legs.contains(to) {
            return Err(MediaFault::UnknownLeg);
        }
        if self.legs.contains(from) {
            return Ok(());
        }
        match self.placement.lives_elsewhere(from, self.index) {
            true => Err(MediaFault::NotBeside),
            false => Err(MediaFault::PartnerGone),
        }
    }

    /// `to` hears `from`, and nobody else hears the one or is heard by the other. Both exist.
    fn link(&mut self, from: LegId, to: LegId) {
        let heard_by = self.legs.find(from).and_then(|leg| leg.heard_by());
        if let Some(other) = heard_by.filter(|&other| other != to) {
            self.unlink(from, other);
        }
        let hears = self.legs.find(to).and_then(|leg| leg.hears());
        if let Some(other) = hears.filter(|&other| other != from) {
            self.unlink(other, to);
        }
        if heard_by != Some(to)
            && let Some(leg) = self.legs.find(from)
        {
            leg.be_heard_by(Some(to), Receipt::AtTick);
            self.watch(from);
        }
        self.with_leg(to, |leg, cx| {
            leg.stop_play(cx);
            leg.hear(Some(from));
            Ok(())
        });
    }

    fn unlink(&mut self, from: LegId, to: LegId) {
        if let Some(leg) = self.legs.find(from)
            && leg.heard_by() == Some(to)
        {
            if leg.receipt() == Receipt::OnArrival {
                self.poller.forget(leg.rtp_socket());
            }
            leg.be_heard_by(None, Receipt::AtTick);
        }
        if let Some(leg) = self.legs.find(to)
            && leg.hears() == Some(from)
        {
            leg.hear(None);
        }
    }

    /// What comes to this leg is taken as it comes. Where the system refuses that, it is taken at the leg's ticks.
    pub(super) fn watch(&mut self, id: LegId) {
        let Some(leg) = self.legs.find(id) else { return };
        match self.poller.watch(id, leg.rtp_socket()) {
            Ok(()) => leg.be_heard_by(leg.heard_by(), Receipt::OnArrival),
            Err(error) => tracing::warn!(%error, "a bridged leg's packets wait for its ticks"),
        }
    }

    fn codec(&mut self, leg: LegId) -> Option<Codec> {
        self.legs.find(leg).and_then(|leg| Leg::codec(leg))
    }
}
