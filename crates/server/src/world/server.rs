//! The server in virtual time: the very driver and SIP core of `offhook serve`, on a disk, a line and
//! ports of this world. It can die between any two things that it does.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::action::FetchFault;
use engine::{Engine, Start};
use sip::{Core, CoreConfig, CoreListener, DigestUser, Output, Policy, Transport};
use store::Store;

use super::agenda::Agenda;
use super::callers::Bound;
use super::cast::{Charter, PASSWORD, PHONES, REALM, SERVER, address};
use super::clients::{STRICT, TENANTS, limits};
use super::courier::{Courier, Posted};
use super::disk::Disk;
use super::link::{Arrived, Link};
use super::nature::{Nature, at_once};
use super::orders::TO_BE_BOUND;
use super::planted::{Planted, Saboteur};
use super::ports::Ports;
use super::receiver::Receiver;
use super::settings::{CAPACITY, tenants, trunks};
use super::virtual_numbers::VirtualNumbers;
use super::witness::Witness;
use crate::admission::Admission;
use crate::calls::{Ask, Counts};
use crate::config::Fraud;
use crate::driver::{Desk, Driver, Found, Happening, Heard, PhoneLine, Trunks, Wanted};
use crate::serve::lines;

const JOBS_EVERY: Duration = Duration::from_secs(30);

/// What is around a server.
pub struct Around<'a> {
    pub nature: &'a mut Nature,
    pub link: &'a mut Link,
    pub receiver: &'a mut Receiver,
    pub witness: &'a mut Witness,
}

pub struct Server {
    driver: Driver,
    core: Core,
    ports: Ports,
    courier: Courier,
    disk: Disk,
    virtual_numbers: VirtualNumbers,
    saboteur: Saboteur,
    store: Store,
    started: Duration,
    happens: Agenda<Happens>,
    socket: VecDeque<Arrived>,
    asked: VecDeque<Ask>,
    sip_events: VecDeque<sip::Event>,
    fuse: Fuse,
    /// When old keys are looked for next (`serve::jobs`): what meets a broken disk on an idle server.
    job_at: Duration,
}

pub enum Happens {
    Heard(Happening),
    /// The disk is through with what was asked of it first.
    Disk,
    Posted(Box<Posted>),
}

/// How many more things the process does before it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fuse {
    Endless,
    Left(u32),
}

impl Fuse {
    /// Whether the next thing may still be done.
    fn burn(&mut self) -> bool {
        match self {
            Fuse::Endless => true,
            Fuse::Left(left) => {
                *left = left.saturating_sub(1);
                *left > 0
            }
        }
    }
}

impl Server {
    pub fn start(store: Store, kind: Kind, around: &mut Around) -> Server {
        around.witness.server_starts();
        let nature = &mut *around.nature;
        let saboteur = Saboteur::new(kind.planted);
        let mut recovery = at_once(lines::recover(&store)).expect("the store is readable");
        saboteur.forgets(&mut recovery);
        let natural_keys = at_once(lines::natural_keys(&store, &[STRICT])).expect("likewise");
        nature.say(format_args!(
            "the server starts: {} unfinished, waiting {:?}",
            recovery.unfinished_started.len(),
            recovery.waiting,
        ));
        let engine = Engine::new(Start {
            node: 1,
            highest_serial: recovery.highest_serial,
            first_leg: lines::first_leg(nature.wall_ms()),
            capacity: CAPACITY,
        });
        let seed = nature.dice.next();
        let virtual_numbers = VirtualNumbers::load(&store, nature.wall_ms(), seed);
        around.witness.finds_bindings(&virtual_numbers, nature);
        let desk = Desk {
            engine,
            admission: Admission::new(Duration::from_secs(1)),
            trunks: Trunks::new(trunks(kind), b"the secret of this world"),
            tenants: tenants(kind.charter),
            fraud: Fraud::default(),
            phone_line: PhoneLine {
                host: "offhook.world".into(),
                codecs: vec![media::Codec::Pcma],
                srtp: media::Srtp::Off,
                session_expires: None,
            },
            media_timeout: Duration::from_secs(30),
            ready: Arc::default(),
            drain: Duration::from_secs(5),
        };
        let registrations = at_once(store.registrations()).expect("likewise");
        let (used_today, ita) = (Vec::new(), Vec::new());
        let found = Found { recovery, natural_keys, used_today, ita, registrations };
        let started = nature.now;
        let limits = TENANTS.map(|tenant| (tenant, limits(tenant))).to_vec();
        let config = core_config(kind.charter, &[SERVER], policy(kind.charter));
        let mut server = Server {
            driver: Driver::begin(desk, found, limits, nature.clock(started)),
            core: Core::new(config, seed, nature.instant()),
            ports: Ports::default(),
            courier: Courier::starting(nature.now),
            disk: Disk::new(store.clone()),
            virtual_numbers,
            saboteur,
            store,
            started,
            happens: Agenda::default(),
            socket: VecDeque::new(),
            asked: VecDeque::new(),
            sip_events: VecDeque::new(),
            fuse: Fuse::Endless,
            job_at: started + JOBS_EVERY,
        };
        if kind.charter.has_every_kind() {
            let command = sip::Command::SetUsers(users());
            server.core.command(command, around.nature.instant());
        }
        server.do_what_is_wanted(around);
        server
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn light(&mut self, fuse: Fuse) {
        self.fuse = fuse;
    }

    pub fn is_dead(&self) -> bool {
        self.fuse == Fuse::Left(0)
    }

    /// It has ended by itself: drained, or its disk failed.
    pub fn has_ended(&self) -> bool {
        self.driver.is_done()
    }

    /// It drains, or its disk has failed.
    pub fn is_stopping(&self) -> bool {
        self.driver.is_stopping()
    }

    pub fn receives(&mut self, arrived: Arrived) {
        self.socket.push_back(arrived);
    }

    /// As the interface does: an ITA order takes the binding of its parties along.
    pub fn is_asked(&mut self, ask: Ask, nature: &Nature) -> Option<Bound> {
        let (ask, bound) = match ask {
            Ask::Accept(request, client) if request.order.caller_present == TO_BE_BOUND => {
                // No number is free: the client is told so.
                let ordered = self.virtual_numbers.ordered(request, client, nature.wall_ms())?;
                (ordered.0, Some(ordered.1))
            }
            ask => (ask, None),
        };
        self.asked.push_back(ask);
        bound
    }

    /// When its disk took long, since the last look.
    pub fn waited_for_disk(&mut self) -> Vec<(Duration, Duration)> {
        self.disk.was_slow()
    }

    pub fn is_told(&mut self, happening: Happening, nature: &Nature) {
        self.happens.put(nature.now, Happens::Heard(happening));
    }

    pub fn next(&self, nature: &Nature) -> Option<Duration> {
        if !self.socket.is_empty() || !self.asked.is_empty() || !self.sip_events.is_empty() {
            return Some(nature.now);
        }
        let driver = self.driver.wake_at(nature.clock(self.started));
        let core = self.core.wake_at().map(|at| nature.since_begin(at));
        let others = [self.happens.next(), self.courier.next(), Some(self.job_at)];
        others.into_iter().chain([driver.map(|at| self.started + at), core]).flatten().min()
    }

    /// One turn: everything that is there now, as the driver's task takes it.
    pub fn step(&mut self, around: &mut Around) {
        self.do_jobs(around.nature);
        self.core.handle_timeout(around.nature.instant());
        self.collect(around);
        while let Some(arrived) = self.socket.pop_front() {
            if let Arrived::Message(_, received) = &arrived {
                around.witness.server_hears(&received.bytes, around.nature.now);
            }
            arrived.reach(&mut self.core, around.nature.instant());
            self.collect(around);
        }
        while let Some(happens) = self.happens.take(around.nature.now) {
            self.happens(happens, around);
        }
        while let Some(event) = self.sip_events.pop_front() {
            self.hear(Heard::Sip(event), around);
        }
        while let Some(ask) = self.asked.pop_front() {
            self.hear(Heard::Asked(ask), around);
        }
        let now = around.nature.clock(self.started);
        if self.driver.wake_at(now).is_some_and(|at| at <= now.since_start) && !self.is_dead() {
            self.driver.wake(now);
            self.do_what_is_wanted(around);
        }
        if !self.is_dead() {
            self.driver.end_turn(now);
            self.do_what_is_wanted(around);
            let next = self.driver.wake_at(now);
            assert!(next.is_none_or(|at| at > now.since_start), "it wakes for nothing: {next:?}");
        }
        around.witness.are_bound(self.virtual_numbers.answer());
        let Server { courier, store, happens, fuse, .. } = self;
        if courier.next().is_some_and(|at| at <= around.nature.now) && fuse.burn() {
            courier.look(store, around, happens);
        }
    }

    /// Once nothing has happened for long: what is left of calls that are over.
    pub fn assert_nothing_is_left(&self) {
        let (legs, transactions, timers) = self.core.load();
        assert_eq!((legs, transactions), (0, 0), "legs and transactions of the SIP core");
        assert!(timers <= 1, "{timers} timers of the SIP core: one keeps the registration");
        assert!(self.ports.are_all_free(), "a port is never given back");
        assert!(!self.virtual_numbers.is_asking(), "an order is never answered");
        assert_eq!(self.driver.leftovers(), [0; 6], "left in the driver, of calls that are over");
        assert_eq!(self.core.counters().panics, 0, "a leg broke an invariant");
    }

    /// In words, for a world that does not come to rest.
    pub fn what_is_left(&self) -> String {
        let idle = self.driver.is_idle();
        format!("driver idle: {idle}, ended: {}, SIP {:?}", self.has_ended(), self.core.load())
    }

    /// Whether nothing of a call is under way.
    pub fn is_quiet(&self) -> bool {
        let (legs, transactions, timers) = self.core.load();
        // One keeps the registration; a phone that could not be heard when it went home has another for a while.
        self.driver.is_idle() && (legs, transactions) == (0, 0) && timers <= 1
    }

    fn do_jobs(&mut self, nature: &Nature) {
        if self.job_at > nature.now {
            return;
        }
        self.job_at = nature.now + JOBS_EVERY;
        let wall_ms = nature.wall_ms();
        let expired = at_once(self.store.expire_idempotency(wall_ms));
        if let Err(error) = expired.and_then(|_| self.virtual_numbers.expire(wall_ms)) {
            self.is_told(Happening::DiskFailed(error.to_string()), nature);
        }
    }

    fn happens(&mut self, happens: Happens, around: &mut Around) {
        if !self.fuse.burn() {
            return;
        }
        match happens {
            Happens::Heard(Happening::Media(event))
                if !self.ports.still_says(&event, around.nature.now) => {}
            Happens::Heard(happening) => self.hear(Heard::Happened(happening), around),
            Happens::Disk => {
                let (at, happening) = self.disk.answer(&mut self.courier, around.nature);
                self.happens.put(at, Happens::Heard(happening));
                if let Some(at) = self.disk.takes_next(at, around.nature) {
                    self.happens.put(at, Happens::Disk);
                }
            }
            Happens::Posted(posted) => {
                self.courier.store_attempt(&self.store, *posted, around.nature)
            }
        }
    }

    fn hear(&mut self, heard: Heard, around: &mut Around) {
        if self.is_dead() {
            return;
        }
        self.driver.hear(heard, around.nature.clock(self.started));
        self.do_what_is_wanted(around);
    }

    fn tell_media(&mut self, command: media::Command, nature: &mut Nature) {
        for (at, event) in self.ports.command(command, nature) {
            self.happens.put(at, Happens::Heard(Happening::Media(event)));
        }
    }

    fn do_what_is_wanted(&mut self, around: &mut Around) {
        while let Some(wanted) = self.driver.wanted() {
            if !self.fuse.burn() {
                return;
            }
            for wanted in self.saboteur.does(wanted, &self.store) {
                self.does(wanted, around);
            }
        }
    }

    fn does(&mut self, wanted: Wanted, around: &mut Around) {
        match wanted {
            Wanted::Sip(command) => {
                self.core.command(command, around.nature.instant());
                self.collect(around);
            }
            Wanted::Media(command) => self.tell_media(command, around.nature),
            Wanted::Ask { leg, calls } => {
                let wall_ms = around.nature.wall_ms();
                let mut calls = calls.into_iter();
                let request =
                    calls.find_map(|of| self.virtual_numbers.called(&of.x, &of.from, wall_ms));
                let asked = Happening::Asked { leg, request };
                let at = around.nature.in_ms(0, 3);
                self.happens.put(at, Happens::Heard(asked));
            }
            Wanted::Record { leg, .. } => {
                let (leg, mode) = (media::LegId(leg.0), media::RecordMode::Both);
                let path = PathBuf::new();
                let command = media::Command::Record { leg, path, mode, seal: None };
                self.tell_media(command, around.nature);
            }
            Wanted::Fetch { serial, .. } => {
                let nature = &mut *around.nature;
                let clips = match nature.dice.below(100) {
                    0 => Err(FetchFault::Speech),
                    _ => Ok(Arc::from([])),
                };
                let slowest = if nature.dice.percent(5) { 3_000 } else { 2 };
                let at = nature.in_ms(0, slowest);
                self.happens.put(at, Happens::Heard(Happening::Fetched { serial, clips }));
            }
            Wanted::Commit { batch, writes } => {
                around.nature.say(format_args!("batch {} is written", batch.0));
                let begins = self.disk.commit(batch, writes, around.nature);
                begins.into_iter().for_each(|at| self.happens.put(at, Happens::Disk));
            }
            Wanted::Claim { claim, what } => {
                let begins = self.disk.claim(claim, what, around.nature);
                begins.into_iter().for_each(|at| self.happens.put(at, Happens::Disk));
            }
            Wanted::HangUpAll { after } => {
                let at = around.nature.now + after;
                self.happens.put(at, Happens::Heard(Happening::HangUpAll));
            }
            Wanted::Count { calls, legs, asker } => {
                // Nobody in this world asks for it.
                let _ = asker.send(Counts { calls, legs, sip: self.core.counters() });
            }
        }
    }

    fn collect(&mut self, around: &mut Around) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Transmit(message) => {
                    if !self.fuse.burn() {
                        return;
                    }
                    let now = around.nature.now;
                    around.witness.server_sends(&message, &self.store, now);
                    around.link.send(message, around.nature);
                }
                Output::Event(event) => {
                    if let sip::Event::Incoming { leg, request } = &event {
                        around.witness.server_is_called(*leg, &request.call_id);
                        self.saboteur.sees_caller(*leg, &request.request_user);
                    }
                    self.sip_events.push_back(event);
                }
            }
        }
    }
}

/// What kind of server it is.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub charter: Charter,
    /// The carrier asks for credentials.
    pub challenged: bool,
    pub planted: Option<Planted>,
}

fn policy(charter: Charter) -> Policy {
    match charter {
        Charter::Notifications => Policy::default(),
        Charter::EveryKind | Charter::Silence => Policy {
            accept_invites: sip::AcceptInvites::Ask,
            accept_register: sip::AcceptRegister::Phones,
            phones: sip::PhonePolicy { realm: REALM.to_owned(), ..sip::PhonePolicy::default() },
            ..Policy::default()
        },
    }
}

fn users() -> BTreeMap<String, DigestUser> {
    let login = |number: &str| DigestUser::from_password(number, REALM, PASSWORD);
    PHONES.iter().map(|seat| (seat.number.to_owned(), login(seat.number))).collect()
}

/// A process at these places; with connections where there is every kind of call.
pub fn core_config(charter: Charter, places: &[&str], policy: Policy) -> CoreConfig {
    let transports: &[Transport] = match charter {
        Charter::Notifications => &[Transport::Udp],
        Charter::EveryKind | Charter::Silence => &[Transport::Udp, Transport::Tcp, Transport::Tls],
    };
    let listener = |(place, transport): (&str, Transport)| {
        let bound = address(place);
        CoreListener { transport, bound, public: bound }
    };
    let listeners = places.iter().flat_map(|place| transports.iter().map(|of| (*place, *of)));
    CoreConfig {
        listeners: listeners.map(listener).collect(),
        policy,
        user_agent: None,
        max_legs: 1_000,
        max_message: 65_535,
    }
}
