//! Media before the answer.

use sip::*;

use crate::world::*;

#[test]
fn a_183_with_a_body_is_shown_and_the_answer_follows() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 100, "", "", ""));
    solo.receive(&reply(&sent, 183, "b", CONTACT, "early"));
    solo.receive(&reply(&sent, 180, "b", CONTACT, ""));
    solo.receive(&reply(&sent, 183, "b", "", ""));
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    assert_eq!(solo.said(), ["183 early", "180", "183", "answered answer"]);
}

#[test]
fn we_give_early_media_to_a_caller() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside { body: "offer", ..Outside::default() }));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.sent();
    solo.command(Command::Progress { leg, body: Some(Body::sdp("early")) });
    let progress = solo.one();
    assert_eq!(kind(&progress), "183");
    assert!(progress.ends_with("\r\n\r\nearly"));
    assert!(header(&progress, "Contact").contains("192.0.2.1"));
    solo.command(Command::Refuse {
        leg,
        status: 486,
        reason: Some("Gone".to_owned()),
        headers: vec![("X-Why".to_owned(), "test".to_owned())],
    });
    let refusal = solo.one();
    assert!(refusal.starts_with("SIP/2.0 486 Gone\r\n"));
    assert_eq!(header(&refusal, "X-Why"), "test");
    let tag = |message: &str| header(message, "To").rsplit_once("tag=").unwrap().1.to_owned();
    assert_eq!(tag(&progress), tag(&refusal));
    assert_eq!(solo.said(), ["ended by Us 486"]);
}
