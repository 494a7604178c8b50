//! A carrier's settings.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use media::{Codec, Srtp};
use sip::{AcceptInvites, AcceptRegister, DigestPolicy, DigestUser, Policy, TlsServer};

use crate::Behaviour;

/// How much of what phones hear is kept for [`crate::CallReport::heard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAudio {
    /// Nothing: for load, where only the packets count.
    None,
    /// Of the last so many calls that ended.
    Last(usize),
    All,
}

/// Who may call and register.
#[derive(Clone, Debug)]
pub struct Digest {
    pub realm: String,
    /// User names and passwords.
    pub users: BTreeMap<String, String>,
}

/// Where calls come in over TLS, and what the carrier shows to who calls.
#[derive(Clone, Debug)]
pub struct TlsLine {
    pub bind: SocketAddr,
    pub server: TlsServer,
}

/// A carrier's settings; [`CarrierConfig::default`] is a carrier on free ports of 127.0.0.1.
#[derive(Clone, Debug)]
pub struct CarrierConfig {
    /// Where calls come in over UDP; port 0 takes a free one.
    pub sip_udp: SocketAddr,
    /// Likewise over TCP; `None`: not at all.
    pub sip_tcp: Option<SocketAddr>,
    /// Likewise over TLS.
    pub sip_tls: Option<TlsLine>,
    /// Where phones send and receive audio.
    pub media_ip: IpAddr,
    pub media_threads: usize,
    /// What phones accept, in their order of preference.
    pub codecs: Vec<Codec>,
    /// Whether phones encrypt their audio: where the caller asks for it (optional), only then, or never.
    pub srtp: Srtp,
    /// The same seed gives the same ringing times, losses, tags and sounds.
    pub seed: u64,
    /// Credentials that INVITE and REGISTER must show; `None`: anybody may call.
    pub digest: Option<Digest>,
    /// Whether REGISTER is taken.
    pub accept_registrations: bool,
    /// What numbers do that should do something else than [`crate::numbers`] says.
    pub behaviours: BTreeMap<String, Behaviour>,
    pub keep_audio: KeepAudio,
    /// How much is kept of each call, from the first packet on.
    pub keep_for: Duration,
    /// Share of SIP datagrams that the network loses, each way: 0.0 (none) to 1.0.
    pub loss: f32,
    /// Calls at a time above which INVITEs get 503.
    pub max_calls: usize,
}

impl Default for CarrierConfig {
    fn default() -> CarrierConfig {
        CarrierConfig {
            sip_udp: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            sip_tcp: None,
            sip_tls: None,
            media_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            media_threads: 1,
            codecs: Codec::ALL.to_vec(),
            srtp: Srtp::Optional,
            seed: 1,
            digest: None,
            accept_registrations: false,
            behaviours: BTreeMap::new(),
            keep_audio: KeepAudio::Last(100),
            keep_for: Duration::from_secs(120),
            loss: 0.0,
            max_calls: 20_000,
        }
    }
}

impl CarrierConfig {
    /// Whom the lines let in.
    pub(super) fn policy(&self) -> Policy {
        let digest = self.digest.as_ref().map(|digest| DigestPolicy {
            realm: digest.realm.clone(),
            users: digest
                .users
                .iter()
                .map(|(user, password)| {
                    (user.clone(), DigestUser::from_password(user, &digest.realm, password))
                })
                .collect(),
        });
        let accept_register = match (self.accept_registrations, &digest) {
            (false, _) => AcceptRegister::Never,
            (true, None) => AcceptRegister::Open,
            (true, Some(digest)) => AcceptRegister::Digest(digest.clone()),
        };
        let accept_invites = digest.map_or(AcceptInvites::Open, AcceptInvites::Digest);
        Policy { accept_invites, accept_register, ..Policy::default() }
    }
}
