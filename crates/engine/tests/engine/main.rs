//! The engine from outside: inputs in, exactly these actions out.

mod accepting;
mod anonymous_call;
mod balances;
mod bidirectional_call;
mod failover;
mod failures;
mod parked;
mod quotas;
mod recordings;
mod recovery;
mod storm;
mod voice_notification;
mod world;
