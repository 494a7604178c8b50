//! Renders each clip once: from the cache, or by an engine with everyone who wants the same clip waiting together.
use super::{
    Speech,
    cache::{ClipCache, ClipId},
    config::{EngineConfig, SpeechConfig},
    engines::{Engines, SpeechError, Utterance, identity},
    filled::FilledText,
    normalise::{Language, spoken},
    style::VoiceStyle,
};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, watch};

/// Limits of rendering.
#[derive(Debug, Clone)]
pub struct SpeakerSettings {
    /// A directory of the speaker's own, for clips and the engines' temporary files.
    pub directory: PathBuf,
    /// How many bytes of clips are kept there.
    pub cache_bytes: u64,
    /// How many engines run at once, at least 1.
    pub parallel: usize,
    /// How many different clips may be in the making, running ones included; more are refused.
    pub in_the_making: usize,
    /// For one clip.
    pub timeout: Duration,
}

impl SpeakerSettings {
    /// 256 MiB of clips, two engines, 256 clips in the making, 20 s for each.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            cache_bytes: 256 << 20,
            parallel: 2,
            in_the_making: 256,
            timeout: Duration::from_secs(20),
        }
    }
}

/// Speaks texts. Cheap to clone; all clones share the cache and the limits.
#[derive(Clone)]
pub struct Speaker {
    shared: Arc<Shared>,
}

struct Shared {
    settings: SpeakerSettings,
    engines: Engines,
    cache: Mutex<ClipCache>,
    making: Mutex<BTreeMap<ClipId, Waiting>>,
    running: Semaphore,
}

type Rendered = Result<Arc<Speech>, SpeechError>;
type Waiting = watch::Receiver<Option<Rendered>>;

impl Speaker {
    /// Opens the cache; `tls` is for engines that are services. Blocking. An error is the directory's fault, or TLS's.
    pub fn open(settings: SpeakerSettings, tls: rustls::ClientConfig) -> io::Result<Self> {
        let work_dir = settings.directory.join("work");
        std::fs::create_dir_all(&work_dir)?;
        let cache = ClipCache::open(&settings.directory.join("clips"), settings.cache_bytes)?;
        let engines = Engines::new(work_dir, settings.timeout, tls).map_err(io::Error::other)?;
        let running = Semaphore::new(settings.parallel.max(1));
        let shared = Shared {
            settings,
            engines,
            cache: Mutex::new(cache),
            making: Mutex::default(),
            running,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What the clip of this text will be called, without rendering it: equal ids are equal samples.
    #[cfg(test)]
    pub fn clip_id(
        &self,
        config: &SpeechConfig,
        text: &FilledText,
        style: &VoiceStyle,
    ) -> Result<ClipId, super::config::CannotSpeak> {
        let (engine, language) = config.engine_for(&text.words())?;
        Ok(Order::new(engine, language, text, style).id)
    }

    /// The samples of a text, with its numbers, dates and times spoken as such. Who stops waiting stops nobody else,
    /// and the clip is finished for the cache.
    pub async fn speak(
        &self,
        config: &SpeechConfig,
        text: &FilledText,
        style: &VoiceStyle,
    ) -> Rendered {
        let (engine, language) = config.engine_for(&text.words())?;
        let order = Order::new(engine, language, text, style);
        // A clip that is there needs no place among those in the making, and waits for no engine.
        if let Some(speech) = self.shared.cached(order.id).await? {
            return Ok(speech);
        }
        let mut waiting = self.join(order)?;
        // An error means that the maker is gone without an answer: it panicked.
        let rendered = waiting.wait_for(Option::is_some).await.map(|rendered| rendered.clone());
        rendered.ok().flatten().unwrap_or(Err(SpeechError::Crashed))
    }

    /// Joins those who wait for the clip, or sees to it that it is made.
    fn join(&self, order: Order) -> Result<Waiting, SpeechError> {
        let mut making = lock(&self.shared.making);
        if let Some(waiting) = making.get(&order.id) {
            return Ok(waiting.clone());
        }
        if making.len() >= self.shared.settings.in_the_making {
            return Err(SpeechError::Busy);
        }
        let (done, waiting) = watch::channel(None);
        making.insert(order.id, waiting.clone());
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let place = Place { shared: &shared, id: order.id };
            let rendered = shared.make(&order).await;
            // Out of the list first: who comes later finds the cache, never an old failure.
            drop(place);
            let _nobody_waits = done.send(Some(rendered));
        });
        Ok(waiting)
    }
}

impl Shared {
    async fn make(self: &Arc<Self>, order: &Order) -> Rendered {
        let _running = self.running.acquire().await.map_err(|_| SpeechError::Crashed)?;
        // It may have been finished between the caller's look into the cache and its place here.
        if let Some(speech) = self.cached(order.id).await? {
            return Ok(speech);
        }
        let id = order.id;
        let speech = Arc::new(self.engines.render(&order.engine, &order.utterance).await?);
        let kept = Arc::clone(&speech);
        if let Err(error) = self.with_cache(move |cache| cache.store(id, &kept)).await? {
            // The clip can be played all the same; it is rendered again next time.
            tracing::warn!(%error, "a rendered clip could not be cached");
        }
        Ok(speech)
    }

    async fn cached(self: &Arc<Self>, id: ClipId) -> Result<Option<Arc<Speech>>, SpeechError> {
        Ok(self.with_cache(move |cache| cache.load(id)).await?.map(Arc::new))
    }

    async fn with_cache<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&mut ClipCache) -> T + Send + 'static,
    ) -> Result<T, SpeechError> {
        let shared = Arc::clone(self);
        let acting = tokio::task::spawn_blocking(move || act(&mut lock(&shared.cache)));
        acting.await.map_err(|_| SpeechError::Crashed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place among those in the making, given up even when its engine panics.
struct Place<'a> {
    shared: &'a Shared,
    id: ClipId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.shared.making).remove(&self.id);
    }
}

/// A clip to be made.
struct Order {
    id: ClipId,
    engine: EngineConfig,
    utterance: Utterance,
}

impl Order {
    fn new(
        engine: &EngineConfig,
        language: Language,
        text: &FilledText,
        style: &VoiceStyle,
    ) -> Self {
        let utterance = Utterance { words: spoken(text, language), language, style: style.clone() };
        let id = ClipId::of(&[
            &identity(engine),
            language.tag(),
            style.voice.as_deref().unwrap_or_default(),
            &style.speed.value().to_string(),
            &style.volume.value().to_string(),
            &utterance.words,
        ]);
        Self { id, engine: engine.clone(), utterance }
    }
}

#[cfg(test)]
#[path = "speaker_tests.rs"]
mod tests;
