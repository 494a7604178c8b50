//! The registrar (RFC 3261 §10.3): which phones of ours are where.
//!
//! A binding leads back over the connection that its REGISTER came over or, over UDP, to the address
//! that it came from (RFC 5626 in spirit): what a phone writes into its Contact is only the name that
//! it is called by. Bindings live in memory; what a later process needs of them is told ([`Event::Keep`]) when a place
//! changes, and while it is only refreshed before what was told last has lost half of its time.

mod kept;
mod register;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    Binding, BindingId, Destination, DigestUser, Event, FlowId, PhonePolicy,
    auth_server::Directory,
    message::{Request, Source},
    stack::Stack,
    timers::{TimerHandle, TimerKey},
};
use kept::Kept;
pub use kept::KeptBindings;
use register::{Contact, Identity, Wish};

#[derive(Debug)]
pub(crate) struct Registrar {
    policy: PhonePolicy,
    phones: BTreeMap<String, Phone>,
    /// Who is behind a connection or an address of UDP.
    by_path: BTreeMap<Path, BTreeSet<String>>,
    /// Whose binding is which.
    by_id: BTreeMap<BindingId, String>,
    count: u64,
}

#[derive(Debug)]
struct Phone {
    login: DigestUser,
    /// In the order in which they were last refreshed.
    bindings: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    binding: Binding,
    identity: Identity,
    call_id: String,
    cseq: u32,
    until: Instant,
    /// What a later process would take for `until`.
    kept_until: Instant,
    timer: TimerHandle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Path {
    Stream(FlowId),
    Datagrams(SocketAddr),
}

/// What a REGISTER is answered with.
pub(crate) type Answer = (u16, Vec<(String, String)>);

impl Registrar {
    pub fn new(policy: PhonePolicy) -> Registrar {
        Registrar {
            policy,
            phones: BTreeMap::new(),
            by_path: BTreeMap::new(),
            by_id: BTreeMap::new(),
            count: 0,
        }
    }

    /// These are the users from now on. Who is gone or has another password loses its bindings.
    pub fn set_users(&mut self, mut users: BTreeMap<String, DigestUser>, stack: &mut Stack) {
        let gone: Vec<String> =
            self.phones.keys().filter(|name| !users.contains_key(*name)).cloned().collect();
        for name in gone {
            self.set_user(name, None, stack);
        }
        while let Some((name, login)) = users.pop_first() {
            self.set_user(name, Some(login), stack);
        }
    }

    /// Adds or replaces one user, or removes it.
    pub fn set_user(&mut self, name: String, login: Option<DigestUser>, stack: &mut Stack) {
        let known = self.phones.get(&name).map(|phone| &phone.login);
        if known.is_some() && known == login.as_ref() {
            return;
        }
        self.drop_where(&name, |_| true, stack);
        match login {
            Some(login) => {
                self.phones.insert(name, Phone { login, bindings: Vec::new() });
            }
            None => {
                self.phones.remove(&name);
            }
        }
    }

    /// A REGISTER of a user who has shown its password.
    pub fn register(&mut self, user: &str, request: &Request, stack: &mut Stack) -> Answer {
        let wish = register::wish(user, request, &self.policy);
        let changed = match wish {
            Ok(Wish::Query) => Ok(()),
            Ok(Wish::RemoveAll) => self.remove_all(user, request, stack),
            Ok(Wish::Bind(contacts)) => self.bind(user, contacts, request, stack),
            Err(refusal) => Err(refusal),
        };
        match changed {
            Ok(()) => (200, self.contacts(user, stack.now)),
            Err(refusal) => refusal,
        }
    }

    /// The connection is gone, and with it who was reached over it.
    pub fn flow_lost(&mut self, flow: FlowId, stack: &mut Stack) {
        for user in self.by_path.remove(&Path::Stream(flow)).unwrap_or_default() {
            self.drop_where(&user, |held| held.binding.destination.flow == Some(flow), stack);
        }
    }

    /// A binding's life may be over.
    pub fn due(&mut self, id: BindingId, stack: &mut Stack) {
        if let Some(user) = self.by_id.get(&id).cloned() {
            let now = stack.now;
            self.drop_where(&user, |held| held.binding.id == id && held.until <= now, stack);
        }
    }

    /// Whether a phone of ours is reached there.
    pub fn is_behind(&self, source: Source) -> bool {
        self.by_path.contains_key(&path(source))
    }

    fn remove_all(
        &mut self,
        user: &str,
        request: &Request,
        stack: &mut Stack,
    ) -> Result<(), Answer> {
        let phone = self.phones.get(user);
        if phone.is_some_and(|phone| phone.bindings.iter().any(|held| held.is_newer(request))) {
            return Err(out_of_order());
        }
        self.drop_where(user, |_| true, stack);
        Ok(())
    }

    /// All of it or nothing (RFC 3261 §10.3, 7).
    fn bind(
        &mut self,
        user: &str,
        contacts: Vec<Contact>,
        request: &Request,
        stack: &mut Stack,
    ) -> Result<(), Answer> {
        let Some(phone) = self.phones.get_mut(user) else { return Ok(()) };
        let of = |held: &Held| contacts.iter().any(|contact| contact.identity == held.identity);
        if phone.bindings.iter().any(|held| of(held) && held.is_newer(request)) {
            return Err(out_of_order());
        }
        let before = phone.public();
        for contact in contacts {
            let place = phone.bindings.iter().position(|held| held.identity == contact.identity);
            let old = place.map(|place| phone.bindings.remove(place));
            if let Some(old) = &old {
                stack.timers.cancel(old.timer);
            }
            if contact.lifetime.is_zero() {
                continue;
            }
            let (id, kept_until) = match old {
                Some(old) => (old.binding.id, old.kept_until),
                None => {
                    self.count += 1;
                    (BindingId(self.count), stack.now)
                }
            };
            phone.bindings.push(Held::new(id, contact, request, kept_until, stack));
        }
        while phone.bindings.len() > self.policy.max_bindings {
            let oldest = phone.bindings.remove(0);
            stack.timers.cancel(oldest.timer);
        }
        let changed = self.report(user, before, stack);
        self.keep(user, changed, stack);
        Ok(())
    }

    /// What an earlier process knew. Of those it was told to keep only what a datagram reaches is good again; a phone
    /// that has registered here meanwhile knows better.
    pub fn restore(&mut self, user: &str, kept: KeptBindings, stack: &mut Stack) {
        let Some(phone) = self.phones.get_mut(user) else { return };
        let before = phone.public();
        for kept in kept.0 {
            let is_known = phone.bindings.iter().any(|held| held.identity == kept.identity);
            let is_reached =
                !kept.transport.is_reliable() && stack.is_bound(kept.local, kept.transport);
            if is_known || !is_reached || phone.bindings.len() >= self.policy.max_bindings {
                continue;
            }
            self.count += 1;
            phone.bindings.push(Held::restored(BindingId(self.count), kept, stack));
        }
        self.report(user, before, stack);
    }

    fn drop_where(&mut self, user: &str, gone: impl Fn(&Held) -> bool, stack: &mut Stack) {
        let Some(phone) = self.phones.get_mut(user) else { return };
        let before = phone.public();
        let (dropped, kept): (Vec<Held>, Vec<Held>) =
            std::mem::take(&mut phone.bindings).into_iter().partition(gone);
        phone.bindings = kept;
        for held in dropped {
            stack.timers.cancel(held.timer);
        }
        let changed = self.report(user, before, stack);
        self.keep(user, changed, stack);
    }

    /// Tells what a later process needs, where that has changed or would soon be out of date.
    fn keep(&mut self, user: &str, changed: bool, stack: &mut Stack) {
        let Some(phone) = self.phones.get_mut(user) else { return };
        if !changed && !phone.bindings.iter().any(|held| held.is_ill_kept(stack.now)) {
            return;
        }
        let kept = phone.bindings.iter_mut().filter_map(|held| held.kept(stack.now));
        let bindings = KeptBindings(kept.collect());
        stack.event(Event::Keep { user: user.to_owned(), bindings });
    }

    /// Brings the indices up to date and tells the caller, where anything but a lifetime changed: whether it has.
    fn report(&mut self, user: &str, before: Vec<Binding>, stack: &mut Stack) -> bool {
        let bindings = self.phones.get(user).map(Phone::public).unwrap_or_default();
        if bindings == before {
            return false;
        }
        for old in &before {
            self.by_id.remove(&old.id);
            if let Some(users) = self.by_path.get_mut(&path_of(old)) {
                users.remove(user);
                if users.is_empty() {
                    self.by_path.remove(&path_of(old));
                }
            }
        }
        for new in &bindings {
            self.by_id.insert(new.id, user.to_owned());
            self.by_path.entry(path_of(new)).or_default().insert(user.to_owned());
        }
        stack.event(Event::Bound { user: user.to_owned(), bindings });
        true
    }

    /// The Contacts of a 200: every binding and the seconds it has left.
    fn contacts(&self, user: &str, now: Instant) -> Vec<(String, String)> {
        let phone = self.phones.get(user);
        let bindings = phone.map(|phone| phone.bindings.as_slice()).unwrap_or_default();
        let line = |held: &Held| {
            let left = held.until.saturating_duration_since(now).as_secs();
            ("Contact".to_owned(), format!("<{}>;expires={left}", held.binding.uri))
        };
        bindings.iter().map(line).collect()
    }
}

impl Directory for Registrar {
    fn realm(&self) -> &str {
        &self.policy.realm
    }

    fn user(&self, name: &str) -> Option<&DigestUser> {
        self.phones.get(name).map(|phone| &phone.login)
    }

    fn is_at(&self, name: &str, ip: IpAddr) -> bool {
        let phone = self.phones.get(name);
        phone.is_some_and(|phone| {
            phone.bindings.iter().any(|held| held.binding.destination.addr.ip() == ip)
        })
    }
}

impl Phone {
    /// What the caller sees: by falling preference, of equal ones the latest first.
    fn public(&self) -> Vec<Binding> {
        let mut bindings: Vec<Binding> =
            self.bindings.iter().rev().map(|held| held.binding.clone()).collect();
        bindings.sort_by_key(|binding| std::cmp::Reverse(binding.preference));
        bindings
    }
}

impl Held {
    fn new(
        id: BindingId,
        contact: Contact,
        request: &Request,
        kept_until: Instant,
        stack: &mut Stack,
    ) -> Held {
        let until = stack.now + contact.lifetime;
        let mut destination = request.source.destination();
        destination.flow = destination.flow.or(Some(FlowId::DATAGRAMS));
        Held {
            binding: Binding {
                id,
                uri: contact.uri,
                destination,
                preference: contact.preference,
                user_agent: register::user_agent(request),
            },
            identity: contact.identity,
            call_id: request.call_id.clone(),
            cseq: request.cseq,
            until,
            kept_until,
            timer: stack.timers.set(until, TimerKey::Binding(id)),
        }
    }

    fn restored(id: BindingId, kept: Kept, stack: &mut Stack) -> Held {
        let until = stack.now + kept.left;
        let destination = Destination {
            addr: kept.remote,
            transport: kept.transport,
            local: Some(kept.local),
            flow: Some(FlowId::DATAGRAMS),
            tls: None,
        };
        Held {
            binding: Binding {
                id,
                uri: kept.uri,
                destination,
                preference: kept.preference,
                user_agent: kept.user_agent,
            },
            identity: kept.identity,
            call_id: kept.call_id,
            cseq: kept.cseq,
            until,
            kept_until: until,
            timer: stack.timers.set(until, TimerKey::Binding(id)),
        }
    }

    /// Half of its time is over for a later process, and not here.
    fn is_ill_kept(&self, now: Instant) -> bool {
        let left = |until: Instant| until.saturating_duration_since(now);
        left(self.kept_until) < left(self.until) / 2
    }

    fn kept(&mut self, now: Instant) -> Option<Kept> {
        let Destination { addr, transport, local, .. } = self.binding.destination;
        self.kept_until = self.until;
        Some(Kept {
            uri: self.binding.uri.clone(),
            transport,
            local: local?,
            remote: addr,
            preference: self.binding.preference,
            user_agent: self.binding.user_agent.clone(),
            identity: self.identity.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            left: self.until.saturating_duration_since(now),
        })
    }

    /// Whether it was made by a later request of the same phone (RFC 3261 §10.3, 7).
    fn is_newer(&self, request: &Request) -> bool {
        self.call_id == request.call_id && self.cseq >= request.cseq
    }
}

fn out_of_order() -> Answer {
    (500, Vec::new())
}

fn path(source: Source) -> Path {
    source.flow.map_or(Path::Datagrams(source.remote), Path::Stream)
}

fn path_of(binding: &Binding) -> Path {
    match binding.destination.flow {
        None | Some(FlowId::DATAGRAMS) => Path::Datagrams(binding.destination.addr),
        Some(flow) => Path::Stream(flow),
    }
}

/// Seconds as they stand in Expires.
fn seconds(time: Duration) -> String {
    time.as_secs().to_string()
}
