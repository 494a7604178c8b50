//! rtpengine as a relay, in user space: the phones of the bridges' ladder, told by the protocol "ng" where to send.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use sim::{Pair, Pairs};

use super::super::SERVER_CORE;
use super::super::bridges::delay;
use super::super::bridges::steps::{Cost, Relaying, SET_UP, Step, least_packets};
use super::super::far_end::{Memory, free_addresses};
use super::super::ladder::Ladder;
use super::super::process;
use super::super::witnesses::Quantiles;
use super::ng::Ng;
use super::program::Program;
use crate::serve::ServeError;

/// Below the ports that the system gives to phones. Each call takes four.
const PORTS: (u16, u16) = (10_000, 19_999);

/// How long it may take to start: it makes keys for WebRTC first.
const START: u32 = 10;

/// One turn: the ladder, and what is added to a packet's way beside half of its first step.
pub async fn measure(program: &Path, ladder: Ladder) -> Result<Relaying, ServeError> {
    let mut relay = Relay::start(program).await?;
    let pairs = Pairs::start()?;
    let added_delay_ms = relay.added_delay(&pairs, (ladder.from / 2).max(1)).await?;
    let steps = ladder.climb(async |calls| relay.step(&pairs, calls).await).await?;
    Ok(Relaying::of(steps, added_delay_ms))
}

struct Relay {
    program: Program,
    ng: Ng,
    calls: u64,
}

/// A call that is up, and its name.
struct Up {
    name: String,
    pair: Pair,
}

impl Relay {
    async fn start(program: &Path) -> Result<Relay, ServeError> {
        let [control] = free_addresses()?;
        let arguments = [
            "--foreground".to_owned(),
            "--log-stderr".to_owned(),
            "--log-level=4".to_owned(),
            // No kernel module, and no configuration of this machine's.
            "--table=-1".to_owned(),
            "--config-file=none".to_owned(),
            "--interface=127.0.0.1".to_owned(),
            format!("--listen-ng={control}"),
            format!("--port-min={}", PORTS.0),
            format!("--port-max={}", PORTS.1),
            // One core has no use for more.
            "--num-threads=1".to_owned(),
        ];
        let mut program = Program::start(program, &arguments, SERVER_CORE, tempfile::tempdir()?)?;
        let mut ng = Ng::connect(control).await?;
        for _ in 0..START {
            if program.ended()? {
                break;
            }
            // Refused while nobody listens yet.
            match ng.ping().await {
                Ok(()) => return Ok(Relay { program, ng, calls: 0 }),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        Err(format!("rtpengine does not start: {}", program.last_words()).into())
    }

    async fn step(&mut self, pairs: &Pairs, calls: u32) -> Result<Step, ServeError> {
        let pid = self.program.pid();
        let (idle, memory) = (process::resident(pid)?, Memory::watch(pid));
        let up = self.dial(pairs, calls, SET_UP).await;
        let cost = Cost::measure(pid, idle, memory).await?;
        let mut reports = Vec::new();
        for Up { name, pair } in up {
            reports.push(pair.end().await);
            self.ng.delete(&name).await?;
        }
        let is_whole =
            |call: &&[sim::RtpReport; 2]| call.iter().all(|phone| phone.packets >= least_packets());
        let good = reports.iter().filter(is_whole).count() as u32;
        Ok(Step::judge(false, calls, good, reports.iter().flatten(), &cost))
    }

    /// So many calls, their set-up spread over `time`. One that it refuses is none.
    async fn dial(&mut self, pairs: &Pairs, calls: u32, time: Duration) -> Vec<Up> {
        let began = tokio::time::Instant::now();
        let mut up = Vec::new();
        for call in 0..calls {
            tokio::time::sleep_until(began + time * call / calls).await;
            match self.connect(pairs).await {
                Ok(call) => up.push(call),
                Err(error) => tracing::warn!(%error, "rtpengine took no further call"),
            }
        }
        up
    }

    async fn connect(&mut self, pairs: &Pairs) -> Result<Up, ServeError> {
        let name = self.next_name();
        let (mut pair, offer) = pairs.dial().await?;
        let offer = self.ng.offer(&name, &offer).await?;
        let answer = pair.answer(offer).await?;
        let answer = self.ng.answer(&name, &answer).await?;
        pair.connect(answer)?;
        Ok(Up { name, pair })
    }

    fn next_name(&mut self) -> String {
        self.calls += 1;
        format!("call-{}", self.calls)
    }

    /// As `offhook bench bridges` measures it: two bare sockets beside `others`.
    async fn added_delay(&mut self, pairs: &Pairs, others: u32) -> Result<Quantiles, ServeError> {
        let up = self.dial(pairs, others, Duration::from_secs(2)).await;
        let sockets = [
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
        ];
        let [first, second] = [delay::description(&sockets[0])?, delay::description(&sockets[1])?];
        let name = self.next_name();
        let to_second = self.ng.offer(&name, first.as_bytes()).await?;
        let to_first = self.ng.answer(&name, second.as_bytes()).await?;
        let [one, other] = sockets;
        // What the second one is shown is where it sends to.
        let first = delay::Audio::new(one, &to_first)?;
        let second = delay::Audio::new(other, &to_second)?;
        let added = delay::compared(first, second).await;
        for Up { name, pair } in up {
            pair.end().await;
            self.ng.delete(&name).await?;
        }
        self.ng.delete(&name).await?;
        added
    }
}
