//! offhook: the server for calls that software starts.

mod access;
mod admission;
mod app;
mod bench;
mod callbacks;
mod calls;
mod certificates;
mod cli;
mod clips;
mod config;
mod demo;
mod dns;
mod driver;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod log;
mod new_prefixes;
mod recordings;
mod serve;
mod simulator;
mod speech;
mod storage;
mod tenants;
mod voices;
#[cfg(test)]
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use serve::ServeError;

/// Places phone calls for software: voice notifications over SIP, with everything that happened
/// on record.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server. Without a configuration: a tenant of its own and a simulated trunk.
    Serve(ServeArguments),
    /// Show what offhook does: a server, a simulated carrier and two calls, from request to callback.
    Demo(demo::Arguments),
    /// Run the simulated carrier alone.
    Sim(simulator::Arguments),
    /// Measure this machine.
    Bench(bench::Arguments),
    /// Calls: list, show, timeline, cancel, connect two parties.
    Calls {
        #[command(flatten)]
        connection: cli::Connection,
        #[command(subcommand)]
        command: cli::Calls,
    },
    /// Softphones: the numbers that a tenant's people register as.
    Softphones {
        #[command(flatten)]
        connection: cli::Connection,
        #[command(subcommand)]
        command: cli::Softphones,
    },
    /// Callbacks: what became of them, and trying again.
    Callbacks {
        #[command(flatten)]
        connection: cli::Connection,
        #[command(subcommand)]
        command: cli::Callbacks,
    },
    /// Tenants and their settings.
    Tenants {
        #[command(flatten)]
        connection: cli::Connection,
        #[command(subcommand)]
        command: cli::Tenants,
    },
}

#[derive(clap::Args)]
struct ServeArguments {
    /// The configuration; default `offhook.toml` in the working directory, where there is one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print one JSON line with the bound addresses on stdout once calls are taken.
    #[arg(long)]
    announce: bool,
    /// Run on this core only; for measuring.
    #[arg(long, hide = true)]
    pin: Option<usize>,
}

/// The program: reads its arguments, runs the command, says how it ended.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start();
    // Before the first thread is started: threads inherit it.
    match &arguments.command {
        Command::Serve(ServeArguments { pin: Some(core), .. }) => bench::pin(*core),
        Command::Bench(_) => bench::pin(bench::FAR_END_CORE),
        _ => {}
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(run(arguments.command)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

async fn run(command: Command) -> Result<ExitCode, ServeError> {
    match command {
        Command::Serve(arguments) => serve(arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Sim(arguments) => simulator::run(arguments).await,
        Command::Bench(arguments) => bench::run(arguments).await,
        Command::Calls { connection, command } => {
            client(cli::Command::Calls(command), connection).await
        }
        Command::Softphones { connection, command } => {
            client(cli::Command::Softphones(command), connection).await
        }
        Command::Callbacks { connection, command } => {
            client(cli::Command::Callbacks(command), connection).await
        }
        Command::Tenants { connection, command } => {
            client(cli::Command::Tenants(command), connection).await
        }
    }
}

async fn client(
    command: cli::Command,
    connection: cli::Connection,
) -> Result<ExitCode, ServeError> {
    cli::run(command, &connection, &mut std::io::stdout()).await?;
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &ServeError) -> ExitCode {
    eprintln!("offhook: {error}");
    ExitCode::FAILURE
}

/// Printed once; the secret is kept nowhere in clear.
fn first_run_text(first: &tenants::FirstRun) -> String {
    format!(
        "A tenant was made for this first start. Keep its secret, it is shown only now.\n  \
         app key     {}\n  app secret  {}\n  softphone   66666666, password {}",
        first.app_key, first.app_secret, first.softphone_password
    )
}

async fn serve(arguments: ServeArguments) -> Result<ExitCode, ServeError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let config = config::Config::load(arguments.config.as_deref())?;
    let mut running = serve::start(config).await?;
    if let Some(first) = &running.first_run {
        eprintln!("{}", first_run_text(first));
    }
    tracing::info!(http = %running.http, sip = ?running.sip, "offhook takes calls");
    if arguments.announce {
        println!("{}", running.announcement());
    }
    loop {
        tokio::select! {
            error = running.failed() => {
                running.close().await;
                return Err(error.into());
            }
            _ = hang_up.recv() => running.reload_certificates(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!(
        "no new calls are taken; running ones may finish; a second signal hangs them up"
    );
    let hurry = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    running.drain(hurry).await?;
    Ok(ExitCode::SUCCESS)
}
