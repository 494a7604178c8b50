//! Endpoints with a person behind them.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use sip::*;
use tokio::{sync::mpsc, time::timeout};

/// Generous: a test that waits this long has failed.
pub const LIMIT: Duration = Duration::from_secs(20);

pub struct Party {
    pub endpoint: Endpoint,
    events: mpsc::Receiver<Event>,
}

static LEGS: AtomicU64 = AtomicU64::new(1);

impl Party {
    pub async fn start(limits: Limits) -> Party {
        Party::with_tls(limits, TlsSettings::default()).await
    }

    pub async fn with_tls(limits: Limits, tls: TlsSettings) -> Party {
        let policy = Policy { accept_invites: AcceptInvites::Open, ..Policy::default() };
        Party::with_policy(limits, tls, policy).await
    }

    pub async fn with_policy(limits: Limits, tls: TlsSettings, policy: Policy) -> Party {
        let listener = |transport| Listener {
            transport,
            bind: "127.0.0.1:0".parse().unwrap(),
            public_address: None,
        };
        let config = EndpointConfig {
            listeners: vec![
                listener(Transport::Udp),
                listener(Transport::Tcp),
                listener(Transport::Tls),
            ],
            limits,
            tls,
            policy,
            user_agent: None,
            seed: LEGS.fetch_add(1, Ordering::Relaxed),
        };
        let (endpoint, events) = Endpoint::start(config).await.unwrap();
        Party { endpoint, events }
    }

    pub fn address(&self, transport: Transport) -> SocketAddr {
        let addresses = self.endpoint.local_addresses();
        let mut addresses = addresses.iter();
        addresses.find(|(t, _)| *t == transport).unwrap().1
    }

    pub async fn event(&mut self) -> Event {
        loop {
            let event = timeout(LIMIT, self.events.recv()).await;
            match event.expect("nothing happened").expect("the endpoint is gone") {
                Event::Message(_) | Event::Trying { .. } => {}
                event => return event,
            }
        }
    }

    /// Dials and returns the leg once it is sent.
    pub async fn dial(&mut self, to: SocketAddr, transport: Transport) -> LegId {
        self.dial_to(Destination::new(to, transport)).await
    }

    pub async fn dial_to(&mut self, destination: Destination) -> LegId {
        let invite = self.invite(destination.addr, destination.transport);
        let leg = invite.leg;
        let invite = Invite { destination, ..invite };
        self.endpoint.command(Command::Prepare(Box::new(invite))).unwrap();
        assert!(matches!(self.event().await, Event::Prepared { .. }));
        self.endpoint.command(Command::Send { leg }).unwrap();
        leg
    }

    pub fn invite(&self, to: SocketAddr, transport: Transport) -> Invite {
        let leg = LegId(LEGS.fetch_add(1, Ordering::Relaxed));
        Invite {
            leg,
            destination: Destination::new(to, transport),
            request_uri: Uri::new("200", to.ip().to_string()).unwrap().with_port(to.port()),
            from: Address::parse("sip:100@127.0.0.1").unwrap(),
            to: Address::parse("sip:200@127.0.0.1").unwrap(),
            p_asserted_identity: None,
            call_id: format!("call-{}", leg.0),
            from_tag: format!("tag-{}", leg.0),
            credentials: None,
            failover: Failover::default(),
            session_expires: None,
            headers: vec![],
            body: Some(Body::sdp(SDP)),
        }
    }

    pub fn prepare(&self, to: SocketAddr, transport: Transport) -> LegId {
        let invite = self.invite(to, transport);
        let leg = invite.leg;
        self.endpoint.command(Command::Prepare(Box::new(invite))).unwrap();
        leg
    }

    pub fn hang_up(&self, leg: LegId) {
        let cause = HangUpCause::Normal;
        self.endpoint.command(Command::HangUp { leg, cause }).unwrap();
    }
}

pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n";

/// A whole call from `a` to `b`: dialled, answered, acknowledged, hung up by `a`.
pub async fn call(a: &mut Party, b: &mut Party, transport: Transport) {
    let to = Destination::new(b.address(transport), transport);
    let leg = a.dial_to(to).await;
    answered(a, b, leg).await;
}

/// What follows once `a` has dialled `b`.
pub async fn answered(a: &mut Party, b: &mut Party, leg: LegId) {
    let Event::Incoming { leg: inbound, .. } = b.event().await else { panic!("no call came in") };
    let body = Some(Body::sdp(SDP));
    b.endpoint.command(Command::Answer { leg: inbound, body }).unwrap();
    assert!(matches!(a.event().await, Event::Answered { .. }));
    a.endpoint.command(Command::Acknowledge { leg, body: None }).unwrap();
    assert!(matches!(b.event().await, Event::Confirmed { .. }));
    a.hang_up(leg);
    assert!(matches!(a.event().await, Event::Ended { end, .. } if end.by == EndedBy::Us));
    assert!(matches!(b.event().await, Event::Ended { end, .. } if end.by == EndedBy::Peer));
}

/// Waits until the counters satisfy `wanted`.
pub async fn until(party: &Party, wanted: impl Fn(Counters) -> bool) {
    let wait = async {
        while !wanted(party.endpoint.counters()) {
            tokio::task::yield_now().await;
        }
    };
    let waited = timeout(LIMIT, wait).await;
    assert!(waited.is_ok(), "{:?}", party.endpoint.counters());
}
