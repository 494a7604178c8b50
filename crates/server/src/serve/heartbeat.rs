//! When this process was last known to run, for the next one: whether a copy of an INVITE that was out is still a
//! retransmission depends on how long nobody was there.
//!
//! Written and never synced. After `kill -9` the kernel has it; after a power cut it may be old, which only makes the next
//! start more careful.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use crate::app::unix_ms;

const FILE: &str = "heartbeat";
const EVERY: Duration = Duration::from_millis(500);

/// A moment in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Since the machine was booted, on a clock that nobody sets and that goes on while the machine sleeps.
    at: Duration,
    /// When that process had taken up what the one before it left.
    began_ms: i64,
}

impl Beat {
    /// How long at most nobody has been there for what was sent at `sent_ms`. `None` for what an earlier process had sent:
    /// the last one could only guess what had become of it.
    pub fn elapsed_since(&self, sent_ms: i64) -> Option<Duration> {
        (sent_ms >= self.began_ms).then(|| since_boot().saturating_sub(self.at))
    }
}

/// The last one that a process left in this data directory; `None` where there is none of this boot.
pub fn last(directory: &Path) -> Option<Beat> {
    read(&std::fs::read_to_string(directory.join(FILE)).ok()?, &boot()?)
}

/// Beats until `stop`, from now on.
///
/// # Errors
/// The file cannot be written.
pub fn start(directory: &Path, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let path = directory.join(FILE);
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
    let file = Arc::new(file);
    let (boot, began_ms) = (boot().unwrap_or_default(), unix_ms());
    beat(&file, &boot, began_ms)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.changed() => break,
            }
            // A disk that stands still must not hold up a thread that others need.
            let (file, boot) = (file.clone(), boot.clone());
            let written = tokio::task::spawn_blocking(move || beat(&file, &boot, began_ms)).await;
            if let Ok(Err(error)) = written {
                tracing::debug!(%error, "no heartbeat: calls that ring would be taken back after a crash");
            }
        }
    });
    Ok(())
}

/// Always as long as before, so that no moment leaves half of it.
fn beat(file: &File, boot: &str, began_ms: i64) -> io::Result<()> {
    let now = since_boot().as_nanos();
    file.write_all_at(format!("{boot} {now:020} {began_ms:020}\n").as_bytes(), 0)
}

fn read(text: &str, boot: &str) -> Option<Beat> {
    let mut words = text.strip_suffix('\n')?.split(' ');
    let of = words.next().filter(|of| *of == boot && !boot.is_empty());
    let at = Duration::from_nanos(words.next()?.parse().ok()?);
    let began_ms = words.next()?.parse().ok()?;
    of.map(|_| Beat { at, began_ms })
}

/// Names this boot of the machine.
fn boot() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(name.trim().to_owned())
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_process_reads_when_this_one_ran() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(last(directory.path()), None, "there was none before");
        let (stop, stopped) = watch::channel(false);
        let before = unix_ms() - 1;
        start(directory.path(), stopped).expect("it is written");
        let beat = last(directory.path()).expect("it is there");
        let down = beat.elapsed_since(unix_ms()).expect("this process sent it");
        assert!(down < Duration::from_secs(60));
        assert_eq!(beat.elapsed_since(before), None, "an earlier process sent it");
        drop(stop);
    }

    #[test]
    fn a_beat_of_another_boot_or_half_of_one_says_nothing() {
        let beat = Beat { at: Duration::from_millis(1_500), began_ms: 7 };
        let table = [
            ("this 00000000001500000000 00000000000000000007\n", Some(beat)),
            ("other 00000000001500000000 00000000000000000007\n", None),
            ("this 00000000001500000000 000000000000000", None),
            ("this 00000000001500000000\n", None),
            ("this\n", None),
            ("", None),
        ];
        for (text, beat) in table {
            assert_eq!(read(text, "this"), beat, "{text:?}");
        }
        assert_eq!(read(" 1 1\n", ""), None, "a system that does not name its boots");
    }
}
