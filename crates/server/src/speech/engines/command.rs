//! Any program that writes WAV, started without a shell.
use super::{MAX_OUTPUT, SpeechError, Utterance, subprocess};
use crate::speech::{Speech, wav};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

pub(super) async fn render(
    argv: &[String],
    work_dir: &Path,
    utterance: &Utterance,
) -> Result<Speech, SpeechError> {
    let [program, arguments @ ..] = argv else {
        return Err(SpeechError::NotRun {
            program: String::new(),
            reason: "its command line is empty".into(),
        });
    };
    let takes = |placeholder: &str| arguments.iter().any(|argument| argument.contains(placeholder));
    let out = takes("{out}").then(|| OutputFile::new(work_dir));
    let filled: Vec<String> = arguments
        .iter()
        .map(|argument| fill(argument, utterance, out.as_ref().map(|out| out.0.as_path())))
        .collect();
    let input = if takes("{text}") { "" } else { utterance.words.as_str() };
    let output = subprocess::run(Path::new(program), &filled, input).await?;
    let output = match &out {
        None => output,
        Some(file) => file.read(program).await?,
    };
    Ok(wav::parse(&output)?)
}

/// Fills the placeholders from left to right, once: what a text contains is never a placeholder itself. A text that
/// begins an argument with a hyphen is moved by a blank, so that no program takes it for an option.
fn fill(argument: &str, utterance: &Utterance, out: Option<&Path>) -> String {
    let style = &utterance.style;
    let values = [
        ("{text}", utterance.words.clone()),
        ("{out}", out.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()),
        ("{language}", utterance.language.tag().to_owned()),
        ("{voice}", style.voice.clone().unwrap_or_default()),
        ("{speed}", style.speed.value().to_string()),
        ("{length_scale}", format!("{:.3}", 1.0 / style.speed.factor())),
    ];
    let mut filled = String::new();
    let mut rest = argument;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        let (length, value) = match values.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => (name.len(), value.as_str()),
            None => (1, "{"),
        };
        if filled.is_empty() && value.starts_with('-') && rest.starts_with("{text}") {
            filled.push(' ');
        }
        filled.push_str(value);
        rest = &rest[length..];
    }
    filled + rest
}

/// Where the program is to write; gone when dropped, whatever happened.
struct OutputFile(PathBuf);

impl OutputFile {
    fn new(work_dir: &Path) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(work_dir.join(format!("speech-{}-{number}.wav", std::process::id())))
    }

    async fn read(&self, program: &str) -> Result<Vec<u8>, SpeechError> {
        let path = self.0.clone();
        let read = move || {
            let mut output = Vec::new();
            File::open(path)?.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut output).map(|_| output)
        };
        let output = tokio::task::spawn_blocking(read).await.map_err(|_| SpeechError::Crashed)?;
        let output = output.map_err(|error| SpeechError::NotRun {
            program: program.to_owned(),
            reason: format!("it left nothing readable at {{out}}: {error}"),
        })?;
        if output.len() > MAX_OUTPUT { Err(SpeechError::TooLong) } else { Ok(output) }
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // It is not there if the program failed.
        let _absent = std::fs::remove_file(&self.0);
    }
}
