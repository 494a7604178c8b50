//! How many legs one core plays: `cargo run --release -p media --example playing -- [LEGS] [CODEC] [SECONDS] [two-way]`.
//!
//! LEGS legs on one media thread play a clip to a sink that never reads more than the kernel keeps; with `two-way` a
//! thread sends every leg a packet per 20 ms. Prints the CPU that the media thread took and how many sends were late.
//! For profiling; no test.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use media::{Clip, Codec, Command, Config, Event, LegId, Media, PlayId, Srtp};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument =
        |n: usize, default: &str| arguments.get(n).cloned().unwrap_or(default.to_owned());
    let legs: u64 = argument(0, "1000").parse().expect("LEGS is a number");
    let codec = Codec::ALL
        .into_iter()
        .find(|codec| codec.name().eq_ignore_ascii_case(&argument(1, "PCMA")))
        .expect("CODEC is PCMA, PCMU, G722 or opus");
    let seconds: u64 = argument(2, "10").parse().expect("SECONDS is a number");
    let two_way = argument(3, "") == "two-way";

    let (sender, events) = sync_channel(100_000);
    let sink = Box::new(move |event| sender.try_send(event).expect("events are read in time"));
    let media = media::start(Config::default(), sink).expect("media threads start");
    println!("capacity: {:?}", media.capacity());
    let rss_before = resident_kb();
    let far_end = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let ports =
        negotiate(&media, &events, legs, codec, far_end.local_addr().expect("bound").port());
    let tone = media::tone::sine(1000.0, 2000, 8000);
    let clips: Arc<[Clip]> = Arc::from([Clip::from_pcm(&tone, 8000).expect("samples")]);
    for leg in 0..legs {
        let play =
            Command::Play { leg: LegId(leg), play: PlayId(0), clips: clips.clone(), times: 255 };
        send(&media, play);
    }
    let rss = resident_kb() - rss_before;
    let cpu = thread_cpu();
    let start = Instant::now();
    if two_way {
        talk_back(&far_end, &ports, start + Duration::from_secs(seconds));
    } else {
        std::thread::sleep(Duration::from_secs(seconds));
    }
    let took = start.elapsed().as_secs_f64();
    let cpu = thread_cpu() - cpu;
    report(&media, &events, legs, cpu / took);
    println!("{} KB of memory per leg", rss as f64 / legs as f64);
}

fn send(media: &Media, command: Command) {
    let mut command = Some(command);
    while let Some(next) = command.take() {
        // The queue is bounded: wait for room by trying again.
        let again = clone_for_retry(&next);
        if media.command(next).is_err() {
            std::thread::yield_now();
            command = again;
        }
    }
}

fn clone_for_retry(command: &Command) -> Option<Command> {
    match command {
        Command::Offer { leg, codecs, dtmf, srtp, beside: None } => {
            let (codecs, dtmf, srtp) = (codecs.clone(), *dtmf, *srtp);
            Some(Command::Offer { leg: *leg, codecs, dtmf, srtp, beside: None })
        }
        Command::Remote { leg, sdp } => Some(Command::Remote { leg: *leg, sdp: sdp.clone() }),
        Command::Play { leg, play, clips, times } => {
            Some(Command::Play { leg: *leg, play: *play, clips: clips.clone(), times: *times })
        }
        Command::Close { leg } => Some(Command::Close { leg: *leg }),
        _ => None,
    }
}

fn negotiate(
    media: &Media,
    events: &Receiver<Event>,
    legs: u64,
    codec: Codec,
    far_port: u16,
) -> Vec<u16> {
    let mut ports = Vec::new();
    for leg in (0..legs).map(LegId) {
        send(
            media,
            Command::Offer { leg, codecs: vec![codec], dtmf: false, srtp: Srtp::Off, beside: None },
        );
        let (sdp, port) = loop {
            match events.recv().expect("media threads run") {
                Event::Offered { sdp, port, .. } => break (sdp, port),
                Event::Failed { fault, .. } => panic!("{fault}"),
                _ => {}
            }
        };
        let answer = String::from_utf8_lossy(&sdp)
            .replace(&format!("m=audio {port} "), &format!("m=audio {far_port} "));
        send(media, Command::Remote { leg, sdp: answer.into() });
        ports.push(port);
    }
    ports
}

fn talk_back(far_end: &UdpSocket, ports: &[u16], until: Instant) {
    let (mut sequence, mut next) = (0u16, Instant::now());
    while Instant::now() < until {
        let mut packet = vec![0x80, 8];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 160).to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend([0xD5; 160]);
        for slot in ports.chunks(ports.len().div_ceil(20)) {
            for port in slot {
                far_end.send_to(&packet, ("127.0.0.1", *port)).expect("loopback takes packets");
            }
            next += Duration::from_millis(1);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        sequence = sequence.wrapping_add(1);
    }
}

fn report(media: &Media, events: &Receiver<Event>, legs: u64, load: f64) {
    (0..legs).for_each(|leg| send(media, Command::Close { leg: LegId(leg) }));
    let (mut closed, mut sent, mut late, mut skipped, mut received) = (0, 0, 0, 0, 0);
    while closed < legs {
        if let Event::Closed { stats, .. } = events.recv().expect("media threads run") {
            closed += 1;
            sent += stats.packets_sent;
            late += stats.late_ticks;
            skipped += stats.skipped_ticks;
            received += stats.packets_received;
        }
    }
    println!(
        "{legs} legs: {:.1} % of a core; {sent} packets sent, {late} late ({:.3} %), {skipped} skipped, \
         {received} received; one core at 90 %: {:.0} legs",
        load * 100.0,
        late as f64 * 100.0 / sent as f64,
        legs as f64 * 0.9 / load,
    );
}

/// Seconds of CPU of the media thread.
fn thread_cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let ticks: f64 = tasks
        .flatten()
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.trim() == "media-0")
        })
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .map(|stat| {
            let fields: Vec<f64> =
                stat.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
            fields[13] + fields[14]
        })
        .sum();
    ticks / 100.0
}

fn resident_kb() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}
