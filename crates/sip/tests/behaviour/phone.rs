//! A phone of another implementation's making, as far as logins go: `sipx_sip` computes them.

use sip::*;
use sipx_sip::auth::{self, Challenge};

use crate::world::*;

pub const REALM: &str = "offhook";
pub const PASSWORD: &str = "correct horse";

pub fn user(name: &str, password: &str) -> DigestUser {
    DigestUser::from_password(name, REALM, password)
}

/// A core that decides nothing by itself and knows the phones 66666666 and 66666667.
pub fn switchboard() -> Solo {
    let policy = Policy {
        accept_invites: AcceptInvites::Ask,
        accept_register: AcceptRegister::Phones,
        // Low, so that a test gets there.
        strangers: StrangerPolicy { guesses_in_all: 2_000, ..StrangerPolicy::default() },
        ..Policy::default()
    };
    let mut solo = Solo::new(policy);
    for name in ["66666666", "66666667"] {
        let login = Some(user(name, PASSWORD));
        solo.command(Command::SetUser { user: name.to_owned(), login });
    }
    assert_eq!(solo.said(), [""; 0]);
    solo
}

pub struct Phone {
    pub user: String,
    pub password: String,
    pub from: String,
    pub over: (Transport, Option<FlowId>),
    pub call_id: String,
    pub cseq: u32,
    /// The challenge that it answers, and how often it has.
    pub challenge: Option<(String, u32)>,
    /// Which of the algorithms that are offered it takes.
    pub algorithm: usize,
}

impl Phone {
    /// Over UDP from this address.
    pub fn new(user: &str, from: &str) -> Phone {
        Phone {
            user: user.to_owned(),
            password: PASSWORD.to_owned(),
            from: from.to_owned(),
            over: (Transport::Udp, None),
            call_id: format!("{user}-{from}"),
            cseq: 0,
            challenge: None,
            algorithm: 0,
        }
    }

    /// Over a connection.
    pub fn over(user: &str, from: &str, transport: Transport, flow: u64) -> Phone {
        Phone { over: (transport, Some(FlowId(flow))), ..Phone::new(user, from) }
    }

    pub fn message(&mut self, method: &str, uri: &str, extra: &str) -> String {
        self.cseq += 1;
        let login = match &mut self.challenge {
            None => String::new(),
            Some((challenge, count)) => {
                *count += 1;
                let challenge = Challenge::parse(challenge.as_bytes(), false).unwrap();
                let credentials = auth::Credentials::new(&self.user, &self.password);
                let value = auth::respond(&challenge, &credentials, method, uri, *count, "c0ffee");
                format!("Authorization: {value}\r\n")
            }
        };
        let aor = format!("<sip:{}@192.0.2.1>", self.user);
        request(&Outside {
            method,
            uri,
            from: &format!("{aor};tag=phone"),
            to: if method == "REGISTER" { &aor } else { "<sip:called@192.0.2.1>" },
            call_id: &self.call_id,
            cseq: self.cseq,
            branch: &format!("{}{}", self.call_id, self.cseq),
            extra: &format!("{extra}{login}"),
            body: "",
        })
    }

    /// Sends one message and returns the answer to it.
    pub fn say(&mut self, solo: &mut Solo, method: &str, uri: &str, extra: &str) -> String {
        let message = self.message(method, uri, extra);
        solo.receive_over(self.over, &self.from, &message);
        let answer = solo.one();
        if kind(&answer) == "401" {
            let offered = all_headers(&answer, "WWW-Authenticate");
            let taken = offered.get(self.algorithm).unwrap_or(&offered[0]);
            self.challenge = Some(((*taken).to_owned(), 0));
        }
        answer
    }

    /// A REGISTER with these headers and, where it is asked for, the password.
    pub fn register(&mut self, solo: &mut Solo, extra: &str) -> String {
        let answer = self.say(solo, "REGISTER", "sip:192.0.2.1", extra);
        match kind(&answer).as_str() {
            "401" => self.say(solo, "REGISTER", "sip:192.0.2.1", extra),
            _ => answer,
        }
    }

    /// The same for one Contact at its own address.
    pub fn bind(&mut self, solo: &mut Solo, params: &str) -> String {
        let contact = format!("Contact: <sip:{}@{}>{params}\r\n", self.user, self.from);
        self.register(solo, &contact)
    }
}

/// Where the last `Bound` says that the phone is.
pub fn bindings(solo: &mut Solo) -> Vec<Binding> {
    let bound = solo.events.drain(..).filter_map(|event| match event {
        Event::Bound { bindings, .. } => Some(bindings),
        _ => None,
    });
    bound.last().expect("nothing changed")
}
