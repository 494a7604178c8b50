//! A phone's own line: an endpoint with one way out, and the exchange that its calls live in.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use media::{Codec, Srtp};
use sip::{
    AcceptInvites, Address, AddressError, Command, Credentials, Destination, Endpoint,
    EndpointConfig, Event, Failover, IncomingCall, Invite, LegId, Origin, Policy,
    RegistrationFailure, TlsClient, TlsPeer, TlsSettings, Transport, Uri,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::audio_leg::{AudioError, Switchboard};
use crate::carrier::{CarrierError, KeepAudio};
use crate::exchange::{Exchange, ExchangeConfig, Line};
use crate::phone::Phone;
use crate::sounds::Sounds;
use crate::wire::{self, Order, WireConfig};

/// How long calls get to end in order when the phone is shut down.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(5);
/// Calls of one phone at a time.
const MAX_CALLS: usize = 1000;
/// The only peer that a phone knows over TLS.
const PEER: TlsPeer = TlsPeer(1);

/// Why a phone cannot dial.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0}: give a number and a host that can stand in a SIP address")]
    Address(#[from] AddressError),
    #[error("the simulated phone's audio: {0}")]
    Audio(String),
}

impl From<AudioError> for DialError {
    fn from(error: AudioError) -> DialError {
        DialError::Audio(error.to_string())
    }
}

pub(crate) struct DeskConfig {
    pub ip: IpAddr,
    pub transport: Transport,
    pub tls: Option<TlsClient>,
    pub user_agent: String,
    pub codecs: Vec<Codec>,
    pub srtp: Srtp,
    pub keep_for: Duration,
    pub seed: u64,
}

/// What the registrar said last.
#[derive(Clone, Debug)]
pub(crate) enum Registrar {
    Silent,
    /// Seconds until the registration would lapse.
    Registered(u32),
    Refused(RegistrationFailure),
    Unregistered,
}

pub(crate) struct Desk {
    exchange: Arc<Exchange>,
    line: Line,
    way: Way,
    registrar: watch::Receiver<Registrar>,
    transport: Transport,
    address: SocketAddr,
    legs: AtomicU64,
    seed: u64,
}

/// How the line is closed.
enum Way {
    /// Datagrams, in a network in which they can be lost on purpose.
    Wire(mpsc::Sender<Order>),
    Streams(Endpoint, JoinHandle<()>),
}

/// A call to be made.
pub(crate) struct Dial<'d> {
    pub to: SocketAddr,
    pub number: &'d str,
    pub from: &'d str,
    pub credentials: Option<Credentials>,
    pub session_expires: Option<u32>,
    pub edit: fn(&[u8]) -> Bytes,
}

impl Desk {
    pub async fn start(config: DeskConfig) -> Result<Desk, CarrierError> {
        let at = SocketAddr::new(config.ip, 0);
        let bind = |source| CarrierError::Bind { address: at, source };
        // Over TLS nobody connects to a phone, so its port is only a name, which has to be its own.
        let named = UdpSocket::bind(at).and_then(|socket| socket.local_addr()).map_err(bind)?;
        let nobody = named.port();
        let media = media::Config { threads: 1, bind: config.ip, ..Default::default() };
        let board = Switchboard::start(media, config.codecs.clone(), config.srtp)?;
        let exchange_config = ExchangeConfig {
            seed: config.seed,
            behaviours: Default::default(),
            keep_audio: KeepAudio::All,
            keep_for: config.keep_for,
            lost: Arc::default(),
            nobody,
        };
        let exchange = Arc::new(Exchange::new(exchange_config, board, Sounds::new(config.seed)));
        let (told, registrar) = watch::channel(Registrar::Silent);
        let calls = Arc::clone(&exchange);
        let hear = move |line: &Line, event: Event| match said_by_registrar(&event) {
            Some(said) => drop(told.send_replace(said)),
            None => calls.event(line, event),
        };
        let (transport, seed, legs) = (config.transport, config.seed, AtomicU64::new(0));
        let (line, way, address) = match transport {
            Transport::Udp => wire_line(at, config.user_agent, seed, hear).map_err(bind)?,
            _ => stream_line(named, config, hear).await?,
        };
        Ok(Desk { exchange, line, way, registrar, transport, address, legs, seed })
    }

    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn destination(&self, to: SocketAddr) -> Destination {
        match self.transport {
            Transport::Tls => Destination::tls(to, PEER),
            other => Destination::new(to, other),
        }
    }

    /// `false` where the line is overloaded or closed.
    pub fn command(&self, command: Command) -> bool {
        self.line.command(command)
    }

    /// Waits until the registrar has said what `wanted` looks for.
    pub async fn registrar<T>(&self, wanted: impl Fn(&Registrar) -> Option<T>) -> Option<T> {
        let mut registrar = self.registrar.clone();
        let said = registrar.wait_for(|said| wanted(said).is_some()).await.ok()?;
        wanted(&said)
    }

    /// What the registrar says next, from now on.
    pub fn next_word(&self) -> watch::Receiver<Registrar> {
        let mut registrar = self.registrar.clone();
        registrar.mark_unchanged();
        registrar
    }

    /// Sends an INVITE; what comes of it is the phone's to hear.
    pub async fn dial(&self, dial: Dial<'_>) -> Result<Phone, DialError> {
        let leg = LegId(self.legs.fetch_add(1, Ordering::Relaxed) + 1);
        let host = dial.to.ip().to_string();
        let request_uri = Uri::new(dial.number, host)?.with_port(dial.to.port());
        let own = self.address.ip().to_string();
        let from = Address::from(Uri::new(dial.from, own)?.with_port(self.address.port()));
        let name = format!("{:016x}-{}-{}", self.seed, self.address.port(), leg.0);
        let call = IncomingCall {
            from: from.clone(),
            to: request_uri.clone().into(),
            request_user: dial.number.to_owned(),
            call_id: name.clone(),
            source: dial.to,
            transport: self.transport,
            local: self.address,
            origin: Origin::Stranger,
            headers: Vec::new(),
            body: None,
        };
        let invite = Invite {
            leg,
            destination: self.destination(dial.to),
            to: request_uri.clone().into(),
            request_uri,
            from,
            p_asserted_identity: None,
            from_tag: format!("tag-{name}"),
            call_id: name,
            credentials: dial.credentials,
            failover: Failover::default(),
            session_expires: dial.session_expires,
            headers: Vec::new(),
            body: None,
        };
        let (exchange, line) = (Arc::clone(&self.exchange), self.line.clone());
        Ok(Phone::dial(exchange, line, Box::new(call), invite, dial.edit).await?)
    }

    /// Hangs up what is up and closes the line.
    pub async fn shut_down(self) {
        self.exchange.close(SHUT_DOWN_LIMIT).await;
        if let Way::Streams(endpoint, _) = &self.way {
            endpoint.clone().shut_down().await;
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        match &self.way {
            Way::Wire(wire) => {
                if wire.try_send(Order::Close).is_err() {
                    tracing::debug!("the simulated phone's line is closed already, or overloaded");
                }
            }
            Way::Streams(_, pump) => pump.abort(),
        }
    }
}

fn policy() -> Policy {
    Policy { accept_invites: AcceptInvites::Open, ..Policy::default() }
}

fn wire_line(
    at: SocketAddr,
    user_agent: String,
    seed: u64,
    hear: impl Fn(&Line, Event) + Send + 'static,
) -> std::io::Result<(Line, Way, SocketAddr)> {
    let (orders, orders_out) = wire::orders();
    let (line, here) = (Line::Wire(orders.clone()), Line::Wire(orders.clone()));
    let config = WireConfig {
        bind: at,
        user_agent,
        policy: policy(),
        seed,
        loss: 0.0,
        max_legs: MAX_CALLS,
        lost: Arc::default(),
        reaches: Box::new(|_| true),
        on_event: Box::new(move |event| hear(&here, event)),
    };
    let address = wire::start(config, orders_out)?;
    Ok((line, Way::Wire(orders), address))
}

async fn stream_line(
    named: SocketAddr,
    config: DeskConfig,
    hear: impl Fn(&Line, Event) + Send + 'static,
) -> Result<(Line, Way, SocketAddr), CarrierError> {
    let at = SocketAddr::new(named.ip(), 0);
    let bind = if config.transport == Transport::Tls { named } else { at };
    let listener = sip::Listener { transport: config.transport, bind, public_address: None };
    let (endpoint, mut events) = Endpoint::start(EndpointConfig {
        listeners: vec![listener],
        limits: sip::Limits::default(),
        tls: TlsSettings {
            server: None,
            peers: config.tls.map(|tls| (PEER, tls)).into_iter().collect(),
        },
        policy: policy(),
        user_agent: Some(config.user_agent),
        seed: config.seed,
    })
    .await?;
    let address = endpoint.local_addresses().first().map_or(at, |(_, address)| *address);
    let (line, here) = (Line::Endpoint(endpoint.clone()), Line::Endpoint(endpoint.clone()));
    let pump = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            hear(&here, event);
        }
    });
    Ok((line, Way::Streams(endpoint, pump), address))
}

fn said_by_registrar(event: &Event) -> Option<Registrar> {
    match event {
        Event::Registered { expires, .. } => Some(Registrar::Registered(*expires)),
        Event::RegistrationFailed { failure, .. } => Some(Registrar::Refused(failure.clone())),
        Event::Unregistered { .. } => Some(Registrar::Unregistered),
        _ => None,
    }
}
