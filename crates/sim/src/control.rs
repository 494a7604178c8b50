//! The simulated network as a process of its own (`offhook sim`): a carrier, a callback receiver, and a control port over
//! which another process reads what the far end saw.

use std::future::Future;
use std::io::{self, Write as _};
use std::net::SocketAddr;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use crate::callbacks::Listener;
use crate::client::install_tls_provider;
use crate::{
    CallReport, Callbacks, Carrier, CarrierConfig, CarrierError, Moment, Totals, process_cpu_time,
};

/// What `offhook sim` is told.
#[derive(Clone, Debug, Default)]
pub struct SimOptions {
    pub carrier: CarrierConfig,
    /// Where the control port listens (HTTP); `None`: there is none. Anybody who reaches it can read and clear the
    /// reports: keep it on loopback.
    pub control: Option<SocketAddr>,
    /// Print one JSON line per ended call.
    pub print_calls: bool,
}

/// Why the simulated network does not run.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    #[error("the control port cannot listen on {address}: {source}; is another process using it?")]
    Control { address: SocketAddr, source: io::Error },
    #[error("cannot write to stdout: {0}")]
    Output(io::Error),
}

/// Why a control port gave no report.
#[derive(Debug, thiserror::Error)]
#[error("the simulated network's control port at {address} did not answer as expected: {source}")]
pub struct ControlError {
    address: SocketAddr,
    source: reqwest::Error,
}

/// The first line on stdout: where everything listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    pub sip_udp: SocketAddr,
    pub sip_tcp: Option<SocketAddr>,
    pub sip_tls: Option<SocketAddr>,
    pub control: Option<SocketAddr>,
    /// For `callBackUrl`; served by the control port.
    pub callbacks: Option<String>,
}

/// What the far end saw, as `GET /report` tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub totals: Totals,
    /// Calls that ring or are up.
    pub live_calls: usize,
    /// Ended calls; left out by `GET /report?calls=false`.
    pub calls: Vec<CallReport>,
    pub callbacks: Vec<CallbackReport>,
    /// CPU time of the process since its start, in seconds.
    pub cpu_seconds: f64,
    pub at: Moment,
}

/// One callback that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackReport {
    pub arrived_at: Moment,
    /// `webhook-id`.
    pub event_id: Option<String>,
    /// `callSerialNo` of the body.
    pub serial: Option<String>,
    /// `releaseReason` of the body.
    pub release_reason: Option<String>,
}

/// A running simulated network.
pub struct Sim {
    carrier: Carrier,
    callbacks: Callbacks,
    control: Option<Listener>,
    addresses: Addresses,
}

impl Sim {
    pub async fn start(options: &SimOptions) -> Result<Sim, SimError> {
        let carrier = Carrier::start(options.carrier.clone()).await?;
        let callbacks = Callbacks::new();
        let control = match options.control {
            Some(address) => {
                let router = router(carrier.observer(), callbacks.clone());
                let failed = |source| SimError::Control { address, source };
                Some(Listener::start(address, router).await.map_err(failed)?)
            }
            None => None,
        };
        let bound = control.as_ref().map(Listener::address);
        let addresses = Addresses {
            sip_udp: carrier.udp_address(),
            sip_tcp: carrier.tcp_address(),
            sip_tls: carrier.tls_address(),
            control: bound,
            callbacks: bound.map(|address| format!("http://{address}/callbacks")),
        };
        Ok(Sim { carrier, callbacks, control, addresses })
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Hangs up what is up and closes every socket.
    pub async fn shut_down(self) {
        if let Some(control) = self.control {
            control.shut_down().await;
        }
        self.carrier.shut_down().await;
    }
}

/// Runs a simulated network until `stop` resolves. Stdout gets a line with the [`Addresses`], then, where asked for, one
/// line per ended call, all JSON.
pub async fn run(options: SimOptions, stop: impl Future<Output = ()>) -> Result<(), SimError> {
    let sim = Sim::start(&options).await?;
    print(sim.addresses())?;
    let mut ended = sim.carrier.subscribe();
    let printing = async {
        loop {
            match ended.recv().await {
                Ok(call) if options.print_calls => print(&*call)?,
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "ended calls were not printed: stdout is too slow");
                }
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    let printed = tokio::select! {
        failed = printing => failed,
        () = stop => Ok(()),
    };
    sim.shut_down().await;
    printed
}

/// Fetches the report of another process.
pub async fn fetch_report(control: SocketAddr) -> Result<Report, ControlError> {
    let failed = |source| ControlError { address: control, source };
    let reply = http()
        .map_err(failed)?
        .get(format!("http://{control}/report"))
        .send()
        .await
        .map_err(failed)?;
    reply.error_for_status().map_err(failed)?.json().await.map_err(failed)
}

/// Makes another process forget calls and callbacks.
pub async fn clear(control: SocketAddr) -> Result<(), ControlError> {
    let failed = |source| ControlError { address: control, source };
    let reply = http()
        .map_err(failed)?
        .post(format!("http://{control}/clear"))
        .send()
        .await
        .map_err(failed)?;
    reply.error_for_status().map(drop).map_err(failed)
}

fn http() -> Result<reqwest::Client, reqwest::Error> {
    install_tls_provider();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()
}

fn print(line: &impl Serialize) -> Result<(), SimError> {
    let mut text =
        serde_json::to_string(line).expect("strings and numbers under string keys are JSON");
    text.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(SimError::Output)
}

#[derive(Clone)]
struct Desk {
    carrier: crate::carrier::Observer,
    callbacks: Callbacks,
}

fn router(carrier: crate::carrier::Observer, callbacks: Callbacks) -> Router {
    let receiver = callbacks.router();
    Router::new()
        .route("/report", get(report))
        .route("/totals", get(totals))
        .route("/clear", post(forget))
        .with_state(Desk { carrier, callbacks })
        .nest("/callbacks", receiver)
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default = "yes")]
    calls: bool,
}

fn yes() -> bool {
    true
}

async fn report(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Json<Report> {
    let callbacks = desk.callbacks.all();
    Json(Report {
        totals: desk.carrier.totals(),
        live_calls: desk.carrier.live_calls(),
        calls: if wanted.calls { desk.carrier.calls() } else { Vec::new() },
        callbacks: callbacks.iter().map(|callback| CallbackReport::of(callback)).collect(),
        cpu_seconds: process_cpu_time().as_secs_f64(),
        at: Moment::now(),
    })
}

async fn totals(State(desk): State<Desk>) -> Json<Totals> {
    Json(desk.carrier.totals())
}

async fn forget(State(desk): State<Desk>) {
    desk.carrier.clear();
    desk.callbacks.clear();
}

impl CallbackReport {
    fn of(callback: &crate::Callback) -> CallbackReport {
        let body = callback.json();
        let text = |name: &str| Some(body.as_ref()?.get(name)?.as_str()?.to_owned());
        CallbackReport {
            arrived_at: callback.arrived_at,
            event_id: callback.event_id().map(str::to_owned),
            serial: text("callSerialNo"),
            release_reason: text("releaseReason"),
        }
    }
}
