//! The process's configuration: `offhook.toml`, then the environment, then a check of the whole.
//!
//! A value in the file is overridden by the variable `OFFHOOK__SECTION__KEY`. Wherever a secret may
//! stand, `<key>_file` (or `OFFHOOK__SECTION__<KEY>_FILE`) names a file that holds it. Unknown keys
//! are refused: a mistyped limit must not silently become the default.

mod document;
mod fraud;
mod listeners;
mod phones;
mod process;
mod secret;
mod storage;
mod tenant;
mod trunk;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::speech::config::SpeechConfig;

pub use fraud::Fraud;
pub use listeners::{Http, Https, LONGEST_WAIT_S, Media, Sip};
pub use phones::Phones;
pub use process::{Access, Admission, Callbacks, Defaults, Dns, Recordings};
pub use secret::Secret;
pub use storage::Storage;
pub use tenant::{SoftphoneInFile, TenantInFile};
pub use trunk::{Identity, NumberRule, Transport, Trunk, TrunkKind};

/// The port that SIP stands for (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;
const SIPS_PORT: u16 = 5061;

/// The whole configuration, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `data_directory` (`OFFHOOK__DATA_DIRECTORY`): database, recordings, keys. Default `offhook-data`.
    pub data_directory: PathBuf,
    /// `node` (`OFFHOOK__NODE`): 0 to 1023, part of every serial number. Default 0.
    pub node: u16,
    pub http: Http,
    /// Only where `[https]` is written.
    pub https: Option<Https>,
    pub sip: Sip,
    pub media: Media,
    pub phones: Phones,
    pub dns: Dns,
    pub defaults: Defaults,
    pub admission: Admission,
    pub storage: Storage,
    pub access: Access,
    pub fraud: Fraud,
    pub recordings: Recordings,
    pub callbacks: Callbacks,
    pub speech: SpeechConfig,
    /// `[[trunk]]`. None: one trunk of kind `sim`, named `sim`, so that a first start can call.
    #[serde(rename = "trunk")]
    pub trunks: Vec<Trunk>,
    /// `[[tenant]]`: applied at each start and read-only to the interface.
    #[serde(rename = "tenant")]
    pub tenants: Vec<TenantInFile>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_directory: "offhook-data".into(),
            node: 0,
            http: Http::default(),
            https: None,
            sip: Sip::default(),
            media: Media::default(),
            phones: Phones::default(),
            dns: Dns::default(),
            defaults: Defaults::default(),
            admission: Admission::default(),
            storage: Storage::default(),
            access: Access::default(),
            fraud: Fraud::default(),
            recordings: Recordings::default(),
            callbacks: Callbacks::default(),
            speech: SpeechConfig::default(),
            trunks: vec![Trunk::sim()],
            tenants: Vec::new(),
        }
    }
}

/// A configuration that cannot be used: which file, which key, what is wrong, what to write.
#[derive(Debug, thiserror::Error)]
#[error("{}{}{what}", part(.file, ": "), part(.key, ": "))]
pub struct ConfigError {
    /// The file, or empty where the value came from a variable or a default.
    pub file: String,
    /// The key in dotted form, `http.bind`, or empty.
    pub key: String,
    /// What is wrong and what to write instead.
    pub what: String,
}

fn part(text: &str, after: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{text}{after}") }
}

impl Config {
    /// Reads `path` (where it is given it must exist; otherwise `offhook.toml` in the working
    /// directory, where there is one) and the process's environment.
    pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        let file = match path {
            Some(path) => Some(path.to_path_buf()),
            None => Some(PathBuf::from("offhook.toml")).filter(|path| path.exists()),
        };
        let text = |text: OsString| text.into_string().ok();
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Config::read(file.as_deref(), variables)
    }

    /// As [`load`](Config::load), with the environment as an argument.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path).map_err(|error| ConfigError {
                file: path.display().to_string(),
                key: String::new(),
                what: format!("cannot be read: {error}"),
            })?,
            None => String::new(),
        };
        let name = file.map(|path| path.display().to_string()).unwrap_or_default();
        let mut config: Config = document::read(&name, &text, environment)?;
        if config.trunks.is_empty() {
            config.trunks.push(Trunk::sim());
        }
        config.check().map_err(|(key, what)| ConfigError { file: name, key, what })?;
        Ok(config)
    }

    /// Where SIP listens over UDP.
    pub fn sip_udp(&self) -> SocketAddr {
        self.sip.udp.unwrap_or_else(|| self.default_sip())
    }

    /// Where SIP listens over TCP.
    pub fn sip_tcp(&self) -> SocketAddr {
        self.sip.tcp.unwrap_or_else(|| self.default_sip())
    }

    /// Where SIP listens over TLS, or where connections come from that trunks are called over.
    pub fn sip_tls(&self) -> SocketAddr {
        self.sip.tls.unwrap_or_else(|| SocketAddr::new(self.sip_tcp().ip(), SIPS_PORT))
    }

    /// Where RTP is sent from and received.
    pub fn media_bind(&self) -> IpAddr {
        self.media.bind.unwrap_or_else(|| self.default_sip().ip())
    }

    fn default_sip(&self) -> SocketAddr {
        if self.trunks.iter().all(|trunk| trunk.kind == TrunkKind::Sim) {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
        } else {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SIP_PORT)
        }
    }

    /// What one value cannot know of the others; the key at fault and what to write.
    fn check(&self) -> Result<(), (String, String)> {
        if self.node > 1023 {
            return Err(("node".into(), "must be 0 to 1023".into()));
        }
        self.http.check()?;
        self.sip.check()?;
        self.phones.check()?;
        self.defaults.check()?;
        self.admission.check()?;
        self.storage.check()?;
        self.access.check()?;
        self.fraud.check()?;
        for (index, trunk) in self.trunks.iter().enumerate() {
            let key = |name: &str| format!("trunk[{index}].{name}");
            trunk.check().map_err(|(name, what)| (key(name), what))?;
            if self.trunks[..index].iter().any(|other| other.name == trunk.name) {
                return Err((key("name"), format!("`{}` is the name of two trunks", trunk.name)));
            }
        }
        for (index, tenant) in self.tenants.iter().enumerate() {
            let key = |name: &str| format!("tenant[{index}].{name}");
            tenant.check(&self.trunks).map_err(|(name, what)| (key(&name), what))?;
            self.speech
                .with_languages(&tenant.settings.speech)
                .map_err(|error| (key("speech"), error.to_string()))?;
            for other in &self.tenants[..index] {
                if let Some((name, what)) = tenant.clash(other) {
                    return Err((key(name), what));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
