//! What crosses the wire: the right audio, recorded where the tenant asks for it.

use sim::{CarrierConfig, Recogniser};

use crate::support::{PATIENCE, Setting, World, tone};
use sim::client::{Entry, Recording};

#[tokio::test(flavor = "multi_thread")]
async fn each_codec_carries_what_was_uploaded() {
    for codec in ["PCMA", "PCMU", "G722", "opus"] {
        let setting = Setting { trunk: format!("codecs = [\"{codec}\"]"), ..Setting::default() };
        let world = World::with(setting, CarrierConfig::default()).await;
        let serial = world.call("8899").await;
        assert_eq!(world.released(&serial).await["releaseReason"], "1", "{codec}");
        let ended = world.carrier.call_ended(|call| call.call_id.starts_with(&serial));
        let call = tokio::time::timeout(PATIENCE, ended).await.expect("the carrier saw it");
        let heard = call.heard.expect("the phone keeps what it hears");
        let begins = heard.samples().iter().position(|sample| sample.abs() > 3_000);
        let begins = begins.unwrap_or_else(|| panic!("{codec}: nothing was heard"));
        let share = ::media::detect::share(&heard.samples()[begins..begins + 4_000], 440.0);
        assert!(share > 0.5, "{codec}: 440 Hz holds {share} of what was heard");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clips_are_heard_in_the_order_of_the_list_and_swapping_them_swaps_what_is_heard() {
    let world = World::start().await;
    let speech = |name: &str| std::fs::read(format!("tests/audio/{name}.wav")).expect("a file");
    let mut library = Vec::new();
    let mut ids = Vec::new();
    for name in ["order", "code"] {
        let file = speech(name);
        let id = world.client.upload_recording(&Recording::wav(file.clone())).await.expect("taken");
        let clip = ::media::Clip::decode(&file).expect("a clip");
        library.push((id.clone(), clip.samples()));
        ids.push(id);
    }
    let recogniser = Recogniser::new(library, 1);
    for order in [[0, 1], [1, 0]] {
        let expected = order.map(|n| ids[n].clone());
        let mut wanted = world.notification("8899");
        wanted.play_list = expected.iter().map(Entry::recording).collect();
        let serial = world.client.notify(&wanted).await.expect("accepted");
        world.released(&serial).await;
        let ended = world.carrier.call_ended(|call| call.call_id.starts_with(&serial));
        let call = tokio::time::timeout(PATIENCE, ended).await.expect("the carrier saw it");
        let heard = recogniser.recognise(call.heard.expect("audio").samples());
        let heard: Vec<String> = heard.into_iter().map(|clip| clip.label().to_owned()).collect();
        assert_eq!(heard, expected);
    }
}

/// What the address leads to that getRecordingAddress gives.
async fn download(world: &World, serial: &str) -> Vec<u8> {
    let reply = world.client.recording_address(serial).await.expect("a reply");
    let reply: serde_json::Value = reply.parse().expect("JSON");
    let url = reply["result"]["url"].as_str().expect("a link");
    let file = crate::support::http().get(url).send().await.expect("a reply");
    assert_eq!(file.status(), 200);
    file.bytes().await.expect("a body").to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_recorded_where_the_tenant_asks_for_it() {
    let top = "[recordings]\nencrypt = false".into();
    let setting = Setting { tenant: "record = true".into(), top, ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let serial = world.call("8899").await;
    let released = world.released(&serial).await;
    let file = world.server.recording(released["recordfile"].as_str().expect("a name"));
    let file = std::fs::read(file).expect("a file");
    let recorded = ::media::Clip::decode(&file).expect("it opens");
    assert!(recorded.duration().as_millis() >= 900, "{:?}", recorded.duration());
    assert!(download(&world, &serial).await == file, "the link leads to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_noise_on_the_disk_and_the_call_behind_its_link() {
    let setting = Setting { tenant: "record = true".into(), ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let serial = world.call("8899").await;
    let released = world.released(&serial).await;
    let plain = world.server.recording(released["recordfile"].as_str().expect("a name"));
    assert!(!plain.exists());
    let sealed = std::fs::read(plain.with_added_extension("sealed")).expect("a file");
    assert!(::media::Clip::decode(&sealed).is_err(), "nothing that a player opens");
    let common = (0..=u8::MAX).map(|byte| sealed.iter().filter(|b| **b == byte).count()).max();
    assert!(common.expect("bytes") * 64 < sealed.len(), "all bytes are about as common");

    let wav = download(&world, &serial).await;
    let recorded = ::media::Clip::decode(&wav).expect("it opens");
    assert!(recorded.duration().as_millis() >= 900, "{:?}", recorded.duration());
    let loud = recorded.samples().iter().filter(|sample| sample.unsigned_abs() > 500).count();
    assert!(loud > 8_000 / 2, "the tone is in it: {loud}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_before_a_kill_is_there_after_it() {
    let setting = Setting { tenant: "record = true".into(), ..Setting::default() };
    let mut world = World::with(setting, CarrierConfig::default()).await;
    let mut wanted = world.notification("8899");
    wanted.play_times = Some(5);
    let serial = world.client.notify(&wanted).await.expect("accepted");
    world.reaches(&serial, "call.round_played").await;
    let killed_ms = sim::Moment::now().unix_ms();
    world.server = world.server.kill_and_restart();
    world.client = world.server.client();
    let released = world.released(&serial).await;
    assert_eq!(released["releaseReason"], "998");
    assert_ne!(released["recordfile"], "", "there is one");
    let talking_ms = world.record(&serial).await["end"]["talking_ms"].as_i64().expect("ms");
    let wav = download(&world, &serial).await;
    let recorded = ::media::Clip::decode(&wav).expect("it opens");
    let lost = killed_ms - talking_ms - recorded.duration().as_millis() as i64;
    assert!(lost <= 1_000, "{lost} ms are lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_says_within_three_seconds_whether_audio_flows_each_way() {
    let world = World::start().await;
    let mut wanted = world.notification("1008");
    wanted.play_times = Some(5);
    let serial = world.client.notify(&wanted).await.expect("accepted");
    world.released(&serial).await;
    let timeline = world.client.timeline(&serial).await.expect("a timeline");
    let lines = timeline["lines"].as_array().expect("lines");
    let at = |what: &str| {
        let line = lines.iter().find(|line| line["what"] == what);
        line.unwrap_or_else(|| panic!("no {what} in {timeline}"))
    };
    let audio = at("audio");
    assert_eq!((&audio["data"]["received"], &audio["data"]["sent"]), (&false.into(), &true.into()));
    let waited =
        audio["at_ms"].as_i64().expect("ms") - at("call.answered")["at_ms"].as_i64().expect("ms");
    assert!(waited <= 3_500, "told {waited} ms after the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_reviewed_and_its_verdict_posted() {
    let world = World::start().await;
    let mut recording = Recording::wav(tone(300.0, 0.5));
    recording.call_back_url = Some(format!("http://{}/reviewed", world.callbacks.address()));
    let id = world.client.upload_recording(&recording).await.expect("taken");
    let received = world
        .callbacks
        .callbacks()
        .received(|callback| callback.field("fileId").as_deref() == Some(id.as_str()));
    let verdict = tokio::time::timeout(PATIENCE, received).await.expect("a verdict comes");
    assert_eq!(verdict.field("status").as_deref(), Some("2"));
}
