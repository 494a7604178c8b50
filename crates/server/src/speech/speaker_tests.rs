use super::*;
use crate::speech::style::Volume;
use std::{fs, path::Path};
use tempfile::TempDir;

const PATIENT: Duration = Duration::from_secs(30);

struct World {
    directory: TempDir,
    speaker: Speaker,
}

impl World {
    fn new(change: impl FnOnce(&mut SpeakerSettings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = SpeakerSettings::in_directory(directory.path());
        change(&mut settings);
        let tls = crate::callbacks::tls::client_config(None).unwrap();
        Self { speaker: Speaker::open(settings, tls).unwrap(), directory }
    }

    fn clips(&self) -> Vec<PathBuf> {
        fs::read_dir(self.directory.path().join("clips"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect()
    }
}

/// A tenant whose engine counts its runs in a file, waits for a line in a fifo if there is one, and beeps.
fn counting(directory: &Path) -> SpeechConfig {
    let samples: Vec<u8> = (0..800i16).flat_map(|i| (i * 8).to_le_bytes()).collect();
    let clip = crate::speech::wav::tests::wav(1, 1, 8000, 16, &samples, 0);
    fs::write(directory.join("beep"), clip).unwrap();
    let script = "echo run >> \"$0/runs\"; if [ -p \"$0/gate\" ]; then read go < \"$0/gate\"; fi; cat \"$0/beep\"";
    let argv = ["/bin/sh", "-c", script, directory.to_str().unwrap()];
    let engine = serde_json::json!({"kind": "command", "argv": argv});
    serde_json::from_value(serde_json::json!({"engines": {"c": engine}, "default": "c"})).unwrap()
}

fn runs(directory: &Path) -> usize {
    fs::read_to_string(directory.join("runs")).map_or(0, |runs| runs.lines().count())
}

fn gate(directory: &Path) -> PathBuf {
    let gate = directory.join("gate");
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().unwrap().success());
    gate
}

/// Opening the gate waits until an engine stands before it.
async fn open(gate: &Path) {
    let gate = gate.to_owned();
    let opened = tokio::task::spawn_blocking(move || fs::write(gate, "go\n").unwrap());
    tokio::time::timeout(PATIENT, opened).await.expect("an engine is running").unwrap();
}

async fn speak(world: &World, config: &SpeechConfig, text: &str) -> Rendered {
    let text = FilledText::plain(text);
    let style = VoiceStyle::default();
    tokio::time::timeout(PATIENT, world.speaker.speak(config, &text, &style))
        .await
        .expect("it ends")
}

#[tokio::test]
async fn without_settings_a_template_is_spoken() {
    let world = World::new(|_| {});
    let template: crate::speech::template::Template =
        "Your code is ${NUM_6}, valid until ${TIME}".parse().unwrap();
    let config = SpeechConfig::default();
    let speak = async |code: &str| {
        let text: FilledText =
            template.fill(&[code, "18:30"]).unwrap().to_string().parse().unwrap();
        world.speaker.speak(&config, &text, &VoiceStyle::default()).await.unwrap()
    };
    let (one, other) = (speak("482913").await, speak("482914").await);
    assert!(one.duration() > Duration::from_secs(2) && one.samples != other.samples);
    assert_eq!(world.clips().len(), 2);
}

#[tokio::test]
async fn a_clip_is_rendered_once_and_kept_over_a_restart() {
    let world = World::new(|_| {});
    let config = counting(world.directory.path());
    let first = speak(&world, &config, "hello").await.unwrap();
    assert_eq!(speak(&world, &config, "hello").await.unwrap(), first);
    assert_eq!(runs(world.directory.path()), 1);
    speak(&world, &config, "goodbye").await.unwrap();
    assert_eq!(runs(world.directory.path()), 2);
    let tls = crate::callbacks::tls::client_config(None).unwrap();
    let again = Speaker::open(SpeakerSettings::in_directory(world.directory.path()), tls).unwrap();
    let kept =
        again.speak(&config, &FilledText::plain("hello"), &VoiceStyle::default()).await.unwrap();
    assert_eq!((kept, runs(world.directory.path())), (first, 2));
}

#[tokio::test]
async fn what_changes_the_sound_changes_the_clip() {
    let world = World::new(|_| {});
    let config = counting(world.directory.path());
    let text = FilledText::plain("hello");
    let id = |config: &SpeechConfig, text: &FilledText, style: VoiceStyle| {
        world.speaker.clip_id(config, text, &style).unwrap()
    };
    let plain = id(&config, &text, VoiceStyle::default());
    assert_eq!(plain, id(&config, &text, VoiceStyle::default()));
    let volume = Volume::new(51).unwrap();
    for other in [
        id(&SpeechConfig::default(), &text, VoiceStyle::default()),
        id(&config, &FilledText::plain("hello!"), VoiceStyle::default()),
        id(&config, &text, VoiceStyle { voice: Some("x".into()), ..Default::default() }),
        id(&config, &text, VoiceStyle { volume, ..Default::default() }),
    ] {
        assert_ne!(plain, other);
    }
}

#[tokio::test]
async fn a_damaged_clip_is_rendered_again() {
    let world = World::new(|_| {});
    let config = counting(world.directory.path());
    let first = speak(&world, &config, "hello").await.unwrap();
    let [clip] = &world.clips()[..] else { panic!("one clip") };
    let mut bytes = fs::read(clip).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(clip, bytes).unwrap();
    assert_eq!(speak(&world, &config, "hello").await.unwrap(), first);
    assert_eq!(runs(world.directory.path()), 2);
    assert_eq!(speak(&world, &config, "hello").await.unwrap(), first);
    assert_eq!(runs(world.directory.path()), 2);
}

#[tokio::test]
async fn all_who_want_a_clip_wait_for_one_engine_and_one_who_leaves_takes_nobody_along() {
    let world = World::new(|_| {});
    let config = counting(world.directory.path());
    let gate = gate(world.directory.path());
    let speaking = || {
        let (speaker, config) = (world.speaker.clone(), config.clone());
        tokio::spawn(async move {
            speaker
                .speak(&config, &FilledText::plain("hello"), &VoiceStyle::default())
                .await
                .unwrap()
        })
    };
    let leaver = speaking();
    let waiting: Vec<_> = (0..20).map(|_| speaking()).collect();
    while lock(&world.speaker.shared.making).is_empty() {
        tokio::task::yield_now().await;
    }
    leaver.abort();
    open(&gate).await;
    for speech in waiting {
        // One who came late found the clip in the cache.
        let speech = tokio::time::timeout(PATIENT, speech).await.expect("it ends").unwrap();
        assert_eq!(speech.samples.len(), 800);
    }
    assert_eq!(runs(world.directory.path()), 1);
    assert!(lock(&world.speaker.shared.making).is_empty());
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_a_cached_clip_is_not() {
    let world = World::new(|settings| (settings.parallel, settings.in_the_making) = (1, 2));
    let config = counting(world.directory.path());
    speak(&world, &config, "cached").await.unwrap();
    let gate = gate(world.directory.path());
    let making: Vec<_> = ["one", "two"]
        .map(|text| {
            let (speaker, config) = (world.speaker.clone(), config.clone());
            tokio::spawn(async move {
                speaker.speak(&config, &FilledText::plain(text), &VoiceStyle::default()).await
            })
        })
        .into();
    while lock(&world.speaker.shared.making).len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(speak(&world, &config, "three").await, Err(SpeechError::Busy));
    assert!(speak(&world, &config, "cached").await.is_ok());
    for (nth, making) in making.into_iter().enumerate() {
        assert!(runs(world.directory.path()) <= 2 + nth, "one engine at a time");
        open(&gate).await;
        assert!(making.await.unwrap().is_ok());
    }
    assert_eq!(runs(world.directory.path()), 3);
}

#[tokio::test]
async fn a_failure_reaches_its_waiters_and_is_not_remembered() {
    let world = World::new(|_| {});
    let config = counting(world.directory.path());
    let beep = world.directory.path().join("beep");
    fs::rename(&beep, world.directory.path().join("away")).unwrap();
    let failed = speak(&world, &config, "hello").await;
    assert!(matches!(failed, Err(SpeechError::Failed { .. })), "{failed:?}");
    fs::rename(world.directory.path().join("away"), &beep).unwrap();
    assert!(speak(&world, &config, "hello").await.is_ok());
}

#[tokio::test]
async fn a_text_that_nobody_can_speak_is_refused() {
    let world = World::new(|_| {});
    let refused = speak(&world, &SpeechConfig::default(), "Привет").await;
    assert!(matches!(refused, Err(SpeechError::CannotSpeak(_))), "{refused:?}");
}
