//! S-7: each method from nobody, from somebody with a wrong password, and from a user of ours.
//!
//! What lets somebody in is the policy and nothing else: with it open (the weakened copy, last test) the attack works.
//! CVE-2021-37624 (a MESSAGE from nobody that is delivered) cannot be shown: no policy delivers a MESSAGE.

use std::collections::BTreeMap;

use sip::*;
use sipx_sip::auth::{self, Challenge};

use crate::phone::switchboard;
use crate::world::*;

/// The method; what anybody gets by default; what the three get where a password is asked for.
const TABLE: [(&str, &str, [&str; 3]); 13] = [
    ("OPTIONS", "200", ["200", "200", "200"]),
    ("INVITE", "403", ["401", "401", "100"]),
    ("REGISTER", "403", ["401", "401", "handed to the caller"]),
    ("REFER", "403", ["403", "403", "403"]),
    ("MESSAGE", "405", ["405", "405", "405"]),
    ("SUBSCRIBE", "405", ["405", "405", "405"]),
    ("PUBLISH", "405", ["405", "405", "405"]),
    ("NOTIFY", "481", ["481", "481", "481"]),
    ("UPDATE", "481", ["481", "481", "481"]),
    ("INFO", "481", ["481", "481", "481"]),
    ("BYE", "481", ["481", "481", "481"]),
    ("PRACK", "481", ["481", "481", "481"]),
    ("CANCEL", "481", ["481", "481", "481"]),
];

const URI: &str = "sip:100@192.0.2.1:5060";

fn digest() -> DigestPolicy {
    let user = DigestUser::from_password("200", "offhook", "secret");
    DigestPolicy { realm: "offhook".to_owned(), users: BTreeMap::from([("200".to_owned(), user)]) }
}

fn asks_for_passwords() -> Policy {
    Policy {
        accept_invites: AcceptInvites::Digest(digest()),
        accept_register: AcceptRegister::Digest(digest()),
        ..Policy::default()
    }
}

fn from_outside(method: &str, login: &str) -> String {
    let extra = format!("{CONTACT}{login}");
    request(&Outside { method, call_id: method, extra: &extra, ..Outside::default() })
}

/// An Authorization that is right for this core, but for the password.
fn login(solo: &mut Solo, method: &str, password: &str) -> String {
    let ask = Outside { call_id: "ask", branch: "ask", ..Outside::default() };
    solo.receive(&request(&ask));
    let challenge = header(&solo.one(), "WWW-Authenticate").to_owned();
    let challenge = Challenge::parse(challenge.as_bytes(), false).unwrap();
    let credentials = auth::Credentials::new("200", password);
    let value = auth::respond(&challenge, &credentials, method, URI, 1, "c0ffee");
    format!("Authorization: {value}\r\n")
}

fn what_becomes_of(solo: &mut Solo, message: &str) -> String {
    solo.receive(message);
    match solo.sent_kinds().pop() {
        Some(status) => status,
        None if solo.said().iter().any(|said| said.starts_with("request")) => {
            "handed to the caller".to_owned()
        }
        None => "nothing".to_owned(),
    }
}

#[test]
fn by_default_nobody_is_let_in_with_or_without_a_password() {
    for (method, expected, _) in TABLE {
        for password in [None, Some("wrong"), Some("secret")] {
            let mut with_challenge = Solo::new(asks_for_passwords());
            let login = password.map(|password| login(&mut with_challenge, method, password));
            let mut solo = Solo::new(Policy::default());
            let message = from_outside(method, &login.unwrap_or_default());
            assert_eq!(what_becomes_of(&mut solo, &message), expected, "{method} {password:?}");
            assert_eq!((solo.said(), solo.core.load()), (Vec::new(), (0, 0, 0)), "{method}");
        }
    }
}

#[test]
fn where_passwords_are_asked_for_only_the_right_one_opens_and_only_invite_and_register() {
    for (method, _, expected) in TABLE {
        let passwords = [None, Some("wrong"), Some("secret")];
        for (password, expected) in passwords.into_iter().zip(expected) {
            let mut solo = Solo::new(asks_for_passwords());
            let login = password.map(|password| login(&mut solo, method, password));
            let message = from_outside(method, &login.unwrap_or_default());
            assert_eq!(what_becomes_of(&mut solo, &message), expected, "{method} {password:?}");
        }
    }
}

/// The same where the caller of the core decides and phones register: a stranger gets through with digits, for they may
/// be the code of a task, and with nothing else.
#[test]
fn where_the_caller_decides_only_a_number_of_digits_gets_before_it() {
    for (method, by_default, _) in TABLE {
        let expected = match method {
            "INVITE" => "100",
            "REGISTER" => "401",
            _ => by_default,
        };
        let message = from_outside(method, "");
        assert_eq!(what_becomes_of(&mut switchboard(), &message), expected, "{method}");
        let expected = if method == "INVITE" { "404" } else { expected };
        let message = message.replace("sip:100@192.0.2.1:5060 ", "sip:alice@192.0.2.1:5060 ");
        let mut solo = switchboard();
        assert_eq!(what_becomes_of(&mut solo, &message), expected, "{method} for a name");
        assert_eq!((solo.said(), solo.core.load()), (Vec::new(), (0, 0, 0)), "{method}");
    }
}

#[test]
fn the_attack_works_where_the_policy_is_open() {
    let weakened = Policy {
        accept_invites: AcceptInvites::Open,
        accept_register: AcceptRegister::Open,
        ..Policy::default()
    };
    let mut solo = Solo::new(weakened);
    solo.receive(&from_outside("INVITE", ""));
    assert_eq!(solo.said(), ["incoming 100"]);
    solo.receive(&from_outside("REGISTER", ""));
    assert_eq!(solo.said(), ["request REGISTER"]);
}
