//! The engine from outside: inputs in, exactly these actions out.

mod accepting;
mod failover;
mod quotas;
mod storm;
mod voice_notification;
mod world;
