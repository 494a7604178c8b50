//! `offhook sim`: the simulated carrier alone, for other programs to call.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sim::{CarrierConfig, KeepAudio, SimOptions, TlsLine};
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
    /// Where calls come in over TLS; needs a certificate and its key.
    #[arg(long, requires = "tls_certificate", requires = "tls_key")]
    tls: Option<SocketAddr>,
    /// PEM file of the certificate with its chain.
    #[arg(long)]
    tls_certificate: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long)]
    tls_key: Option<PathBuf>,
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
        sip_tls: tls_line(&arguments)?,
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

fn tls_line(arguments: &Arguments) -> Result<Option<TlsLine>, ServeError> {
    let (Some(bind), Some(certificate), Some(key)) =
        (arguments.tls, &arguments.tls_certificate, &arguments.tls_key)
    else {
        return Ok(None);
    };
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let identity = sip::Identity::from_pem(&read(certificate)?, &read(key)?)?;
    Ok(Some(TlsLine { bind, server: sip::TlsServer::new(identity)? }))
}
