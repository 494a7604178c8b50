//! Questions whether a peer is alive: one OPTIONS each, given up when its time is over.

use std::collections::HashMap;

use crate::{
    Event, Probe, ProbeId, ProbeOutcome,
    stack::Stack,
    timers::{GIVE_UP, TimerHandle, TimerKey},
    transactions::{ClientKey, Failure, NewClient, Owner},
    writer::{ALLOW, Writer},
};

#[derive(Debug, Default)]
pub(crate) struct Probes {
    waiting: HashMap<ProbeId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    key: ClientKey,
    limit: TimerHandle,
}

impl Probes {
    /// Asks, or takes the place of the question with the same id.
    pub fn ask(&mut self, probe: Probe, stack: &mut Stack) {
        let id = probe.id;
        self.forget(id, stack);
        let Some(to) = stack.resolved(probe.destination) else {
            stack.event(Event::Probed { id, outcome: ProbeOutcome::Unreachable });
            return;
        };
        let branch = stack.random.next();
        let key = ClientKey { branch, is_cancel: false };
        let (tag, call_id) = (stack.random.token(), stack.random.token());
        let bytes = Writer::request("OPTIONS", &probe.request_uri.to_string())
            .header("Via", stack.via(to, branch))
            .header("Max-Forwards", "70")
            .header("From", format!("{};tag={tag}", probe.from))
            .header("To", format!("<{}>", probe.request_uri))
            .header("Call-ID", format!("{call_id}@offhook"))
            .header("CSeq", "1 OPTIONS")
            .header("Contact", stack.contact(probe.from.user(), to))
            .header("Accept", "application/sdp")
            .header("Allow", ALLOW)
            .maybe("User-Agent", stack.config.user_agent.as_ref())
            .finish(None);
        let at = stack.now + probe.timeout.min(GIVE_UP);
        let limit = stack.timers.set(at, TimerKey::Probe(id));
        self.waiting.insert(id, Waiting { key, limit });
        stack.start_client(NewClient { key, owner: Owner::Probe(id), is_invite: false, bytes, to });
    }

    pub fn response(&mut self, id: ProbeId, key: ClientKey, status: u16, stack: &mut Stack) {
        if status >= 200 {
            self.over(id, key, ProbeOutcome::Answered { status }, stack);
        }
    }

    pub fn request_failed(
        &mut self,
        id: ProbeId,
        key: ClientKey,
        failure: Failure,
        stack: &mut Stack,
    ) {
        let outcome = match failure {
            Failure::Timeout | Failure::NotRepeated => ProbeOutcome::NoResponse,
            Failure::Transport(_) => ProbeOutcome::Unreachable,
        };
        self.over(id, key, outcome, stack);
    }

    pub fn due(&mut self, id: ProbeId, stack: &mut Stack) {
        if let Some(waiting) = self.waiting.remove(&id) {
            stack.drop_client(waiting.key);
            stack.event(Event::Probed { id, outcome: ProbeOutcome::NoResponse });
        }
    }

    fn over(&mut self, id: ProbeId, key: ClientKey, outcome: ProbeOutcome, stack: &mut Stack) {
        if self.waiting.get(&id).is_some_and(|waiting| waiting.key == key) {
            let waiting = self.waiting.remove(&id).expect("it was there a line ago");
            stack.timers.cancel(waiting.limit);
            stack.event(Event::Probed { id, outcome });
        }
    }

    fn forget(&mut self, id: ProbeId, stack: &mut Stack) {
        if let Some(old) = self.waiting.remove(&id) {
            stack.timers.cancel(old.limit);
            stack.drop_client(old.key);
        }
    }
}
