//! A core in virtual time with a scripted far side (`Solo`), and two cores joined by a lossy link
//! (`Pair`).

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sip::*;

pub const OURS: &str = "192.0.2.1:5060";
pub const THEIRS: &str = "192.0.2.2:5060";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn config(bound: &str, policy: Policy) -> CoreConfig {
    let listener = |transport| CoreListener { transport, bound: addr(bound), public: addr(bound) };
    CoreConfig {
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        policy,
        user_agent: Some("offhook-test".to_owned()),
        max_legs: 1000,
        max_message: 65_535,
    }
}

pub fn open() -> Policy {
    Policy { accept_invites: AcceptInvites::Open, ..Policy::default() }
}

pub fn invite(leg: u64) -> Invite {
    Invite {
        leg: LegId(leg),
        destination: Destination::new(addr(THEIRS), Transport::Udp),
        request_uri: Uri::parse("sip:200@192.0.2.2").unwrap(),
        from: Address::parse("\"Shop\" <sip:100@192.0.2.1>").unwrap(),
        to: Address::parse("<sip:200@192.0.2.2>").unwrap(),
        p_asserted_identity: None,
        call_id: format!("call-{leg}"),
        from_tag: format!("tag-{leg}"),
        credentials: None,
        failover: Failover::default(),
        session_expires: None,
        headers: vec![("X-Serial".to_owned(), "7".to_owned())],
        body: Some(Body::sdp("offer")),
    }
}

/// Events without the tap, in the words of a test.
pub fn say(event: &Event) -> Option<String> {
    let text = |body: &Option<Body>| match body {
        Some(body) => format!(" {}", String::from_utf8_lossy(&body.bytes)),
        None => String::new(),
    };
    Some(match event {
        Event::Prepared { .. } => "prepared".to_owned(),
        Event::Challenged { .. } => "challenged".to_owned(),
        Event::Retried { why: Retry::SessionInterval, .. } => "retried for the interval".to_owned(),
        Event::Retried { why: Retry::NextTarget { failed, why }, .. } => {
            format!("retried after {} {}: {why:?}", failed.transport.name(), failed.addr)
        }
        // Told apart where it matters: every answered INVITE has one.
        Event::Trying { .. } => return None,
        Event::Provisional { status, body, .. } => format!("{status}{}", text(body)),
        Event::Answered { body, .. } => format!("answered{}", text(body)),
        Event::Ended { end, .. } => {
            let status = end.status.map_or(String::new(), |status| format!(" {status}"));
            let q850 = end.q850.map_or(String::new(), |cause| format!(" q850={cause}"));
            format!("ended by {:?}{status}{q850}", end.by)
        }
        Event::Offered { body, .. } => format!("offered{}", text(body)),
        Event::OfferAnswered { body, .. } => format!("offer answered{}", text(body)),
        Event::OfferRefused { status, .. } => format!("offer refused {status}"),
        Event::Confirmed { body, .. } => format!("confirmed{}", text(body)),
        Event::NoAck { .. } => "no ack".to_owned(),
        Event::Answering { .. } => "answering".to_owned(),
        Event::Refreshed { .. } => "refreshed".to_owned(),
        Event::Bound { user, bindings } => {
            let places = bindings.iter().map(|binding| format!(" {}", binding.uri));
            format!("bound {user}{}", places.collect::<String>())
        }
        Event::Info { body, .. } => format!("info{}", text(body)),
        Event::Incoming { request, .. } => {
            format!("incoming {}{}", request.request_user, text(&request.body))
        }
        Event::Registered { expires, .. } => format!("registered {expires}"),
        Event::RegistrationFailed { failure, .. } => {
            format!("registration failed {:?}", failure.status)
        }
        Event::Unregistered { .. } => "unregistered".to_owned(),
        Event::Probed { outcome, .. } => format!("probed {outcome:?}"),
        Event::Request(request) => format!("request {}", request.method),
        Event::Message(_) | Event::Keep { .. } => return None,
    })
}

/// One core; the far side is the test.
pub struct Solo {
    pub core: Core,
    pub now: Instant,
    pub events: VecDeque<Event>,
    pub wire: VecDeque<Transmit>,
}

impl Solo {
    pub fn new(policy: Policy) -> Solo {
        let now = Instant::now();
        Solo {
            core: Core::new(config(OURS, policy), 1, now),
            now,
            events: VecDeque::new(),
            wire: VecDeque::new(),
        }
    }

    pub fn command(&mut self, command: Command) {
        self.core.command(command, self.now);
        self.collect();
    }

    pub fn hang_up(&mut self, leg: u64) {
        let leg = LegId(leg);
        let cause = HangUpCause::Normal;
        self.command(Command::HangUp { leg, cause });
    }

    /// Prepares and sends a call and returns its INVITE.
    pub fn dial(&mut self, invite: Invite) -> String {
        let leg = invite.leg;
        self.command(Command::Prepare(Box::new(invite)));
        self.command(Command::Send { leg });
        assert_eq!(self.said(), ["prepared"]);
        self.one()
    }

    /// Dials, answers and acknowledges: a session with remote tag `b`.
    pub fn up(&mut self, invite: Invite, extra: &str) -> (LegId, String) {
        let leg = invite.leg;
        let sent = self.dial(invite);
        self.receive(&reply(&sent, 200, "b", &format!("{CONTACT}{extra}"), "answer"));
        assert_eq!(self.said(), ["answered answer"]);
        assert!(self.wire.is_empty(), "no ACK before Acknowledge");
        self.command(Command::Acknowledge { leg, body: None });
        assert!(self.one().starts_with("ACK "));
        (leg, sent)
    }

    pub fn receive(&mut self, text: &str) {
        self.receive_from(THEIRS, text);
    }

    pub fn receive_from(&mut self, from: &str, text: &str) {
        self.receive_over((Transport::Udp, None), from, text);
    }

    /// Over UDP, or over a connection.
    pub fn receive_over(&mut self, over: (Transport, Option<FlowId>), from: &str, text: &str) {
        let received = Received {
            transport: over.0,
            local: addr(OURS),
            remote: addr(from),
            flow: over.1,
            bytes: text.to_owned().into(),
        };
        self.core.received(received, self.now);
        self.collect();
    }

    /// The far side takes no connection any more.
    pub fn lose(&mut self, transport: Transport) {
        self.fault(transport, TransportFault::Refused);
    }

    /// The connection to the far side breaks; a new one may be opened.
    pub fn break_connection(&mut self) {
        self.fault(Transport::Tcp, TransportFault::Lost);
    }

    fn fault(&mut self, transport: Transport, fault: TransportFault) {
        let hop = Hop::new(transport, addr(THEIRS));
        self.core.transport_failed(hop, fault, self.now);
        self.collect();
    }

    /// A connection of the far side is gone.
    pub fn lose_flow(&mut self, flow: u64) {
        self.core.flow_lost(FlowId(flow), self.now);
        self.collect();
    }

    /// Lets time pass, firing each timer when it is due.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.core.wake_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            assert!(self.core.wake_at().is_none_or(|next| next > self.now));
            self.collect();
        }
        self.now = until;
        self.core.handle_timeout(until);
        self.collect();
    }

    /// What was sent since the last look.
    pub fn sent(&mut self) -> Vec<String> {
        let texts = self.wire.drain(..).map(|message| text(&message.bytes));
        texts.collect()
    }

    /// Method or status of each.
    pub fn sent_kinds(&mut self) -> Vec<String> {
        self.sent().iter().map(|message| kind(message)).collect()
    }

    /// The only message that was sent.
    pub fn one(&mut self) -> String {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    pub fn said(&mut self) -> Vec<String> {
        self.events.drain(..).filter_map(|event| say(&event)).collect()
    }

    /// Nothing is left once everything has run out.
    pub fn assert_empty(&mut self) {
        self.pass(Duration::from_secs(120));
        assert_eq!(self.core.load(), (0, 0, 0));
    }

    fn collect(&mut self) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Transmit(message) => self.wire.push_back(message),
                Output::Event(event) => self.events.push_back(event),
            }
        }
    }
}

pub const CONTACT: &str = "Contact: <sip:200@192.0.2.2:5060>\r\n";

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Method of a request, status of a response.
pub fn kind(message: &str) -> String {
    let mut words = message.split(' ');
    let first = words.next().unwrap_or_default();
    let word = if first == "SIP/2.0" { words.next() } else { Some(first) };
    word.unwrap_or_default().to_owned()
}

pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    all_headers(message, name).first().copied().unwrap_or_default()
}

pub fn all_headers<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.filter(|(n, _)| *n == name).map(|(_, value)| value).collect()
}

/// A response of the scripted far side to a request of ours.
pub fn reply(request: &str, status: u16, tag: &str, extra: &str, body: &str) -> String {
    let to = header(request, "To");
    let to = if to.contains(";tag=") || tag.is_empty() {
        to.to_owned()
    } else {
        format!("{to};tag={tag}")
    };
    format!(
        "SIP/2.0 {status} Phrase\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{extra}{}",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        content(body),
    )
}

/// A request of the scripted far side inside the dialog that `invite` of ours opened.
pub fn in_dialog(
    invite: &str,
    tag: &str,
    method: &str,
    cseq: u32,
    extra: &str,
    body: &str,
) -> String {
    request(&Outside {
        method,
        uri: "sip:100@192.0.2.1:5060",
        from: &format!("{};tag={tag}", header(invite, "To")),
        to: header(invite, "From"),
        call_id: header(invite, "Call-ID"),
        cseq,
        branch: &format!("{method}{cseq}"),
        extra,
        body,
    })
}

pub struct Outside<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub branch: &'a str,
    pub extra: &'a str,
    pub body: &'a str,
}

impl Default for Outside<'_> {
    fn default() -> Self {
        Outside {
            method: "INVITE",
            uri: "sip:100@192.0.2.1:5060",
            from: "<sip:200@192.0.2.2>;tag=far",
            to: "<sip:100@192.0.2.1>",
            call_id: "far-call",
            cseq: 1,
            branch: "1",
            extra: "Contact: <sip:200@192.0.2.2:5060>\r\n",
            body: "",
        }
    }
}

pub fn request(o: &Outside) -> String {
    format!(
        "{} {} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n{}{}",
        o.method,
        o.uri,
        o.branch,
        o.from,
        o.to,
        o.call_id,
        o.cseq,
        o.method,
        o.extra,
        content(o.body),
    )
}

fn content(body: &str) -> String {
    match body {
        "" => "Content-Length: 0\r\n\r\n".to_owned(),
        body => {
            format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
    }
}

/// Two cores and a link with loss and delay.
pub struct Pair {
    pub sides: [Solo; 2],
    /// Of each hundred messages so many are lost.
    loss: u64,
    random: u64,
    in_flight: Vec<(Instant, usize, Transmit)>,
}

impl Pair {
    pub fn new(loss: u64, seed: u64) -> Pair {
        let now = Instant::now();
        let side = |bound: &str, seed| Solo {
            core: Core::new(config(bound, open()), seed, now),
            now,
            events: VecDeque::new(),
            wire: VecDeque::new(),
        };
        Pair {
            sides: [side(OURS, 2 * seed), side(THEIRS, 2 * seed + 1)],
            loss,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            in_flight: Vec::new(),
        }
    }

    pub fn command(&mut self, side: usize, command: Command) {
        self.sides[side].command(command);
        self.launch();
    }

    /// Runs until side `who` reports something, at most `limit`.
    pub fn event(&mut self, who: usize, limit: Duration) -> Option<Event> {
        let until = self.sides[0].now + limit;
        loop {
            self.sides[who].events.retain(|event| say(event).is_some());
            if let Some(event) = self.sides[who].events.pop_front() {
                return Some(event);
            }
            if !self.step(until) {
                return None;
            }
        }
    }

    /// Runs for so long.
    pub fn pass(&mut self, time: Duration) {
        let until = self.sides[0].now + time;
        while self.step(until) {}
    }

    fn step(&mut self, until: Instant) -> bool {
        let arrival = self.in_flight.iter().map(|(at, ..)| *at).min();
        let timers = self.sides.iter().filter_map(|side| side.core.wake_at()).min();
        let next = arrival.into_iter().chain(timers).min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.sides.iter_mut().for_each(|side| side.now = until);
            return false;
        };
        for side in &mut self.sides {
            side.now = side.now.max(next);
            side.core.handle_timeout(side.now);
            side.collect();
        }
        let due = self.in_flight.iter().position(|(at, ..)| *at <= next);
        if let Some(due) = due {
            let (_, to, message) = self.in_flight.remove(due);
            let received = Received {
                transport: Transport::Udp,
                local: message.remote,
                remote: message.local,
                flow: None,
                bytes: message.bytes,
            };
            let side = &mut self.sides[to];
            side.core.received(received, side.now);
            side.collect();
        }
        self.launch();
        true
    }

    fn launch(&mut self) {
        for from in 0..2 {
            while let Some(message) = self.sides[from].wire.pop_front() {
                if self.draw() % 100 < self.loss {
                    continue;
                }
                let delay = Duration::from_millis(5 + self.draw() % 40);
                let at = self.sides[from].now + delay;
                self.in_flight.push((at, 1 - from, message));
            }
        }
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 8
    }
}
