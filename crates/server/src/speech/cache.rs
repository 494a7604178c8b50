//! Rendered clips on disk, by their content; the least recently used go first. Files prove themselves by a checksum:
//! one that was cut or changed is thrown away and rendered again.
use super::Speech;
use ring::digest;
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The content of a clip: SHA-256 over everything that decides its samples.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClipId([u8; 32]);

impl ClipId {
    /// Each part counts with its length, so that no two lists of parts run together.
    pub fn of(parts: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        Self(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for ClipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClipId({self})")
    }
}

/// A directory of clips with a limit on their bytes. Blocking: for a blocking thread.
pub struct ClipCache {
    directory: PathBuf,
    limit: u64,
    entries: BTreeMap<ClipId, Entry>,
    bytes: u64,
    clock: u64,
}

struct Entry {
    bytes: u64,
    used: u64,
}

const MAGIC: &[u8; 8] = b"ohclip1\n";
const HEADER: usize = MAGIC.len() + 4 + 32;
const EXTENSION: &str = "clip";
const PARTIAL: &str = "partial";

impl ClipCache {
    /// Opens a directory of its own, creating it if need be; what a crash left half-written is removed. `limit` is in
    /// bytes.
    pub fn open(directory: &Path, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let mut found = Vec::new();
        for file in fs::read_dir(directory)? {
            let file = file?;
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == PARTIAL) {
                fs::remove_file(&path)?;
            } else if let Some(id) = id_of(&path) {
                let metadata = file.metadata()?;
                found.push((
                    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    id,
                    metadata.len(),
                ));
            }
        }
        found.sort_unstable();
        let mut cache = Self {
            directory: directory.into(),
            limit,
            entries: BTreeMap::new(),
            bytes: 0,
            clock: 0,
        };
        for (_, id, bytes) in found {
            cache.insert(id, bytes);
        }
        cache.evict();
        Ok(cache)
    }

    /// The clip, if it is there and whole.
    pub fn load(&mut self, id: ClipId) -> Option<Speech> {
        self.clock += 1;
        self.entries.get_mut(&id)?.used = self.clock;
        let path = self.path(id);
        let speech = fs::read(&path).ok().and_then(|bytes| decode(&bytes));
        if speech.is_some() {
            // The order of use survives a restart by the files' times; losing one of them costs a rendering at most.
            let touched = fs::File::options().write(true).open(&path);
            let _kept = touched.and_then(|file| file.set_modified(SystemTime::now()));
        } else {
            tracing::warn!(clip = %id, "a cached clip was damaged and is rendered again");
            self.remove(id);
        }
        speech
    }

    /// Keeps a clip, and drops others if it has to. A clip beyond the whole limit is not kept.
    pub fn store(&mut self, id: ClipId, speech: &Speech) -> io::Result<()> {
        let bytes = encode(speech);
        if bytes.len() as u64 > self.limit {
            return Ok(());
        }
        let partial = self.directory.join(format!("{id}.{PARTIAL}"));
        fs::write(&partial, &bytes)?;
        fs::rename(&partial, self.path(id))?;
        self.insert(id, bytes.len() as u64);
        self.evict();
        Ok(())
    }

    fn insert(&mut self, id: ClipId, bytes: u64) {
        self.clock += 1;
        self.bytes += bytes;
        if let Some(before) = self.entries.insert(id, Entry { bytes, used: self.clock }) {
            self.bytes -= before.bytes;
        }
    }

    fn evict(&mut self) {
        while self.bytes > self.limit {
            let Some(oldest) =
                self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id)
            else {
                return;
            };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: ClipId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes;
        }
        if let Err(error) = fs::remove_file(self.path(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a cached clip could not be removed");
        }
    }

    fn path(&self, id: ClipId) -> PathBuf {
        self.directory.join(format!("{id}.{EXTENSION}"))
    }
}

fn id_of(path: &Path) -> Option<ClipId> {
    let stem = path.file_stem()?.to_str().filter(|stem| stem.len() == 64 && stem.is_ascii())?;
    if path.extension()? != EXTENSION {
        return None;
    }
    let mut id = [0; 32];
    for (byte, at) in id.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&stem[at..at + 2], 16).ok()?;
    }
    Some(ClipId(id))
}

fn encode(speech: &Speech) -> Vec<u8> {
    let mut body = speech.rate.to_le_bytes().to_vec();
    body.extend(speech.samples.iter().flat_map(|sample| sample.to_le_bytes()));
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(MAGIC);
    bytes.extend(digest::digest(&digest::SHA256, &body).as_ref());
    bytes.extend(body);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Speech> {
    let (checksum, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(32)?;
    if digest::digest(&digest::SHA256, body).as_ref() != checksum {
        return None;
    }
    let (rate, samples) = body.split_first_chunk::<4>()?;
    let samples =
        samples.chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]])).collect();
    Some(Speech { samples, rate: u32::from_le_bytes(*rate) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(seed: i16) -> (ClipId, Speech) {
        (ClipId::of(&[&seed.to_string()]), Speech { samples: vec![seed; 1000], rate: 8000 })
    }

    const CLIP_BYTES: u64 = 2000 + HEADER as u64;

    #[test]
    fn what_was_stored_is_found_again_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (id, speech) = clip(1);
        let mut cache = ClipCache::open(directory.path(), 1 << 20).unwrap();
        assert_eq!(cache.load(id), None);
        cache.store(id, &speech).unwrap();
        assert_eq!(cache.load(id), Some(speech.clone()));
        fs::write(directory.path().join("x.partial"), b"half").unwrap();
        fs::write(directory.path().join("README"), b"not ours").unwrap();
        let mut cache = ClipCache::open(directory.path(), 1 << 20).unwrap();
        assert_eq!(cache.load(id), Some(speech));
        assert!(
            !directory.path().join("x.partial").exists()
                && directory.path().join("README").exists()
        );
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = ClipCache::open(directory.path(), 3 * CLIP_BYTES).unwrap();
        let clips: Vec<_> = (1..=4).map(clip).collect();
        for (id, speech) in &clips[..3] {
            cache.store(*id, speech).unwrap();
        }
        assert!(cache.load(clips[0].0).is_some());
        cache.store(clips[3].0, &clips[3].1).unwrap();
        let there: Vec<_> = clips.iter().map(|(id, _)| cache.load(*id).is_some()).collect();
        assert_eq!(there, [true, false, true, true]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
        drop(cache);
        ClipCache::open(directory.path(), CLIP_BYTES).unwrap();
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "a smaller limit holds at once"
        );
    }

    #[test]
    fn a_clip_beyond_the_limit_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = ClipCache::open(directory.path(), CLIP_BYTES - 1).unwrap();
        let (id, speech) = clip(1);
        cache.store(id, &speech).unwrap();
        assert_eq!((cache.load(id), cache.bytes), (None, 0));
    }

    #[test]
    fn every_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = ClipCache::open(directory.path(), 1 << 20).unwrap();
        let (id, speech) = clip(1);
        let whole = encode(&speech);
        for at in (0..whole.len()).step_by(7) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed), None, "byte {at} changed");
            assert_eq!(decode(&whole[..at]), None, "cut at {at}");
        }
        cache.store(id, &speech).unwrap();
        fs::write(cache.path(id), &whole[..100]).unwrap();
        assert_eq!(cache.load(id), None);
        assert_eq!((cache.bytes, cache.path(id).exists()), (0, false));
        cache.store(id, &speech).unwrap();
        fs::remove_file(cache.path(id)).unwrap();
        assert_eq!(cache.load(id), None);
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(ClipId::of(&["ab", "c"]), ClipId::of(&["a", "bc"]));
        assert_ne!(ClipId::of(&["ab"]), ClipId::of(&["ab", ""]));
        let id = ClipId::of(&["ab"]);
        assert_eq!(id_of(Path::new(&format!("{id}.clip"))), Some(id));
    }
}
