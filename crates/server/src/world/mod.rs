//! A simulated world (T-9, T-10, T-3): the driver, engine, gate and backlog of `offhook serve`, its SIP
//! core, its callback schedule and its store in memory, in virtual time, on one thread. A carrier made
//! of the same SIP core rings people over a bad line; the server dies, stands still and starts again;
//! the wall clock jumps; the receiver of callbacks goes away for days.
//!
//! Everything comes from the seed, so that a world repeats itself to the byte. Whatever befalls it, the
//! promises hold (`invariants.rs`). A seed that failed once stands in `seeds_that_failed.txt` and is run
//! for ever.

mod agenda;
mod carrier;
mod clients;
mod courier;
mod disk;
mod invariants;
mod link;
mod nature;
mod ports;
mod receiver;
mod script;
mod seeds;
mod server;
mod witness;

use std::time::Duration;

use sip::{Received, Transmit};
use store::Store;

use crate::driver::Happening;
use agenda::Agenda;
use carrier::Carrier;
use clients::Clients;
use link::{Link, Side, Weather};
use nature::{Nature, at_once};
use receiver::{Mood, Receiver};
use script::{BAD, Blow, down_time, longest_absence, script};
use server::{Around, Fuse, Server};
use witness::Witness;

/// After the last blow every call is over within this time: the longest wait in the queue, the longest
/// call, and what SIP takes to give up.
const CALLS_END: Duration = Duration::from_secs(600);

/// Steps within one moment; more is a storm.
const STEPS_AT_ONCE: u32 = 2_000;

pub struct World {
    nature: Nature,
    link: Link,
    carrier: Carrier,
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
    /// Whether the carrier asks for credentials.
    challenges: bool,
    steps_at_once: u32,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut nature = Nature::new(seed);
        let challenges = nature.dice.percent(40);
        let calls = 4 + nature.dice.below(22);
        let carrier_seed = nature.dice.next();
        World {
            link: Link::default(),
            carrier: Carrier::new(carrier_seed, challenges, &nature),
            receiver: Receiver::default(),
            witness: Witness::default(),
            clients: Clients::new(calls, &mut nature.dice),
            store: Store::memory(),
            server: None,
            asleep_until: Duration::ZERO,
            blows: script(&mut nature.dice),
            absence: longest_absence(&mut nature.dice),
            challenges,
            steps_at_once: 0,
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
        self.run_until(self.nature.now + CALLS_END, "every call is over", World::calls_are_over);
        let tries_end = self.nature.now + self.absence + Duration::from_secs(30 * 3600);
        self.run_until(tries_end, "all is quiet", World::is_quiet);
        invariants::hold(self);
        self.every_place_is_free_again();
    }

    pub fn sum(&self) -> u64 {
        self.nature.tape.sum()
    }

    pub fn last_lines(&self) -> String {
        self.nature.tape.last_lines()
    }

    fn step(&mut self) {
        let server = self.server.as_ref().and_then(|server| server.next(&self.nature));
        let server = server.map(|at| at.max(self.asleep_until));
        let others = [self.link.next(), self.clients.next(), self.blows.next()];
        let next = others.into_iter().chain([self.carrier.next(&self.nature), server]).flatten();
        // A world in which nothing is to happen still grows older.
        let next = next.min().unwrap_or(self.nature.now + Duration::from_secs(1));
        self.steps_at_once = if next > self.nature.now { 0 } else { self.steps_at_once + 1 };
        assert!(self.steps_at_once < STEPS_AT_ONCE, "a storm: {STEPS_AT_ONCE} steps in one moment");
        self.nature.now = self.nature.now.max(next);

        if let Some(blow) = self.blows.take(self.nature.now) {
            self.strike(blow);
        }
        while let Some((to, message)) = self.link.arrived(self.nature.now) {
            self.deliver(to, message);
        }
        if self.carrier.next(&self.nature).is_some_and(|at| at <= self.nature.now) {
            self.carrier.step(&mut self.link, &mut self.nature);
        }
        self.let_clients_ask();
        self.let_server_work();
    }

    fn deliver(&mut self, to: Side, message: Transmit) {
        let received = Received {
            transport: message.transport,
            local: message.remote,
            remote: message.local,
            flow: None,
            bytes: message.bytes,
        };
        match (to, &mut self.server) {
            (Side::Carrier, _) => {
                self.carrier.received(received, &mut self.link, &mut self.nature);
            }
            (Side::Server, Some(server)) => server.receives(received),
            (Side::Server, None) => {}
        }
    }

    fn let_clients_ask(&mut self) {
        let awake = self.asleep_until <= self.nature.now;
        let server = self.server.as_mut().filter(|_| awake);
        let asks = self.clients.step(server.as_ref().map(|s| s.store()), &mut self.nature);
        if let Some(server) = server {
            asks.into_iter().for_each(|ask| server.is_asked(ask));
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
            Blow::Registrations { taken } => self.carrier.takes_registrations = taken,
        }
    }

    fn start_server(&mut self) {
        let mut around = Around {
            nature: &mut self.nature,
            link: &mut self.link,
            receiver: &mut self.receiver,
            witness: &mut self.witness,
        };
        self.server = Some(Server::start(self.store.clone(), self.challenges, &mut around));
    }

    /// What it had not brought to its disk is lost.
    fn server_is_gone(&mut self) {
        let Some(server) = self.server.take() else { return };
        let Store::Memory(memory) = &self.store else { panic!("this world has no disk") };
        self.store = memory.crash();
        drop(server);
        self.clients.listen(&mut self.nature);
        self.asleep_until = Duration::ZERO;
        let long = down_time(&mut self.nature.dice);
        self.nature.say(format_args!("the server is gone, for {long:?}"));
        self.blows.put(self.nature.now + long, Blow::Restart);
    }

    /// From now on nothing more befalls the world, except that the receiver may be away.
    fn calm(&mut self) {
        self.link.turn(Weather::Fine, &mut self.nature);
        self.carrier.takes_registrations = true;
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
            "server {:?}, clients done: {}, legs and transactions of the carrier {:?}, waiting {:?}",
            self.server.as_ref().map(Server::what_is_left),
            self.clients.are_done(),
            self.carrier.load(),
            at_once(self.store.waiting()),
        )
    }

    fn calls_are_over(&self) -> bool {
        let over = |server: &Server| server.is_quiet() && !server.has_ended();
        self.server.as_ref().is_some_and(over)
            && self.clients.are_done()
            && self.carrier.load() == (0, 0)
            && at_once(self.store.waiting()).expect("it is readable").is_empty()
    }

    fn is_quiet(&self) -> bool {
        let no_callback_waits =
            || at_once(self.store.next_callback_ms()).expect("it is readable").is_none();
        self.calls_are_over() && self.link.next().is_none() && no_callback_waits()
    }

    /// As many calls as may be up at once are ordered, and none of them waits.
    fn every_place_is_free_again(&mut self) {
        self.carrier.everyone_is_slow = true;
        self.clients.take_every_place(self.nature.now);
        self.run_until(self.nature.now + CALLS_END, "the last calls are over", World::is_quiet);
        invariants::hold(self);
        invariants::nothing_waited(self);
    }
}
