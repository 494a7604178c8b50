//! A phone says which clips it heard, over real SIP and RTP in each codec.

use crate::caller::{Caller, LIMIT};
use std::sync::Arc;

use media::{Clip, Codec};
use sim::{CallReport, Carrier, CarrierConfig, Recognised, Recogniser};
use tokio::task::JoinSet;

fn speak(text: &str) -> Vec<i16> {
    flite_rs::Engine::new().synthesize(text).samples
}

#[tokio::test]
async fn a_phone_names_what_it_heard_in_each_codec() {
    let (one, two) = (speak("Your code is one four."), speak("Your code is two three."));
    let ear = Recogniser::new([("one four", one.clone()), ("two three", two.clone())], 1);
    let clip = |samples: &[i16]| Clip::from_pcm(samples, 8_000).unwrap();
    let played = [clip(&two), clip(&one), clip(&two)];
    let carrier = Arc::new(Carrier::start(CarrierConfig::default()).await.unwrap());
    let mut calls = JoinSet::new();
    for codec in Codec::ALL {
        calls.spawn(play_and_hang_up(Arc::clone(&carrier), codec, played.clone()));
    }
    while let Some(ended) = calls.join_next().await {
        let (codec, report) = ended.unwrap();
        assert_eq!(report.codec.as_deref(), Some(codec.name()));
        let heard = report.heard.expect("the carrier keeps audio");
        let found = ear.recognise(heard.samples());
        let labels: Vec<&str> = found.iter().map(Recognised::label).collect();
        assert_eq!(labels, ["two three", "one four", "two three"], "{codec:?}: {found:?}");
        assert!(found.iter().all(Recognised::is_whole), "{codec:?}: {found:?}");
        let file = Clip::decode(&heard.to_wav()).expect("a WAV file that opens");
        assert_eq!(file.duration(), heard.duration());
    }
}

/// One call in one codec, and what its phone saw.
async fn play_and_hang_up(
    carrier: Arc<Carrier>,
    codec: Codec,
    clips: [Clip; 3],
) -> (Codec, CallReport) {
    let mut caller = Caller::start().await;
    caller.codecs = vec![codec];
    let mut call = caller.dial(carrier.udp_address(), "1001").await;
    call.answered().await.unwrap();
    call.play(&clips).await;
    call.hang_up().await;
    let ended = carrier.call_ended(|report| report.call_id == call.call_id);
    (codec, tokio::time::timeout(LIMIT, ended).await.expect("the far end reports"))
}

#[tokio::test]
async fn a_voicemail_greeting_is_recognised_by_the_caller() {
    let carrier = Carrier::start(CarrierConfig::default()).await.unwrap();
    let ear = Recogniser::new([("greeting", carrier.greeting().samples())], 1);
    let caller = Caller::start().await;
    let mut call = caller.dial(carrier.udp_address(), "1006").await;
    let listening = call.listen();
    call.answered().await.unwrap();
    let beep = |samples: &[i16]| {
        samples.chunks_exact(800).any(|part| media::detect::share(part, 440.0) > 0.9)
    };
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
    let heard = async {
        while !beep(&listening.samples()) {
            tick.tick().await;
        }
    };
    tokio::time::timeout(LIMIT, heard).await.expect("the beep comes");
    let found = ear.recognise(&listening.samples());
    assert_eq!(found.first().map(Recognised::label), Some("greeting"), "{found:?}");
    call.hang_up().await;
}
