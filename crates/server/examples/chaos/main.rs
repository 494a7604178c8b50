//! T-2: a server under load is killed again and again, at random moments, and started on the same data; in the end the
//! far end, the receiver of the callbacks and the history are asked what became of each accepted call.
//!
//! `cargo xtask chaos` builds the server and runs this. The last line on stdout is the count as JSON; it exits with 0 only
//! where nothing is lost, doubled or missing. The moments come from the seed, which is printed; what happens at such a
//! moment is the machine's, so that a seed is a place to look and no proof.

mod count;
mod load;
mod parties;
mod server;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sim::{CallbackReceiver, Carrier, CarrierConfig, KeepAudio};

use count::Count;
use load::Load;
use server::Server;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Each life of the server accepts at least as many.
const ACCEPTED_PER_LIFE: usize = 20;

/// What the last calls may take once no more are made: 32 s for an INVITE that nothing answers, and more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Parser)]
struct Arguments {
    /// How often the server is killed.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Where the moments come from; a random one is chosen and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Accepted for the sake of scripts: the count is JSON in any case.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    eprintln!("chaos: {} kills, seed {seed}", arguments.kills);
    match run(arguments.kills, seed).await {
        Ok(count) => {
            println!("{}", count.json());
            if count.is_well() {
                return ExitCode::SUCCESS;
            }
            eprintln!("chaos: a promise is broken with seed {seed}");
        }
        Err(fault) => eprintln!("chaos: with seed {seed}: {fault}"),
    }
    ExitCode::FAILURE
}

async fn run(kills: u32, seed: u64) -> Result<Count, Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    let carrier =
        Carrier::start(CarrierConfig { keep_audio: KeepAudio::None, ..CarrierConfig::default() });
    let carrier = carrier.await?;
    parties::behave(&carrier);
    let receiver = CallbackReceiver::start(([127, 0, 0, 1], 0).into()).await?;
    let began_ms = sim::Moment::now().unix_ms();
    let mut server = Server::start(carrier.udp_address(), receiver.address()).await?;
    let load = Load::start(&server, &receiver, random.random()).await?;

    for kill in 1..=kills {
        let moment = Duration::from_millis(random.random_range(200..=5_000));
        let accepted = load.accepted();
        let lived = Instant::now();
        tokio::time::sleep(moment).await;
        tokio::time::timeout(PATIENCE, load.reaches(accepted + ACCEPTED_PER_LIFE))
            .await
            .map_err(|_| format!("fewer than {ACCEPTED_PER_LIFE} calls accepted in a life"))?;
        load.pause();
        let up = carrier.live_calls();
        server.kill_and_restart().await?;
        load.resume(server.client()?);
        eprintln!(
            "kill {kill}: after {:.1} s, {} accepted, {up} calls up",
            lived.elapsed().as_secs_f32(),
            load.accepted() - accepted,
        );
    }

    let accepted = load.finish(PATIENCE).await?;
    eprintln!("chaos: {} calls accepted; waiting for the last of them", accepted.len());
    let all = receiver.callbacks().distinct_reached(accepted.len() as u64);
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        eprintln!("chaos: callbacks are missing after {PATIENCE:?}");
    }
    let phones_down = carrier.totals_reached(|totals| totals.ended >= totals.calls);
    if tokio::time::timeout(PATIENCE, phones_down).await.is_err() {
        eprintln!("chaos: phones are left in calls after {PATIENCE:?}");
    }
    let client = server.client()?;
    let count = Count::take(kills, &accepted, &carrier, &receiver, &client, began_ms).await?;
    if !count.is_well() {
        eprintln!("chaos: the data and the log are kept in {}", server.keep().display());
    }
    Ok(count)
}

/// Shared between the tasks that make requests.
type Shared<T> = Arc<std::sync::Mutex<T>>;

fn lock<T>(shared: &Shared<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic elsewhere leaves lists that are still true.
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
