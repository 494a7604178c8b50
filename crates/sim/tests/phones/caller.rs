//! A caller for the tests: dials a carrier over real sockets, with the crates `sip` and `media`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use media::{Clip, Codec, Media, PlayId};
use sip::{
    Address, Body, Command, Credentials, Destination, End, Endpoint, HangUpCause, Invite, LegId,
    Transport, Uri,
};
use tokio::sync::{mpsc, watch};

/// Whatever a test waits for comes long before this.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Caller {
    endpoint: Endpoint,
    media: Media,
    sip_legs: Arc<Mutex<HashMap<LegId, mpsc::Sender<sip::Event>>>>,
    media_legs: Arc<Mutex<HashMap<media::LegId, mpsc::Sender<media::Event>>>>,
    next: AtomicU64,
    pub credentials: Option<Credentials>,
    pub codecs: Vec<Codec>,
    /// Where the phone that changed last is reached.
    pub bound: watch::Receiver<Vec<sip::Binding>>,
}

/// One call of a [`Caller`].
pub struct Call {
    endpoint: Endpoint,
    media: Media,
    leg: LegId,
    pub call_id: String,
    sip: mpsc::Receiver<sip::Event>,
    media_events: mpsc::Receiver<media::Event>,
    pub provisionals: Vec<u16>,
    codecs: Vec<Codec>,
}

impl Caller {
    pub async fn start() -> Caller {
        Caller::trusting(sip::TlsSettings::default()).await
    }

    pub async fn trusting(tls: sip::TlsSettings) -> Caller {
        Caller::with(tls, sip::Policy::default()).await
    }

    /// At which the phone `user` can register.
    pub async fn with_phone(tls: sip::TlsSettings, user: &str, password: &str) -> Caller {
        let accept_register = sip::AcceptRegister::Phones;
        let policy = sip::Policy { accept_register, ..sip::Policy::default() };
        let login = Some(sip::DigestUser::from_password(user, &policy.phones.realm, password));
        let caller = Caller::with(tls, policy).await;
        caller.endpoint.command(Command::SetUser { user: user.to_owned(), login }).unwrap();
        caller
    }

    async fn with(tls: sip::TlsSettings, policy: sip::Policy) -> Caller {
        let bind = "127.0.0.1:0".parse().unwrap();
        let listener = |transport| sip::Listener { transport, bind, public_address: None };
        let (endpoint, mut events) = Endpoint::start(sip::EndpointConfig {
            listeners: [Transport::Udp, Transport::Tcp, Transport::Tls].map(listener).to_vec(),
            limits: sip::Limits::default(),
            tls,
            policy,
            user_agent: None,
            seed: std::process::id().into(),
        })
        .await
        .unwrap();
        let sip_legs: Arc<Mutex<HashMap<LegId, mpsc::Sender<sip::Event>>>> = Arc::default();
        let by_leg = Arc::clone(&sip_legs);
        let (told, bound) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let sip::Event::Bound { bindings, .. } = &event {
                    told.send_replace(bindings.clone());
                }
                if let Some(leg) = leg_of(&event)
                    && let Some(call) = by_leg.lock().unwrap().get(&leg)
                {
                    let _ended = call.try_send(event);
                }
            }
        });
        let media_legs: Arc<Mutex<HashMap<media::LegId, mpsc::Sender<media::Event>>>> =
            Arc::default();
        let by_leg = Arc::clone(&media_legs);
        let sink = move |event: media::Event| {
            let leg = media_leg_of(&event);
            if let Some(call) = leg.and_then(|leg| by_leg.lock().unwrap().get(&leg).cloned()) {
                let _ended = call.try_send(event);
            }
        };
        let media = media::start(media::Config::default(), Box::new(sink)).unwrap();
        let (next, codecs) = (AtomicU64::new(1), Codec::ALL.to_vec());
        Caller { endpoint, media, sip_legs, media_legs, next, credentials: None, codecs, bound }
    }

    pub fn address(&self, transport: Transport) -> SocketAddr {
        let addresses = self.endpoint.local_addresses();
        addresses.iter().find(|(kind, _)| *kind == transport).unwrap().1
    }

    /// Calls a phone that has registered here.
    pub async fn dial_phone(&self, phone: &sip::Binding) -> Call {
        let mut call = self.call();
        let offer = call.offer(self.codecs.clone()).await;
        self.invite(call, phone.destination, phone.uri.user(), Some(offer)).await
    }

    pub async fn dial(&self, to: SocketAddr, number: &str) -> Call {
        let mut call = self.call();
        let offer = call.offer(self.codecs.clone()).await;
        self.invite(call, Destination::new(to, Transport::Udp), number, Some(offer)).await
    }

    /// With SRTP, to somebody whose certificate is `peer`'s.
    pub async fn dial_encrypted(&self, to: SocketAddr, peer: sip::TlsPeer, number: &str) -> Call {
        let mut call = self.call();
        let offer = call.offer_with(self.codecs.clone(), media::Srtp::Required).await;
        self.invite(call, Destination::tls(to, peer), number, Some(offer)).await
    }

    pub async fn dial_over_tcp(&self, to: SocketAddr, number: &str) -> Call {
        let mut call = self.call();
        let offer = call.offer(self.codecs.clone()).await;
        self.invite(call, Destination::new(to, Transport::Tcp), number, Some(offer)).await
    }

    /// An INVITE that leaves the offer to the far side.
    pub async fn dial_without_offer(&self, to: SocketAddr, number: &str) -> Call {
        self.invite(self.call(), Destination::new(to, Transport::Udp), number, None).await
    }

    fn call(&self) -> Call {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sip_out, sip) = mpsc::channel(256);
        let (media_out, media_events) = mpsc::channel(256);
        self.sip_legs.lock().unwrap().insert(LegId(id), sip_out);
        self.media_legs.lock().unwrap().insert(media::LegId(id), media_out);
        let call_id = format!("call-{id}-{}", self.endpoint.local_addresses()[0].1.port());
        Call {
            endpoint: self.endpoint.clone(),
            media: self.media.clone(),
            leg: LegId(id),
            call_id,
            sip,
            media_events,
            provisionals: Vec::new(),
            codecs: self.codecs.clone(),
        }
    }

    async fn invite(
        &self,
        mut call: Call,
        destination: Destination,
        number: &str,
        offer: Option<Bytes>,
    ) -> Call {
        let to = destination.addr;
        let uri = |user: &str| Uri::new(user, to.ip().to_string()).unwrap().with_port(to.port());
        call.command(Command::Prepare(Box::new(Invite {
            leg: call.leg,
            destination,
            request_uri: uri(number),
            from: Address::new(uri("2222201")),
            to: Address::new(uri(number)),
            p_asserted_identity: None,
            call_id: call.call_id.clone(),
            from_tag: format!("from{}", call.leg.0),
            credentials: self.credentials.clone(),
            failover: sip::Failover::default(),
            session_expires: None,
            headers: Vec::new(),
            body: offer.map(Body::sdp),
        })));
        call.sip_event(|event| matches!(event, sip::Event::Prepared { .. }).then_some(())).await;
        call.command(Command::Send { leg: call.leg });
        call
    }
}

impl Call {
    /// Waits for the 200 and acknowledges it; `Err` is how the call ended instead.
    pub async fn answered(&mut self) -> Result<(), End> {
        loop {
            match self.next_sip().await {
                sip::Event::Provisional { status, body, .. } => {
                    self.provisionals.push(status);
                    if let Some(body) = body {
                        self.remote(body.bytes);
                    }
                }
                sip::Event::Challenged { leg, .. } => self.command(Command::Send { leg }),
                sip::Event::Answered { body, .. } => {
                    if let Some(body) = body {
                        self.remote(body.bytes);
                    }
                    self.command(Command::Acknowledge { leg: self.leg, body: None });
                    return Ok(());
                }
                sip::Event::Ended { end, .. } => return Err(end),
                _ => {}
            }
        }
    }

    /// Waits for the 200 with the far side's offer and acknowledges it with the answer.
    pub async fn answered_with_offer(&mut self) {
        let offer = self.sip_event(|event| match event {
            sip::Event::Answered { body: Some(body), .. } => Some(body.bytes),
            _ => None,
        });
        let (offer, leg, codecs) = (offer.await, self.media_leg(), self.codecs.clone());
        self.media
            .command(media::Command::Answer {
                leg,
                offer,
                codecs,
                srtp: media::Srtp::Off,
                beside: None,
            })
            .unwrap();
        let answer = self.description().await;
        self.command(Command::Acknowledge { leg: self.leg, body: Some(Body::sdp(answer)) });
    }

    async fn offer(&mut self, codecs: Vec<Codec>) -> Bytes {
        self.offer_with(codecs, media::Srtp::Off).await
    }

    async fn offer_with(&mut self, codecs: Vec<Codec>, srtp: media::Srtp) -> Bytes {
        let leg = self.media_leg();
        self.media
            .command(media::Command::Offer { leg, codecs, dtmf: true, srtp, beside: None })
            .unwrap();
        self.description().await
    }

    async fn description(&mut self) -> Bytes {
        let described = self.media_event(|event| match event {
            media::Event::Offered { sdp, .. } | media::Event::Answered { sdp, .. } => Some(sdp),
            _ => None,
        });
        described.await
    }

    /// Waits for a provisional with this status.
    pub async fn provisional(&mut self, wanted: u16) {
        while !self.provisionals.contains(&wanted) {
            if let sip::Event::Provisional { status, body, .. } = self.next_sip().await {
                self.provisionals.push(status);
                if let Some(body) = body {
                    self.remote(body.bytes);
                }
            }
        }
    }

    /// Answers re-INVITEs until the call has ended.
    pub async fn ended(&mut self) -> End {
        loop {
            match self.next_sip().await {
                sip::Event::Ended { end, .. } => return end,
                sip::Event::Offered { body: Some(body), .. } => self.take_offer(body.bytes).await,
                _ => {}
            }
        }
    }

    /// Waits for a re-INVITE and answers it.
    pub async fn reinvited(&mut self) {
        let offer = self.sip_event(|event| match event {
            sip::Event::Offered { body: Some(body), .. } => Some(body.bytes),
            _ => None,
        });
        let offer = offer.await;
        self.take_offer(offer).await;
    }

    async fn take_offer(&mut self, sdp: Bytes) {
        self.media.command(media::Command::Reoffered { leg: self.media_leg(), sdp }).unwrap();
        let body = Some(Body::sdp(self.description().await));
        self.command(Command::AnswerOffer { leg: self.leg, body });
    }

    /// Plays to the end.
    pub async fn play(&mut self, clips: &[Clip]) {
        let (leg, play) = (self.media_leg(), PlayId(1));
        let clips = Arc::from(clips);
        self.media.command(media::Command::Play { leg, play, clips, times: 1 }).unwrap();
        self.media_event(|event| matches!(event, media::Event::PlayFinished { .. }).then_some(()))
            .await;
    }

    pub async fn digit(&mut self) -> char {
        let pressed = self.media_event(|event| match event {
            media::Event::Digit { digit, .. } => Some(digit),
            _ => None,
        });
        pressed.await
    }

    pub async fn press(&mut self, digits: &str) {
        let (leg, digits) = (self.media_leg(), digits.to_owned());
        self.media.command(media::Command::SendDigits { leg, digits }).unwrap();
        self.media_event(|event| matches!(event, media::Event::DigitsSent { .. }).then_some(()))
            .await;
    }

    pub fn listen(&self) -> media::Ear {
        let ear = media::Ear::new(Duration::from_secs(30));
        self.media
            .command(media::Command::Listen { leg: self.media_leg(), sink: ear.sink() })
            .unwrap();
        ear
    }

    /// Whether audio flows (received, sent), as the media threads judge it.
    pub async fn flow(&mut self) -> (bool, bool) {
        let flow = self.media_event(|event| match event {
            media::Event::Flow { received, sent, .. } => Some((received, sent)),
            _ => None,
        });
        flow.await
    }

    /// Why the media threads refused something.
    pub async fn media_fault(&mut self) -> media::MediaFault {
        let fault = self.media_event(|event| match event {
            media::Event::Failed { fault, .. } => Some(fault),
            _ => None,
        });
        fault.await
    }

    pub fn start_hang_up(&self) {
        self.command(Command::HangUp { leg: self.leg, cause: HangUpCause::Normal });
    }

    pub async fn hang_up(&mut self) -> End {
        self.start_hang_up();
        self.ended().await
    }

    fn remote(&self, sdp: Bytes) {
        self.media.command(media::Command::Remote { leg: self.media_leg(), sdp }).unwrap();
    }

    fn media_leg(&self) -> media::LegId {
        media::LegId(self.leg.0)
    }

    fn command(&self, command: Command) {
        self.endpoint.command(command).unwrap();
    }

    async fn next_sip(&mut self) -> sip::Event {
        let event = tokio::time::timeout(LIMIT, self.sip.recv()).await;
        event.expect("a SIP event in time").expect("the endpoint runs")
    }

    async fn sip_event<T>(&mut self, wanted: impl Fn(sip::Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next_sip().await) {
                return found;
            }
        }
    }

    async fn media_event<T>(&mut self, wanted: impl Fn(media::Event) -> Option<T>) -> T {
        loop {
            let event = tokio::time::timeout(LIMIT, self.media_events.recv()).await;
            if let Some(found) = wanted(event.expect("a media event in time").expect("media runs"))
            {
                return found;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let _busy = self.media.command(media::Command::Close { leg: self.media_leg() });
    }
}

fn leg_of(event: &sip::Event) -> Option<LegId> {
    match event {
        sip::Event::Prepared { leg, .. }
        | sip::Event::Challenged { leg, .. }
        | sip::Event::Provisional { leg, .. }
        | sip::Event::Answered { leg, .. }
        | sip::Event::Ended { leg, .. }
        | sip::Event::Offered { leg, .. } => Some(*leg),
        _ => None,
    }
}

fn media_leg_of(event: &media::Event) -> Option<media::LegId> {
    match event {
        media::Event::Offered { leg, .. }
        | media::Event::Answered { leg, .. }
        | media::Event::Failed { leg, .. }
        | media::Event::PlayFinished { leg, .. }
        | media::Event::Digit { leg, .. }
        | media::Event::DigitsSent { leg }
        | media::Event::Flow { leg, .. } => Some(*leg),
        _ => None,
    }
}
