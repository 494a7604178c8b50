//! Trunks as the driver needs them: where an INVITE goes and who it says it is from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use engine::action::Dialled;
use engine::vocabulary::{LegId, Pace, Serial, TrunkName};
use ring::hmac;
use sip::{
    Address, Credentials, Destination, Invite, Probe, ProbeId, Registration, RegistrationId, Uri,
};

use super::keepalive::Keepalive;
use super::numbers::Numbers;

/// One way out to the telephone network.
#[derive(Debug, Clone)]
pub struct Trunk {
    pub name: TrunkName,
    pub pace: Pace,
    /// Host as it stands in Request-URI and To: a name or an address.
    pub host: String,
    pub port: Option<u16>,
    pub transport: sip::Transport,
    /// Where the host is now; `None` while it cannot be resolved.
    pub address: Option<SocketAddr>,
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
}

/// A trunk, and whether it is in service.
#[derive(Debug)]
struct State {
    trunk: Trunk,
    /// Always true where offhook does not register.
    registered: bool,
    keepalive: Option<Keepalive>,
    alive: bool,
}

impl State {
    fn up(&self) -> bool {
        self.registered && self.alive
    }

    fn say(&self) -> (TrunkName, Pace, bool) {
        (self.trunk.name.clone(), self.trunk.pace, self.up())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TrunkError {
    #[error("no trunk is named `{0}`: the tenant's route names one that the configuration lost")]
    Unknown(TrunkName),
    #[error("the host of trunk `{0}` cannot be resolved: check its address and the name servers")]
    Unresolved(TrunkName),
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
    fn registration(&self, index: usize) -> Option<Registration> {
        let (expires, address) = (self.register?, self.address?);
        let user = self.credentials.as_ref()?.username.clone();
        Some(Registration {
            id: RegistrationId(index as u64),
            registrar: Destination::new(address, self.transport),
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
            (trunk.name.clone(), State { trunk, registered, keepalive, alive: true })
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

    /// The trunk's host is at this address now; where offhook registers, the registration to make.
    pub fn moved(&mut self, name: &TrunkName, address: SocketAddr) -> Option<Registration> {
        let index = self.trunks.keys().position(|key| key == name)?;
        let State { trunk, .. } = self.trunks.get_mut(name)?;
        let changed = trunk.address.replace(address) != Some(address);
        let registration = trunk.registration(index);
        registration.filter(|_| changed)
    }

    /// The INVITE of an attempt. Call-ID and From-tag come from serial and attempt, so that the same
    /// attempt has the same ones after a restart.
    pub fn invite(
        &self,
        leg: LegId,
        serial: Serial,
        to: &Dialled,
        sdp: Bytes,
    ) -> Result<Invite, TrunkError> {
        let State { trunk, .. } =
            self.trunks.get(&to.trunk).ok_or_else(|| TrunkError::Unknown(to.trunk.clone()))?;
        let address = trunk.address.ok_or_else(|| TrunkError::Unresolved(to.trunk.clone()))?;
        let mut called = Uri::new(trunk.numbers.called(&to.called), &trunk.host)?;
        if let Some(port) = trunk.port {
            called = called.with_port(port);
        }
        let caller = trunk.numbers.caller(&to.caller_present, &trunk.from_host)?;
        let name = self.name_of_attempt(serial, to.attempt);
        Ok(Invite {
            leg: sip::LegId(leg.0),
            destination: Destination::new(address, trunk.transport),
            request_uri: called.clone(),
            from: caller.from,
            to: Address::new(called),
            p_asserted_identity: caller.asserted,
            call_id: format!("{serial}-{}-{}", to.attempt, &name[..16]),
            from_tag: name[16..32].to_owned(),
            credentials: trunk.credentials.clone(),
            failover: sip::Failover::default(),
            session_expires: None,
            headers: caller.headers,
            body: Some(sip::Body::sdp(sdp)),
        })
    }

    /// Of the trunk that answers at `remote`.
    pub fn credentials_for(&self, remote: SocketAddr) -> Option<Credentials> {
        let mut trunks = self.trunks.values();
        trunks
            .find(|of| of.trunk.address == Some(remote))
            .and_then(|of| of.trunk.credentials.clone())
    }

    /// One per trunk that asks for it; numbered by their place.
    pub fn registrations(&self) -> Vec<Registration> {
        let trunks = self.trunks.values().enumerate();
        trunks.filter_map(|(index, of)| of.trunk.registration(index)).collect()
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
        let known = self.trunks.values().filter(|of| of.trunk.address.is_some());
        known.filter_map(|of| of.keepalive.as_ref()?.wake_at()).min()
    }

    /// The questions that are due; numbered by the trunks' places.
    pub fn probes(&mut self, now: Duration) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (index, State { trunk, keepalive, .. }) in self.trunks.values_mut().enumerate() {
            let (Some(address), Some(keepalive)) = (trunk.address, keepalive) else { continue };
            let (Ok(to), Ok(from)) =
                (Uri::new("ping", &trunk.host), Uri::new("ping", &trunk.from_host))
            else {
                continue;
            };
            if keepalive.ask(now) {
                probes.push(Probe {
                    id: ProbeId(index as u64),
                    destination: Destination::new(address, trunk.transport),
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
        state.alive = state.keepalive.as_mut()?.heard(answered, now);
        (before != state.up()).then(|| state.say())
    }

    /// 64 hexadecimal digits.
    fn name_of_attempt(&self, serial: Serial, attempt: u32) -> String {
        let tag = hmac::sign(&self.secret, format!("{serial}/{attempt}").as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
