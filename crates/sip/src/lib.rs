//! Legs of telephone calls over SIP: dial, ring, answer, hang up, register.
//!
//! # Shape
//! [`Core`] is pure: it owns transactions, dialogs, legs and registrations, reads no clock and
//! opens no socket. [`Endpoint`] runs one core in one task and owns the sockets around it.
//!
//! # Canonical run loop of a core
//! 1. [`Core::command`], [`Core::received`], [`Core::transport_failed`] or [`Core::handle_timeout`]
//!    with the present time;
//! 2. [`Core::poll`] until it is empty: send what it wants sent, pass events on;
//! 3. sleep until [`Core::wake_at`] or until there is input, and start again.
//!
//! # A call
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sip::*;
//!
//! let (endpoint, mut events) = Endpoint::start(EndpointConfig {
//!     listeners: vec![Listener {
//!         transport: Transport::Udp,
//!         bind: "192.0.2.1:5060".parse()?,
//!         public_address: None,
//!     }],
//!     limits: Limits::default(),
//!     tls: TlsSettings::default(),
//!     policy: Policy::default(),
//!     user_agent: Some("offhook".to_owned()),
//!     seed: 7, // random in production
//! })
//! .await?;
//! let leg = LegId(1);
//! endpoint.command(Command::Prepare(Box::new(Invite {
//!     leg,
//!     destination: Destination::new("192.0.2.2:5060".parse()?, Transport::Udp),
//!     request_uri: Uri::new("8899", "192.0.2.2")?,
//!     from: Uri::new("100", "192.0.2.1")?.into(),
//!     to: Uri::new("8899", "192.0.2.2")?.into(),
//!     p_asserted_identity: None,
//!     call_id: "serial-1".to_owned(),
//!     from_tag: "attempt-1".to_owned(),
//!     credentials: None,
//!     failover: Failover::default(),
//!     session_expires: None,
//!     headers: Vec::new(),
//!     body: Some(Body::sdp("v=0 …")),
//! })))?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         // Each of these goes to disk first.
//!         Event::Prepared { .. } | Event::Challenged { .. } | Event::Retried { .. } => {
//!             endpoint.command(Command::Send { leg })?;
//!         }
//!         Event::Answered { .. } => {
//!             endpoint.command(Command::Acknowledge { leg, body: None })?;
//!         }
//!         Event::Ended { end, .. } => {
//!             println!("{end:?}");
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Phones and strangers
//! With [`AcceptRegister::Phones`] phones register here ([`Command::SetUsers`]) and
//! [`Event::Bound`] says where they are reached: [`Command::Prepare`] takes a [`Binding`]'s `uri` and
//! `destination`. With [`AcceptInvites::Ask`] an INVITE becomes [`Event::Incoming`], and its
//! [`Origin`] says as whom the far side is known. A number that means nothing is turned away
//! ([`Command::TurnAway`]); an answer is prepared, put on disk ([`Event::Answering`]) and sent
//! ([`Command::SendAnswer`]).
//!
//! # What never happens here
//! - Bodies are bytes: nothing in this crate reads SDP.
//! - No type of the SIP message crate is visible from outside.
//! - A peer never makes this crate wait: what is too slow is dropped and counted.
//! - After a `Prepare` nothing leaves before `Send`, after a 2xx nothing before `Acknowledge`
//!   (or `HangUp`): the caller puts both on disk first.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test says by panicking"))]

mod address;
mod auth_client;
mod auth_server;
mod command;
mod connections;
mod core;
mod counters;
mod credentials;
mod dialog;
mod driver;
mod endpoint;
mod event;
mod failover;
mod fault;
mod framing;
mod guesses;
mod handshake;
mod legs;
mod message;
mod nonces;
mod outside;
mod peers;
mod policy;
mod probes;
mod puzzled;
mod random;
mod reached;
mod registrar;
mod registrations;
mod reply;
mod snapshot;
mod stack;
mod strangers;
mod stream;
mod tap;
mod timers;
mod tls;
mod transactions;
mod udp;
mod wire;
mod writer;

pub use address::{Address, AddressError, Uri};
pub use command::{
    BindingId, Body, Command, Destination, FlowId, HangUpCause, Invite, LegId, Probe, ProbeId,
    Registration, RegistrationId, RequestId, TlsPeer, Transport,
};
pub use core::{Core, CoreConfig, CoreListener, Output, Received, Transmit};
pub use counters::Counters;
pub use credentials::Credentials;
pub use endpoint::{Busy, Endpoint, EndpointConfig, Limits, Listener, StartError};
pub use event::{
    Binding, Direction, End, EndTimer, EndedBy, Event, IncomingCall, Origin, OutsideRequest,
    ProbeOutcome, RegistrationFailure, TapRecord,
};
pub use failover::{Dead, Failover, LargeRequests, Retry};
pub use fault::{Hop, TlsFault, TransportFault};
pub use framing::{FrameError, Framed, Framer};
pub use policy::{
    AcceptInvites, AcceptRegister, DigestPolicy, DigestUser, PhonePolicy, Policy, StrangerPolicy,
};
pub use registrar::KeptBindings;
pub use snapshot::DialogSnapshot;
pub use tls::{Authorities, Identity, TlsClient, TlsError, TlsServer, TlsSettings};
pub use wire::{Wire, WireError};
