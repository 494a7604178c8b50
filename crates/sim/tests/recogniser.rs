//! The recogniser names what a phone heard, through codecs, losses and noise, and names nothing else.

use media::codec::{Band, Decoder, Encoder};
use media::{Codec, tone};
use sim::Recogniser;
use std::time::Instant;

fn speak(text: &str) -> Vec<i16> {
    use std::sync::OnceLock;
    static ENGINE: OnceLock<flite_rs::Engine> = OnceLock::new();
    ENGINE.get_or_init(flite_rs::Engine::new).synthesize(text).samples
}

/// What is left after encoding and decoding.
fn through(codec: Codec, samples: &[i16]) -> Vec<i16> {
    let (mut encoder, mut decoder) = (Encoder::new(codec, Band::Narrow), Decoder::new(codec));
    let mut out = Vec::new();
    for frame in samples.chunks_exact(160) {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload);
        decoder.decode(&payload, &mut out).unwrap();
    }
    out
}


#[test]
fn probe2() {
    let digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "fifteen", "fifty", "thirteen", "thirty"];
    let clips: Vec<(String, Vec<i16>)> = digits.iter().map(|d| (d.to_string(), speak(&format!("The temperature in the server room is {d} degrees. Please check.")))).collect();
    let recogniser = Recogniser::new(clips.clone(), 1);
    for codec in [Codec::Pcma, Codec::Pcmu, Codec::Opus] {
        for (id, clip) in &clips {
            let mut heard = tone::silence(133);
            heard.extend(clip);
            let found = recogniser.recognise(&through(codec, &heard));
            let labels: Vec<&str> = found.iter().map(|f| f.label()).collect();
            if labels != [id.as_str()] { println!("{codec:?} {id}: {found:?}"); }
        }
    }
    // leave one out
    for n in 0..clips.len() {
        let mut others = clips.clone();
        let (id, clip) = others.remove(n);
        let r = Recogniser::new(others, 1);
        let found = r.recognise(&through(Codec::Pcma, &clip));
        println!("without {id}: {:?}", found.iter().map(|f| (f.label(), f.score)).collect::<Vec<_>>());
    }
    // noise, gaps, slips
    for (id, clip) in &clips {
        for snr in [30.0f32, 20.0, 15.0, 10.0, 5.0] {
            let rms = media::detect::rms(clip);
            let amp = rms / 10f32.powf(snr / 20.0) * 1.732;
            let mut x = 12345u32;
            let noisy: Vec<i16> = clip.iter().map(|s| { x = x.wrapping_mul(1664525).wrapping_add(1013904223); let r = (x >> 8) as f32 / 8388608.0 - 1.0; (f32::from(*s) + r * amp).clamp(-32768.0, 32767.0) as i16 }).collect();
            let found = recogniser.recognise(&noisy);
            if found.len() != 1 || found[0].label() != id { println!("snr {snr} {id}: {:?}", found.iter().map(|f| (f.label(), f.score, f.share)).collect::<Vec<_>>()); }
        }
        for every in [10usize, 20, 50] {
            let mut lossy = clip.clone();
            for (n, frame) in lossy.chunks_mut(160).enumerate() { if n % every == 3 { frame.fill(0); } }
            let found = recogniser.recognise(&lossy);
            if found.len() != 1 || found[0].label() != id { println!("loss 1/{every} {id}: {:?}", found.iter().map(|f| (f.label(), f.score, f.share)).collect::<Vec<_>>()); }
        }
        for slip in [160usize, 320] {
            let mut slipped = clip[..8000].to_vec(); slipped.extend(vec![0; slip]); slipped.extend(&clip[8000..16000]); slipped.extend(&clip[16000+slip..]);
            let found = recogniser.recognise(&slipped);
            if found.len() != 1 || found[0].label() != id { println!("slip {slip} {id}: {:?}", found.iter().map(|f| (f.label(), f.score, f.share)).collect::<Vec<_>>()); }
        }
        for cut in [0.25, 0.5, 0.6, 0.9] {
            let cut = &clip[..(clip.len() as f64 * cut) as usize];
            println!("cut {} {id}: {:?}", cut.len(), recogniser.recognise(cut).iter().map(|f| (f.label(), f.score, f.share)).collect::<Vec<_>>());
        }
        let late = &clip[3000..];
        let found = recogniser.recognise(late);
        if found.len() != 1 || found[0].label() != id { println!("late {id}: {:?}", found.iter().map(|f| (f.label(), f.score, f.share)).collect::<Vec<_>>()); }
    }
    let tones: Vec<(String, Vec<i16>)> = [400.0, 440.0, 480.0, 1000.0, 1100.0].iter().map(|hz| (format!("{hz}"), tone::sine(*hz, 1500, 8000))).collect();
    let r = Recogniser::new(tones.clone(), 1);
    println!("tone decoys {}", r.decoys());
    for (id, t) in &tones { println!("tone {id}: {:?}", r.recognise(&through(Codec::Pcma, t))); }
}
