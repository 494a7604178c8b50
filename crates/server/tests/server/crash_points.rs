//! T-1: the process dies at every place where a promise could break, with every kind of trunk; after the restart each
//! accepted call has one record and one callback, and rang at most one phone once.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use sim::client::Recording;
use sim::{Carrier, CarrierConfig};
use store::crash_points;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::carriers::{CREDENTIALS, digest};
use crate::support::{Launch, PATIENCE, Setting, World, tone};

/// Servers at a time: each waits more than it works.
const AT_A_TIME: usize = 6;

const KEY: &str = "the-request-of-this-run";

/// One life that ends at `place`, and what must have become of the call.
#[derive(Clone, Copy)]
struct Death {
    /// `name`, or `name:n` for the n-th passage.
    place: &'static str,
    trunk: Trunk,
    course: Course,
    outcomes: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trunk {
    Udp,
    /// Over UDP, and each INVITE is challenged first.
    Digest,
    Tcp,
}

/// What happens until the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// A call is ordered, rings, is answered, played, recorded and called back.
    Plain,
    /// The same while the trunk's only place is taken by a short call before it.
    Queued,
    /// It rings, and is cancelled.
    Cancelled,
    /// The process dies first at this place, and at `place` in the next start.
    AfterCrashAt(&'static str),
}

const fn death(
    trunk: Trunk,
    course: Course,
    place: &'static str,
    outcomes: &'static [&'static str],
) -> Death {
    Death { place, trunk, course, outcomes }
}

const PLAYED: &[&str] = &["played"];
const UNKNOWN: &[&str] = &["unknown"];
const INTERRUPTED: &[&str] = &["interrupted"];
/// A matter of milliseconds: whether the INVITE was in the same commit as the intent.
const PLAYED_OR_UNKNOWN: &[&str] = &["played", "unknown"];
/// The cancellation may not be on disk: the INVITE is sent again, for a phone that rings on, or has stopped.
const TAKEN_BACK: &[&str] = &["cancelled", "no_answer", "unknown", "failed"];

fn deaths() -> Vec<Death> {
    [over_udp(), with_digest(), over_tcp(), in_the_queue(), cancelled(), twice()].concat()
}

fn over_udp() -> Vec<Death> {
    let plain = |place, outcomes| death(Trunk::Udp, Course::Plain, place, outcomes);
    vec![
        plain("accepted_before_commit", PLAYED),
        plain("accepted_after_commit", PLAYED),
        plain("attempt_before_commit", PLAYED),
        plain("attempt_after_commit", PLAYED),
        plain("reply_before", PLAYED),
        plain("reply_after", PLAYED),
        plain("invite_before", PLAYED),
        plain("invite_after", PLAYED),
        plain("answered_before_commit", PLAYED),
        plain("answered_after_commit", INTERRUPTED),
        plain("ack_before", INTERRUPTED),
        plain("ack_after", INTERRUPTED),
        plain("recording_begun", INTERRUPTED),
        plain("hang_up_before", INTERRUPTED),
        plain("bye_after", INTERRUPTED),
        plain("recording_closed", INTERRUPTED),
        plain("ended_before_commit", INTERRUPTED),
        plain("ended_after_commit", PLAYED),
        plain("callback_before_post", PLAYED),
        plain("callback_after_post", PLAYED),
        plain("callback_before_commit", PLAYED),
        plain("callback_after_commit", PLAYED),
    ]
}

/// The second INVITE and the second ACK are those with credentials.
fn with_digest() -> Vec<Death> {
    let plain = |place, outcomes| death(Trunk::Digest, Course::Plain, place, outcomes);
    vec![
        plain("attempt_after_commit", PLAYED),
        plain("invite_after", PLAYED),
        plain("ack_after", PLAYED),
        plain("attempt_before_commit:2", PLAYED),
        plain("attempt_after_commit:2", PLAYED),
        plain("invite_before:2", PLAYED),
        plain("invite_after:2", PLAYED),
        plain("answered_before_commit", PLAYED),
        plain("answered_after_commit", INTERRUPTED),
        plain("ack_after:2", INTERRUPTED),
        plain("bye_after", INTERRUPTED),
        plain("ended_after_commit", PLAYED),
    ]
}

/// Over a connection nothing is a retransmission: an INVITE that was on disk is taken back.
fn over_tcp() -> Vec<Death> {
    let plain = |place, outcomes| death(Trunk::Tcp, Course::Plain, place, outcomes);
    vec![
        plain("accepted_before_commit", PLAYED),
        plain("accepted_after_commit", PLAYED_OR_UNKNOWN),
        plain("attempt_after_commit", UNKNOWN),
        plain("reply_after", PLAYED_OR_UNKNOWN),
        plain("invite_before", UNKNOWN),
        plain("invite_after", UNKNOWN),
        plain("answered_after_commit", INTERRUPTED),
        plain("ack_before", INTERRUPTED),
        plain("ack_after", INTERRUPTED),
        plain("bye_after", INTERRUPTED),
        plain("ended_before_commit", INTERRUPTED),
        plain("ended_after_commit", PLAYED),
        plain("callback_after_post", PLAYED),
    ]
}

/// The first passage of most places belongs to the call before it.
fn in_the_queue() -> Vec<Death> {
    let queued = |place, outcomes| death(Trunk::Udp, Course::Queued, place, outcomes);
    vec![
        queued("accepted_before_commit:2", PLAYED),
        queued("accepted_after_commit:2", PLAYED),
        queued("reply_before:2", PLAYED),
        queued("reply_after:2", PLAYED),
        queued("ended_before_commit", PLAYED),
        queued("ended_after_commit", PLAYED),
        queued("claim_before_commit", PLAYED),
        queued("claim_after_commit", PLAYED),
        queued("attempt_before_commit:2", PLAYED),
        queued("attempt_after_commit:2", PLAYED),
        queued("invite_after:2", PLAYED),
        queued("answered_after_commit:2", INTERRUPTED),
        queued("ended_after_commit:2", PLAYED),
    ]
}

fn cancelled() -> Vec<Death> {
    let cancelled = |place, outcomes| death(Trunk::Udp, Course::Cancelled, place, outcomes);
    vec![
        cancelled("hang_up_before", TAKEN_BACK),
        cancelled("cancelled_before_commit", TAKEN_BACK),
        cancelled("cancelled_after_commit", UNKNOWN),
        cancelled("cancel_after", TAKEN_BACK),
        cancelled("ended_before_commit", TAKEN_BACK),
        cancelled("ended_after_commit", &["cancelled"]),
    ]
}

/// A crash in the recovery from a crash.
fn twice() -> Vec<Death> {
    let again =
        |trunk, first, place, outcomes| death(trunk, Course::AfterCrashAt(first), place, outcomes);
    vec![
        again(Trunk::Udp, "accepted_after_commit", "recovery_before_commit", PLAYED),
        again(Trunk::Udp, "accepted_after_commit", "recovery_after_commit", PLAYED),
        again(Trunk::Udp, "invite_after", "recovery_found", PLAYED),
        again(Trunk::Udp, "invite_after", "recovery_decided", PLAYED),
        again(Trunk::Udp, "invite_after", "resume_before", PLAYED),
        again(Trunk::Udp, "invite_after", "invite_after", PLAYED),
        again(Trunk::Udp, "ack_after", "recovery_decided", INTERRUPTED),
        again(Trunk::Udp, "ack_after", "stored_hang_up_before", INTERRUPTED),
        again(Trunk::Udp, "ack_before", "ack_after", INTERRUPTED),
        again(Trunk::Udp, "ack_after", "bye_after", INTERRUPTED),
        again(Trunk::Udp, "ack_after", "ended_before_commit", INTERRUPTED),
        again(Trunk::Tcp, "invite_after", "abandon_before", UNKNOWN),
        again(Trunk::Tcp, "invite_after", "cancel_after", UNKNOWN),
        again(Trunk::Tcp, "invite_after", "ended_after_commit", UNKNOWN),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 12)]
async fn whatever_kills_it_an_accepted_call_has_one_record_one_callback_and_rang_once() {
    let turns = Arc::new(Semaphore::new(AT_A_TIME));
    let mut runs = JoinSet::new();
    for death in deaths() {
        let turns = turns.clone();
        runs.spawn(async move {
            let _turn = turns.acquire_owned().await.expect("it is never closed");
            survive(death).await;
        });
    }
    let mut failed = 0;
    while let Some(run) = runs.join_next().await {
        // Each has said by itself what was wrong.
        failed += usize::from(run.is_err());
    }
    assert_eq!(failed, 0, "of {} runs", deaths().len());
}

#[test]
fn every_crash_point_is_died_at_and_stands_in_the_source_once() {
    let uploads = ["upload_written", "upload_before_commit", "upload_after_commit"];
    let died: BTreeSet<&str> = deaths()
        .iter()
        .map(|death| death.place.split(':').next().unwrap_or_default())
        .chain(uploads)
        .chain(crate::two_legs::crash_points::places())
        .collect();
    let all: BTreeSet<&str> = crash_points::ALL.iter().copied().collect();
    assert_eq!(died, all);
    assert_eq!(all.len(), crash_points::ALL.len(), "no name stands in the list twice");
    let mut sources = String::new();
    for tree in ["../store/src", "src"] {
        append_sources(tree.as_ref(), &mut sources);
    }
    for name in all {
        let uses = sources.matches(&format!("crash_point!(\"{name}\")")).count();
        assert_eq!(uses, 1, "{name}");
    }
}

fn append_sources(directory: &std::path::Path, to: &mut String) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            append_sources(&path, to);
        } else {
            to.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

async fn survive(death: Death) {
    let Death { place, trunk, course, outcomes } = death;
    let what = format!("{place} with {trunk:?}, {course:?}");
    let first_place = match course {
        Course::AfterCrashAt(first) => first,
        Course::Plain | Course::Queued | Course::Cancelled => place,
    };
    let mut world = world(trunk, course, first_place).await;
    let before = match course {
        Course::Queued => Some(world.client.notify(&world.notification("100301")).await),
        Course::Plain | Course::Cancelled | Course::AfterCrashAt(_) => None,
    };
    let ordered = order(&world, trunk, course).await;
    if course == Course::Cancelled
        && let Some(serial) = &ordered
    {
        world.reaches(serial, "call.ringing").await;
        // The process may die before it answers.
        let _ = world.client.cancel(serial).await;
    }
    died(&mut world, &what).await;
    if matches!(course, Course::AfterCrashAt(_)) {
        let launch = Launch { crash_point: Some(place.into()), ..Launch::default() };
        let status = world.server.dies_at_start(&launch).await;
        assert_eq!(status.and_then(signal), Some(KILL), "{what}: the second life");
    }
    world.server = world.server.restart(&Launch::default());
    world.client = world.server.client();

    // Whoever had no reply asks again with the same key, and gets the call that there is.
    let serial = order(&world, trunk, course).await.expect("the server is up");
    if let Some(ordered) = ordered {
        assert_eq!(serial, ordered, "{what}: an accepted call is lost");
    }
    if course == Course::Cancelled {
        world.client.cancel(&serial).await.expect("a reply");
    }
    world.released(&serial).await;
    let outcome = world.record(&serial).await["end"]["outcome"].clone();
    let outcome = outcome.as_str().unwrap_or_default();
    assert!(outcomes.contains(&outcome), "{what}: it ended as {outcome:?}");
    far_end_agrees(&world, &serial, trunk, &what).await;
    if let Some(Ok(before)) = &before {
        world.released(before).await;
    }
    one_record_and_callback_each(&world, usize::from(before.is_some()) + 1, &what).await;
}

async fn world(trunk: Trunk, course: Course, place: &str) -> World {
    let carrier = match trunk {
        Trunk::Udp => CarrierConfig::default(),
        Trunk::Digest => CarrierConfig { digest: digest(), ..CarrierConfig::default() },
        Trunk::Tcp => CarrierConfig {
            sip_tcp: Some("127.0.0.1:0".parse().expect("an address")),
            ..CarrierConfig::default()
        },
    };
    let in_trunk = match (trunk, course) {
        (_, Course::Queued) => "concurrent_calls = 1",
        (Trunk::Udp, _) => "",
        (Trunk::Digest, _) => CREDENTIALS,
        (Trunk::Tcp, _) => "transport = \"tcp\"",
    };
    let setting = Setting {
        trunk: in_trunk.into(),
        tenant: "record = true".into(),
        launch: Launch { crash_point: Some(place.into()), ..Launch::default() },
        ..Setting::default()
    };
    match trunk {
        Trunk::Udp | Trunk::Digest => World::with(setting, carrier).await,
        Trunk::Tcp => World::over_tcp(setting, carrier).await,
    }
}

/// The serial number, where the server lived long enough to say it.
async fn order(world: &World, trunk: Trunk, course: Course) -> Option<String> {
    let called = match (trunk, course) {
        (_, Course::Cancelled) => "1480",
        // It still rings when it is taken back.
        (Trunk::Tcp, _) => "100203",
        (Trunk::Udp | Trunk::Digest, _) => "8899",
    };
    let body = world.notification(called).to_json();
    let reply = world.client.create_voice_notification(body, Some(KEY)).await.ok()?;
    reply.call_serial_no().ok()
}

pub async fn died(world: &mut World, what: &str) {
    let status = world.server.ended().await;
    assert_eq!(signal(status), Some(KILL), "{what}: {status}; log:\n{}", world.server.log());
}

const KILL: i32 = 9;

fn signal(status: std::process::ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal()
}

/// One phone at most, by one INVITE (and one with credentials), and it is not left with the receiver in its hand.
async fn far_end_agrees(world: &World, serial: &str, trunk: Trunk, what: &str) {
    if !is_known(&world.carrier, serial) && world.carrier.live_calls() == 0 {
        return;
    }
    let ended = world.carrier.call_ended(|call| call.call_id.starts_with(serial));
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    ended.unwrap_or_else(|_| panic!("{what}: a phone is left in the call"));
    let mut calls = world.carrier.calls();
    calls.retain(|call| call.call_id.starts_with(serial));
    let call_ids: BTreeSet<&str> = calls.iter().map(|call| call.call_id.as_str()).collect();
    assert_eq!(call_ids.len(), 1, "{what}: {call_ids:?}");
    let invites = if trunk == Trunk::Digest { 2 } else { 1 };
    for call in &calls {
        assert!(call.dialogs <= 1, "{what}: {} phones rang", call.dialogs);
        assert!(call.invites <= invites, "{what}: {} INVITEs", call.invites);
    }
    assert_eq!(world.carrier.totals().repeated_call_ids, 0, "{what}");
}

fn is_known(carrier: &Carrier, serial: &str) -> bool {
    carrier.calls().iter().any(|call| call.call_id.starts_with(serial))
}

pub async fn one_record_and_callback_each(world: &World, calls: usize, what: &str) {
    let page = world.client.v1(reqwest::Method::GET, "/v1/calls?limit=100").await;
    let page: Value = page.expect("a reply").parse().expect("JSON");
    let serials: Vec<&str> = page["calls"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|call| call["state"] == "ended")
        .filter_map(|call| call["serial"].as_str())
        .collect();
    assert_eq!(serials.len(), calls, "{what}: records {serials:?}");
    let distinct: BTreeSet<&str> = serials.iter().copied().collect();
    assert_eq!(distinct.len(), calls, "{what}: records {serials:?}");
    for serial in distinct {
        let received = world.callbacks.callbacks().all();
        let ids: BTreeSet<&str> = received
            .iter()
            .filter(|callback| callback.field("callSerialNo").as_deref() == Some(serial))
            .filter_map(|callback| callback.event_id())
            .collect();
        assert_eq!(ids.len(), 1, "{what}: {serial} was called back as {ids:?}");
    }
}

/// Files of recordings that the server keeps.
fn uploads(world: &World) -> usize {
    let files = std::fs::read_dir(world.server.data().join("voices/1")).expect("it has uploads");
    files.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_is_there_whole_or_can_be_made_again() {
    for (place, is_there) in
        [("upload_written", false), ("upload_before_commit", false), ("upload_after_commit", true)]
    {
        let mut world = World::start().await;
        let before = uploads(&world);
        world.server.kill();
        let launch = Launch { crash_point: Some(place.into()), ..Launch::default() };
        world.server = world.server.restart(&launch);
        world.client = world.server.client();
        let mut recording = Recording::wav(tone(300.0, 0.5));
        recording.name = Some("doorbell".into());
        world.client.upload_recording(&recording).await.expect_err("the server died");
        died(&mut world, place).await;
        world.server = world.server.restart(&Launch::default());
        world.client = world.server.client();
        assert_eq!(uploads(&world), before + usize::from(is_there), "{place}: files");
        let again = world.client.upload_recording(&recording).await;
        assert_eq!(again.is_err(), is_there, "{place}: the name is taken where it is there");
        let played = world.call("8899").await;
        assert_eq!(world.released(&played).await["releaseReason"], "1", "{place}");
    }
}
