//! What the fuzz targets of this crate know, with a stable compiler. The targets are those of `fuzz/`.

#[path = "../../../fuzz/src/audio.rs"]
mod audio;
#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;

use corpus::replay;

#[test]
fn descriptions() {
    replay("sdp", audio::sdp);
}

#[test]
fn rtp_packets() {
    replay("rtp", audio::rtp);
}

#[test]
fn packets_between_two_legs() {
    replay("bridge", audio::bridge);
}

#[test]
fn rtcp_packets() {
    replay("rtcp", audio::rtcp);
}

#[test]
fn wav_files() {
    replay("wav", audio::wav);
}

#[test]
fn mp3_files() {
    replay("mp3", audio::mp3);
}
