//! `offhook sim`: the simulated carrier alone, for other programs to call.

use std::net::SocketAddr;
use std::process::ExitCode;

use sim::{CarrierConfig, KeepAudio, SimOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::serve::ServeError;

#[derive(clap::Args)]
pub struct Arguments {
    /// Where calls come in over UDP.
    #[arg(long, default_value = "127.0.0.1:5070")]
    udp: SocketAddr,
    /// Where calls come in over TCP; without it: not at all.
    #[arg(long)]
    tcp: Option<SocketAddr>,
    /// HTTP port for `GET /report`, `POST /clear` and callbacks; keep it on loopback.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// The same seed gives the same ringing times, losses and sounds.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of SIP datagrams that the network loses, 0.0 to 1.0.
    #[arg(long, default_value_t = 0.0)]
    loss: f32,
    /// Whether phones encrypt their audio: off, optional (where the caller asks for it) or required.
    #[arg(long, default_value = "optional")]
    srtp: media::Srtp,
    /// Print one line of JSON per ended call.
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, ServeError> {
    let carrier = CarrierConfig {
        sip_udp: arguments.udp,
        sip_tcp: arguments.tcp,
        media_ip: arguments.udp.ip(),
        accept_registrations: true,
        srtp: arguments.srtp,
        seed: arguments.seed,
        loss: arguments.loss,
        keep_audio: KeepAudio::None,
        ..CarrierConfig::default()
    };
    let options = SimOptions { carrier, control: arguments.control, print_calls: arguments.json };
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    sim::run(options, stop).await?;
    Ok(ExitCode::SUCCESS)
}
