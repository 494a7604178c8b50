//! Softphones as the driver needs them: where each is registered now, and the INVITE to one of those
//! places. Where they were when the last process ended is on disk: those that a datagram reaches are reached at
//! once, the others are waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use engine::action::{Dialled, Input};
use engine::vocabulary::{BindingId, Deadline, LegId, Serial};
use sip::{Address, Binding, Failover, Invite, KeptBindings, Uri};
use store::{Registration, crash_point};

use super::Driver;
use super::trunks::{NamedAttempt, TrunkError};

/// So long after a start a call waits for a phone that was registered before: its connection is gone, and it has to
/// notice that and register again. Below what the engine allows for a look-up (30 s).
const COMES_BACK: Duration = Duration::from_secs(25);

/// How softphones are called.
#[derive(Debug, Clone)]
pub struct PhoneLine {
    /// The host in From and To: as what they know this server.
    pub host: String,
    pub codecs: Vec<media::Codec>,
    pub srtp: media::Srtp,
    /// Seconds of RFC 4028 that calls to them ask for.
    pub session_expires: Option<u32>,
}

#[derive(Debug)]
pub struct Phones {
    line: PhoneLine,
    /// By number; the preferred place first. Nobody without a place is here.
    bound: BTreeMap<String, Vec<Binding>>,
    /// Numbers whose phones were registered before the start and are not again.
    missed: BTreeSet<String>,
    /// Calls that wait for one of them. Of calls that the engine holds, so no more than those.
    waiting: BTreeMap<String, Vec<Serial>>,
    /// When nobody is waited for any more.
    missed_until: Deadline,
}

impl Phones {
    pub fn new(line: PhoneLine) -> Phones {
        Phones {
            line,
            bound: BTreeMap::new(),
            missed: BTreeSet::new(),
            waiting: BTreeMap::new(),
            missed_until: Duration::ZERO,
        }
    }

    pub fn line(&self) -> &PhoneLine {
        &self.line
    }

    /// When [`Driver::give_up_phones`] has something to do.
    pub fn wake_at(&self) -> Option<Deadline> {
        (!self.waiting.is_empty()).then_some(self.missed_until)
    }

    /// The registrar says where the phone of a number is from now on. The calls that have waited for it.
    fn bound(&mut self, number: String, places: Vec<Binding>) -> Vec<Serial> {
        if places.is_empty() {
            self.bound.remove(&number);
            return Vec::new();
        }
        self.missed.remove(&number);
        let waiting = self.waiting.remove(&number);
        self.bound.insert(number, places);
        waiting.unwrap_or_default()
    }

    /// Where the phone of a number can be called.
    pub fn places(&self, number: &str) -> Vec<BindingId> {
        let places = self.bound.get(number).into_iter().flatten();
        places.map(|place| BindingId(place.id.0)).collect()
    }

    /// # Errors
    /// The phone is not registered there any more, or the number shown to it cannot stand in an address.
    pub fn invite(
        &self,
        leg: LegId,
        to: &Dialled,
        binding: BindingId,
        name: NamedAttempt,
        sdp: Bytes,
    ) -> Result<Invite, TrunkError> {
        let mut places = self.bound.get(&to.called).into_iter().flatten();
        let place =
            places.find(|place| place.id.0 == binding.0).ok_or(TrunkError::NotRegistered)?;
        Ok(Invite {
            leg: sip::LegId(leg.0),
            destination: place.destination,
            request_uri: place.uri.clone(),
            from: Uri::new(&to.caller_present, &self.line.host)?.into(),
            to: Address::new(Uri::new(&to.called, &self.line.host)?),
            p_asserted_identity: None,
            call_id: name.call_id,
            from_tag: name.from_tag,
            credentials: None,
            failover: Failover::default(),
            session_expires: self.line.session_expires,
            headers: Vec::new(),
            body: Some(sip::Body::sdp(sdp)),
        })
    }
}

impl Driver {
    /// Where the phones were when the last process ended; what is too old goes from the disk.
    pub(super) fn restore_phones(&mut self, registrations: Vec<Registration>) {
        self.phones.missed_until = self.now.since_start + COMES_BACK;
        for registration in registrations {
            let Registration { number, at_ms, places } = registration;
            let kept = KeptBindings::from_bytes(&places.unwrap_or_default()).unwrap_or_else(|error| {
                tracing::warn!(%error, "where a softphone was cannot be read; it is waited for no longer");
                KeptBindings::default()
            });
            // A clock that was set back makes nothing younger.
            let age = u64::try_from(self.now.unix_ms.saturating_sub(at_ms)).unwrap_or_default();
            let bindings = kept.after(Duration::from_millis(age));
            if bindings.is_empty() {
                self.batches.add_registration(Registration { number, at_ms, places: None });
                continue;
            }
            self.phones.missed.insert(number.clone());
            if bindings.has_datagrams() {
                self.tell_sip(sip::Command::Restore { user: number, bindings });
            }
        }
    }

    /// To disk, so that the next start finds it.
    pub(super) fn keep_phone(&mut self, number: String, bindings: &KeptBindings) {
        let places = (!bindings.is_empty()).then(|| bindings.to_bytes());
        let registration = Registration { number, at_ms: self.now.unix_ms, places };
        self.batches.add_registration(registration);
    }

    pub(super) fn phone_bound(&mut self, number: String, places: Vec<Binding>) {
        for serial in self.phones.bound(number.clone(), places) {
            self.phone_found(serial, &number);
        }
    }

    /// At once, or when a phone that was there before the start is back.
    pub(super) fn find_phone(&mut self, serial: Serial, number: String) {
        let is_missed = self.phones.missed.contains(&number);
        if is_missed && self.now.since_start < self.phones.missed_until {
            self.phones.waiting.entry(number).or_default().push(serial);
        } else {
            self.phone_found(serial, &number);
        }
    }

    /// Phones that are not back in time are nowhere.
    pub(super) fn give_up_phones(&mut self) {
        if self.now.since_start < self.phones.missed_until {
            return;
        }
        self.phones.missed.clear();
        for (number, calls) in std::mem::take(&mut self.phones.waiting) {
            for serial in calls {
                self.phone_found(serial, &number);
            }
        }
    }

    fn phone_found(&mut self, serial: Serial, number: &str) {
        let bindings = self.phones.places(number);
        crash_point!("phone_found");
        self.input(Input::PhoneFound { serial, bindings });
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::driver::Wanted;
    use crate::driver::idle::{at, driver};

    const NUMBER: &str = "66666666";

    /// As the registrar of the last process told it, `ago` before the start.
    fn registered(transport: sip::Transport, ago: Duration) -> Registration {
        let kept = kept(transport);
        let at_ms = at(Duration::ZERO).unix_ms - ago.as_millis() as i64;
        Registration { number: NUMBER.into(), at_ms, places: Some(kept.to_bytes()) }
    }

    /// What a core keeps of a phone that has registered for ten minutes.
    fn kept(transport: sip::Transport) -> KeptBindings {
        let here: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        let remote: SocketAddr = "192.0.2.9:5062".parse().unwrap();
        let policy =
            sip::Policy { accept_register: sip::AcceptRegister::Phones, ..sip::Policy::default() };
        let listener = sip::CoreListener { transport, bound: here, public: here };
        let config = sip::CoreConfig {
            listeners: vec![listener],
            policy,
            user_agent: None,
            max_legs: 1,
            max_message: 65_535,
        };
        let now = std::time::Instant::now();
        let mut core = sip::Core::new(config, 1, now);
        let realm = sip::PhonePolicy::default().realm;
        let login = Some(sip::DigestUser::from_password(NUMBER, &realm, "a password"));
        core.command(sip::Command::SetUser { user: NUMBER.into(), login }, now);
        let credentials = sip::Credentials {
            username: NUMBER.into(),
            password: "a password".into(),
            realm: None,
        };
        let phone = sip::CoreListener { transport, bound: remote, public: remote };
        let mut phone = sip::Core::new(
            sip::CoreConfig {
                listeners: vec![phone],
                policy: sip::Policy::default(),
                user_agent: None,
                max_legs: 1,
                max_message: 65_535,
            },
            2,
            now,
        );
        let registrar = sip::Destination::new(here, transport);
        phone.command(
            sip::Command::Register(Box::new(sip::Registration {
                id: sip::RegistrationId(1),
                registrar,
                aor: Uri::new(NUMBER, "192.0.2.1").unwrap(),
                contact_user: NUMBER.into(),
                credentials: Some(credentials),
                expires: 600,
            })),
            now,
        );
        let flow = transport.is_reliable().then_some(sip::FlowId(3));
        loop {
            let mut carried = false;
            while let Some(output) = phone.poll() {
                if let sip::Output::Transmit(message) = output {
                    carried = true;
                    core.received(received(&message, here, remote, flow), now);
                }
            }
            while let Some(output) = core.poll() {
                match output {
                    sip::Output::Transmit(message) => {
                        carried = true;
                        phone.received(received(&message, remote, here, flow), now);
                    }
                    sip::Output::Event(sip::Event::Keep { bindings, .. }) => return bindings,
                    sip::Output::Event(_) => {}
                }
            }
            assert!(carried, "the phone is not let in");
        }
    }

    fn received(
        message: &sip::Transmit,
        local: SocketAddr,
        remote: SocketAddr,
        flow: Option<sip::FlowId>,
    ) -> sip::Received {
        let (transport, bytes) = (message.transport, message.bytes.clone());
        sip::Received { transport, local, remote, flow, bytes }
    }

    fn restores(driver: &mut Driver) -> bool {
        let restore = |wanted| matches!(wanted, Wanted::Sip(sip::Command::Restore { .. }));
        std::iter::from_fn(|| driver.wanted()).any(restore)
    }

    fn place() -> Binding {
        Binding {
            id: sip::BindingId(1),
            uri: Uri::new(NUMBER, "192.0.2.9").unwrap(),
            destination: sip::Destination::new(
                "192.0.2.9:5062".parse().unwrap(),
                sip::Transport::Udp,
            ),
            preference: 1_000,
            user_agent: None,
        }
    }

    #[test]
    fn a_phone_that_was_registered_is_waited_for_and_no_longer_than_that() {
        let soon = Duration::from_secs(1);
        for transport in [sip::Transport::Udp, sip::Transport::Tcp] {
            let mut driver = driver(vec![registered(transport, soon)]);
            assert_eq!(restores(&mut driver), !transport.is_reliable());
            driver.now = at(soon);
            driver.find_phone(Serial(1), NUMBER.into());
            driver.find_phone(Serial(2), "somebody else".into());
            assert_eq!(driver.phones.waiting[NUMBER], [Serial(1)]);
            assert_eq!(driver.wake_at(at(soon)), Some(COMES_BACK));
            driver.wake(at(COMES_BACK));
            assert!(driver.phones.waiting.is_empty());
            driver.find_phone(Serial(3), NUMBER.into());
            assert!(driver.phones.waiting.is_empty(), "nobody waits any more");
            assert_eq!(driver.phones.wake_at(), None);
        }
    }

    #[test]
    fn whoever_waits_for_a_phone_goes_on_when_it_is_back() {
        let mut driver = driver(vec![registered(sip::Transport::Tls, Duration::from_secs(1))]);
        driver.find_phone(Serial(1), NUMBER.into());
        driver.phone_bound(NUMBER.into(), Vec::new());
        assert_eq!(driver.phones.waiting[NUMBER], [Serial(1)], "that was another place");
        driver.phone_bound(NUMBER.into(), vec![place()]);
        assert!(driver.phones.waiting.is_empty());
        assert_eq!(driver.phones.places(NUMBER).len(), 1);
    }

    #[test]
    fn a_registration_that_is_over_or_cannot_be_read_goes_from_the_disk() {
        let old = registered(sip::Transport::Udp, Duration::from_secs(600));
        let damaged = Registration { places: Some(vec![1, 2, 3]), ..old.clone() };
        for gone in [old, damaged] {
            let mut driver = driver(vec![gone]);
            assert!(driver.phones.missed.is_empty());
            driver.end_turn(at(Duration::ZERO));
            let removed = std::iter::from_fn(|| driver.wanted()).find_map(|wanted| match wanted {
                Wanted::Commit { writes, .. } => writes.registrations.into_iter().next(),
                _ => None,
            });
            assert!(removed.is_some_and(|of| of.number == NUMBER && of.places.is_none()));
        }
    }
}
