//! A softphone: it registers with a password, is called and calls.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use media::{Codec, Srtp};
use sip::{
    Command, Credentials, Registration, RegistrationFailure, RegistrationId, TlsClient, Transport,
    Uri,
};

use crate::carrier::CarrierError;
use crate::desk::{Desk, DeskConfig, Dial, DialError, Registrar};
use crate::phone::Phone;
use crate::script::{Acting, Part};
use crate::{Behaviour, CallReport};

/// A softphone's settings.
#[derive(Clone, Debug)]
pub struct SoftphoneConfig {
    /// Where it registers, and where it calls.
    pub server: SocketAddr,
    pub transport: Transport,
    /// Over TLS: whom it trusts to be there.
    pub tls: Option<TlsClient>,
    /// Its number, which is its user name.
    pub user: String,
    pub password: String,
    /// Asked-for lifetime of its registration in seconds, 60 to 86,400.
    pub expires: u32,
    /// Where it is, and where it sends and receives audio.
    pub ip: IpAddr,
    /// In its order of preference.
    pub codecs: Vec<Codec>,
    pub srtp: Srtp,
    /// How much is kept of each call.
    pub keep_for: Duration,
    /// Different for each phone of a test: tags, branches and Call-IDs come from it.
    pub seed: u64,
}

impl SoftphoneConfig {
    /// A phone on 127.0.0.1 that registers over UDP.
    pub fn new(server: SocketAddr, user: &str, password: &str, seed: u64) -> SoftphoneConfig {
        SoftphoneConfig {
            server,
            transport: Transport::Udp,
            tls: None,
            user: user.to_owned(),
            password: password.to_owned(),
            expires: 3600,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            codecs: Codec::ALL.to_vec(),
            srtp: Srtp::Optional,
            keep_for: Duration::from_secs(120),
            seed,
        }
    }
}

/// A running softphone. What it does when it is called is [`Softphone::behave`]'s or
/// [`Softphone::answer_with`]'s to say; until then it rings shortly and answers.
pub struct Softphone {
    desk: Desk,
    config: SoftphoneConfig,
}

const REGISTRATION: RegistrationId = RegistrationId(1);

impl Softphone {
    /// Opens the line and registers; [`Softphone::registered`] tells what came of it.
    pub async fn start(config: SoftphoneConfig) -> Result<Softphone, CarrierError> {
        let desk = Desk::start(DeskConfig {
            ip: config.ip,
            transport: config.transport,
            tls: config.tls.clone(),
            user_agent: "offhook-softphone".to_owned(),
            codecs: config.codecs.clone(),
            srtp: config.srtp,
            keep_for: config.keep_for,
            seed: config.seed,
        })
        .await?;
        let phone = Softphone { desk, config };
        phone.register();
        Ok(phone)
    }

    /// Registers anew, as after its connection was lost.
    pub fn register(&self) {
        let config = &self.config;
        let host = config.server.ip().to_string();
        let aor = Uri::new(&config.user, host).expect("an IP address is a host");
        let wanted = Registration {
            id: REGISTRATION,
            registrar: self.desk.destination(config.server),
            aor,
            contact_user: config.user.clone(),
            credentials: Some(self.credentials()),
            expires: config.expires,
        };
        if !self.desk.command(Command::Register(Box::new(wanted))) {
            tracing::warn!("the simulated softphone's line is overloaded: it does not register");
        }
    }

    /// The same, and waits for what this registration comes to: the registrar may have been restarted.
    pub async fn register_again(&self) -> Result<u32, RegistrationFailure> {
        let mut word = self.desk.next_word();
        self.register();
        // Where the line is closed, `registered` says so.
        let _ = word.changed().await;
        self.registered().await
    }

    /// Waits for the registrar's word: the seconds that the registration lives, or why it is not up.
    pub async fn registered(&self) -> Result<u32, RegistrationFailure> {
        let said = self.desk.registrar(|said| match said {
            Registrar::Registered(expires) => Some(Ok(*expires)),
            Registrar::Refused(failure) => Some(Err(failure.clone())),
            Registrar::Silent | Registrar::Unregistered => None,
        });
        let closed = || RegistrationFailure {
            status: None,
            reason: "the softphone was shut down".to_owned(),
            retry_in: 0,
        };
        said.await.unwrap_or_else(|| Err(closed()))
    }

    /// Takes the registration back and waits until that is known.
    pub async fn unregister(&self) {
        if self.desk.command(Command::Unregister { id: REGISTRATION }) {
            let gone = |said: &Registrar| matches!(said, Registrar::Unregistered).then_some(());
            self.desk.registrar(gone).await;
        }
    }

    /// From now on it behaves so when it is called.
    pub fn behave(&self, behaviour: Behaviour) {
        self.desk.exchange().cast(self.config.user.clone(), Part::Behaviour(behaviour));
    }

    /// From now on this person takes its calls; see [`crate::Carrier::answer_with`].
    pub fn answer_with(
        &self,
        person: impl for<'p> Fn(&'p mut Phone) -> Acting<'p> + Send + Sync + 'static,
    ) {
        self.desk.exchange().cast(self.config.user.clone(), Part::Person(Arc::new(person)));
    }

    /// Calls a number by way of its server. The phone in hand has to be used on: it hears only while it is waited on,
    /// and [`Phone::end`] puts it down.
    pub async fn dial(&self, number: &str) -> Result<Phone, DialError> {
        self.desk
            .dial(Dial {
                to: self.config.server,
                number,
                from: &self.config.user,
                credentials: Some(self.credentials()),
                session_expires: None,
                edit: bytes::Bytes::copy_from_slice,
            })
            .await
    }

    /// Where it sends from and, but over TLS, can be called.
    pub fn address(&self) -> SocketAddr {
        self.desk.address()
    }

    /// Calls that have ended, in the order of their ends.
    pub fn calls(&self) -> Vec<CallReport> {
        self.desk.exchange().ledger().calls()
    }

    /// Calls that ring or are up.
    pub fn live_calls(&self) -> usize {
        self.desk.exchange().live_calls()
    }

    /// The first ended call that satisfies `predicate`, among those there are and those to come.
    pub async fn call_ended(&self, predicate: impl Fn(&CallReport) -> bool) -> CallReport {
        self.desk.exchange().ledger().ended_with(predicate).await
    }

    /// Hangs up what is up and closes the line, without a word to the registrar.
    pub async fn shut_down(self) {
        self.desk.shut_down().await;
    }

    fn credentials(&self) -> Credentials {
        Credentials {
            username: self.config.user.clone(),
            password: self.config.password.clone(),
            realm: None,
        }
    }
}
