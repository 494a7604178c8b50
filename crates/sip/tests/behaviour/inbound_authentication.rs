//! Our own challenges: a client of another implementation's making gets in, a guesser does not.

use std::{collections::BTreeMap, time::Duration};

use sip::*;
use sipx_sip::auth::{self, Challenge};

use crate::world::*;

fn digest_policy() -> Policy {
    let user = DigestUser::from_password("200", "offhook", "secret");
    Policy {
        accept_invites: AcceptInvites::Digest(DigestPolicy {
            realm: "offhook".to_owned(),
            users: BTreeMap::from([("200".to_owned(), user)]),
        }),
        ..Policy::default()
    }
}

const URI: &str = "sip:100@192.0.2.1:5060";

struct Try {
    cseq: u32,
}

impl Try {
    fn invite(&mut self, authorization: Option<&str>) -> String {
        self.cseq += 1;
        let branch = format!("try{}", self.cseq);
        let login =
            authorization.map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
        let extra = format!("{CONTACT}{login}");
        request(&Outside { cseq: self.cseq, branch: &branch, extra: &extra, ..Outside::default() })
    }
}

fn login(challenge: &str, user: &str, password: &str, count: u32) -> String {
    let challenge = Challenge::parse(challenge.as_bytes(), false).unwrap();
    let credentials = auth::Credentials::new(user, password);
    auth::respond(&challenge, &credentials, "INVITE", URI, count, "c0ffee")
}

fn challenges(solo: &mut Solo, attempt: &mut Try) -> Vec<String> {
    solo.receive(&attempt.invite(None));
    let answer = solo.one();
    assert_eq!(kind(&answer), "401");
    let lines = all_headers(&answer, "WWW-Authenticate");
    lines.into_iter().map(str::to_owned).collect()
}

#[test]
fn both_algorithms_are_accepted_and_sha_256_is_offered_first() {
    for index in [0, 1] {
        let mut solo = Solo::new(digest_policy());
        let mut attempt = Try { cseq: 0 };
        let offered = challenges(&mut solo, &mut attempt);
        assert!(offered[0].contains("SHA-256") && offered[1].contains("MD5"));
        let answer = login(&offered[index], "200", "secret", 1);
        solo.receive(&attempt.invite(Some(&answer)));
        assert_eq!(solo.sent_kinds(), ["100"]);
        let Some(Event::Incoming { request, .. }) = solo.events.pop_back() else {
            panic!("not let in")
        };
        assert_eq!(request.origin, Origin::User("200".to_owned()));
        assert!(request.headers.iter().all(|(name, _)| name != "Authorization"));
    }
}

#[test]
fn a_replay_is_refused_and_a_higher_count_accepted() {
    let mut solo = Solo::new(digest_policy());
    let mut attempt = Try { cseq: 0 };
    let offered = challenges(&mut solo, &mut attempt);
    let first = login(&offered[0], "200", "secret", 1);
    solo.receive(&attempt.invite(Some(&first)));
    solo.receive(&attempt.invite(Some(&first)));
    let sent = solo.sent();
    assert_eq!(sent.iter().map(|m| kind(m)).collect::<Vec<_>>(), ["100", "401"]);
    assert!(header(&sent[1], "WWW-Authenticate").contains("stale=true"));
    solo.receive(&attempt.invite(Some(&login(&offered[0], "200", "secret", 2))));
    assert_eq!(solo.sent_kinds(), ["100"]);
    solo.pass(Duration::from_secs(301));
    solo.sent();
    solo.receive(&attempt.invite(Some(&login(&offered[0], "200", "secret", 3))));
    assert_eq!(solo.sent_kinds(), ["401"], "a nonce lives five minutes");
}

#[test]
fn guessing_is_answered_alike_and_locked() {
    let mut solo = Solo::new(digest_policy());
    let mut attempt = Try { cseq: 0 };
    let offered = challenges(&mut solo, &mut attempt);
    let mut shapes = Vec::new();
    for user in ["200", "unknown"] {
        solo.receive(&attempt.invite(Some(&login(&offered[0], user, "wrong", 1))));
        let answer = solo.one();
        assert_eq!(kind(&answer), "401");
        shapes.push(answer.len());
    }
    assert_eq!(shapes[0], shapes[1], "a known and an unknown user look the same");
    for count in 2..12 {
        solo.receive(&attempt.invite(Some(&login(&offered[0], "200", "wrong", count))));
    }
    solo.sent();
    solo.receive(&attempt.invite(Some(&login(&offered[0], "200", "secret", 50))));
    assert_eq!(solo.sent_kinds(), ["401"], "locked after ten failures");
    assert_eq!(solo.said(), [""; 0]);
}
