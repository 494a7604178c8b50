//! T-22: a call is up, and its ports are shelled.
//!
//! The attack works on a weakened copy: with `Source::admits` always true the shelling is in the recording in place of
//! the phone's tone, and in no second does the tone hold its share. That the server lives through the datagrams is
//! the fuzz targets' to prove in depth; here it is proved of the whole process.

use std::sync::Arc;
use std::time::Duration;

use ::media::{Clip, detect, wav};
use sim::client::{Entry, Recording};
use sim::{CarrierConfig, Recogniser};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::messages::{self, Draw};
use super::{scale, set_up};
use crate::support::{PATIENCE, Setting, World, tone};

const SIP: usize = 10_000;
const RTP: usize = 10_000;
const RTCP: usize = 2_000;
/// Every 10 ms so many of the first two and a fifth of that of RTCP: per leg a media thread takes 1,600 packets in a
/// second and leaves the rest to the kernel, so that more would drown the phone whatever the server did.
const PER_STEP: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_up_hears_none_of_the_rubbish_on_its_ports() {
    let _alone = super::alone().await;
    let top = "[recordings]\nencrypt = false\n".into();
    let setting = Setting { tenant: "record = true".into(), top, ..Setting::default() };
    let world = World::with(setting, CarrierConfig::default()).await;
    let speech = std::fs::read("tests/audio/order.wav").expect("a file");
    // So often that the call lasts as long as it is shelled, also where the machine sends slowly.
    let long = Recording::wav(repeated(&speech, 4 * scale()));
    let voice = world.client.upload_recording(&long).await;
    let voice = voice.expect("an upload is taken");
    let (ports, hang_up) = phone_that_hums(&world);
    let mut wanted = world.notification("5559");
    wanted.play_list = vec![Entry::recording(&voice); 5];
    wanted.play_times = Some(5);
    let serial = world.client.notify(&wanted).await.expect("accepted");
    world.reaches(&serial, "call.answered").await;

    shell(&world, &serial, ports).await;

    assert_eq!(world.carrier.live_calls(), 1, "the call is still up");
    hang_up.notify_one();
    let released = world.released(&serial).await;
    let ended = world.carrier.call_ended(|call| call.call_id.starts_with(&serial));
    let call = tokio::time::timeout(PATIENCE, ended).await.expect("the carrier saw it");
    assert_eq!((call.rtp.ssrcs, call.dialogs), (1, 1));
    let clip = Clip::decode(&speech).expect("a clip");
    let recogniser = Recogniser::new([(voice.clone(), clip.samples())], 1);
    let heard = recogniser.recognise(call.heard.expect("audio").samples());
    // A machine that is busy with other things makes gaps of its own; what is heard beside them is the clip.
    let whole = heard.iter().filter(|clip| clip.is_whole()).count();
    assert!(heard.first().is_some_and(|first| first.is_whole()), "{heard:?}");
    assert!(whole > heard.len() / 2, "{heard:?}");

    let file = world.server.recording(released["recordfile"].as_str().expect("a name"));
    let received = left_channel(&std::fs::read(file).expect("a file"));
    let seconds = received.samples();
    let seconds: Vec<f32> =
        seconds.chunks(8_000).map(|second| detect::share(second, 440.0)).collect();
    let clean = seconds.iter().filter(|share| **share > 0.8).count();
    assert!(clean > seconds.len() / 2, "the phone's tone, second by second: {seconds:?}");
    set_up(&world).await;
}

/// The audio of a WAV file with the usual head of 44 bytes, so many times.
fn repeated(wav: &[u8], times: usize) -> Vec<u8> {
    let (head, audio) = wav.split_at(44);
    let audio = audio.repeat(times);
    let length = audio.len() as u32;
    let mut file = [head, &audio].concat();
    file[4..8].copy_from_slice(&(36 + length).to_le_bytes());
    file[40..44].copy_from_slice(&length.to_le_bytes());
    file
}

/// Answers 5559, hums 440 Hz until it is told to hang up; tells the port to which its audio goes.
fn phone_that_hums(world: &World) -> (mpsc::Receiver<u16>, Arc<Notify>) {
    let (tell, ports) = mpsc::channel(1);
    let hang_up = Arc::new(Notify::new());
    let told = hang_up.clone();
    let hum = Clip::decode(&tone(440.0, 30.0)).expect("a clip");
    world.carrier.answer_with("5559", move |phone| {
        let (tell, told, hum) = (tell.clone(), told.clone(), hum.clone());
        Box::pin(async move {
            let offer = phone.call().body.as_ref().expect("an offer").bytes.clone();
            let offer = ::media::sdp::parse(&offer).expect("it is sound");
            let port = offer.audio.rtp.expect("an address").port();
            tell.try_send(port).expect("the test listens");
            phone.answer().await?;
            loop {
                tokio::select! {
                    played = phone.play(&hum) => played?,
                    () = told.notified() => break,
                }
            }
            phone.hang_up().await
        })
    });
    (ports, hang_up)
}

/// Everything from two addresses that nobody named: another port of the phone's host, and another host.
async fn shell(world: &World, serial: &str, mut ports: mpsc::Receiver<u16>) {
    let rtp_port = ports.recv().await.expect("the phone tells");
    let neighbour = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let stranger = UdpSocket::bind("127.0.0.2:0").await.expect("a socket");
    let mut draw = Draw(1);
    let mut steps = interval(Duration::from_millis(10));
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (sip, rtp) = (world.server.sip_udp, (world.server.http.ip(), rtp_port));
    let rtcp = (rtp.0, rtp_port + 1);
    let (mut sips, mut rtps, mut rtcps) = (0, 0, 0);
    while sips < SIP * scale() || rtps < RTP * scale() || rtcps < RTCP * scale() {
        steps.tick().await;
        for n in 0..PER_STEP {
            let from = if n % 2 == 0 { &neighbour } else { &stranger };
            let datagram = messages::sip(&mut draw, sips, serial);
            from.send_to(&datagram, sip).await.expect("sent");
            from.send_to(&messages::rtp(&mut draw, rtps), rtp).await.expect("sent");
            (sips, rtps) = (sips + 1, rtps + 1);
            if n % 5 == 0 {
                from.send_to(&messages::rtcp(&mut draw), rtcp).await.expect("sent");
                rtcps += 1;
            }
        }
    }
}

/// What the leg received, of a stereo recording.
fn left_channel(file: &[u8]) -> Clip {
    let left: Vec<u8> = file[wav::ALAW_HEADER..].iter().step_by(2).copied().collect();
    Clip::decode(&wav::alaw_file(1, &left)).expect("A-law")
}
