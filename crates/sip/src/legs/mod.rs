//! Legs: what a caller sees of a call. A leg is taken out of its map, handles one input and comes
//! back as what it has become, or not at all.

mod closing;
mod inbound;
mod invite;
mod offers;
mod outbound;
mod reliable;
mod session;
mod session_timer;
mod stored;

use std::time::Instant;

use crate::{
    Body, End, EndedBy, Event, HangUpCause, LegId,
    dialog::Dialog,
    message::{Request, Response, contacts, q850, retry_after},
    stack::Stack,
    timers::LegTimer,
    transactions::{ClientKey, Failure, Purpose, ServerId},
};

use closing::Closing;
pub(crate) use inbound::Inbound;
pub(crate) use outbound::Outbound;
use session::Session;

#[derive(Debug)]
pub(crate) enum Leg {
    /// Dialled, up to the ACK.
    Outbound(Box<Outbound>),
    /// From the far side, up to our final answer.
    Inbound(Box<Inbound>),
    /// Answered.
    Session(Box<Session>),
    /// Reported as ended; its BYE is still under way.
    Closing(Box<Closing>),
}

/// What the caller wants of one leg.
#[derive(Debug)]
pub(crate) enum Verb {
    Send,
    Acknowledge(Option<Body>),
    /// 180 or 183.
    Provisional(u16, Option<Body>),
    Answer(Option<Body>),
    PrepareAnswer(Option<Body>),
    SendAnswer,
    AnswerWhenCancelled(Option<Body>),
    Refuse {
        status: u16,
        reason: Option<String>,
        headers: Vec<(String, String)>,
    },
    AnswerOffer(Option<Body>),
    RefuseOffer(u16),
    Offer(Body),
    Info(Body),
    HangUp(HangUpCause),
}

impl Verb {
    /// In the usual words of this status.
    pub fn refuse(status: u16) -> Verb {
        Verb::Refuse { status, reason: None, headers: Vec::new() }
    }
}

/// Something that happens to a leg.
#[derive(Debug)]
pub(crate) enum Input {
    Command(Verb),
    Response {
        key: ClientKey,
        purpose: Purpose,
        response: Box<Response>,
    },
    Failed {
        key: ClientKey,
        purpose: Purpose,
        failure: Failure,
    },
    /// A request inside the dialog; an ACK has no transaction.
    Request {
        request: Box<Request>,
        server: Option<ServerId>,
    },
    /// The far side takes its INVITE back.
    Cancelled {
        q850: Option<u16>,
    },
    Due {
        timer: LegTimer,
        at: Instant,
    },
}

impl Leg {
    pub fn handle(self, input: Input, stack: &mut Stack) -> Option<Leg> {
        #[cfg(test)]
        tests::break_an_invariant(&input);
        match self {
            Leg::Outbound(leg) => leg.handle(input, stack),
            Leg::Inbound(leg) => leg.handle(input, stack),
            Leg::Session(leg) => leg.handle(input, stack),
            Leg::Closing(leg) => leg.handle(input, stack),
        }
    }

    /// Call-ID and our tag: where its requests find it.
    pub fn identity(&self) -> (&str, &str) {
        match self {
            Leg::Outbound(leg) => leg.identity(),
            Leg::Inbound(leg) => leg.identity(),
            Leg::Session(leg) => leg.identity(),
            Leg::Closing(leg) => leg.identity(),
        }
    }

    /// Whether `Ended` is still to come.
    pub fn is_live(&self) -> bool {
        match self {
            Leg::Outbound(_) | Leg::Inbound(_) | Leg::Session(_) => true,
            Leg::Closing(_) => false,
        }
    }
}

/// After a restart: BYE a dialog that was on disk.
pub(crate) fn hang_up_dialog(
    dialog: Dialog,
    credentials: Option<crate::Credentials>,
    cause: HangUpCause,
    stack: &mut Stack,
) -> Leg {
    Leg::Closing(Box::new(Closing::restored(dialog, credentials, cause, stack)))
}

fn ended(stack: &mut Stack, leg: LegId, end: End) {
    stack.event(Event::Ended { leg, end });
}

/// An end without a SIP status.
fn end_by(by: EndedBy, reason: &str, was_ringing: bool) -> End {
    End {
        status: None,
        reason: reason.to_owned(),
        by,
        q850: None,
        retry_after: None,
        was_ringing,
        contacts: Vec::new(),
    }
}

fn end_of_refusal(response: &Response, by: EndedBy, was_ringing: bool) -> End {
    End {
        status: Some(response.status),
        reason: response.reason.clone(),
        by,
        q850: q850(&response.headers),
        retry_after: retry_after(&response.headers),
        was_ringing,
        contacts: match response.status {
            300..=399 => contacts(&response.headers),
            _ => Vec::new(),
        },
    }
}

/// The Reason header of our CANCEL or BYE (RFC 3326).
fn reason_header(cause: HangUpCause) -> String {
    format!("Q.850;cause={}", cause.q850())
}

/// INFO and what else is answered the same way in every state of a leg that is up or coming up.
/// `None` where it has been answered, else the request comes back.
fn answer_simple(
    leg: LegId,
    request: Box<Request>,
    server: Option<ServerId>,
    stack: &mut Stack,
) -> Option<(Box<Request>, ServerId)> {
    use sipx_sip::Method;
    let server = server?;
    let status = match request.method {
        Method::Info => {
            if stack.congested {
                stack.counters.events_dropped += 1;
            } else {
                stack.event(Event::Info { leg, body: request.body });
            }
            200
        }
        Method::Options => 200,
        Method::Notify => 489,
        Method::Subscribe | Method::Refer | Method::Message | Method::Publish => 405,
        Method::Register | Method::Other(_) => 405,
        _ => return Some((request, server)),
    };
    let allow = [("Allow".to_owned(), crate::writer::ALLOW.to_owned())];
    stack.respond(server, status, None, &allow, None);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::{
        AcceptInvites, Command, Core, CoreConfig, CoreListener, Output, Policy, Received, Transport,
    };

    fn events(core: &mut Core) -> Vec<Event> {
        std::iter::from_fn(|| core.poll())
            .filter_map(|output| match output {
                Output::Event(Event::Message(_)) | Output::Transmit(_) => None,
                Output::Event(event) => Some(event),
            })
            .collect()
    }

    #[test]
    fn a_broken_invariant_costs_one_leg() {
        let now = Instant::now();
        let bound = "192.0.2.1:5060".parse().unwrap();
        let config = CoreConfig {
            listeners: vec![CoreListener { transport: Transport::Udp, bound, public: bound }],
            policy: Policy { accept_invites: AcceptInvites::Open, ..Policy::default() },
            user_agent: None,
            max_legs: 10,
            max_message: 65_535,
        };
        let mut core = Core::new(config, 1, now);
        for call in 0..2 {
            let bytes = format!(
                "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{call}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:b@192.0.2.2>;tag={call}\r\nTo: <sip:a@192.0.2.1>\r\n\
                 Call-ID: {call}\r\nCSeq: 1 INVITE\r\nContact: <sip:b@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
            );
            let remote = "192.0.2.2:5060".parse().unwrap();
            let transport = Transport::Udp;
            let received =
                Received { transport, local: bound, remote, flow: None, bytes: bytes.into() };
            core.received(received, now);
        }
        let legs: Vec<LegId> = events(&mut core)
            .iter()
            .filter_map(|event| match event {
                Event::Incoming { leg, .. } => Some(*leg),
                _ => None,
            })
            .collect();
        let bug = Body { content_type: "x-test/broken-invariant".to_owned(), bytes: "".into() };
        core.command(Command::Info { leg: legs[0], body: bug }, now);
        let seen = events(&mut core);
        assert!(
            matches!(&seen[..], [Event::Ended { leg, end }] if *leg == legs[0] && end.by == EndedBy::Core),
            "{seen:?}"
        );
        assert_eq!(core.counters().panics, 1);
        core.command(Command::Answer { leg: legs[1], body: None }, now);
        assert_eq!(core.load().0, 1, "the other leg goes on");
    }

    /// Stands for a bug in the code of one leg.
    pub(super) fn break_an_invariant(input: &Input) {
        if let Input::Command(Verb::Info(body)) = input {
            assert!(body.content_type != "x-test/broken-invariant");
        }
    }
}
