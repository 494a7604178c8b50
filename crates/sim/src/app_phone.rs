//! The calling application of the anonymous call: it registers nowhere and dials an access code at an address, in the
//! way of the mobile clients that are out there (`From: AnonymousCard@<own address>:5060`, a session timer of 90 s,
//! payload types 0, 8 and 18, INFO).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use media::{Codec, Srtp};
use sip::{TlsClient, Transport};

use crate::carrier::CarrierError;
use crate::desk::{Desk, DeskConfig, Dial, DialError};
use crate::phone::Phone;
use crate::{CallReport, sdp_edit};

/// The application's settings; [`AppPhoneConfig::default`] is what the mobile clients do, on 127.0.0.1 over UDP.
#[derive(Clone, Debug)]
pub struct AppPhoneConfig {
    pub transport: Transport,
    /// Over TLS: whom it trusts to be there.
    pub tls: Option<TlsClient>,
    /// User part of its From.
    pub from: String,
    /// Seconds after which a session that nobody refreshes is over; `None` asks for no session timer.
    pub session_expires: Option<u32>,
    pub ip: IpAddr,
    /// What it can speak; G.729, which it also offers, is not among them.
    pub codecs: Vec<Codec>,
    pub srtp: Srtp,
    /// How much is kept of each call.
    pub keep_for: Duration,
    /// Different for each phone of a test.
    pub seed: u64,
}

impl Default for AppPhoneConfig {
    fn default() -> AppPhoneConfig {
        AppPhoneConfig {
            transport: Transport::Udp,
            tls: None,
            from: "AnonymousCard".to_owned(),
            session_expires: Some(90),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            srtp: Srtp::Off,
            keep_for: Duration::from_secs(120),
            seed: 1,
        }
    }
}

/// A running application.
pub struct AppPhone {
    desk: Desk,
    config: AppPhoneConfig,
}

impl AppPhone {
    pub async fn start(config: AppPhoneConfig) -> Result<AppPhone, CarrierError> {
        let desk = Desk::start(DeskConfig {
            ip: config.ip,
            transport: config.transport,
            tls: config.tls.clone(),
            user_agent: "MobileCC".to_owned(),
            codecs: config.codecs.clone(),
            srtp: config.srtp,
            keep_for: config.keep_for,
            seed: config.seed,
        })
        .await?;
        Ok(AppPhone { desk, config })
    }

    /// Dials an access code at `sipServiceAddress`. The phone in hand has to be used on: it hears only while it is
    /// waited on, and [`Phone::end`] puts it down.
    pub async fn dial(&self, service: SocketAddr, access_code: &str) -> Result<Phone, DialError> {
        self.desk
            .dial(Dial {
                to: service,
                number: access_code,
                from: &self.config.from,
                credentials: None,
                session_expires: self.config.session_expires,
                edit: sdp_edit::with_g729,
            })
            .await
    }

    /// Calls that have ended, in the order of their ends.
    pub fn calls(&self) -> Vec<CallReport> {
        self.desk.exchange().ledger().calls()
    }

    /// Hangs up what is up and closes the line.
    pub async fn shut_down(self) {
        self.desk.shut_down().await;
    }
}
