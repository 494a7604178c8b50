//! Our codecs judged by programs that are not ours: sox for G.711, ffmpeg for G.722, opus-tools for Opus.

use std::io::Write;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use media::codec::{Band, Codec, Decoder, Encoder};
use media::{detect, tone};

/// Runs a program of a Debian package that the tests need, with `input` on its stdin; gives its stdout.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Process::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} (of sox, ffmpeg, opus-tools): {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

pub(crate) fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Payloads of 20 ms; `rate` is that of the samples.
pub(crate) fn encode(codec: Codec, band: Band, source: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, band);
    source
        .chunks_exact(band.frame())
        .map(|frame| {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload);
            payload
        })
        .collect()
}

fn decode(codec: Codec, payloads: &[Vec<u8>]) -> Vec<i16> {
    let mut decoder = Decoder::new(codec, Band::Narrow);
    let mut heard = Vec::new();
    for payload in payloads {
        decoder.decode(payload, &mut heard).unwrap();
    }
    heard
}

/// At 16 kHz: the generator works at 8, where half the number is the same tone.
pub(crate) fn wide_tone(hz: f32, ms: u32) -> Vec<i16> {
    tone::sine(hz / 2.0, ms * 2, 8000)
}

fn assert_tone(what: &str, samples: &[i16], hz: f32) {
    let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let (share, rms) = (detect::share(middle, hz), detect::rms(middle));
    assert!(share > 0.95, "{what}: {share} at {hz}");
    assert!((4500.0..6800.0).contains(&rms), "{what}: {rms} for a sine whose peak is 8,000");
}

#[test]
fn sox_agrees_on_every_g711_code() {
    for (codec, name) in [(Codec::Pcma, "a-law"), (Codec::Pcmu, "mu-law")] {
        let raw = ["-t", "raw", "-r", "8000", "-c", "1"];
        let pcm = [&raw[..], &["-e", "signed", "-b", "16", "-L"]].concat();
        let law = [&raw[..], &["-e", name, "-b", "8"]].concat();
        let codes: Vec<u8> = (0..=255).collect();
        let theirs = samples(&run("sox", &[&law[..], &["-"], &pcm, &["-"]].concat(), &codes));
        assert_eq!(decode(codec, &[codes]), theirs, "{name}");
        let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let theirs = run("sox", &[&["-D"], &pcm[..], &["-"], &law, &["-"]].concat(), &bytes(&all));
        let mut ours = Vec::new();
        Encoder::new(codec, Band::Narrow).encode(&all, &mut ours);
        // sox rounds to 13 or 14 bits where the standard cuts: the border between two codes lies a little apart.
        let (ours, theirs) = (decode(codec, &[ours]), decode(codec, &[theirs]));
        for (n, ours) in ours.iter().enumerate() {
            let near = &theirs[n.saturating_sub(8)..(n + 9).min(all.len())];
            assert!(near.contains(ours), "{name} {}: {ours}, sox says {near:?}", all[n]);
        }
    }
}

#[test]
fn ffmpeg_understands_our_g722_and_we_understand_its() {
    let source = wide_tone(1000.0, 1000);
    let ours = encode(Codec::G722, Band::Wide, &source).concat();
    let pcm = ["-f", "s16le", "-ar", "16000", "-ac", "1", "pipe:1"];
    let arguments = [&["-v", "error", "-f", "g722", "-i", "pipe:0"], &pcm[..]].concat();
    let heard = samples(&run("ffmpeg", &arguments, &ours));
    assert_eq!(heard.len(), source.len());
    let narrow: Vec<i16> = heard.iter().step_by(2).copied().collect();
    assert_tone("our G.722 in ffmpeg", &narrow, 1000.0);

    let arguments = [
        "-v", "error", "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "pipe:0", "-f", "g722",
        "pipe:1",
    ];
    let theirs = run("ffmpeg", &arguments, &bytes(&source));
    assert_tone("ffmpeg's G.722 here", &decode(Codec::G722, &[theirs]), 1000.0);
}

#[test]
fn opus_tools_understand_our_opus_in_both_bands_and_we_understand_theirs() {
    let directory = tempfile::tempdir().unwrap();
    for (band, source) in
        [(Band::Narrow, tone::sine(1000.0, 1000, 8000)), (Band::Wide, wide_tone(1000.0, 1000))]
    {
        let file = directory.path().join("ours.opus");
        std::fs::write(&file, ogg(&encode(Codec::Opus, band, &source))).unwrap();
        let heard =
            run("opusdec", &["--quiet", "--rate", "8000", "--force-stereo", path(&file), "-"], b"");
        // A WAV head of 44 bytes, if any, is a click in the first millisecond.
        let left: Vec<i16> = samples(&heard).iter().step_by(2).copied().collect();
        assert_tone("our Opus in opusdec", &left, 1000.0);
    }
    let (wav, file) = (directory.path().join("tone.wav"), directory.path().join("theirs.opus"));
    std::fs::write(&wav, media::wav::pcm16_file(16_000, &wide_tone(1000.0, 1000))).unwrap();
    run("opusenc", &["--quiet", "--bitrate", "24", path(&wav), path(&file)], b"");
    let packets = ogg_packets(&std::fs::read(&file).unwrap());
    // After the two heads.
    assert_tone("opusenc's Opus here", &decode(Codec::Opus, &packets[2..]), 1000.0);
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An Ogg Opus file (RFC 7845), a page per packet.
pub(crate) fn ogg(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(0u16.to_le_bytes());
    head.extend(16_000u32.to_le_bytes());
    head.extend([0, 0, 0]);
    let mut tags = b"OpusTags".to_vec();
    tags.extend([1, 0, 0, 0, b'x', 0, 0, 0, 0]);
    let mut file = page(2, 0, 0, &head);
    file.extend(page(0, 0, 1, &tags));
    for (n, payload) in payloads.iter().enumerate() {
        let kind = if n + 1 == payloads.len() { 4 } else { 0 };
        file.extend(page(kind, 960 * (n as u64 + 1), n as u32 + 2, payload));
    }
    file
}

fn page(kind: u8, position: u64, number: u32, packet: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\x00".to_vec();
    page.push(kind);
    page.extend(position.to_le_bytes());
    page.extend(1u32.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    let lacing: Vec<u8> =
        std::iter::repeat_n(255, packet.len() / 255).chain([(packet.len() % 255) as u8]).collect();
    page.push(lacing.len() as u8);
    page.extend(lacing);
    page.extend(packet);
    let crc = page.iter().fold(0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

fn ogg_packets(mut file: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    while !file.is_empty() {
        let segments = usize::from(file[26]);
        let (lacing, mut body) = file[27..].split_at(segments);
        for &length in lacing {
            let (part, rest) = body.split_at(usize::from(length));
            packet.extend_from_slice(part);
            if length < 255 {
                packets.push(std::mem::take(&mut packet));
            }
            body = rest;
        }
        file = body;
    }
    packets
}
