//! T-3 and T-4: the disk is reached before the wire, and what happens when it is not.

use sim::client::{Entry, Recording, VoiceNotification};
use sim::{CarrierConfig, EndedBy};

use crate::support::{Launch, PATIENCE, Setting, World, strace, tone};

const KEY: &str = "the-request-that-the-disk-refused";

/// EIO from the fsync of the write-ahead log.
fn no_sync(world: &World) -> String {
    let log = world.server.log_of_writes();
    format!("-e trace=fsync,fdatasync -e inject=fsync,fdatasync:error=EIO -P {}", log.display())
}

async fn world(tenant: &str, top: &str, launch: Launch) -> World {
    let setting = Setting { tenant: tenant.into(), top: top.into(), launch, ..Setting::default() };
    World::with(setting, CarrierConfig::default()).await
}

/// A tone of this length, played to a phone that answers at once.
async fn long(world: &World, seconds: f32, called: &str) -> VoiceNotification {
    let file = tone(440.0, seconds);
    let voice = world.client.upload_recording(&Recording::wav(file)).await.expect("taken");
    VoiceNotification { play_list: vec![Entry::recording(voice)], ..world.notification(called) }
}

/// Posts until a reply is an error, as it must become; the serial numbers that were accepted before.
async fn refused(world: &World) -> Vec<String> {
    let body = world.notification("8899").to_json();
    let mut accepted = Vec::new();
    let until_refused = async {
        loop {
            let key = format!("{KEY}-{}", accepted.len());
            let reply = world.client.create_voice_notification(body.clone(), Some(&key)).await;
            let reply = reply.expect("a reply");
            match reply.call_serial_no() {
                Ok(serial) => accepted.push(serial),
                Err(_) => return assert_eq!(reply.status, 500, "{}", reply.body),
            }
        }
    };
    tokio::time::timeout(PATIENCE, until_refused).await.expect("the disk is noticed");
    accepted
}

/// The process has ended by itself and said so; the next start resolves what it left.
async fn resolved(mut world: World, accepted: &[String]) -> World {
    world.server.ended().await;
    assert_eq!(world.server.traced_exit(), "exited with 1", "{}", world.server.log());
    assert!(world.server.log().contains("see to the disk"), "{}", world.server.log());
    world.server = world.server.restart(&Launch::default());
    world.client = world.server.client();
    let body = world.notification("8899").to_json();
    let key = format!("{KEY}-{}", accepted.len());
    let reply = world.client.create_voice_notification(body, Some(&key)).await.expect("a reply");
    let again = reply.call_serial_no().expect("the disk is well again");
    for serial in accepted.iter().chain([&again]) {
        world.released(serial).await;
        let end = world.record(serial).await["end"].clone();
        assert!(end["outcome"].is_string(), "{serial} has its record: {end}");
    }
    assert_eq!(world.carrier.totals().repeated_call_ids, 0);
    let dialled = accepted.len() + 1;
    assert!(world.carrier.calls().len() <= dialled + 1, "nobody was called twice");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_fsync_nothing_is_accepted_and_calls_that_are_up_finish() {
    let mut world = world("", "", strace::on_demand()).await;
    let wanted = long(&world, 3.0, "1001").await;
    let up = world.client.notify(&wanted).await.expect("accepted");
    world.reaches(&up, "call.play_started").await;
    world.server.spoil(&no_sync(&world)).await;
    let accepted = refused(&world).await;
    assert!(accepted.is_empty(), "the first request meets it");
    let ready = world.client.v1(reqwest::Method::GET, "/readyz").await.expect("a reply");
    assert_eq!(ready.status, 503);
    let again = world.client.create_voice_notification(wanted.to_json(), None).await;
    assert_eq!(again.expect("a reply").status, 500, "an fsync is never tried again");
    let world = resolved(world, &accepted).await;
    let call = world.carrier.call_ended(|call| call.call_id.starts_with(&up)).await;
    assert_eq!(call.ended_by, EndedBy::Caller);
    assert!(call.rtp.packets >= 140, "{} packets of a tone of three seconds", call.rtp.packets);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_answered_with_500_and_the_next_start_goes_on() {
    let mut world = world("", "", strace::on_demand()).await;
    let log = world.server.log_of_writes();
    let full = format!("-e trace=pwrite64 -e inject=pwrite64:error=ENOSPC -P {}", log.display());
    world.server.spoil(&full).await;
    let accepted = refused(&world).await;
    assert!(accepted.is_empty(), "the first request meets it");
    resolved(world, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_cannot_be_synced_loses_no_call_that_was_accepted() {
    let mut world = world("", "", strace::on_demand()).await;
    let file = world.server.data().join("offhook.db");
    // The log is moved into it in the first pause, and after much was written.
    let fault = format!(
        "-e trace=fsync,fdatasync -e inject=fsync,fdatasync:error=EIO -P {}",
        file.display()
    );
    world.server.spoil(&fault).await;
    let first = world.call("8899").await;
    world.released(&first).await;
    let moved = async {
        while !world.server.log().contains("could not be moved") {
            world.client.v1(reqwest::Method::GET, "/healthz").await.expect("a reply");
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.expect("the log is moved in a pause");
    let accepted = refused(&world).await;
    resolved(world, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_disk_is_an_error_at_the_end_also_where_a_call_had_to_be_cut() {
    let mut world = world("", "[defaults]\ndrain_s = 1\n", strace::on_demand()).await;
    // Answers, and does not even answer the BYE: it would be waited for for 32 s.
    let wanted = long(&world, 5.0, "101601").await;
    let up = world.client.notify(&wanted).await.expect("accepted");
    world.reaches(&up, "call.play_started").await;
    world.server.spoil(&no_sync(&world)).await;
    let accepted = refused(&world).await;
    world.server.signal("TERM");
    let world = resolved(world, &accepted).await;
    assert_eq!(world.record(&up).await["end"]["outcome"], "interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_is_read_only_is_said_at_the_start() {
    let mut world = World::start().await;
    world.server.kill();
    let database = world.server.data().join("offhook.db");
    let launch = strace::from_the_start(&[
        "-P",
        &database.display().to_string(),
        "-e",
        "trace=openat",
        "-e",
        "inject=openat:error=EROFS",
    ]);
    let status = world.server.dies_at_start(&launch).await.expect("it does not start");
    assert_eq!(status.code(), Some(1), "{}", world.server.log());
    let log = world.server.log();
    assert!(log.lines().last().is_some_and(|line| line.starts_with("offhook: ")), "{log}");
    world.server = world.server.restart(&Launch::default());
    world.client = world.server.client();
    let serial = world.call("8899").await;
    assert_eq!(world.released(&serial).await["releaseReason"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_has_no_room_for_a_recording_costs_that_call_only() {
    let mut world = world("record = true", "", strace::on_demand()).await;
    let wanted = long(&world, 3.0, "100203").await;
    let recorded = world.client.notify(&wanted).await.expect("accepted");
    let created_ms = world.record(&recorded).await["created_ms"].as_i64().expect("ms");
    let seconds = created_ms.div_euclid(1_000);
    let day = time::OffsetDateTime::from_unix_timestamp(seconds).expect("a time").date();
    let day = format!("{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day());
    let file = world.server.recording(&format!("Y:/1/mobileAgent/{day}/{seconds}-{recorded}.wav"));
    let file = file.with_added_extension("sealed");
    let full = format!("-e trace=pwrite64 -e inject=pwrite64:error=ENOSPC -P {}", file.display());
    world.server.spoil(&full).await;
    world.released(&recorded).await;
    assert_eq!(world.record(&recorded).await["end"]["outcome"], "recording_failed");
    let other = world.call("8899").await;
    assert_eq!(
        world.released(&other).await["releaseReason"],
        "1",
        "others are recorded and played"
    );
}

/// A system call in the trace: where it began and where it returned.
struct Traced(Vec<String>);

impl Traced {
    fn begins(&self, from: usize, holds: &[&str]) -> usize {
        let begins = |line: &String| {
            !line.contains(" resumed>") && holds.iter().all(|part| line.contains(part))
        };
        let found = self.0.iter().skip(from).position(begins);
        from + found.unwrap_or_else(|| panic!("nothing in the trace holds {holds:?}"))
    }

    /// Where the first sync of the log that begins after `from` has returned.
    fn synced_after(&self, from: usize) -> usize {
        let begun = self.begins(from + 1, &["sync(", "-wal>"]);
        let line = &self.0[begun];
        if line.ends_with("= 0") {
            return begun;
        }
        let thread = line.split(' ').next().unwrap_or_default();
        let returned = |line: &String| {
            line.starts_with(thread) && line.contains("sync resumed") && line.ends_with("= 0")
        };
        let found = self.0.iter().skip(begun).position(returned);
        begun + found.expect("the sync returns")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_reached_before_the_reply_the_invite_and_the_ack() {
    let calls = "trace=pwrite64,fsync,fdatasync,write,writev,sendto,sendmsg,sendmmsg";
    let launch = strace::from_the_start(&["-y", "-s", "6000", "-e", calls]);
    let world = world("", "", launch).await;
    let called = "13812345678";
    let serial = world.call(called).await;
    world.released(&serial).await;
    let call = world.carrier.call_ended(|call| call.call_id.starts_with(&serial)).await;
    assert_eq!(call.ended_by, EndedBy::Caller);
    let trace = Traced(world.server.traced());

    let intent = trace.begins(0, &["pwrite64(", "-wal>", called]);
    let reply = trace.begins(0, &["HTTP/1.1 200", &serial]);
    assert!(trace.synced_after(intent) < reply, "the reply promises what is on disk");

    let attempt = trace.begins(0, &["pwrite64(", "-wal>", &call.call_id]);
    let invite = trace.begins(0, &["\"INVITE sip:", &call.call_id]);
    assert!(trace.synced_after(attempt) < invite, "a restart knows of each INVITE");

    let ack = trace.begins(invite, &["\"ACK sip:", &call.call_id]);
    let tag = trace.0[ack].split("To: ").nth(1).and_then(|to| to.split(";tag=").nth(1));
    let tag = tag.and_then(|tag| tag.split("\\r").next()).expect("the ACK has the far side's tag");
    let dialog = trace.begins(0, &["pwrite64(", "-wal>", tag]);
    assert!(trace.synced_after(dialog) < ack, "a restart knows of each call that is up");
}
