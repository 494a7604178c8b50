//! The carrier: lines, exchange and books under one handle.

mod config;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use media::Clip;
use sip::{Endpoint, EndpointConfig};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

pub use config::{CarrierConfig, Digest, KeepAudio, TlsLine};

use crate::audio_leg::Switchboard;
use crate::exchange::{Exchange, ExchangeConfig, Line};
use crate::phone::Phone;
use crate::script::{Acting, Part};
use crate::sounds::Sounds;
use crate::wire::{self, Order, WireConfig};
use crate::{Behaviour, Binding, CallReport, Totals};

/// How long calls get to end in order when the carrier is shut down.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(5);

/// Why a carrier cannot start: its configuration or the machine is at fault.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    #[error(
        "the simulated carrier cannot bind UDP {address}: {source}; is another process using it?"
    )]
    Bind { address: SocketAddr, source: io::Error },
    #[error("the simulated carrier's TCP and TLS lines: {0}")]
    Streams(#[from] sip::StartError),
    #[error("the simulated phones' audio: {0}")]
    Media(#[from] media::StartError),
    #[error("loss is {0}; it is a share from 0.0 to 1.0")]
    Loss(f32),
}

/// A running carrier. Dropped without [`Carrier::shut_down`] it cuts its calls off.
pub struct Carrier {
    exchange: Arc<Exchange>,
    udp: SocketAddr,
    tcp: Option<SocketAddr>,
    tls: Option<SocketAddr>,
    wire: mpsc::Sender<Order>,
    endpoint: Option<(Endpoint, JoinHandle<()>)>,
    /// The port of [`Behaviour::Deaf`] stays bound, so that nobody else gets its audio.
    _nobody: UdpSocket,
}

impl Carrier {
    /// Opens the lines. Needs a tokio runtime; the media threads are the carrier's own.
    pub async fn start(config: CarrierConfig) -> Result<Carrier, CarrierError> {
        if !(0.0..=1.0).contains(&config.loss) {
            return Err(CarrierError::Loss(config.loss));
        }
        let at = SocketAddr::new(config.media_ip, 0);
        let bind = |source| CarrierError::Bind { address: at, source };
        let nobody = UdpSocket::bind(at).map_err(bind)?;
        let lost = Arc::new(AtomicU64::new(0));
        let board = Switchboard::start(
            media::Config {
                threads: config.media_threads,
                bind: config.media_ip,
                ..Default::default()
            },
            config.codecs.clone(),
            config.srtp,
        )?;
        let exchange_config = ExchangeConfig {
            seed: config.seed,
            behaviours: config.behaviours.clone(),
            keep_audio: config.keep_audio,
            keep_for: config.keep_for,
            lost: Arc::clone(&lost),
            nobody: nobody.local_addr().map_err(bind)?.port(),
        };
        let exchange = Arc::new(Exchange::new(exchange_config, board, Sounds::new(config.seed)));
        let (udp, wire) = start_wire(&config, &exchange, lost)?;
        let streams = match (config.sip_tcp, &config.sip_tls) {
            (None, None) => None,
            (Some(_), _) | (_, Some(_)) => Some(start_streams(&config, &exchange).await?),
        };
        let bound = |kind| {
            let (endpoint, _) = streams.as_ref()?;
            let mut bound = endpoint.local_addresses().into_iter();
            bound.find(|(transport, _)| *transport == kind).map(|(_, address)| address)
        };
        let (tcp, tls) = (bound(sip::Transport::Tcp), bound(sip::Transport::Tls));
        Ok(Carrier { exchange, udp, tcp, tls, wire, endpoint: streams, _nobody: nobody })
    }

    pub fn udp_address(&self) -> SocketAddr {
        self.udp
    }

    /// `None` where no TCP was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// `None` where no TLS was asked for.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// From now on `person` answers calls to `number`, instead of what the number does by itself.
    ///
    /// ```no_run
    /// # fn f(carrier: &sim::Carrier) {
    /// carrier.answer_with("5551", |phone| Box::pin(async move {
    ///     phone.answer().await?;
    ///     phone.press("1").await?;
    ///     phone.until_over().await
    /// }));
    /// # }
    /// ```
    pub fn answer_with(
        &self,
        number: impl Into<String>,
        person: impl for<'p> Fn(&'p mut Phone) -> Acting<'p> + Send + Sync + 'static,
    ) {
        self.exchange.cast(number.into(), Part::Person(Arc::new(person)));
    }

    /// From now on `number` behaves so.
    pub fn behave(&self, number: impl Into<String>, behaviour: Behaviour) {
        self.exchange.cast(number.into(), Part::Behaviour(behaviour));
    }

    /// A handle that reads and clears, for others to keep.
    pub fn observer(&self) -> Observer {
        Observer { exchange: Arc::clone(&self.exchange) }
    }

    /// As [`Observer::calls`].
    pub fn calls(&self) -> Vec<CallReport> {
        self.observer().calls()
    }

    /// As [`Observer::live_calls`].
    pub fn live_calls(&self) -> usize {
        self.observer().live_calls()
    }

    /// The first ended call that satisfies `predicate`, among those there are and those to come.
    pub async fn call_ended(&self, predicate: impl Fn(&CallReport) -> bool) -> CallReport {
        self.exchange.ledger().ended_with(predicate).await
    }

    /// Returns when the totals satisfy `predicate`; looked at whenever a call has ended.
    pub async fn totals_reached(&self, predicate: impl Fn(&Totals) -> bool) -> Totals {
        self.exchange.ledger().totals_reached(predicate).await;
        self.totals()
    }

    /// Each call as it ends. A subscriber that is too slow misses some and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<CallReport>> {
        self.exchange.ledger().subscribe()
    }

    /// As [`Observer::totals`].
    pub fn totals(&self) -> Totals {
        self.observer().totals()
    }

    /// Who is registered, by user.
    pub fn registrations(&self) -> BTreeMap<String, Binding> {
        self.exchange.registrations()
    }

    /// The voicemail's greeting, as it is played.
    pub fn greeting(&self) -> Clip {
        self.exchange.sounds().greeting.clone()
    }

    /// As [`Observer::clear`].
    pub fn clear(&self) {
        self.observer().clear();
    }

    /// Hangs up what is up and closes the lines.
    pub async fn shut_down(mut self) {
        self.exchange.close(SHUT_DOWN_LIMIT).await;
        if let Some((endpoint, pump)) = self.endpoint.take() {
            endpoint.shut_down().await;
            pump.abort();
        }
    }
}

/// Reads what a carrier saw. Outlives it: the books stay open.
#[derive(Clone)]
pub struct Observer {
    exchange: Arc<Exchange>,
}

impl Observer {
    /// Calls that have ended, in the order of their ends.
    pub fn calls(&self) -> Vec<CallReport> {
        self.exchange.ledger().calls()
    }

    /// Calls that ring or are up.
    pub fn live_calls(&self) -> usize {
        self.exchange.live_calls()
    }

    pub fn totals(&self) -> Totals {
        Totals {
            events_dropped: self.exchange.events_dropped(),
            datagrams_lost: self.exchange.datagrams_lost(),
            ..self.exchange.ledger().totals()
        }
    }

    /// Forgets ended calls and totals. Calls that are up are reported when they end.
    pub fn clear(&self) {
        self.exchange.ledger().clear();
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Some((_, pump)) = &self.endpoint {
            pump.abort();
        }
        if self.wire.try_send(Order::Close).is_err() {
            tracing::debug!("the simulated carrier's line is closed already, or overloaded");
        }
    }
}

fn start_wire(
    config: &CarrierConfig,
    exchange: &Arc<Exchange>,
    lost: Arc<AtomicU64>,
) -> Result<(SocketAddr, mpsc::Sender<Order>), CarrierError> {
    let (judge, listener) = (Arc::clone(exchange), Arc::clone(exchange));
    let (orders, orders_out) = wire::orders();
    let line = Line::Wire(orders.clone());
    let started = wire::start(
        WireConfig {
            bind: config.sip_udp,
            user_agent: "offhook-sim".to_owned(),
            policy: config.policy(),
            seed: config.seed,
            loss: config.loss,
            max_legs: config.max_calls,
            lost,
            reaches: Box::new(move |invite| judge.reaches(invite)),
            on_event: Box::new(move |event| listener.event(&line, event)),
        },
        orders_out,
    );
    let bind = |source| CarrierError::Bind { address: config.sip_udp, source };
    Ok((started.map_err(bind)?, orders))
}

/// TCP and TLS on one endpoint: a phone does not care which stream its call came over.
async fn start_streams(
    config: &CarrierConfig,
    exchange: &Arc<Exchange>,
) -> Result<(Endpoint, JoinHandle<()>), CarrierError> {
    let listener = |transport, bind| sip::Listener { transport, bind, public_address: None };
    let tcp = config.sip_tcp.map(|bind| listener(sip::Transport::Tcp, bind));
    let tls = config.sip_tls.as_ref().map(|line| listener(sip::Transport::Tls, line.bind));
    let server = config.sip_tls.as_ref().map(|line| line.server.clone());
    let (endpoint, mut events) = Endpoint::start(EndpointConfig {
        listeners: tcp.into_iter().chain(tls).collect(),
        limits: sip::Limits { max_legs: config.max_calls, ..sip::Limits::default() },
        policy: config.policy(),
        user_agent: Some("offhook-sim".to_owned()),
        seed: config.seed.wrapping_add(1),
        tls: sip::TlsSettings { server, ..sip::TlsSettings::default() },
    })
    .await?;
    let (line, exchange) = (Line::Endpoint(endpoint.clone()), Arc::clone(exchange));
    let pump = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            exchange.event(&line, event);
        }
    });
    Ok((endpoint, pump))
}
