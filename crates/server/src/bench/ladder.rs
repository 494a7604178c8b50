//! More and more load, one rung after the other, until one does not hold.

use std::fmt::Debug;

use super::LimitedBy;
use crate::serve::ServeError;

/// What came of one load.
pub trait Rung: Debug {
    /// Calls at the same time, or per second.
    fn load(&self) -> u32;
    fn holds(&self) -> bool;
}

/// From so much load, by so much, to so much.
#[derive(Debug, Clone, Copy)]
pub struct Ladder {
    pub from: u32,
    pub step: u32,
    pub to: u32,
}

impl Ladder {
    /// One rung after the other, as long as they hold.
    pub async fn climb<R: Rung>(
        self,
        mut measure: impl AsyncFnMut(u32) -> Result<R, ServeError>,
    ) -> Result<Vec<R>, ServeError> {
        let mut rungs = Vec::new();
        let mut load = self.from.max(1);
        while load <= self.to {
            let rung = measure(load).await?;
            tracing::info!(?rung, "measured");
            let holds = rung.holds();
            rungs.push(rung);
            if !holds {
                break;
            }
            load += self.step.max(1);
        }
        Ok(rungs)
    }
}

/// The highest that held.
pub fn highest<R: Rung>(rungs: &[R]) -> Option<&R> {
    rungs.iter().filter(|rung| rung.holds()).max_by_key(|rung| rung.load())
}

/// The one that ended the ladder.
fn broken<R: Rung>(rungs: &[R]) -> Option<&R> {
    rungs.last().filter(|rung| !rung.holds())
}

/// What kept the next rung from holding, by the shares of their cores that the server and the far end used on it.
pub fn limited_by<R: Rung>(rungs: &[R], shares: impl Fn(&R) -> (f64, f64)) -> LimitedBy {
    broken(rungs)
        .map(shares)
        .map_or(LimitedBy::Rate, |(server, far_end)| LimitedBy::judge(server, far_end))
}

/// What each cost under the highest load that both held.
pub fn beside<R: Rung>(ours: &[R], theirs: &[R], cpu: impl Fn(&R) -> f64) -> Option<(f64, f64)> {
    let held = |rung: &&R| rung.holds();
    ours.iter().rev().filter(held).find_map(|ours| {
        let theirs = theirs.iter().filter(held).find(|theirs| theirs.load() == ours.load())?;
        Some((cpu(ours), cpu(theirs)))
    })
}
