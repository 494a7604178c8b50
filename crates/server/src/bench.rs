//! `offhook bench`: measures this machine. A server process on one core; on another core this
//! process, with the HTTP client, the simulated carrier and the callback receiver, which judge.

mod bridges;
mod far_end;
mod ladder;
mod lateness;
mod notifications;
mod overload;
mod peers;
mod playing;
mod process;
mod requests;
mod soak;
mod witnesses;

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use crate::serve::ServeError;

pub use process::pin;

/// The core that the server runs on.
pub const SERVER_CORE: usize = 0;

/// The core of the far end.
pub const FAR_END_CORE: usize = 1;

/// A core is busy from here on.
const BUSY: f64 = 0.9;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Voice notifications: how fast, how late, at what cost.
    Notifications(notifications::Arguments),
    /// Calls of two parties: how many a second, how many at the same time, and what a bridge adds to a packet's way.
    Bridges(bridges::Arguments),
    /// How many calls one core plays at the same time.
    Playing(playing::Arguments),
    /// Four times as much as the server can do: what it still does, what it refuses, and how fast.
    Overload(overload::Arguments),
    /// rtpengine, rustpbx and sipp beside ours, in turn; `cargo xtask peers` installs them.
    Peers(peers::Arguments),
    /// Half load for minutes or hours: what is left of it afterwards.
    Soak(soak::Arguments),
}

/// What kept a figure from being higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    Server,
    FarEnd,
    Rate,
}

impl LimitedBy {
    /// By the share of a core that each side used.
    fn judge(server: f64, far_end: f64) -> LimitedBy {
        if far_end >= BUSY && far_end >= server {
            LimitedBy::FarEnd
        } else if server >= BUSY {
            LimitedBy::Server
        } else {
            LimitedBy::Rate
        }
    }
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    match arguments.what {
        What::Notifications(arguments) => notifications::run(arguments).await,
        What::Bridges(arguments) => bridges::run(arguments).await,
        What::Playing(arguments) => playing::run(arguments).await,
        What::Overload(arguments) => overload::run(arguments).await,
        What::Peers(arguments) => peers::run(arguments).await,
        What::Soak(arguments) => soak::run(arguments).await,
    }
}
