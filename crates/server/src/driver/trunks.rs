//! Trunks as the driver needs them: where an INVITE goes and who it says it is from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use engine::action::Dialled;
use engine::vocabulary::{LegId, Pace, Serial, TrunkName};
use ring::hmac;
use sip::{
    Address, Credentials, Dead, Destination, Failover, Invite, LargeRequests, Probe, ProbeId,
    Registration, RegistrationId, Uri,
};

use super::keepalive::Keepalive;
use super::numbers::Numbers;
use super::targets::Targets;
use crate::dns::Host;

/// A target that is silent for so long is left for the trunk's next one: sooner than the engine
/// leaves the trunk.
const PATIENCE: Duration = Duration::from_secs(4);

/// In how many ways the numbers of one call from a trunk are read.
const MAX_READINGS: usize = 64;

/// A call to a virtual number by one of the parties who see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTo {
    pub x: String,
    pub from: String,
}

/// One way out to the telephone network.
#[derive(Debug, Clone)]
pub struct Trunk {
    pub name: TrunkName,
    pub pace: Pace,
    /// Host as it stands in Request-URI and To: a name or an address.
    pub host: String,
    pub port: Option<u16>,
    /// Where the host is now; nowhere while it cannot be resolved.
    pub targets: Targets,
    pub credentials: Option<Credentials>,
    /// The host in From.
    pub from_host: String,
    pub codecs: Vec<media::Codec>,
    pub srtp: media::Srtp,
    /// Seconds that a registration is asked for, where offhook registers.
    pub register: Option<u32>,
    pub numbers: Numbers,
    /// How often it is asked whether it is alive; `None`: never.
    pub keepalive: Option<Duration>,
    /// Seconds of RFC 4028 that calls ask for.
    pub session_expires: Option<u32>,
    /// Whether calls come in from its addresses.
    pub inbound: bool,
}

/// A trunk, and whether it is in service.
#[derive(Debug)]
struct State {
    trunk: Trunk,
    /// Always true where offhook does not register.
    registered: bool,
    keepalive: Option<Keepalive>,
    alive: bool,
    /// Where it was asked or registered last.
    asked: Option<Destination>,
    registrar: Option<Destination>,
}

impl State {
    fn up(&self) -> bool {
        self.registered && self.alive
    }

    fn register(&mut self, index: usize, now: Duration) -> Option<Registration> {
        let registrar = self.trunk.targets.first(now)?;
        let registration = self.trunk.registration(index, registrar)?;
        self.registrar = Some(registrar);
        Some(registration)
    }

    fn say(&self) -> (TrunkName, Pace, bool) {
        (self.trunk.name.clone(), self.trunk.pace, self.up())
    }
}

/// The same after a restart: derived from serial and attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAttempt {
    pub call_id: String,
    pub from_tag: String,
    /// Stands for chance where targets are chosen.
    pub chance: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum TrunkError {
    #[error("no trunk is named `{0}`: the tenant's route names one that the configuration lost")]
    Unknown(TrunkName),
    #[error("the host of trunk `{0}` cannot be resolved: check its address and the name servers")]
    Unresolved(TrunkName),
    #[error("the softphone is not registered here any more")]
    NotRegistered,
    #[error("the number cannot stand in a SIP address: {0}")]
    Number(#[from] sip::AddressError),
}

pub struct Trunks {
    trunks: BTreeMap<TrunkName, State>,
    /// Makes Call-IDs and tags that only this installation can know.
    secret: hmac::Key,
}

impl Trunk {
    /// `None` where offhook does not register, or does not know yet where.
    fn registration(&self, index: usize, registrar: Destination) -> Option<Registration> {
        let expires = self.register?;
        let user = self.credentials.as_ref()?.username.clone();
        Some(Registration {
            id: RegistrationId(index as u64),
            registrar,
            aor: Uri::new(&user, &self.host).ok()?,
            contact_user: user,
            credentials: self.credentials.clone(),
            expires,
        })
    }
}

impl Trunks {
    pub fn new(trunks: Vec<Trunk>, secret: &[u8]) -> Trunks {
        let state = |trunk: Trunk| {
            let registered = trunk.register.is_none();
            let keepalive = trunk.keepalive.map(|every| Keepalive::new(every, Duration::ZERO));
            let state =
                State { trunk, registered, keepalive, alive: true, asked: None, registrar: None };
            (state.trunk.name.clone(), state)
        };
        Trunks {
            trunks: trunks.into_iter().map(state).collect(),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    pub fn all(&self) -> Vec<(TrunkName, Pace, bool)> {
        self.trunks.values().map(State::say).collect()
    }

    pub fn codecs(&self, name: &TrunkName) -> Vec<media::Codec> {
        self.trunks.get(name).map(|of| of.trunk.codecs.clone()).unwrap_or_default()
    }

    pub fn srtp(&self, name: &TrunkName) -> media::Srtp {
        self.trunks.get(name).map(|of| of.trunk.srtp).unwrap_or_default()
    }

    /// The trunk's host is there now; where offhook registers and the registrar is gone, the
    /// registration to make.
    pub fn moved(
        &mut self,
        name: &TrunkName,
        hosts: Vec<Host>,
        now: Duration,
    ) -> Option<Registration> {
        let index = self.trunks.keys().position(|key| key == name)?;
        let state = self.trunks.get_mut(name)?;
        state.trunk.targets.moved(hosts);
        let is_there = |registrar: Destination| state.trunk.targets.has(registrar.addr);
        if state.registrar.is_some_and(is_there) {
            return None;
        }
        state.register(index, now)
    }

    /// A target of the trunk has failed a call: others are tried before it for a while.
    pub fn target_failed(&mut self, failed: Destination, why: Dead, now: Duration) {
        let mut trunks = self.trunks.values_mut();
        if let Some(state) = trunks.find(|of| of.trunk.targets.has(failed.addr)) {
            state.trunk.targets.failed(failed, why, now);
        }
    }

    /// The registrar did not answer or cannot be reached: the same at the trunk's next target, where
    /// it has one.
    pub fn registrar_failed(&mut self, id: RegistrationId, now: Duration) -> Option<Registration> {
        let index = id.0 as usize;
        let state = self.trunks.values_mut().nth(index)?;
        let failed = state.registrar?;
        state.trunk.targets.failed(failed, Dead::Silent, now);
        let next = state.trunk.targets.first(now).filter(|next| *next != failed);
        next.and_then(|_| state.register(index, now))
    }

    /// The INVITE of an attempt. Call-ID and From-tag come from serial and attempt, so that the same
    /// attempt has the same ones after a restart.
    pub fn invite(
        &self,
        leg: LegId,
        serial: Serial,
        (name, to): (&TrunkName, &Dialled),
        sdp: Bytes,
        now: Duration,
    ) -> Result<Invite, TrunkError> {
        let unknown = || TrunkError::Unknown(name.clone());
        let State { trunk, .. } = self.trunks.get(name).ok_or_else(unknown)?;
        let mut called = Uri::new(trunk.numbers.called(&to.called), &trunk.host)?;
        if let Some(port) = trunk.port {
            called = called.with_port(port);
        }
        let caller = trunk.numbers.caller(&to.caller_present, &trunk.from_host)?;
        let name = self.name_attempt(serial, to.attempt);
        let mut targets = trunk.targets.in_order(now, name.chance).into_iter();
        let unresolved = || TrunkError::Unresolved(trunk.name.clone());
        let destination = targets.next().ok_or_else(unresolved)?;
        let large = match trunk.targets.takes_tcp(destination, now) {
            true => LargeRequests::Tcp,
            false => LargeRequests::AsConfigured,
        };
        Ok(Invite {
            leg: sip::LegId(leg.0),
            destination,
            request_uri: called.clone(),
            from: caller.from,
            to: Address::new(called),
            p_asserted_identity: caller.asserted,
            call_id: name.call_id,
            from_tag: name.from_tag,
            credentials: trunk.credentials.clone(),
            failover: Failover { next: targets.collect(), patience: PATIENCE, large },
            session_expires: trunk.session_expires,
            headers: caller.headers,
            body: Some(sip::Body::sdp(sdp)),
        })
    }

    /// Of the trunk that answers at `remote`.
    pub fn credentials_for(&self, remote: SocketAddr) -> Option<Credentials> {
        let mut trunks = self.trunks.values();
        trunks.find(|of| of.trunk.targets.has(remote)).and_then(|of| of.trunk.credentials.clone())
    }

    /// Where calls may come in from.
    pub fn inbound_sources(&self) -> BTreeSet<IpAddr> {
        let inbound = self.trunks.values().filter(|of| of.trunk.inbound);
        inbound.flat_map(|of| of.trunk.targets.addresses()).collect()
    }

    /// Which call in our own numbers a call from `source` may be, where the trunk there writes `x` and `from` by its
    /// rules: first what fits them best, last as it came.
    pub fn arrivals(&self, source: IpAddr, x: &str, from: &str) -> Vec<CallTo> {
        let mut calls = Vec::new();
        let is_there =
            |of: &&State| of.trunk.inbound && of.trunk.targets.addresses().any(|at| at == source);
        for State { trunk, .. } in self.trunks.values().filter(is_there) {
            // The number that both parties see is shown by us as the caller's; a party is one whom we call.
            let parties = trunk.numbers.called_as(from);
            for x in trunk.numbers.caller_as(x) {
                calls
                    .extend(parties.iter().map(|from| CallTo { x: x.clone(), from: from.clone() }));
            }
        }
        calls.truncate(MAX_READINGS);
        calls.push(CallTo { x: x.to_owned(), from: from.to_owned() });
        calls
    }

    /// One per trunk that asks for it; numbered by their place.
    pub fn registrations(&mut self, now: Duration) -> Vec<Registration> {
        let trunks = self.trunks.values_mut().enumerate();
        trunks.filter_map(|(index, of)| of.register(index, now)).collect()
    }

    pub fn name_of(&self, id: RegistrationId) -> String {
        let trunk = self.trunks.values().nth(id.0 as usize);
        trunk.map(|of| of.trunk.name.to_string()).unwrap_or_default()
    }

    /// The trunk's new state, where it changed.
    pub fn set_registered(
        &mut self,
        id: RegistrationId,
        registered: bool,
    ) -> Option<(TrunkName, Pace, bool)> {
        let state = self.trunks.values_mut().nth(id.0 as usize)?;
        let before = state.up();
        state.registered = registered;
        (before != state.up()).then(|| state.say())
    }

    /// When the next trunk is to be asked whether it is alive.
    pub fn wake_at(&self) -> Option<Duration> {
        let known = self.trunks.values().filter(|of| of.trunk.targets.is_known());
        known.filter_map(|of| of.keepalive.as_ref()?.wake_at()).min()
    }

    /// The questions that are due; numbered by the trunks' places.
    pub fn probes(&mut self, now: Duration) -> Vec<Probe> {
        let mut probes = Vec::new();
        let states = self.trunks.values_mut().enumerate();
        for (index, State { trunk, keepalive, asked, .. }) in states {
            let (Some(destination), Some(keepalive)) = (trunk.targets.first(now), keepalive) else {
                continue;
            };
            let (Ok(to), Ok(from)) =
                (Uri::new("ping", &trunk.host), Uri::new("ping", &trunk.from_host))
            else {
                continue;
            };
            if keepalive.ask(now) {
                *asked = Some(destination);
                probes.push(Probe {
                    id: ProbeId(index as u64),
                    destination,
                    request_uri: to,
                    from: Address::new(from),
                    timeout: Probe::TIMEOUT,
                });
            }
        }
        probes
    }

    /// The trunk's new state, where it changed.
    pub fn probed(
        &mut self,
        id: ProbeId,
        answered: bool,
        now: Duration,
    ) -> Option<(TrunkName, Pace, bool)> {
        let state = self.trunks.values_mut().nth(id.0 as usize)?;
        let before = state.up();
        if let (false, Some(asked)) = (answered, state.asked) {
            // The next question is for another target, where there is one.
            state.trunk.targets.failed(asked, Dead::Silent, now);
        }
        state.alive = state.keepalive.as_mut()?.heard(answered, now);
        (before != state.up()).then(|| state.say())
    }

    /// What an attempt is known by, over whatever it is dialled.
    pub fn name_attempt(&self, serial: Serial, attempt: u32) -> NamedAttempt {
        let tag = hmac::sign(&self.secret, format!("{serial}/{attempt}").as_bytes());
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        NamedAttempt {
            call_id: format!("{serial}-{attempt}-{}", &digits[..16]),
            from_tag: digits[16..32].to_owned(),
            chance: u64::from_str_radix(&digits[32..48], 16).expect("they are hexadecimal digits"),
        }
    }
}

#[cfg(test)]
mod tests;
