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

use std::time::Instant;

use crate::{
    Command, End, EndedBy, Event, LegId,
    dialog::Dialog,
    message::{Request, Response, q850, retry_after},
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

/// Something that happens to a leg.
#[derive(Debug)]
pub(crate) enum Input {
    Command(Command),
    Response {
        key: ClientKey,
        purpose: Purpose,
        response: Box<Response>,
    },
    Failed {
        key: Option<ClientKey>,
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
    cause: crate::HangUpCause,
    stack: &mut Stack,
) -> Leg {
    Leg::Closing(Box::new(Closing::restored(
        dialog,
        credentials,
        cause,
        stack,
    )))
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
    }
}

/// The Reason header of our CANCEL or BYE (RFC 3326).
fn reason_header(cause: crate::HangUpCause) -> String {
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
                stack.event(Event::Info {
                    leg,
                    body: request.body,
                });
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

    /// Stands for a bug in the code of one leg.
    pub(super) fn break_an_invariant(input: &Input) {
        if let Input::Command(Command::Info { body, .. }) = input {
            assert!(body.content_type != "x-test/broken-invariant");
        }
    }
}
