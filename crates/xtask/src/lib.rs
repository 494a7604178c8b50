//! What the project does to itself: runs its tests, holds its house rules.
//!
//! A rule is a function that looks at the tree and returns what it found. `tests/` applies each rule to this workspace, and to a
//! tree with a planted fault, so that a rule that no longer sees anything fails. `cargo xtask hygiene` applies them all without building.

#![forbid(unsafe_code)]

pub mod arrows;
pub mod chaos;
pub mod debian;
pub mod fuzz;
pub mod guesses;
pub mod hygiene;
pub mod licences;
pub mod long_queue;
pub mod peers;
pub mod rooms;
pub mod rubbish;
pub mod schemathesis;
pub mod soak;
pub mod steps;
pub mod test_run;
pub mod tidy;
pub mod tls;
pub mod workspace;
pub mod world;
