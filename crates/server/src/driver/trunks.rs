//! Trunks as the driver needs them: where an INVITE goes and who it says it is from.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use engine::action::Dialled;
use engine::vocabulary::{LegId, Pace, Serial, TrunkName};
use ring::hmac;
use sip::{Address, Credentials, Destination, Invite, Registration, RegistrationId, Uri};

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
    trunks: BTreeMap<TrunkName, (Trunk, bool)>,
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
            let up = trunk.register.is_none();
            (trunk.name.clone(), (trunk, up))
        };
        Trunks {
            trunks: trunks.into_iter().map(state).collect(),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    pub fn all(&self) -> Vec<(TrunkName, Pace, bool)> {
        let state = |(trunk, up): &(Trunk, bool)| (trunk.name.clone(), trunk.pace, *up);
        self.trunks.values().map(state).collect()
    }

    pub fn codecs(&self, name: &TrunkName) -> Vec<media::Codec> {
        self.trunks.get(name).map(|(trunk, _)| trunk.codecs.clone()).unwrap_or_default()
    }

    pub fn srtp(&self, name: &TrunkName) -> media::Srtp {
        self.trunks.get(name).map(|(trunk, _)| trunk.srtp).unwrap_or_default()
    }

    /// The trunk's host is at this address now; where offhook registers, the registration to make.
    pub fn moved(&mut self, name: &TrunkName, address: SocketAddr) -> Option<Registration> {
        let index = self.trunks.keys().position(|key| key == name)?;
        let (trunk, _) = self.trunks.get_mut(name)?;
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
        let (trunk, _) =
            self.trunks.get(&to.trunk).ok_or_else(|| TrunkError::Unknown(to.trunk.clone()))?;
        let address = trunk.address.ok_or_else(|| TrunkError::Unresolved(to.trunk.clone()))?;
        let mut called = Uri::new(&to.called, &trunk.host)?;
        if let Some(port) = trunk.port {
            called = called.with_port(port);
        }
        let caller = Uri::new(&to.caller_present, &trunk.from_host)?;
        let name = self.name_of_attempt(serial, to.attempt);
        Ok(Invite {
            leg: sip::LegId(leg.0),
            destination: Destination::new(address, trunk.transport),
            request_uri: called.clone(),
            from: Address::new(caller),
            to: Address::new(called),
            p_asserted_identity: None,
            call_id: format!("{serial}-{}-{}", to.attempt, &name[..16]),
            from_tag: name[16..32].to_owned(),
            credentials: trunk.credentials.clone(),
            headers: Vec::new(),
            body: Some(sip::Body::sdp(sdp)),
        })
    }

    /// Of the trunk that answers at `remote`.
    pub fn credentials_for(&self, remote: SocketAddr) -> Option<Credentials> {
        let mut trunks = self.trunks.values();
        trunks
            .find(|(trunk, _)| trunk.address == Some(remote))
            .and_then(|(trunk, _)| trunk.credentials.clone())
    }

    /// One per trunk that asks for it; numbered by their place.
    pub fn registrations(&self) -> Vec<Registration> {
        let trunks = self.trunks.values().enumerate();
        trunks.filter_map(|(index, (trunk, _))| trunk.registration(index)).collect()
    }

    pub fn name_of(&self, id: RegistrationId) -> String {
        let trunk = self.trunks.values().nth(id.0 as usize);
        trunk.map(|(trunk, _)| trunk.name.to_string()).unwrap_or_default()
    }

    /// The trunk's new state, where it changed.
    pub fn set_registered(
        &mut self,
        id: RegistrationId,
        registered: bool,
    ) -> Option<(TrunkName, Pace, bool)> {
        let (trunk, up) = self.trunks.values_mut().nth(id.0 as usize)?;
        let changed = *up != registered;
        *up = registered;
        changed.then(|| (trunk.name.clone(), trunk.pace, registered))
    }

    /// 64 hexadecimal digits.
    fn name_of_attempt(&self, serial: Serial, attempt: u32) -> String {
        let tag = hmac::sign(&self.secret, format!("{serial}/{attempt}").as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
