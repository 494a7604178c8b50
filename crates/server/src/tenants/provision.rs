//! Tenants at start: those of the file applied, those of the database read, and the first-run tenant
//! where there is none at all (decisions.md, "Around").

use engine::vocabulary::TenantId;
use store::{Store, StoreError, VoiceStatus};

use super::{
    Anonymous, BadSettings, NewSoftphone, NumberBindings, PrefixRoute, SoftphoneError, Softphones,
    Tenant, TenantSettings, Tenants,
};
use crate::access::{Access, IssueError, SealError, random_hex, sha256};
use crate::config::{Config, TenantInFile};
use crate::speech::engines::SpeechError;
use crate::speech::filled::FilledText;
use crate::speech::speaker::Speaker;
use crate::speech::style::VoiceStyle;
use crate::voices::{Upload, VoiceError, VoiceLibrary};

/// The name under which a tenant's callback shared key is sealed in the store.
pub const CALLBACK_SHARED_KEY: &str = "callback_shared_key";

const FIRST_TENANT: TenantId = TenantId(1);
const FIRST_ACCESS_CODES: [&str; 2] = ["2222201", "95599"];
/// 8899, 88884432 and the simulated carrier's numbers; 6666614 stays without a route.
const FIRST_PREFIXES: [&str; 9] = ["0", "1", "2", "3", "4", "5", "7", "8", "9"];
/// The port of the printed callback address; a receiver on this machine may take it.
const FIRST_TRUST: [&str; 2] = ["127.0.0.1:8800 private", "localhost:8800 private"];
const FIRST_SOFTPHONE: &str = "66666666";
const FIRST_RECORDING: &str = "100001";
const FIRST_RECORDING_TEXT: &str = "Hello. This is a voice notification from off hook. \
    If you can hear this, your first call has worked. Good bye.";

/// Key and secret of the tenant of a first start; the secret is known to nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRun {
    pub app_key: String,
    pub app_secret: String,
    /// Of softphone 66666666.
    pub softphone_password: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("[[tenant]] {id}: {source}; another tenant in the database may have its app_key")]
    Apply { id: u32, source: StoreError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Settings(#[from] BadSettings),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    SharedKey(#[from] IssueError),
    #[error("[[tenant]] {id}: softphone `{number}`: {source}")]
    Softphone { id: u32, number: String, source: SoftphoneError },
    #[error("the softphones could not be read: {0}")]
    Softphones(#[from] SoftphoneError),
    #[error("the first recording could not be stored: {0}")]
    Voice(#[from] VoiceError),
    #[error("the first recording could not be spoken: {0}")]
    Speech(#[from] SpeechError),
    #[error("the first recording could not be spoken: {0}")]
    Clip(#[from] media::ClipError),
}

/// What provisioning works with.
pub struct Provisioner<'a> {
    pub store: &'a Store,
    pub config: &'a Config,
    pub access: &'a Access,
    pub voices: &'a VoiceLibrary,
    pub speaker: &'a Speaker,
    pub softphones: &'a Softphones,
    pub bindings: &'a NumberBindings,
}

impl Provisioner<'_> {
    /// Fills `tenants`, the voice library, softphones and bindings. The first run's key and secret, where it was one: to
    /// be printed once.
    pub async fn run(
        &self,
        tenants: &Tenants,
        now_ms: i64,
    ) -> Result<Option<FirstRun>, ProvisionError> {
        self.softphones.load(&self.access.sealer).await?;
        let in_file = self.config.tenants.iter().map(TenantInFile::tenant_id);
        self.softphones.leave_to_tenants(&in_file.collect());
        self.bindings.load(now_ms).await?;
        for tenant in &self.config.tenants {
            self.apply(tenant).await?;
        }
        let stored = self.store.tenants().await?;
        let is_first_run = stored.is_empty();
        for mut row in stored {
            let id = row.id;
            row.from_file = self.config.tenants.iter().any(|tenant| tenant.tenant_id() == id);
            tenants.put(Tenant::from_row(row, &self.config.speech)?);
            self.voices.load(id).await?;
            self.voices.remove_orphans(id).await;
        }
        if is_first_run { self.first_run(tenants, now_ms).await.map(Some) } else { Ok(None) }
    }

    async fn apply(&self, tenant: &TenantInFile) -> Result<(), ProvisionError> {
        let id = tenant.tenant_id();
        let row = Tenant {
            id,
            name: tenant.name.clone(),
            app_key: tenant.app_key.clone(),
            app_secret_sha256: sha256(tenant.app_secret.reveal().as_bytes()),
            access_codes: tenant.access_codes.clone(),
            suspended: tenant.suspended,
            from_file: true,
            speech: Tenant::speech(id, &tenant.settings, &self.config.speech)?,
            settings: tenant.settings.clone(),
        }
        .to_row();
        let applied = self.store.put_tenant(row).await;
        applied.map_err(|source| ProvisionError::Apply { id: tenant.id, source })?;
        if let Some(key) = &tenant.callback_shared_key {
            self.access.put_callback_shared_key(id, key.reveal()).await?;
        }
        self.apply_softphones(tenant).await
    }

    async fn apply_softphones(&self, tenant: &TenantInFile) -> Result<(), ProvisionError> {
        let id = tenant.tenant_id();
        let written: Vec<&str> = tenant.softphones.iter().map(|phone| &*phone.number).collect();
        self.softphones.keep_of_file(id, &written).await?;
        for softphone in &tenant.softphones {
            let put = async {
                let new = softphone.checked()?;
                self.softphones.put(id, new, true, &self.access.sealer).await
            };
            put.await.map_err(|source| ProvisionError::Softphone {
                id: tenant.id,
                number: softphone.number.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// The recording first: a start that is cut short is a first run again.
    async fn first_run(&self, tenants: &Tenants, now_ms: i64) -> Result<FirstRun, ProvisionError> {
        self.voices.load(FIRST_TENANT).await?;
        if self.voices.read(FIRST_TENANT, |shelf| shelf.find(FIRST_RECORDING).is_none()) {
            self.first_recording(now_ms).await?;
        }
        let first = FirstRun {
            app_key: random_hex::<16>()?,
            app_secret: random_hex::<16>()?,
            softphone_password: random_hex::<8>()?,
        };
        self.first_softphone(&first).await?;
        let settings = self.first_settings();
        let tenant = Tenant {
            id: FIRST_TENANT,
            name: "first".to_owned(),
            app_key: first.app_key.clone(),
            app_secret_sha256: sha256(first.app_secret.as_bytes()),
            access_codes: FIRST_ACCESS_CODES.map(str::to_owned).to_vec(),
            suspended: false,
            from_file: false,
            speech: Tenant::speech(FIRST_TENANT, &settings, &self.config.speech)?,
            settings,
        };
        self.store.put_tenant(tenant.to_row()).await?;
        tenants.put(tenant);
        Ok(first)
    }

    async fn first_softphone(&self, first: &FirstRun) -> Result<(), SoftphoneError> {
        let (number, password) = (FIRST_SOFTPHONE.to_owned(), first.softphone_password.clone());
        let new = NewSoftphone::new(number, password, "made at the first start".to_owned(), false)?;
        self.softphones.put(FIRST_TENANT, new, false, &self.access.sealer).await?;
        Ok(())
    }

    fn first_settings(&self) -> TenantSettings {
        let trunks = &self.config.trunks;
        let sim = trunks.iter().find(|trunk| &*trunk.name.0 == "sim").or(trunks.first());
        let route = |prefix: &str| {
            sim.map(|trunk| PrefixRoute {
                prefix: prefix.to_owned(),
                route: trunk.name.clone().into(),
            })
        };
        let trusted =
            FIRST_TRUST.map(|entry| entry.parse().expect("the first trust list is valid"));
        TenantSettings {
            routes: FIRST_PREFIXES.into_iter().filter_map(route).collect(),
            trust: crate::callbacks::trust::TrustList(trusted.to_vec()),
            anonymous_call: Anonymous { enabled: true, ..Anonymous::default() },
            ..TenantSettings::default()
        }
    }

    async fn first_recording(&self, now_ms: i64) -> Result<(), ProvisionError> {
        let text = FilledText::plain(FIRST_RECORDING_TEXT);
        // The built-in engine speaks it, whatever is configured: it is always there.
        let built_in = crate::speech::config::SpeechConfig::default();
        let speech = self.speaker.speak(&built_in, &text, &VoiceStyle::default()).await?;
        let upload = Upload {
            name: Some("welcome.wav".to_owned()),
            scene: "3".to_owned(),
            status: VoiceStatus::Approved,
            account: None,
            callback_url: None,
            audio: media::Clip::from_pcm(&speech.samples, speech.rate)?.to_stored(),
        };
        let id = FIRST_RECORDING.to_owned();
        self.voices.add_recording_as(FIRST_TENANT, id, upload, now_ms).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
