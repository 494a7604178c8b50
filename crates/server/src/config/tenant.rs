//! `[[tenant]]`: a tenant that lives in the file.

use config::{Map, Value, ValueKind};
use engine::vocabulary::TenantId;
use serde::Deserialize;

use super::{Secret, Trunk};
use crate::tenants::{NewSoftphone, SoftphoneError, TenantSettings};

/// The keys of `[[tenant]]` that say who it is; all others are its settings.
pub(super) const IDENTITY: [&str; 8] = [
    "id",
    "name",
    "app_key",
    "app_secret",
    "access_codes",
    "callback_shared_key",
    "suspended",
    "softphones",
];

/// A tenant as the file gives it: who it is beside the keys of [`TenantSettings`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantInFile {
    /// The number of the VDN, 1 or higher.
    pub id: u32,
    pub name: String,
    /// What `tokenByAkSk` and `X-APP-Key` take.
    pub app_key: String,
    /// Or `app_secret_file`; 16 characters or more.
    pub app_secret: Secret,
    /// Numbers that its calls may show; the first is the default.
    #[serde(default)]
    pub access_codes: Vec<String>,
    /// Or `callback_shared_key_file`: signs its callbacks.
    pub callback_shared_key: Option<Secret>,
    /// All its requests are answered with 401; default false.
    #[serde(default)]
    pub suspended: bool,
    /// Numbers that its people register as; those of an earlier file that are not here any more go.
    #[serde(default)]
    pub softphones: Vec<SoftphoneInFile>,
    #[serde(default)]
    pub settings: TenantSettings,
}

/// One entry of `softphones`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftphoneInFile {
    /// 1 to 32 digits; no other softphone of any tenant has it.
    pub number: String,
    /// Or `password_file`; 8 characters or more.
    pub password: Secret,
    #[serde(default)]
    pub remark: String,
    /// It may neither register nor take calls; default false.
    #[serde(default)]
    pub suspended: bool,
}

impl SoftphoneInFile {
    pub fn checked(&self) -> Result<NewSoftphone, SoftphoneError> {
        let password = self.password.reveal().to_owned();
        NewSoftphone::new(self.number.clone(), password, self.remark.clone(), self.suspended)
    }
}

impl TenantInFile {
    pub fn tenant_id(&self) -> TenantId {
        TenantId(self.id)
    }

    pub(super) fn check(&self, trunks: &[Trunk]) -> Result<(), (String, String)> {
        if self.id == 0 {
            return Err(("id".into(), "must be 1 or higher".into()));
        }
        if self.app_key.is_empty() {
            return Err(("app_key".into(), "is empty".into()));
        }
        if self.app_secret.reveal().len() < 16 {
            return Err(("app_secret".into(), "must have 16 characters or more".into()));
        }
        for code in &self.access_codes {
            if code.is_empty() || code.len() > 32 || !code.bytes().all(|b| b.is_ascii_digit()) {
                return Err(("access_codes".into(), format!("`{code}` is not 1 to 32 digits")));
            }
        }
        for (index, softphone) in self.softphones.iter().enumerate() {
            let key = format!("softphones[{index}]");
            if let Err(error) = softphone.checked() {
                return Err((key, error.to_string()));
            }
            if self.softphones[..index].iter().any(|other| other.number == softphone.number) {
                return Err((key, format!("`{}` stands twice", softphone.number)));
            }
        }
        self.settings.check(|name| trunks.iter().any(|trunk| trunk.name == *name))
    }

    /// The key in which two tenants of the file may not agree.
    pub(super) fn clash(&self, other: &TenantInFile) -> Option<(&'static str, String)> {
        if self.id == other.id {
            return Some(("id", format!("{} is the id of two tenants", self.id)));
        }
        if self.app_key == other.app_key {
            return Some(("app_key", "is the key of two tenants".into()));
        }
        let of_two = |key, shared: &str| Some((key, format!("`{shared}` belongs to two tenants")));
        let shared = self.access_codes.iter().find(|code| other.access_codes.contains(code));
        if let Some(shared) = shared {
            return of_two("access_codes", shared);
        }
        let is_others = |number: &&String| other.settings.ita.numbers.contains(number);
        if let Some(shared) = self.settings.ita.numbers.iter().find(is_others) {
            return of_two("ita.numbers", shared);
        }
        let is_others = |phone: &&SoftphoneInFile| {
            other.softphones.iter().any(|other| other.number == phone.number)
        };
        of_two("softphones", &self.softphones.iter().find(is_others)?.number)
    }
}

/// Moves what is not identity into the table `settings`, so that both parts refuse unknown keys.
pub(super) fn split_settings(tree: &mut Map<String, Value>) {
    let Some(Value { kind: ValueKind::Array(tenants), .. }) = tree.get_mut("tenant") else {
        return;
    };
    for tenant in tenants {
        let ValueKind::Table(table) = &mut tenant.kind else { continue };
        let (identity, settings): (Map<_, _>, Map<_, _>) = std::mem::take(table)
            .into_iter()
            .partition(|(key, _)| IDENTITY.contains(&key.as_str()));
        *table = identity;
        table.insert("settings".to_owned(), Value::from(settings));
    }
}
