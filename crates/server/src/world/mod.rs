//! A simulated world (T-9, T-10, T-3): the driver, engine, gate and backlog of `offhook serve`, its SIP
//! core, its callback schedule and its store in memory, in virtual time, on one thread. A carrier made
//! of the same SIP core rings people over a bad line; the server dies, stands still and starts again;
//! the wall clock jumps; the receiver of callbacks goes away for days.
//!
//! Everything comes from the seed, so that a world repeats itself to the byte. Whatever befalls it, the
//! promises hold (`invariants.rs`). A seed that failed once stands in `seeds_that_failed.txt` and is run
//! for ever.

mod agenda;
mod callers;
mod cast;
mod clients;
mod courier;
mod disk;
mod far_side;
mod habits;
mod invariants;
mod link;
mod nature;
mod orders;
mod planted;
mod ports;
mod reach;
mod receiver;
mod script;
mod seeds;
mod server;
mod settings;
mod streams;
mod trouble;
mod two_parties;
mod virtual_numbers;
mod witness;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use engine::events::EventKind;
use engine::vocabulary::Serial;
use sip::LegId;
use store::{Scope, Store};

use crate::driver::Happening;
use agenda::Agenda;
use callers::Callers;
use cast::{
    CALLERS, Charter, FRAGILE, FRAGILE_PLACE, LINE, PHONES, REGISTERED, STREAM, Side, address,
};
use clients::Clients;
use far_side::FarSide;
use link::{Arrived, Link, Weather};
use nature::{Nature, at_once};
use planted::Planted;
use receiver::{Mood, Receiver};
use script::{BAD, Blow, PhoneDoes, down_time, longest_absence, script};
use server::{Around, Fuse, Kind, Server};
use trouble::Trouble;
use witness::Witness;

/// After the last blow every call is over within this time: the longest wait in the queue, the longest
/// call, and what SIP takes to give up.
const CALLS_END: Duration = Duration::from_secs(600);

/// Steps within one moment; more is a storm.
const STEPS_AT_ONCE: u32 = 2_000;

/// A code that was good when the wall clock was set back by an hour is good for so much longer.
const CODES_END: Duration = Duration::from_secs(3_600);

/// A CANCEL that nothing answers is given up after this time (timer F): whoever was away for longer stops ringing of
/// itself.
const CANCELLED_FOR: Duration = Duration::from_secs(32);

/// Softphones are there for so long after the bad minute.
const WORK_ENDS: Duration = Duration::from_secs(40);

pub struct World {
    kind: Kind,
    nature: Nature,
    link: Link,
    /// The carrier, then softphones, then those who call in.
    far: Vec<FarSide>,
    callers: Callers,
    trouble: Trouble,
    receiver: Receiver,
    witness: Witness,
    clients: Clients,
    store: Store,
    /// `None` while it is down; then a restart stands among the blows.
    server: Option<Server>,
    asleep_until: Duration,
    blows: Agenda<Blow>,
    /// The receiver is away for so long after the 60 s that the world is bad.
    absence: Duration,
    steps_at_once: u32,
    /// Legs that had to end within a second of their other.
    ended_soon: Cell<u32>,
}

impl World {
    pub fn new(charter: Charter, seed: u64) -> World {
        World::with(charter, seed, None)
    }

    /// With a fault in its server.
    pub fn with(charter: Charter, seed: u64, planted: Option<Planted>) -> World {
        let mut nature = Nature::new(seed);
        let challenged = nature.dice.percent(40);
        let calls = 4 + nature.dice.below(22);
        let carrier_seed = nature.dice.next();
        let mut far = vec![FarSide::carrier(charter, carrier_seed, challenged, &nature)];
        let mut callers = Callers::default();
        if charter.has_every_kind() {
            let phones = PHONES.iter().enumerate();
            let phones = phones.map(|(index, seat)| (Side::Phone(index as u8), seat));
            let others = CALLERS.iter().enumerate();
            let others = others.map(|(index, seat)| (Side::Caller(index as u8), seat));
            let seats = phones.chain(others);
            far.extend(seats.map(|(side, seat)| FarSide::seated(charter, side, seat, &mut nature)));
            callers = Callers::new(&mut nature.dice);
        }
        let clients = Clients::new(charter, calls, &mut nature.dice);
        World {
            kind: Kind { charter, challenged, planted },
            link: Link::default(),
            far,
            callers,
            trouble: Trouble::default(),
            receiver: Receiver::default(),
            witness: Witness::default(),
            clients,
            store: Store::memory(),
            server: None,
            asleep_until: Duration::ZERO,
            blows: script(charter, &mut nature.dice),
            absence: longest_absence(charter, &mut nature.dice),
            steps_at_once: 0,
            ended_soon: Cell::new(0),
            nature,
        }
    }

    /// The bad minute, the time until all is quiet, and the same once more with every place taken.
    pub fn run(&mut self) {
        self.start_server();
        while self.nature.now < BAD || !self.blows.is_empty() {
            self.step();
        }
        self.calm();
        let calls_end = match self.kind.charter {
            Charter::Notifications => CALLS_END,
            Charter::EveryKind | Charter::Silence => CALLS_END + CODES_END,
        };
        self.run_until(self.nature.now + calls_end, "every call is over", World::calls_are_over);
        let tries_end = self.nature.now + self.absence + Duration::from_secs(30 * 3600);
        self.run_until(tries_end, "all is quiet", World::is_quiet);
        invariants::hold(self);
        self.every_place_is_free_again([LINE, REGISTERED]);
        if self.kind.charter.has_every_kind() {
            self.every_place_is_free_again([STREAM, FRAGILE]);
        }
    }

    pub fn sum(&self) -> u64 {
        self.nature.tape.sum()
    }

    /// What it has seen of what worlds are for.
    pub fn reached(&self) -> BTreeSet<&'static str> {
        match self.kind.charter {
            Charter::Notifications => BTreeSet::new(),
            Charter::EveryKind | Charter::Silence => reach::reached(self),
        }
    }

    pub fn last_lines(&self) -> String {
        self.nature.tape.last_lines()
    }

    fn step(&mut self) {
        let server = self.server.as_ref().and_then(|server| server.next(&self.nature));
        let server = server.map(|at| at.max(self.asleep_until));
        let others =
            [self.link.next(), self.clients.next(), self.blows.next(), self.callers.next()];
        let far = self.far.iter().filter_map(|far| far.next(&self.nature));
        let next = others.into_iter().flatten().chain(far).chain(server);
        // A world in which nothing is to happen still grows older.
        let next = next.min().unwrap_or(self.nature.now + Duration::from_secs(1));
        self.steps_at_once = if next > self.nature.now { 0 } else { self.steps_at_once + 1 };
        assert!(self.steps_at_once < STEPS_AT_ONCE, "a storm: {STEPS_AT_ONCE} steps in one moment");
        self.nature.now = self.nature.now.max(next);

        if let Some(blow) = self.blows.take(self.nature.now) {
            self.strike(blow);
        }
        while let Some(arrived) = self.link.arrived(&mut self.nature) {
            self.deliver(arrived);
        }
        for far in &mut self.far {
            if far.next(&self.nature).is_some_and(|at| at <= self.nature.now) {
                far.step(&mut self.link, &mut self.nature);
            }
        }
        self.let_people_cross();
        self.let_callers_call();
        self.let_clients_ask();
        self.let_server_work();
        let fine = self.link.is_fine() && self.server.is_some() && self.is_awake();
        self.trouble.sees(fine, self.nature.now);
    }

    fn is_awake(&self) -> bool {
        self.asleep_until <= self.nature.now
    }

    fn deliver(&mut self, arrived: Arrived) {
        if let Arrived::Lost(..) | Arrived::Undeliverable(..) = arrived {
            // Perhaps long after the connection broke: somebody wrote to it only now, and that is lost.
            self.trouble.expect(self.nature.now);
        }
        let to = arrived.to();
        if to == Side::Server {
            if let Some(server) = &mut self.server {
                server.receives(arrived);
            }
            return;
        }
        let far = self.far.iter_mut().find(|far| far.side == to).expect("it is in the cast");
        far.takes(arrived, &mut self.link, &mut self.nature);
    }

    fn let_callers_call(&mut self) {
        while let Some((side, errand)) = self.callers.take(self.nature.now) {
            let far = self.far.iter_mut().find(|far| far.side == side).expect("it is in the cast");
            far.dial(errand, &mut self.link, &mut self.nature);
        }
    }

    /// Who leaves in the very moment in which the other answers.
    fn let_people_cross(&mut self) {
        let answered: Vec<u64> =
            self.far.iter_mut().flat_map(|far| std::mem::take(&mut far.answered)).collect();
        if !self.kind.charter.has_every_kind() {
            return;
        }
        for serial in answered {
            if !self.nature.dice.percent(8) {
                continue;
            }
            for (index, leg) in self.legs_of(Serial(serial)) {
                self.far[index].leaves(leg, &mut self.nature);
            }
        }
    }

    /// The legs of a call that are not over, as the far sides have them.
    fn legs_of(&self, serial: Serial) -> Vec<(usize, LegId)> {
        let events = at_once(self.store.events_of(Scope::All, serial)).expect("it is readable");
        let arrived = events.iter().filter_map(|(_, event)| match &event.kind {
            EventKind::Arrived { leg, .. } => self.witness.call_id_of(*leg),
            _ => None,
        });
        let arrived: Vec<&str> = arrived.collect();
        let mut legs = Vec::new();
        for (index, far) in self.far.iter().enumerate() {
            let rung = far.dialogs.iter().filter(|(_, of)| of.serial == serial.0);
            let rung = rung.filter(|(_, of)| of.ended.is_none()).map(|(leg, _)| (index, *leg));
            let calls = far.calls.iter().filter(|(_, of)| arrived.contains(&&*of.call_id));
            let calls = calls.filter(|(_, of)| of.ended.is_none()).map(|(leg, _)| (index, *leg));
            legs.extend(rung.chain(calls));
        }
        legs
    }

    fn let_clients_ask(&mut self) {
        let awake = self.is_awake();
        let mut server = self.server.as_mut().filter(|_| awake);
        let store = server.as_ref().map(|server| server.store().clone());
        let asks = self.clients.step(store.as_ref(), &mut self.nature);
        for ask in asks {
            let Some(server) = &mut server else { continue };
            if let Some(bound) = server.is_asked(ask, &self.nature) {
                self.callers.are_bound(&bound, &mut self.nature);
            }
        }
        for call in std::mem::take(&mut self.clients.codes) {
            self.callers.have(&call, &mut self.nature);
        }
    }

    fn let_server_work(&mut self) {
        let now = self.nature.now;
        let Some(server) = &mut self.server else { return };
        let is_due = server.next(&self.nature).is_some_and(|at| at <= now);
        if !is_due || self.asleep_until > now {
            return;
        }
        server.step(&mut Around {
            nature: &mut self.nature,
            link: &mut self.link,
            receiver: &mut self.receiver,
            witness: &mut self.witness,
        });
        for (from, until) in server.waited_for_disk() {
            self.trouble.lasts(from, until);
        }
        let is_over = server.is_dead() || server.has_ended();
        self.clients.listen(&mut self.nature);
        if is_over {
            self.server_is_gone();
        }
    }

    fn strike(&mut self, blow: Blow) {
        let now = self.nature.now;
        self.nature.say(format_args!("{blow:?}"));
        match blow {
            Blow::Line(weather) => {
                self.link.turn(weather, &mut self.nature);
                if matches!(weather, Weather::Cut) {
                    let at = self.nature.in_ms(100, 8_000);
                    self.blows.put(at, Blow::Line(Weather::Fine));
                }
            }
            Blow::Receiver(mood) => self.receiver.turn(mood, &mut self.nature),
            Blow::Kill => self.server_is_gone(),
            Blow::KillAfter(things) => {
                if let Some(server) = &mut self.server {
                    server.light(Fuse::Left(things));
                }
            }
            Blow::Restart if self.server.is_none() => self.start_server(),
            Blow::Restart => {}
            Blow::Pause(long) => self.asleep_until = now + long,
            Blow::Stop => {
                if let Some(server) = &mut self.server {
                    server.is_told(Happening::Drain, &self.nature);
                    self.blows.put(now + Duration::from_secs(5), Blow::HangUpAll);
                }
            }
            Blow::HangUpAll => {
                if let Some(server) = self.server.as_mut().filter(|server| server.is_stopping()) {
                    server.is_told(Happening::HangUpAll, &self.nature);
                }
            }
            Blow::DiskFails if self.server.is_none() => {}
            Blow::DiskFails => {
                let Store::Memory(memory) = &self.store else { panic!("this world has no disk") };
                memory.fail("the disk of this world is broken");
            }
            Blow::WallClock { by_ms } => self.nature.move_wall_clock(by_ms),
            Blow::Registrations { taken } => self.far[0].takes_registrations = taken,
            Blow::BreaksConnection { half } => {
                self.trouble.expect(now);
                self.link.break_one(half, &mut self.nature);
            }
            Blow::FragileDies(long) => {
                self.trouble.expect(now);
                self.link.bury(address(FRAGILE_PLACE).ip());
                self.blows.put(now + long, Blow::FragileReturns(long));
            }
            Blow::FragileReturns(after) => {
                self.trouble.expect(now);
                self.link.revive(address(FRAGILE_PLACE).ip());
                if after > CANCELLED_FOR {
                    let place = address(FRAGILE_PLACE);
                    self.far[0].stops_ringing_at(place, &mut self.link, &mut self.nature);
                }
            }
            Blow::Phone(phone, does) => self.phone(phone, does),
        }
    }

    fn phone(&mut self, phone: u8, does: PhoneDoes) {
        let side = Side::Phone(phone);
        let far = self.far.iter_mut().find(|far| far.side == side);
        let Some(far) = far else { return };
        let ip = far.address().ip();
        match does {
            PhoneDoes::Registers => {
                if self.link.revive(ip) {
                    // Its connections did not survive it.
                    self.link.hang_up(side, &mut self.nature);
                    self.link.come_up(side);
                }
                far.registers(&mut self.link, &mut self.nature);
            }
            PhoneDoes::GoesHome => far.goes_home(&mut self.link, &mut self.nature),
            PhoneDoes::Dies(long) => {
                self.trouble.expect(self.nature.now);
                self.link.bury(ip);
                let at = self.nature.now + long;
                self.blows.put(at, Blow::Phone(phone, PhoneDoes::Registers));
            }
        }
    }

    fn start_server(&mut self) {
        let mut around = Around {
            nature: &mut self.nature,
            link: &mut self.link,
            receiver: &mut self.receiver,
            witness: &mut self.witness,
        };
        around.link.come_up(Side::Server);
        self.server = Some(Server::start(self.store.clone(), self.kind, &mut around));
    }

    /// What it had not brought to its disk is lost.
    fn server_is_gone(&mut self) {
        let Some(server) = self.server.take() else { return };
        let Store::Memory(memory) = &self.store else { panic!("this world has no disk") };
        self.store = memory.crash();
        drop(server);
        if self.kind.charter.has_every_kind() {
            self.link.hang_up(Side::Server, &mut self.nature);
        }
        self.clients.listen(&mut self.nature);
        self.asleep_until = Duration::ZERO;
        let long = down_time(&mut self.nature.dice);
        self.nature.say(format_args!("the server is gone, for {long:?}"));
        self.blows.put(self.nature.now + long, Blow::Restart);
    }

    /// From now on nothing more befalls the world, except that the receiver may be away.
    fn calm(&mut self) {
        self.link.turn(Weather::Fine, &mut self.nature);
        self.link.revive_all();
        self.far[0].takes_registrations = true;
        if self.kind.charter.has_every_kind() {
            for phone in 0..PHONES.len() {
                let goes_home = Blow::Phone(phone as u8, PhoneDoes::GoesHome);
                self.blows.put(self.nature.now + WORK_ENDS, goes_home);
            }
        }
        if let Some(server) = &mut self.server {
            server.light(Fuse::Endless);
        }
        let away = if self.absence.is_zero() { Mood::Takes } else { Mood::Away };
        self.receiver.turn(away, &mut self.nature);
        if !self.absence.is_zero() {
            let until = self.nature.now + self.absence;
            self.blows.put(until, Blow::Receiver(Mood::Takes));
        }
    }

    fn run_until(&mut self, limit: Duration, what: &str, holds: fn(&World) -> bool) {
        while !holds(self) {
            assert!(
                self.nature.now < limit,
                "not within its time: {what}; {}",
                self.what_is_left()
            );
            self.step();
        }
    }

    fn what_is_left(&self) -> String {
        format!(
            "server {:?}, clients done: {}, legs and transactions of the far sides {:?}, waiting {:?}",
            self.server.as_ref().map(Server::what_is_left),
            self.clients.are_done(),
            self.far.iter().map(FarSide::load).collect::<Vec<_>>(),
            at_once(self.store.waiting()),
        )
    }

    fn calls_are_over(&self) -> bool {
        let over = |server: &Server| server.is_quiet() && !server.has_ended();
        self.server.as_ref().is_some_and(over)
            && self.clients.are_done()
            && self.far.iter().all(|far| far.load() == (0, 0))
            && self.callers.next().is_none()
            && self.blows_are_over()
            && at_once(self.store.waiting()).expect("it is readable").is_empty()
    }

    /// But for the receiver, who may come back days later.
    fn blows_are_over(&self) -> bool {
        !self.kind.charter.has_every_kind()
            || self.blows.all().all(|blow| matches!(blow, Blow::Receiver(_)))
    }

    fn is_quiet(&self) -> bool {
        let no_callback_waits =
            || at_once(self.store.next_callback_ms()).expect("it is readable").is_none();
        self.calls_are_over() && self.link.next().is_none() && no_callback_waits()
    }

    /// As many calls as may be up at once are ordered, and none of them waits.
    fn every_place_is_free_again(&mut self, trunks: [&str; 2]) {
        self.far[0].everyone_is_slow = true;
        self.clients.take_every_place(self.nature.now, trunks);
        self.run_until(self.nature.now + CALLS_END, "the last calls are over", World::is_quiet);
        invariants::hold(self);
        invariants::nothing_waited(self);
    }
}
