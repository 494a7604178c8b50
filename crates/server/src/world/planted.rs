//! Faults that are planted into the server of a world: what a wrong product would do. A world that does not
//! notice them proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use engine::intent::OrderKind;
use sip::{Command, LegId};
use store::{Recovery, Scope, Store};

use super::World;
use super::cast::{CUSTOMER, Charter};
use super::nature::at_once;
use super::witness::serial_of;
use crate::driver::Wanted;
use crate::log::message;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The customer is dialled before the manager's 200 is on disk.
    CustomerAtOnce,
    /// The next caller who comes with a used code is connected as well.
    CodeTwice,
    /// A wrong code rings.
    WrongCodeRings,
    /// The customer's leg is not ended with the manager's.
    OtherLegStays,
    /// After a crash legs that were up or out are forgotten, and the call is dialled.
    LegsForgotten,
    /// A port is not given back.
    PortKept,
}

/// What is planted, and what it has to know of the calls.
#[derive(Default)]
pub struct Saboteur {
    planted: Option<Planted>,
    /// The numbers that calls from outside were for.
    numbers: BTreeMap<u64, String>,
    used: BTreeSet<String>,
    customers: BTreeSet<LegId>,
}

impl Saboteur {
    pub fn new(planted: Option<Planted>) -> Saboteur {
        Saboteur { planted, ..Saboteur::default() }
    }

    pub fn sees_caller(&mut self, leg: LegId, number: &str) {
        if self.planted.is_some() {
            self.numbers.insert(leg.0, number.to_owned());
        }
    }

    /// What is done in place of what the driver wants.
    pub fn does(&mut self, wanted: Wanted, store: &Store) -> Vec<Wanted> {
        let Some(planted) = self.planted else { return vec![wanted] };
        match (&wanted, planted) {
            (Wanted::Media(media::Command::Answer { leg, .. }), _) => {
                self.used.extend(self.numbers.get(&leg.0).cloned());
            }
            (Wanted::Sip(Command::Prepare(invite)), _) if is_customer(invite, store) => {
                self.customers.insert(invite.leg);
                if planted == Planted::CustomerAtOnce {
                    let leg = invite.leg;
                    return vec![wanted, Wanted::Sip(Command::Send { leg })];
                }
            }
            (Wanted::Sip(Command::TurnAway { leg }), _) => {
                let was_used = self.numbers.get(&leg.0).is_some_and(|of| self.used.contains(of));
                let leg = *leg;
                match (planted, was_used) {
                    (Planted::CodeTwice, true) => {
                        let body = Some(sip::Body::sdp("our answer"));
                        return vec![Wanted::Sip(Command::Answer { leg, body })];
                    }
                    (Planted::WrongCodeRings, false) => {
                        return vec![Wanted::Sip(Command::Ring { leg, body: None }), wanted];
                    }
                    _ => {}
                }
            }
            (Wanted::Sip(Command::HangUp { leg, .. }), Planted::OtherLegStays)
                if self.customers.contains(leg) =>
            {
                return Vec::new();
            }
            (Wanted::Media(media::Command::Close { .. }), Planted::PortKept) => {
                return Vec::new();
            }
            _ => {}
        }
        vec![wanted]
    }

    pub fn forgets(&self, found: &mut Recovery) {
        if self.planted == Some(Planted::LegsForgotten) {
            for unfinished in &mut found.unfinished_started {
                unfinished.legs.clear();
            }
        }
    }
}

/// Of a call of two parties.
fn is_customer(invite: &sip::Invite, store: &Store) -> bool {
    let serial = serial_of(&invite.call_id).expect("ours begin with the serial");
    let intent = at_once(store.intent(Scope::All, serial)).expect("it is readable");
    let kind = intent.map(|(intent, _)| intent.order.kind);
    let two = !matches!(kind, Some(OrderKind::VoiceNotification { .. }) | None);
    two && invite.request_uri.user().starts_with(CUSTOMER)
}

/// In so many worlds each of them is to be found.
const WORLDS: u64 = 60;

#[test]
fn planted_faults_are_found() {
    let all = [
        (Planted::CustomerAtOnce, "before the manager"),
        (Planted::CodeTwice, "connects a second time"),
        (Planted::WrongCodeRings, "wrong code"),
        (Planted::OtherLegStays, "the other leg of"),
        (Planted::LegsForgotten, "P3"),
        (Planted::PortKept, "not within its time"),
    ];
    for (planted, words) in all {
        let found =
            (1..=WORLDS).find(|seed| fault(planted, *seed).is_some_and(|f| f.contains(words)));
        println!("{planted:?}: found in world {found:?}");
        assert!(found.is_some(), "{planted:?} was not found in {WORLDS} worlds");
    }
}

fn fault(planted: Planted, seed: u64) -> Option<String> {
    let mut world = World::with(Charter::EveryKind, seed, Some(planted));
    let panic = catch_unwind(AssertUnwindSafe(|| world.run())).err()?;
    Some(message(&*panic).to_owned())
}
