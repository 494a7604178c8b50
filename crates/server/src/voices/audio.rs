//! Uploaded audio: checked, brought into the form in which it is sent, written durably.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use media::Clip;
use tokio::io::AsyncWriteExt as _;

use super::VoiceError;

/// An upload that can be played.
pub struct Prepared {
    /// What [`Clip::from_stored`] reads.
    pub stored: Vec<u8>,
    pub duration_ms: u64,
    /// What it came as: `wav` or `mp3`.
    pub format: &'static str,
}

/// Decodes on a thread for blocking work: seconds of CPU for a long file.
pub async fn prepare(bytes: Vec<u8>) -> Result<Prepared, VoiceError> {
    let format = if bytes.starts_with(b"RIFF") { "wav" } else { "mp3" };
    let decoded = tokio::task::spawn_blocking(move || {
        let clip = Clip::decode(&bytes)?;
        Ok(Prepared {
            duration_ms: clip.duration().as_millis() as u64,
            stored: clip.to_stored(),
            format,
        })
    });
    decoded.await.map_err(|_| VoiceError::Cut)?
}

/// Writes beside the final name, syncs, renames: a crash leaves the whole file or none.
pub async fn write_durably(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = directory.join(name);
    let parent = path.parent().unwrap_or(directory).to_path_buf();
    tokio::fs::create_dir_all(&parent).await?;
    let part = path.with_extension("part");
    let mut file = tokio::fs::File::create(&part).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    tokio::fs::rename(&part, &path).await?;
    // The rename is durable once its directory is.
    tokio::fs::File::open(&parent).await?.sync_all().await
}

/// Removes files of `directory` that are not among `named`; how many.
pub async fn remove_others(directory: &Path, named: &BTreeSet<String>) -> io::Result<u32> {
    let mut entries = match tokio::fs::read_dir(directory).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    while let Some(entry) = entries.next_entry().await? {
        let known = entry.file_name().to_str().is_some_and(|name| named.contains(name));
        if !known && entry.file_type().await?.is_file() {
            tokio::fs::remove_file(entry.path()).await?;
            removed += 1;
        }
    }
    Ok(removed)
}
