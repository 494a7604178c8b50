//! Which engine speaks which language, per tenant.
use super::normalise::{Language, is_han, language_of};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, path::PathBuf};
use thiserror::Error;
use url::Url;

/// Engines by name and who speaks what. Two engines are always there unless their names are taken: `flite` (inside this
/// binary, English only) and `espeak` (espeak-ng, if it is installed). What `languages` does not name is spoken by
/// `default`, which is `flite`; while it is, Chinese is spoken by `espeak`, and other scripts need `languages.other`.
///
/// ```toml
/// default = "flite"
/// languages = { zh = "piper" }
/// [engines.piper]
/// kind = "command"
/// argv = ["piper", "--model", "/opt/zh_CN.onnx", "--length-scale", "{length_scale}", "--output_file", "{out}"]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct SpeechConfig {
    engines: BTreeMap<String, EngineConfig>,
    languages: BTreeMap<Language, String>,
    default: String,
}

/// One engine, by its `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum EngineConfig {
    /// flite inside this process: one English voice of 8 kHz.
    Flite {},
    /// espeak-ng as a subprocess.
    Espeak {
        /// Its voice (`espeak-ng --voices`); absent: `en-us` for English, `cmn-latn-pinyin` for Chinese.
        #[serde(default)]
        voice: Option<String>,
        /// Voices for the documented voice names of templates; the others get `voice`.
        #[serde(default)]
        voices: BTreeMap<String, String>,
        /// A name on the PATH or a path.
        #[serde(default = "espeak_program")]
        program: PathBuf,
    },
    /// Any program, started without a shell. It gets the text on its standard input, or as an argument where `{text}`
    /// stands; it writes WAV to the file of `{out}`, or to its standard output where no `{out}` stands. `{language}`,
    /// `{voice}`, `{speed}` (−200 to 500) and `{length_scale}` (2.0 to 0.5, 1 ÷ speed factor) are filled in too.
    Command { argv: Vec<String> },
    /// Any service: a POST whose reply is WAV.
    Http {
        url: Url,
        #[serde(default)]
        body: HttpBody,
        /// Sent as `Authorization: Bearer …`.
        #[serde(default)]
        bearer_token: Option<Secret>,
    },
}

/// What an HTTP engine is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpBody {
    /// `{"text", "language", "voice", "speed", "speed_factor"}`.
    #[default]
    Json,
    /// The text alone, as `text/plain; charset=utf-8`.
    Text,
}

/// A setting that no log and no error shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why speech settings make no sense; the operator is at fault.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error(
        "speech.languages.{language} names the engine {engine:?}, which is not under speech.engines"
    )]
    UnknownEngine { language: String, engine: String },
    #[error("speech.default names the engine {0:?}, which is not under speech.engines")]
    UnknownDefault(String),
    #[error("speech.languages.{0} is no language: expected en, zh or other")]
    UnknownLanguage(String),
    #[error("speech.engines.{0}: argv is empty, expected a program and its arguments")]
    EmptyCommand(String),
    #[error("speech.engines.{0}: url must be http:// or https://")]
    NotHttp(String),
}

/// A text that no configured engine can speak: what the operator has to install or configure.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("no configured speech engine can speak {language}: {hint}")]
pub struct CannotSpeak {
    pub language: Language,
    pub hint: String,
}

/// Whether a text can be spoken with these settings, as far as can be known without speaking it: the engine of its
/// language exists and knows its script. Looks for programs on the PATH.
pub fn can_speak(text: &str, config: &SpeechConfig) -> Result<(), CannotSpeak> {
    config.engine_for(text).map(|_| ())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    engines: BTreeMap<String, EngineConfig>,
    languages: BTreeMap<String, String>,
    default: String,
}

impl Default for Raw {
    fn default() -> Self {
        Self { engines: BTreeMap::new(), languages: BTreeMap::new(), default: FLITE.to_owned() }
    }
}

const FLITE: &str = "flite";
const ESPEAK: &str = "espeak";

fn espeak_program() -> PathBuf {
    "espeak-ng".into()
}

impl Default for SpeechConfig {
    fn default() -> Self {
        SpeechConfig::try_from(Raw::default()).expect("the built-in engines need no settings")
    }
}

impl TryFrom<Raw> for SpeechConfig {
    type Error = ConfigError;

    fn try_from(raw: Raw) -> Result<Self, ConfigError> {
        let mut engines = BTreeMap::from([
            (FLITE.to_owned(), EngineConfig::Flite {}),
            (
                ESPEAK.to_owned(),
                EngineConfig::Espeak {
                    voice: None,
                    voices: BTreeMap::new(),
                    program: espeak_program(),
                },
            ),
        ]);
        engines.extend(raw.engines);
        for (name, engine) in &engines {
            match engine {
                EngineConfig::Command { argv } if argv.first().is_none_or(String::is_empty) => {
                    return Err(ConfigError::EmptyCommand(name.clone()));
                }
                EngineConfig::Http { url, .. } if !["http", "https"].contains(&url.scheme()) => {
                    return Err(ConfigError::NotHttp(name.clone()));
                }
                EngineConfig::Flite {}
                | EngineConfig::Espeak { .. }
                | EngineConfig::Command { .. }
                | EngineConfig::Http { .. } => {}
            }
        }
        let Some(default) = engines.get(&raw.default) else {
            return Err(ConfigError::UnknownDefault(raw.default));
        };
        let mut languages = BTreeMap::new();
        if matches!(default, EngineConfig::Flite {}) {
            languages.insert(Language::Chinese, ESPEAK.to_owned());
        }
        for (tag, engine) in raw.languages {
            let Some(language) = Language::ALL.into_iter().find(|language| language.tag() == tag)
            else {
                return Err(ConfigError::UnknownLanguage(tag));
            };
            if !engines.contains_key(&engine) {
                return Err(ConfigError::UnknownEngine { language: tag, engine });
            }
            languages.insert(language, engine);
        }
        Ok(Self { engines, languages, default: raw.default })
    }
}

impl SpeechConfig {
    /// These settings with a tenant's choice of engine per language over them.
    pub fn with_languages(
        &self,
        chosen: &BTreeMap<String, String>,
    ) -> Result<SpeechConfig, ConfigError> {
        let mut own = self.clone();
        for (tag, engine) in chosen {
            let language = Language::ALL.into_iter().find(|language| language.tag() == tag);
            let language = language.ok_or_else(|| ConfigError::UnknownLanguage(tag.clone()))?;
            if !self.engines.contains_key(engine) {
                return Err(ConfigError::UnknownEngine {
                    language: tag.clone(),
                    engine: engine.clone(),
                });
            }
            own.languages.insert(language, engine.clone());
        }
        Ok(own)
    }

    /// The engine for a text and the language that it is in.
    pub fn engine_for(&self, text: &str) -> Result<(&EngineConfig, Language), CannotSpeak> {
        let language = language_of(text);
        let cannot = |hint: String| CannotSpeak { language, hint };
        let name = self.languages.get(&language).unwrap_or(&self.default);
        let engine =
            self.engines.get(name).expect("every name was looked up when the settings were read");
        match engine {
            EngineConfig::Flite {} if language != Language::English => Err(cannot(format!(
                "{name:?} speaks English only; install espeak-ng (apt-get install espeak-ng) or another engine and name \
                 it in speech.languages.{}",
                language.tag()
            ))),
            EngineConfig::Espeak { voice: Some(voice), .. }
                if language == Language::Chinese
                    && !(voice.starts_with("cmn") || voice.starts_with("yue")) =>
            {
                Err(cannot(format!(
                    "the voice {voice:?} of {name:?} is not Chinese; use cmn-latn-pinyin"
                )))
            }
            EngineConfig::Espeak { voice: None, .. } if language == Language::Other => {
                Err(cannot(format!(
                    "name an engine in speech.languages.other; {name:?} needs a voice of that language"
                )))
            }
            EngineConfig::Espeak { program, .. } if !installed(program) => Err(cannot(format!(
                "install espeak-ng (apt-get install espeak-ng), or set speech.engines.{name}.program: {} was not found",
                program.display()
            ))),
            EngineConfig::Command { argv } if !installed(argv[0].as_ref()) => {
                Err(cannot(format!("install {}, the program of speech.engines.{name}", argv[0])))
            }
            EngineConfig::Flite {}
            | EngineConfig::Espeak { .. }
            | EngineConfig::Command { .. }
            | EngineConfig::Http { .. } => Ok((engine, language)),
        }
    }
}

/// Whether a program can be started: a path to a file, or a name that is on the PATH.
fn installed(program: &std::path::Path) -> bool {
    if program.components().count() > 1 {
        return program.is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Whether espeak's voice takes Chinese as pinyin, and the text has characters to turn into it.
pub(super) fn needs_pinyin(voice: &str, text: &str) -> bool {
    voice == "cmn-latn-pinyin" && text.contains(is_han)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(json: serde_json::Value) -> Result<SpeechConfig, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn the_built_in_engines_need_no_settings() {
        let config = config(json!({})).unwrap();
        assert_eq!(config, SpeechConfig::default());
        let (engine, language) = config.engine_for("Hello").unwrap();
        assert_eq!((engine, language), (&EngineConfig::Flite {}, Language::English));
        let (engine, language) = config.engine_for("您好").unwrap();
        assert!(
            matches!(engine, EngineConfig::Espeak { voice: None, .. })
                && language == Language::Chinese
        );
    }

    #[test]
    fn settings_that_make_no_sense() {
        for (json, part) in [
            (json!({"engine": {}}), "unknown field `engine`"),
            (json!({"engines": {"x": {"kind": "flite", "voice": "a"}}}), "unknown field `voice`"),
            (json!({"engines": {"x": {"kind": "sapi"}}}), "unknown variant `sapi`"),
            (json!({"engines": {"x": {"kind": "command"}}}), "missing field `argv`"),
            (
                json!({"engines": {"x": {"kind": "command", "argv": []}}}),
                "speech.engines.x: argv is empty",
            ),
            (
                json!({"engines": {"x": {"kind": "http", "url": "file:///x"}}}),
                "speech.engines.x: url must be",
            ),
            (json!({"engines": {"x": {"kind": "http", "url": "x"}}}), "relative URL"),
            (json!({"languages": {"zh": "piper"}}), "names the engine \"piper\""),
            (json!({"languages": {"fr": "flite"}}), "speech.languages.fr is no language"),
            (json!({"default": "piper"}), "speech.default names the engine \"piper\""),
        ] {
            let error = config(json.clone()).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_spoken_says_what_to_do() {
        let none = json!({"kind": "espeak", "program": "/nonexistent/espeak-ng"});
        let english = json!({"kind": "espeak", "voice": "en-us"});
        for (text, json, part) in [
            ("您好", json!({"languages": {"zh": "flite"}}), "install espeak-ng"),
            ("您好", json!({"engines": {"espeak": none}}), "install espeak-ng"),
            (
                "您好",
                json!({"engines": {"e": english}, "languages": {"zh": "e"}}),
                "use cmn-latn-pinyin",
            ),
            ("Привет", json!({}), "speech.languages.other"),
            ("Привет", json!({"default": "espeak"}), "speech.languages.other"),
            (
                "Hello",
                json!({"engines": {"c": {"kind": "command", "argv": ["offhook-no-such-program"]}}, "default": "c"}),
                "install offhook-no-such-program",
            ),
        ] {
            let error = can_speak(text, &config(json.clone()).unwrap()).unwrap_err();
            assert!(error.to_string().contains(part), "{json}: {error}");
        }
        let config = config(
            json!({"engines": {"c": {"kind": "command", "argv": ["sh"]}}, "languages": {"other": "c"}}),
        );
        assert_eq!(can_speak("Привет", &config.unwrap()), Ok(()));
    }

    #[test]
    fn a_token_is_not_printed() {
        let http = json!({"kind": "http", "url": "http://h/", "bearer_token": "s3cr3t"});
        let config = config(json!({"engines": {"h": http}})).unwrap();
        assert!(!format!("{config:?}").contains("s3cr3t"));
    }
}
