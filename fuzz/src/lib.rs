//! What the fuzz targets do with their bytes. Each is a plain function, so that the tests of the crates replay the
//! corpus with the same code and a stable compiler (`fuzz_corpus.rs` beside their other tests).

pub mod audio;
pub mod interfaces;
pub mod signalling;
#[path = "../../crates/sip/tests/behaviour/world.rs"]
pub mod world;
