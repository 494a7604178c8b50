//! Targets of `crates/sip`. Everything is the real core in virtual time; the bytes are the far side's.

use std::{collections::BTreeMap, time::Duration};

use sip::*;

use crate::world::*;

/// A datagram, while a call is up and another rings.
pub fn sip_datagram(data: &[u8]) {
    let mut solo = Solo::new(open());
    solo.up(invite(1), "");
    solo.dial(invite(2));
    feed(&mut solo, Transport::Udp, data);
    finish(solo);
}

/// A stream in pieces: the first byte says how long they are.
pub fn sip_stream(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let whole = framed([data]);
    let pieces = framed(data.chunks(usize::from(*size).max(1)));
    // What is wrong may be seen earlier or later, and then be called otherwise.
    assert_eq!((pieces.0, pieces.1.is_some()), (whole.0.clone(), whole.1.is_some()));
    let mut solo = Solo::new(open());
    solo.up(invite(1), "");
    for message in whole.0 {
        if let Framed::Message(message) = message {
            feed(&mut solo, Transport::Tcp, &message);
        }
    }
    finish(solo);
}

/// URIs and addresses: what is read and written again is the same.
pub fn uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(uri) = Uri::parse(&text) {
        let written = uri.to_string();
        assert_plain(&written);
        assert_eq!(Uri::parse(&written).as_ref(), Ok(&uri), "{written}");
    }
    if let Ok(address) = Address::parse(&text) {
        let written = address.to_string();
        assert_plain(&written);
        assert_eq!(Address::parse(&written).as_ref(), Ok(&address), "{written}");
    }
}

/// Digest in both directions; an even first byte attacks our server, an odd one our client.
pub fn digest(data: &[u8]) {
    let Some((side, value)) = data.split_first() else { return };
    let value = one_line(value);
    if side % 2 == 0 { digest_server(&value) } else { digest_client(&value) }
}

/// Via, Contact, Record-Route and Route of a request and of the answers to ours, a line each.
pub fn via_contact(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let line = |at: usize| one_line(lines.get(at).copied().unwrap_or_default());
    let mut solo = Solo::new(open());
    let sent = solo.dial(invite(1));
    let first = [("Contact", line(1)), ("Record-Route", line(2))];
    let answer = reply(&sent, 200, "b", "", "answer");
    feed(&mut solo, Transport::Udp, &with_headers(&answer, &first));
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    let names = ["Via", "Contact", "Record-Route", "Route"];
    let headers: Vec<_> = names.iter().enumerate().map(|(at, name)| (*name, line(at))).collect();
    let inbound = request(&Outside { extra: "", body: "offer", ..Outside::default() });
    let (via, others) = headers.split_at(1);
    feed(&mut solo, Transport::Udp, &with_headers(&inbound, others));
    feed(&mut solo, Transport::Udp, &with_headers(&inbound.replace("Via:", "X:"), via));
    finish(solo);
}

/// Contact, Expires, User-Agent and To of a phone that has shown its password, a line each.
pub fn register(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let names = ["Contact", "Expires", "User-Agent", "To"];
    let headers: Vec<(&str, Vec<u8>)> =
        names.into_iter().zip(&lines).map(|(name, line)| (name, one_line(line))).collect();
    let policy = Policy { accept_register: AcceptRegister::Phones, ..Policy::default() };
    let login = DigestUser::from_password("200", &policy.phones.realm, PASSWORD);
    let mut solo = Solo::new(policy);
    let user = "200".to_owned();
    solo.command(Command::SetUser { user: user.clone(), login: Some(login) });
    let (to, others) = headers.split_at(headers.len().min(3));
    let whole = with_headers(&logged_in(&mut solo), to);
    let mut message = text(&whole);
    if let [(_, to)] = others {
        message = message.replace("To: <sip:200@192.0.2.1>", &format!("To: {}", text(to)));
    }
    solo.receive(&message);
    let challenged = solo.wire.iter().any(|answer| answer.bytes.starts_with(b"SIP/2.0 401 "));
    assert!(!challenged, "it has shown its password");
    for event in solo.events.drain(..) {
        if let Event::Bound { bindings, .. } = event {
            assert!(bindings.len() <= 5);
            assert!(bindings.iter().all(|binding| binding.destination.addr == addr(THEIRS)));
            bindings.iter().for_each(|binding| assert_plain(&binding.uri.to_string()));
        }
    }
    solo.command(Command::SetUser { user, login: None });
    solo.events.clear();
    finish(solo);
}

/// A REGISTER without a Contact that answers the challenge of `solo`: our own client's.
fn logged_in(solo: &mut Solo) -> String {
    let mut phone = Solo::new(Policy::default());
    phone.command(Command::Register(Box::new(Registration {
        id: RegistrationId(1),
        registrar: Destination::new(addr(OURS), Transport::Udp),
        aor: Uri::parse("sip:200@192.0.2.1").expect("it is a URI"),
        contact_user: "200".to_owned(),
        credentials: Some(Credentials {
            username: "200".to_owned(),
            password: PASSWORD.to_owned(),
            realm: None,
        }),
        expires: 600,
    })));
    solo.receive(&phone.one());
    phone.receive_from(OURS, &solo.one());
    let register = phone.one();
    let lines = register.split("\r\n");
    let kept = lines.filter(|line| !line.starts_with("Contact") && !line.starts_with("Expires"));
    kept.collect::<Vec<_>>().join("\r\n")
}

/// Two bytes are an instruction: commands of ours, messages of the far side, time.
pub fn transaction_program(data: &[u8]) {
    let mut machine = Machine::new();
    for step in data.chunks_exact(2).take(200) {
        machine.step(step[0], step[1]);
    }
    machine.finish();
}

fn digest_server(value: &[u8]) {
    let user = DigestUser::from_password("200", "offhook", PASSWORD);
    let digest = DigestPolicy {
        realm: "offhook".to_owned(),
        users: BTreeMap::from([("200".to_owned(), user)]),
    };
    let policy = Policy { accept_invites: AcceptInvites::Digest(digest), ..Policy::default() };
    let mut solo = Solo::new(policy);
    let attempt = request(&Outside { body: "offer", ..Outside::default() });
    feed(&mut solo, Transport::Udp, &with_headers(&attempt, &[("Authorization", value.to_vec())]));
    let let_in = solo.events.iter().any(|event| matches!(event, Event::Incoming { .. }));
    assert!(!let_in, "without the password");
    finish(solo);
}

fn digest_client(value: &[u8]) {
    let mut solo = Solo::new(open());
    let credentials =
        Credentials { username: "200".to_owned(), password: PASSWORD.to_owned(), realm: None };
    let sent = solo.dial(Invite { credentials: Some(credentials), ..invite(1) });
    let challenge = reply(&sent, 401, "b", "", "");
    feed(
        &mut solo,
        Transport::Udp,
        &with_headers(&challenge, &[("WWW-Authenticate", value.to_vec())]),
    );
    solo.command(Command::Send { leg: LegId(1) });
    assert!(solo.wire.iter().all(|message| !text(&message.bytes).contains(PASSWORD)));
    finish(solo);
}

const PASSWORD: &str = "correct horse battery";

/// Hands a message over, looks at every answer, and lets in whoever the core lets in.
fn feed(solo: &mut Solo, transport: Transport, bytes: &[u8]) {
    let received = Received {
        transport,
        local: addr(OURS),
        remote: addr(THEIRS),
        flow: (transport == Transport::Tcp).then_some(FlowId(1)),
        bytes: bytes.to_vec().into(),
    };
    solo.core.received(received, solo.now);
    solo.pass(Duration::ZERO);
    let incoming: Vec<LegId> = solo.events.iter().filter_map(incoming_leg).collect();
    solo.events.clear();
    for leg in incoming {
        solo.command(Command::Answer { leg, body: Some(Body::sdp("answer")) });
        solo.command(Command::HangUp { leg, cause: HangUpCause::Normal });
    }
    for leg in [1, 2] {
        solo.command(Command::Acknowledge { leg: LegId(leg), body: None });
    }
    look(solo);
}

fn incoming_leg(event: &Event) -> Option<LegId> {
    match event {
        Event::Incoming { leg, .. } => Some(*leg),
        _ => None,
    }
}

/// What we say is one whole message each, and answers go to no third party.
fn look(solo: &mut Solo) {
    for message in solo.wire.drain(..) {
        let (frames, fault) = framed([&message.bytes[..]]);
        assert_eq!((frames.len(), fault), (1, None), "{}", text(&message.bytes));
        if message.bytes.starts_with(b"SIP/2.0 ") {
            assert_eq!(message.remote.ip(), addr(THEIRS).ip(), "an answer to a stranger");
        }
    }
}

/// Ends every leg; nothing may be left, and nothing may have panicked.
fn finish(mut solo: Solo) {
    for leg in [1, 2] {
        solo.hang_up(leg);
    }
    for _ in 0..5 {
        solo.pass(Duration::from_secs(64));
        let late: Vec<LegId> = solo.events.drain(..).filter_map(|e| incoming_leg(&e)).collect();
        for leg in late {
            solo.command(Command::HangUp { leg, cause: HangUpCause::Normal });
        }
        look(&mut solo);
    }
    assert_eq!(solo.core.counters().panics, 0);
    assert_eq!(solo.core.load(), (0, 0, 0));
}

fn framed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Framed>, Option<FrameError>) {
    let mut framer = Framer::new(65_535);
    let mut out = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.pop() {
                Ok(Some(framed)) => out.push(framed),
                Ok(None) => break,
                Err(error) => return (out, Some(error)),
            }
        }
    }
    (out, None)
}

fn assert_plain(written: &str) {
    assert!(!written.contains(['\r', '\n', '\0']), "{written:?}");
}

fn one_line(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
}

/// The message with headers put in behind its first line.
fn with_headers(message: &str, headers: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (first, rest) = message.split_once("\r\n").expect("a message has lines");
    let mut out = first.as_bytes().to_vec();
    for (name, value) in headers {
        out.extend(b"\r\n");
        out.extend(name.bytes());
        out.extend(b": ");
        out.extend(value);
    }
    out.extend(b"\r\n");
    out.extend(rest.bytes());
    out
}

/// The far side of `transaction_program`, and what it has seen.
struct Machine {
    solo: Solo,
    legs: Vec<LegId>,
    ends: BTreeMap<LegId, u32>,
    /// Our INVITEs, for the far side to answer.
    invites: Vec<String>,
    count: u32,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            solo: Solo::new(open()),
            legs: Vec::new(),
            ends: BTreeMap::new(),
            invites: Vec::new(),
            count: 0,
        }
    }

    fn step(&mut self, what: u8, with: u8) {
        self.count += 1;
        match what % 8 {
            0 => self.dial(with),
            1 | 2 => self.command(what / 8, with),
            3 | 4 => self.answer(what / 8, with),
            5 => self.request(what / 8, with),
            6 => self.solo.pass(Duration::from_millis(u64::from(with) * u64::from(with))),
            _ => self.solo.lose(Transport::Udp),
        }
        self.look();
    }

    fn dial(&mut self, with: u8) {
        let mut invite = invite(u64::from(self.count));
        if with & 1 == 1 {
            invite.headers.push(("Require".to_owned(), "100rel".to_owned()));
        }
        if with & 2 == 2 {
            invite.body = None;
        }
        let leg = invite.leg;
        self.solo.command(Command::Prepare(Box::new(invite)));
        self.solo.command(Command::Send { leg });
    }

    fn command(&mut self, verb: u8, with: u8) {
        let Some(leg) = self.pick(with) else { return };
        let body = || Some(Body::sdp("sdp"));
        self.solo.command(match verb % 12 {
            0 => Command::Send { leg },
            1 => Command::Acknowledge { leg, body: None },
            2 => Command::Ring { leg, body: body() },
            3 => Command::Progress { leg, body: body() },
            4 => Command::Answer { leg, body: body() },
            5 => Command::AnswerWhenCancelled { leg, body: body() },
            6 => Command::Refuse { leg, status: 486, reason: None, headers: vec![] },
            7 => Command::AnswerOffer { leg, body: body() },
            8 => Command::RefuseOffer { leg, status: 488 },
            9 => Command::Offer { leg, body: Body::sdp("offer") },
            10 => Command::Info { leg, body: Body::sdp("info") },
            _ => Command::HangUp { leg, cause: HangUpCause::Normal },
        });
    }

    fn answer(&mut self, kind: u8, with: u8) {
        let Some(invite) = self.invites.get(usize::from(with) % self.invites.len().max(1)) else {
            return;
        };
        let status = [100, 180, 183, 200, 202, 301, 401, 407, 481, 486, 487, 491, 500, 503, 603];
        let status = status[usize::from(kind) % status.len()];
        let tag = ["b", "c", ""][usize::from(with / 16) % 3];
        let reliable = "Require: 100rel\r\nRSeq: 1\r\n";
        let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
        let extra = match with / 64 {
            0 => CONTACT.to_owned(),
            1 => format!("{CONTACT}{reliable}"),
            2 => format!("{CONTACT}{challenge}"),
            _ => String::new(),
        };
        let message = reply(invite, status, tag, &extra, if with & 1 == 1 { "sdp" } else { "" });
        self.solo.receive(&message);
    }

    fn request(&mut self, kind: u8, with: u8) {
        let methods = ["INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "OPTIONS"];
        let method = methods[usize::from(kind) % methods.len()];
        let cseq = u32::from(with % 16) + 1;
        let body = if with & 32 == 32 { "sdp" } else { "" };
        let message = match self.invites.get(usize::from(with / 64)) {
            Some(invite) if with & 16 == 16 => in_dialog(invite, "b", method, cseq, CONTACT, body),
            _ => {
                let call_id = format!("far-{}", with / 64);
                let branch = format!("{call_id}{cseq}");
                let outside = Outside {
                    method,
                    call_id: &call_id,
                    cseq,
                    branch: &branch,
                    body,
                    ..Outside::default()
                };
                request(&outside)
            }
        };
        self.solo.receive(&message);
    }

    fn pick(&self, with: u8) -> Option<LegId> {
        self.legs.get(usize::from(with) % self.legs.len().max(1)).copied()
    }

    fn look(&mut self) {
        for event in self.solo.events.drain(..) {
            match event {
                Event::Prepared { leg, .. } | Event::Incoming { leg, .. } => self.legs.push(leg),
                Event::Ended { leg, .. } => *self.ends.entry(leg).or_default() += 1,
                _ => {}
            }
        }
        let sent = self.solo.wire.iter().map(|message| text(&message.bytes));
        let invites = sent.filter(|message| message.starts_with("INVITE "));
        self.invites.extend(invites);
        look(&mut self.solo);
    }

    fn finish(mut self) {
        for leg in self.legs.clone() {
            self.solo.command(Command::HangUp { leg, cause: HangUpCause::Shutdown });
        }
        self.look();
        self.solo.pass(Duration::from_secs(300));
        self.look();
        for leg in &self.legs {
            assert_eq!(self.ends.get(leg), Some(&1), "{leg:?} ends once");
        }
        assert_eq!(self.solo.core.load(), (0, 0, 0));
        assert_eq!(self.solo.core.counters().panics, 0);
    }
}
