//! The corpus of a target, replayed by the tests of the crates with a stable compiler: what a fuzzer once found stays
//! found where there is none.

use std::path::Path;

/// Runs each file of `fuzz/corpus/<target>` as it is, cut short, and with bytes changed; the same each time.
pub fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("each target has its folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{target} has {} files", files.len());
    for file in files {
        // Shown where the test fails.
        println!("{}", file.display());
        let bytes = std::fs::read(&file).expect("a file");
        run(&bytes);
        for round in 1..=ROUNDS {
            run(&bytes[..bytes.len() * round / (ROUNDS + 1)]);
            run(&changed(&bytes, round));
        }
    }
}

const ROUNDS: usize = 12;

fn changed(bytes: &[u8], round: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let mut state = round.wrapping_mul(0x9e37_79b9).wrapping_add(bytes.len());
    for _ in 0..=round % 4 {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0xffff_ffff;
        if let Some(at) = (state >> 8).checked_rem(changed.len()) {
            changed[at] = [0, b'\r', b'\n', b';', b'"', 0xff, 0x80, b'9'][state % 8];
        }
    }
    changed
}
