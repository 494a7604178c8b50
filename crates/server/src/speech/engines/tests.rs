use super::*;
use crate::speech::{
    config::{EngineConfig, HttpBody},
    style::{Speed, Volume},
    wav::tests::wav,
};
use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use std::{fs, path::Path};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct World {
    directory: TempDir,
    engines: Engines,
}

fn world(timeout: Duration) -> World {
    let directory = tempfile::tempdir().unwrap();
    let tls = crate::callbacks::tls::client_config(None).unwrap();
    let engines = Engines::new(directory.path().to_owned(), timeout, tls).unwrap();
    World { directory, engines }
}

const PATIENT: Duration = Duration::from_secs(30);

fn say(words: &str, language: Language) -> Utterance {
    Utterance { words: words.to_owned(), language, style: VoiceStyle::default() }
}

fn espeak() -> EngineConfig {
    serde_json::from_value(serde_json::json!({"kind": "espeak"})).unwrap()
}

/// Root mean square of the samples: what is heard, not merely there.
fn loudness(speech: &Speech) -> f64 {
    let squares: f64 = speech.samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    (squares / speech.samples.len() as f64).sqrt()
}

fn assert_plausible(speech: &Speech, seconds: std::ops::Range<f64>) {
    let duration = speech.duration().as_secs_f64();
    assert!(seconds.contains(&duration), "{duration} s");
    assert!(loudness(speech) > 300.0, "loudness {}", loudness(speech));
}

async fn check_speed_and_volume(world: &World, engine: &EngineConfig) {
    let sentence = "The quick brown fox jumps over the lazy dog";
    let render = async |speed, volume| {
        let mut utterance = say(sentence, Language::English);
        utterance.style.speed = Speed::new(speed).unwrap();
        utterance.style.volume = Volume::new(volume).unwrap();
        world.engines.render(engine, &utterance).await.unwrap()
    };
    let (normal, slow, fast) = (render(0, 50).await, render(-200, 50).await, render(500, 50).await);
    let ratio = |other: &Speech| other.duration().as_secs_f64() / normal.duration().as_secs_f64();
    assert!((1.5..2.5).contains(&ratio(&slow)), "half the speed took {}", ratio(&slow));
    assert!((0.4..0.75).contains(&ratio(&fast)), "twice the speed took {}", ratio(&fast));
    let quiet = render(0, 25).await;
    assert!((loudness(&quiet) / loudness(&normal) - 0.5).abs() < 0.01);
    assert_eq!(loudness(&render(0, 0).await), 0.0);
}

#[tokio::test]
async fn flite_speaks() {
    let world = world(PATIENT);
    let engine = EngineConfig::Flite {};
    let short = world.engines.render(&engine, &say("Hello.", Language::English)).await.unwrap();
    let long = say("Your table for four is ready, please come in.", Language::English);
    let long = world.engines.render(&engine, &long).await.unwrap();
    assert_eq!(short.rate, 8000);
    assert_plausible(&short, 0.3..1.5);
    assert_plausible(&long, 2.0..5.0);
    let other = world.engines.render(&engine, &say("Goodbye.", Language::English)).await.unwrap();
    assert_ne!(short, other);
    check_speed_and_volume(&world, &engine).await;
}

#[tokio::test]
async fn flite_says_each_digit() {
    let world = world(PATIENT);
    let render = async |words: &str| {
        world
            .engines
            .render(&EngineConfig::Flite {}, &say(words, Language::English))
            .await
            .unwrap()
            .duration()
    };
    let (three, six) =
        (render("four eight two").await, render("four eight two nine one three").await);
    assert!(six.as_secs_f64() / three.as_secs_f64() > 1.4, "{three:?} {six:?}");
}

#[tokio::test]
async fn nothing_to_say_is_an_error() {
    let silent =
        world(PATIENT).engines.render(&EngineConfig::Flite {}, &say("", Language::English)).await;
    assert_eq!(silent, Err(SpeechError::Silent));
}

#[tokio::test]
async fn espeak_speaks_english_and_chinese() {
    let world = world(PATIENT);
    let english = world
        .engines
        .render(&espeak(), &say("Your table is ready.", Language::English))
        .await
        .unwrap();
    assert_plausible(&english, 0.8..4.0);
    let chinese = say("您的验证码是四八二一。", Language::Chinese);
    let chinese = world.engines.render(&espeak(), &chinese).await.unwrap();
    assert_plausible(&chinese, 1.5..7.0);
    check_speed_and_volume(&world, &espeak()).await;
}

#[tokio::test]
async fn espeak_takes_the_voice_of_the_template() {
    let world = world(PATIENT);
    let engine: EngineConfig = serde_json::from_value(
        serde_json::json!({"kind": "espeak", "voices": {"cn_tianmeiru_common": "en-us+f3"}}),
    )
    .unwrap();
    let mut utterance = say("Hello", Language::English);
    let plain = world.engines.render(&engine, &utterance).await.unwrap();
    utterance.style.voice = Some("cn_tianmeiru_common".into());
    assert_ne!(world.engines.render(&engine, &utterance).await.unwrap(), plain);
}

#[tokio::test]
async fn espeak_does_not_take_text_for_options_or_phonemes() {
    let world = world(PATIENT);
    let target = world.directory.path().join("written");
    let evil = format!("-w {}\n--compile=x [[h@l'oU]]", target.display());
    let speech = world.engines.render(&espeak(), &say(&evil, Language::English)).await.unwrap();
    assert_plausible(&speech, 1.0..30.0);
    assert!(!target.exists());
}

/// A program of the test's own, run by `sh`: a file that was just written may still be open in a sibling's fork and
/// could not be executed itself.
fn command(world: &World, name: &str, body: &str, arguments: &[&str]) -> EngineConfig {
    let script = world.directory.path().join(name);
    fs::write(&script, body).unwrap();
    let argv = ["/bin/sh".to_owned(), script.display().to_string()];
    EngineConfig::Command {
        argv: argv.into_iter().chain(arguments.iter().map(|a| a.to_string())).collect(),
    }
}

fn beep(world: &World) -> String {
    let path = world.directory.path().join("beep");
    let data: Vec<u8> = (0..8000i16)
        .flat_map(|i| (if i % 20 < 10 { 5000i16 } else { -5000 }).to_le_bytes())
        .collect();
    fs::write(&path, wav(1, 1, 16_000, 16, &data, 0)).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_command_takes_text_on_its_input_and_writes_to_its_output() {
    let world = world(PATIENT);
    let heard = world.directory.path().join("heard");
    let body = format!("cat > {}; echo noise >&2; cat {}", heard.display(), beep(&world));
    let engine = command(&world, "say", &body, &[]);
    let speech = world
        .engines
        .render(&engine, &say("$(reboot) `id` 'quoted'", Language::English))
        .await
        .unwrap();
    assert_eq!((speech.rate, speech.samples.len()), (16_000, 8000));
    assert_eq!(fs::read_to_string(heard).unwrap(), "$(reboot) `id` 'quoted'");
}

#[tokio::test]
async fn a_command_takes_arguments_and_writes_a_file() {
    let world = world(PATIENT);
    let heard = world.directory.path().join("heard");
    let body = format!("printf '%s|' \"$@\" > {}; cp {} \"$2\"", heard.display(), beep(&world));
    let engine = command(
        &world,
        "say",
        &body,
        &["{text}", "{out}", "v={voice}", "{speed}", "{length_scale}", "{x}"],
    );
    let mut utterance = say("-rf {out} {text}", Language::English);
    utterance.style = VoiceStyle {
        voice: Some("ann".into()),
        speed: Speed::new(500).unwrap(),
        ..Default::default()
    };
    let speech = world.engines.render(&engine, &utterance).await.unwrap();
    assert_eq!(speech.samples.len(), 8000);
    let heard = fs::read_to_string(heard).unwrap();
    let arguments: Vec<_> = heard.trim_end_matches('|').split('|').collect();
    assert_eq!(arguments[0], " -rf {out} {text}");
    assert_eq!(arguments[2..], ["v=ann", "500", "0.500", "{x}"]);
    assert!(!Path::new(arguments[1]).exists(), "the temporary file is gone");
}

#[tokio::test]
async fn what_can_be_wrong_with_a_command() {
    let world = world(PATIENT);
    let utterance = say("hello", Language::English);
    let run =
        async |engine: EngineConfig| world.engines.render(&engine, &utterance).await.unwrap_err();
    let missing = EngineConfig::Command { argv: vec!["/nonexistent/piper".into()] };
    assert!(
        matches!(run(missing).await, SpeechError::NotRun { program, .. } if program == "piper")
    );
    match run(command(&world, "fails", "echo 'no model' >&2; exit 3", &[])).await {
        SpeechError::Failed { status, stderr, .. } => {
            assert_eq!((&*status, &*stderr), ("exit status: 3", "no model"))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        run(command(&world, "text", "echo done", &[])).await,
        SpeechError::Wav(WavError::NotWav)
    );
    assert_eq!(
        run(command(&world, "nothing", "exit 0", &[])).await,
        SpeechError::Wav(WavError::NotWav)
    );
    assert!(matches!(
        run(command(&world, "nofile", "exit 0", &["{out}"])).await,
        SpeechError::NotRun { .. }
    ));
    let noisy = command(
        &world,
        "noisy",
        &format!("yes >&2 & yes noise | head -c 3000000 >&2; kill $!; cat {}", beep(&world)),
        &[],
    );
    assert!(
        world.engines.render(&noisy, &utterance).await.is_ok(),
        "a full error stream does not block it"
    );
}

#[tokio::test]
async fn a_command_without_an_end_of_output_is_stopped() {
    let world = world(PATIENT);
    let engine = command(&world, "endless", "exec cat /dev/zero", &[]);
    assert_eq!(
        world.engines.render(&engine, &say("x", Language::English)).await,
        Err(SpeechError::TooLong)
    );
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_its_children() {
    // The fifo is read to its end only when every process that holds it open for writing is gone.
    let world = world(Duration::from_millis(300));
    let fifo = world.directory.path().join("alive");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let body = format!("exec 3>{}; sleep 1000 & sleep 1000", fifo.display());
    let engine = command(&world, "hangs", &body, &[]);
    let (gone, all_gone) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || gone.send(fs::read(fifo).unwrap()));
    let hung = world.engines.render(&engine, &say("x", Language::English)).await;
    assert_eq!(hung, Err(SpeechError::TimedOut(Duration::from_millis(300))));
    tokio::time::timeout(PATIENT, all_gone).await.expect("all processes are gone").unwrap();
}

struct Service {
    url: url::Url,
    heard: mpsc::Receiver<(HeaderMap, Bytes)>,
}

async fn service(
    reply: impl Fn() -> axum::response::Response + Clone + Send + Sync + 'static,
) -> Service {
    let (told, heard) = mpsc::channel(8);
    let handler = move |headers: HeaderMap, body: Bytes| async move {
        told.send((headers, body)).await.unwrap();
        reply()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/say", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(
        async move { axum::serve(listener, Router::new().route("/say", post(handler))).await },
    );
    Service { url, heard }
}

fn http(url: &url::Url, body: HttpBody) -> EngineConfig {
    let token = serde_json::from_value(serde_json::json!("t0ken")).unwrap();
    EngineConfig::Http { url: url.clone(), body, bearer_token: Some(token) }
}

#[tokio::test]
async fn a_service_is_asked_in_json_or_text() {
    use axum::response::IntoResponse;
    let world = world(PATIENT);
    let clip = wav(1, 1, 24_000, 16, &[1, 0, 2, 0], 4);
    let mut service = service(move || clip.clone().into_response()).await;
    let utterance = say("您好", Language::Chinese);
    let speech =
        world.engines.render(&http(&service.url, HttpBody::Json), &utterance).await.unwrap();
    assert_eq!(speech, Speech { samples: vec![1, 2], rate: 24_000 });
    let (headers, body) = service.heard.recv().await.unwrap();
    assert_eq!(headers["authorization"], "Bearer t0ken");
    assert_eq!(headers["accept"], "audio/wav");
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let expected = serde_json::json!({"text": "您好", "language": "zh", "voice": null, "speed": 0, "speed_factor": 1.0});
    assert_eq!(body, expected);
    world.engines.render(&http(&service.url, HttpBody::Text), &utterance).await.unwrap();
    let (headers, body) = service.heard.recv().await.unwrap();
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(body, "您好".as_bytes());
}

#[tokio::test]
async fn what_can_be_wrong_with_a_service() {
    use axum::{body::Body, http::StatusCode, response::IntoResponse};
    let world = world(PATIENT);
    let utterance = say("hello", Language::English);
    let ask = async |url: &url::Url| {
        world.engines.render(&http(url, HttpBody::Json), &utterance).await.unwrap_err()
    };
    let broken = service(|| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    assert_eq!(ask(&broken.url).await, SpeechError::HttpStatus(503));
    let moved = service(|| axum::response::Redirect::to("/elsewhere").into_response()).await;
    assert_eq!(ask(&moved.url).await, SpeechError::HttpStatus(303));
    let json = service(|| "{\"error\": \"quota\"}".into_response()).await;
    assert_eq!(ask(&json.url).await, SpeechError::Wav(WavError::NotWav));
    let huge = service(|| Body::from(vec![0; MAX_OUTPUT + 1]).into_response()).await;
    assert_eq!(ask(&huge.url).await, SpeechError::TooLong);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}/").parse().unwrap();
    let error = ask(&closed).await;
    assert!(
        matches!(&error, SpeechError::HttpTransport(reason) if !reason.contains("127.0.0.1")),
        "{error}"
    );
}
