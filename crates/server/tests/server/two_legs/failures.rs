//! What ends one leg ends the other, over real SIP: for each way in which a leg can fail.

use super::*;

/// The caller's number, the called number, and what the record says.
const TABLE: [(&str, &str, &str); 28] = [
    // The caller's leg fails: nobody else is called.
    ("1486", CALLED, "4"),
    ("1603", CALLED, "4"),
    ("1480", CALLED, "4"),
    ("1404", CALLED, "2"),
    ("1503", CALLED, "2"),
    ("1020", CALLED, "2"),
    ("10153", CALLED, "2"),
    // It hangs up before the other rings, while it rings, and while the two talk.
    ("100300", "1010", "1"),
    ("100301", "1480", "1"),
    ("100301", CALLED, "1"),
    // It is gone without a BYE: the media time-out.
    ("101601", CALLED, "2"),
    // The called party's leg fails: the caller, who is up, is hung up.
    ("1001", "1486", "5"),
    ("1001", "1603", "5"),
    ("1001", "1480", "5"),
    ("1001", "1404", "3"),
    ("1001", "1503", "3"),
    ("1001", "1020", "3"),
    ("1001", "10153", "3"),
    ("10210440", "100301", "0"),
    ("10210440", "101601", "3"),
    // The answer crosses our CANCEL.
    ("1001", "1011", "5"),
    // A 200 or a BYE is lost on the way, and comes again.
    ("1023", "100301", "0"),
    ("100303", "1023", "1"),
    ("102501", CALLED, "1"),
    ("10210440", "102501", "0"),
    // The audio of one is lost for good: the media time-out.
    ("102201", CALLED, "2"),
    ("10210440", "102201", "3"),
    // It takes no re-INVITE; nobody needs one.
    ("1024", "100301", "0"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_one_leg_ends_the_other() {
    let world = world("ring_limit_s = 3").await;
    let mut calls = Vec::new();
    for (caller, called, reason) in TABLE {
        calls.push((create_call(&world, Some(caller), called).await, caller, called, reason));
    }
    let mut wrong = Vec::new();
    for (serial, caller, called, reason) in calls {
        let record = ended(&world, &serial).await;
        let found = record["end"]["release_reason"].as_str().unwrap_or_default().to_owned();
        if found != reason {
            wrong.push(format!("{caller} with {called}: {found}, not {reason}: {}", record["end"]));
        }
        let other_called = world
            .carrier
            .calls()
            .iter()
            .any(|call| call.call_id.starts_with(&serial) && call.to_user == called);
        let was_up = ["101601", "102201"].contains(&caller);
        let caller_failed = ["2", "4"].contains(&reason) && !was_up;
        if caller_failed && other_called {
            wrong.push(format!("{caller} with {called}: the called party was called"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_softphone_does_ends_the_call_in_the_same_way() {
    let world = world("ring_limit_s = 3").await;
    let phone = softphone(&world, None).await;
    let second = Duration::from_secs(1);
    let table = [
        (Behaviour::Refuse { ring: Duration::ZERO, status: 486 }, CALLED, "4"),
        (Behaviour::Refuse { ring: Duration::ZERO, status: 603 }, CALLED, "4"),
        (Behaviour::Refuse { ring: Duration::ZERO, status: 503 }, CALLED, "2"),
        (Behaviour::NoAnswer, CALLED, "4"),
        (Behaviour::Stuck, CALLED, "2"),
        (Behaviour::HangUp { talk: second }, "1480", "1"),
        (Behaviour::Answer { ring: Duration::ZERO }, "1486", "5"),
        (Behaviour::Answer { ring: Duration::ZERO }, "100301", "0"),
        (Behaviour::LoseAudio { after: second }, CALLED, "2"),
    ];
    for (behaviour, called, reason) in table {
        let what = format!("{behaviour:?} with {called}");
        phone.behave(behaviour);
        let serial = create_call(&world, None, called).await;
        let record = ended(&world, &serial).await;
        assert_eq!(record["end"]["release_reason"], reason, "{what}: {record}");
    }
    nothing_is_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_ends_both_legs_wherever_it_is() {
    let world = world("").await;
    let table = [
        ("1010", CALLED, "call.dialling"),
        ("1480", CALLED, "call.ringing"),
        ("1001", "1010", "call.answered"),
        ("1001", "1480", "call.answered"),
        ("10210440", CALLED, "call.bridged"),
    ];
    for (caller, called, when) in table {
        let serial = create_call(&world, Some(caller), called).await;
        world.reaches(&serial, when).await;
        world.client.cancel(&serial).await.expect("a reply").ok().expect("it is cancelled");
        let record = ended(&world, &serial).await;
        assert_eq!(record["end"]["outcome"], "cancelled", "{caller} {called}: {record}");
        assert_eq!(record["end"]["release_reason"], "998");
    }
    nothing_is_left(&world).await;
}
