//! S-16: a stretch of a call is kept out of its recording, for a payment card's number: by its sound and by its keys.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::media::{Clip, detect, wav};
use reqwest::Method;
use sim::client::Entry;
use sim::{Acting, CarrierConfig, Phone};
use tokio::sync::{Notify, mpsc};

use crate::secrets::files;
use crate::support::{PATIENCE, Setting, World};
use crate::two_legs::{self, CALLED_TONE, CALLERS_TONE, create_call, leg_of};

const CALLER: &str = "13800000001";
const CUSTOMER: &str = "13800000002";
/// What is said before, during and after the pause lasts so long.
const STRETCH: Duration = Duration::from_secs(2);
/// A-law of nothing.
const SILENCE: u8 = 0xD5;

/// A phone that says its tone in three stretches. It tells when each is over and begins the next when it is told.
struct Speaker {
    said: mpsc::Receiver<()>,
    go_on: Arc<Notify>,
}

impl Speaker {
    fn at(world: &World, number: &str, hz: u16) -> Speaker {
        let (tell, said) = mpsc::channel(1);
        let go_on = Arc::new(Notify::new());
        let told = go_on.clone();
        world.carrier.answer_with(number, move |phone: &mut Phone| -> Acting<'_> {
            let (tell, told) = (tell.clone(), told.clone());
            Box::pin(async move {
                phone.answer().await?;
                for keys in ["2", "4111", "3"] {
                    phone.tone_for(hz, STRETCH).await?;
                    phone.press(keys).await?;
                    if keys == "4111" {
                        phone.press_by_info('8')?;
                    }
                    phone.tone_for(hz, Duration::from_millis(200)).await?;
                    tell.send(()).await.expect("the test listens");
                    told.notified().await;
                }
                phone.hang_up().await
            })
        });
        Speaker { said, go_on }
    }

    async fn has_said(&mut self) {
        let said = tokio::time::timeout(PATIENCE, self.said.recv()).await;
        said.expect("it speaks in time").expect("it lives");
    }

    fn goes_on(&self) {
        self.go_on.notify_one();
    }
}

async fn switch(world: &World, serial: &str, what: &str) -> u16 {
    let path = format!("/v1/calls/{serial}/recording/{what}");
    world.client.v1(Method::POST, &path).await.expect("a reply").status
}

/// Pauses between the first and the second stretch and resumes after it.
async fn with_a_pause(world: &World, serial: &str, speaker: &mut Speaker) {
    speaker.has_said().await;
    assert_eq!(switch(world, serial, "pause").await, 204);
    speaker.goes_on();
    speaker.has_said().await;
    assert_eq!(switch(world, serial, "resume").await, 204);
    speaker.goes_on();
    speaker.has_said().await;
    speaker.goes_on();
}

fn plain(tenant: &str) -> Setting {
    let setting = two_legs::setting("", tenant);
    Setting { top: "[recordings]\nencrypt = false\n".into(), ..setting }
}

/// Both channels: what the recorded leg said, and what it heard.
fn channels(file: &Path) -> [Vec<u8>; 2] {
    let bytes = std::fs::read(file).expect("a file");
    let audio = &bytes[wav::ALAW_HEADER..];
    [0, 1].map(|channel| audio.iter().skip(channel).step_by(2).copied().collect())
}

/// Tenths of a second in which this tone is nearly everything.
fn tenths(channel: &[u8], hz: u16) -> Vec<bool> {
    let clip = Clip::decode(&wav::alaw_file(1, channel)).expect("A-law");
    let samples = clip.samples();
    samples.chunks(800).map(|tenth| detect::share(tenth, f32::from(hz)) > 0.8).collect()
}

/// Samples of the longest stretch that is nothing but silence, and where it begins.
fn longest_silence(channel: &[u8]) -> (usize, usize) {
    let (mut longest, mut begin) = ((0, 0), 0);
    for (at, sample) in channel.iter().enumerate() {
        if *sample != SILENCE {
            begin = at + 1;
        } else if at + 1 - begin > longest.0 {
            longest = (at + 1 - begin, begin);
        }
    }
    longest
}

/// The tone is there before and after the pause and in none of it, and the pause is as long as it was.
fn judge(channel: &[u8], hz: u16) {
    let (length, begin) = longest_silence(channel);
    let seconds = |samples: usize| samples as f64 / 8_000.0;
    let at_least = STRETCH.as_secs_f64();
    assert!(seconds(length) > at_least, "{} s of silence", seconds(length));
    let tone = tenths(channel, hz);
    let (pause, resume) = (begin / 800, (begin + length) / 800);
    let before = tone[..pause].iter().filter(|there| **there).count();
    let after = tone[resume..].iter().filter(|there| **there).count();
    assert!(
        before > 10 && after > 10,
        "{before} and {after} tenths of {hz} Hz around the pause: {tone:?}"
    );
    assert!(tone[pause + 1..resume].iter().all(|there| !there), "{hz} Hz in the pause: {tone:?}");
}

/// Keys of the pause are nowhere; those around it are where they belong.
async fn judge_keys(world: &World, serial: &str) {
    let timeline = world.client.timeline(serial).await.expect("a timeline");
    let lines = timeline["lines"].as_array().expect("lines");
    let digits = lines.iter().filter(|line| line["what"] == "call.digit");
    let digits: Vec<&str> = digits.filter_map(|line| line["data"]["digit"].as_str()).collect();
    assert_eq!(digits, ["2", "3"], "{timeline:#}");
    let all = timeline.to_string();
    assert!(all.contains("call.recording_paused") && all.contains("call.recording_resumed"));
    assert!(all.contains("INFO sip:") && !all.contains("Signal=8"), "{timeline:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_parties_say_in_a_pause_is_not_in_their_recording() {
    let world = World::with(plain(""), CarrierConfig::default()).await;
    let other = sim::Behaviour::Tone { ring: Duration::ZERO, hz: CALLED_TONE, talk: None };
    world.carrier.behave(CUSTOMER, other);
    let mut speaker = Speaker::at(&world, CALLER, CALLERS_TONE);
    let serial = create_call(&world, Some(CALLER), CUSTOMER).await;
    assert_eq!(switch(&world, &serial, "pause").await, 409, "nothing is recorded yet");
    with_a_pause(&world, &serial, &mut speaker).await;
    let record = two_legs::ended(&world, &serial).await;
    leg_of(&world, &serial, CALLER).await;
    assert_eq!(switch(&world, &serial, "pause").await, 409, "it is over");
    let [said, heard] = channels(&only_recording(&world));
    judge(&said, CALLERS_TONE);
    judge(&heard, CALLED_TONE);
    let talked = record["end"]["talk_duration_ms"].as_f64().expect("a time") / 1_000.0;
    let recorded = said.len() as f64 / 8_000.0;
    assert!((talked - recorded).abs() < 1.5, "{recorded} s were recorded of {talked}");
    judge_keys(&world, &serial).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_a_pause_of_a_notification_is_not_in_its_recording() {
    let world = World::with(plain(""), CarrierConfig::default()).await;
    let mut speaker = Speaker::at(&world, CUSTOMER, CALLED_TONE);
    let mut wanted = world.notification(CUSTOMER);
    wanted.play_list = vec![Entry::recording(&world.voice_id); 5];
    wanted.play_times = Some(5);
    let serial = world.client.notify(&wanted).await.expect("accepted");
    with_a_pause(&world, &serial, &mut speaker).await;
    let released = world.released(&serial).await;
    let file = world.server.recording(released["recordfile"].as_str().expect("a name"));
    let [said, played] = channels(&file);
    judge(&said, CALLED_TONE);
    // The clip of every test.
    judge(&played, 440);
    judge_keys(&world, &serial).await;
    let record = world.record(&serial).await;
    assert_eq!(record["end"]["digits"], "23", "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_pause_ends_the_recording_and_resumes_nothing() {
    let mut world = World::with(plain(""), CarrierConfig::default()).await;
    let other = sim::Behaviour::Tone { ring: Duration::ZERO, hz: CALLED_TONE, talk: None };
    world.carrier.behave(CUSTOMER, other);
    let mut speaker = Speaker::at(&world, CALLER, CALLERS_TONE);
    let serial = create_call(&world, Some(CALLER), CUSTOMER).await;
    speaker.has_said().await;
    assert_eq!(switch(&world, &serial, "pause").await, 204);
    speaker.goes_on();
    speaker.has_said().await;
    world.server = world.server.kill_and_restart();
    world.client = world.server.client();
    speaker.goes_on();
    let record = two_legs::ended(&world, &serial).await;
    assert_eq!(record["end"]["outcome"], "interrupted", "{record}");
    for (channel, hz) in channels(&only_recording(&world)).iter().zip([CALLERS_TONE, CALLED_TONE]) {
        let (length, begin) = longest_silence(channel);
        assert!(length > 8_000, "{length} samples of silence");
        assert_eq!(begin + length, channel.len(), "nothing comes after the pause");
        assert!(tenths(&channel[..begin], hz).iter().filter(|there| **there).count() > 10);
    }
    let timeline = world.client.timeline(&serial).await.expect("a timeline").to_string();
    assert!(timeline.contains("call.recording_paused"), "{timeline}");
    assert!(!timeline.contains("call.recording_resumed"), "{timeline}");
}

/// The one that there is.
fn only_recording(world: &World) -> std::path::PathBuf {
    let mut found = Vec::new();
    files(&world.server.data().join("recordings"), &mut found);
    found.retain(|path| path.extension().is_some_and(|kind| kind == "wav"));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
