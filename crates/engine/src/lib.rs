//! Decides everything about calls; does nothing itself.

pub mod cdr;
pub mod events;
pub mod intent;
pub mod vocabulary;
pub mod writes;
