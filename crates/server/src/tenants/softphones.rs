//! The softphones of all tenants, in memory over the store: who may register, and as whom.
//!
//! This process is the only one that changes them, so what is in memory is what is stored. Passwords
//! lie there sealed; in memory there are only what the registrar checks with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use engine::vocabulary::TenantId;
use sip::DigestUser;
use store::{Store, StoreError};
use tokio::sync::{Mutex, watch};

use crate::access::{SealError, Sealer};

/// Softphones of a tenant.
const MAX_SOFTPHONES: usize = 10_000;
/// Characters of a number (page 001), of a password, of a remark.
const MAX_NUMBER: usize = 32;
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=128;
const MAX_REMARK: usize = 128;

/// Cheap to clone; readers never wait for a database.
#[derive(Clone)]
pub struct Softphones(Arc<Inner>);

struct Inner {
    store: Store,
    realm: String,
    all: RwLock<BTreeMap<String, Softphone>>,
    /// One change at a time, so that memory and store agree.
    changing: Mutex<()>,
    changes: watch::Sender<u64>,
}

/// A number that somebody may register as.
#[derive(Debug, Clone)]
pub struct Softphone {
    pub row: store::Softphone,
    /// What a registration is checked with; of the realm that is configured now.
    pub digest: DigestUser,
}

/// What an interface or the file says of a softphone, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSoftphone {
    number: String,
    password: String,
    remark: String,
    suspended: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SoftphoneError {
    #[error("number must be 1 to {MAX_NUMBER} digits")]
    Number,
    #[error("password must have {} to {} characters, none of them a control character", PASSWORD.start(), PASSWORD.end())]
    Password,
    #[error("remark must have at most {MAX_REMARK} characters")]
    Remark,
    #[error("the number is another tenant's, or written in offhook.toml")]
    Taken,
    #[error("a tenant has at most {MAX_SOFTPHONES} softphones")]
    Full,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NewSoftphone {
    /// # Errors
    /// [`SoftphoneError::Number`], [`SoftphoneError::Password`] or [`SoftphoneError::Remark`].
    pub fn new(
        number: String,
        password: String,
        remark: String,
        suspended: bool,
    ) -> Result<NewSoftphone, SoftphoneError> {
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        if !digits || number.len() > MAX_NUMBER {
            return Err(SoftphoneError::Number);
        }
        if !PASSWORD.contains(&password.chars().count()) || password.chars().any(char::is_control) {
            return Err(SoftphoneError::Password);
        }
        if remark.chars().count() > MAX_REMARK {
            return Err(SoftphoneError::Remark);
        }
        Ok(NewSoftphone { number, password, remark, suspended })
    }
}

impl Softphones {
    /// None yet. `realm` is what phones are challenged with.
    pub fn new(store: Store, realm: String) -> Softphones {
        let (all, changing) = (RwLock::default(), Mutex::default());
        Softphones(Arc::new(Inner { store, realm, all, changing, changes: watch::Sender::new(0) }))
    }

    /// Reads what the store holds.
    pub async fn load(&self, sealer: &Sealer) -> Result<(), SoftphoneError> {
        let _changing = self.0.changing.lock().await;
        let rows = self.0.store.softphones().await?;
        let read = |row: store::Softphone| {
            let password = open(sealer, &row)?;
            let digest = DigestUser::from_password(&row.number, &self.0.realm, &password);
            Ok((row.number.clone(), Softphone { row, digest }))
        };
        let read: BTreeMap<_, _> = rows.into_iter().map(read).collect::<Result<_, SealError>>()?;
        self.change(|all| *all = read);
        Ok(())
    }

    /// The softphone of that number, where it is this tenant's.
    pub fn find(&self, tenant: TenantId, number: &str) -> Option<Softphone> {
        let all = self.0.all.read().unwrap_or_else(PoisonError::into_inner);
        all.get(number).filter(|phone| phone.row.tenant == tenant).cloned()
    }

    /// Those of a tenant, by number.
    pub fn of(&self, tenant: TenantId) -> Vec<store::Softphone> {
        let all = self.0.all.read().unwrap_or_else(PoisonError::into_inner);
        let own = all.values().filter(|phone| phone.row.tenant == tenant);
        own.map(|phone| phone.row.clone()).collect()
    }

    /// Who may register now: those that are not suspended, by number.
    pub fn users(&self) -> BTreeMap<String, (TenantId, DigestUser)> {
        let all = self.0.all.read().unwrap_or_else(PoisonError::into_inner);
        let live = all.iter().filter(|(_, phone)| !phone.row.suspended);
        live.map(|(number, phone)| (number.clone(), (phone.row.tenant, phone.digest.clone())))
            .collect()
    }

    /// What [`users`](Self::users) says changes whenever this does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub fn realm(&self) -> &str {
        &self.0.realm
    }

    /// Adds a softphone, or replaces the tenant's own of that number. Whether it is new.
    pub async fn put(
        &self,
        tenant: TenantId,
        new: NewSoftphone,
        from_file: bool,
        sealer: &Sealer,
    ) -> Result<bool, SoftphoneError> {
        let _changing = self.0.changing.lock().await;
        let found = self.find(tenant, &new.number);
        if found.as_ref().is_some_and(|found| found.row.from_file && !from_file) {
            return Err(SoftphoneError::Taken);
        }
        if found.is_none() && self.of(tenant).len() >= MAX_SOFTPHONES {
            return Err(SoftphoneError::Full);
        }
        let NewSoftphone { number, password, remark, suspended } = new;
        let digest = DigestUser::from_password(&number, &self.0.realm, &password);
        // Sealed anew it would look like another one, and its phones would have to register again.
        let same = found.as_ref().filter(|found| found.digest == digest);
        let sealed_password = match same {
            Some(found) => found.row.sealed_password.clone(),
            None => sealer.seal(tenant, &secret_name(&number), password.as_bytes())?,
        };
        let row =
            store::Softphone { tenant, number, sealed_password, remark, suspended, from_file };
        if found.as_ref().is_some_and(|found| found.row == row) {
            return Ok(false);
        }
        self.0.store.put_softphone(row.clone()).await.map_err(|error| match error {
            StoreError::Conflict { .. } => SoftphoneError::Taken,
            error => error.into(),
        })?;
        self.change(|all| all.insert(row.number.clone(), Softphone { row, digest }));
        Ok(found.is_none())
    }

    /// Whether it was there. One of the file comes back at the next start, so only
    /// [`keep_of_file`](Self::keep_of_file) removes those.
    pub async fn remove(&self, tenant: TenantId, number: &str) -> Result<bool, SoftphoneError> {
        let _changing = self.0.changing.lock().await;
        match self.find(tenant, number) {
            None => Ok(false),
            Some(found) if found.row.from_file => Err(SoftphoneError::Taken),
            Some(_) => self.take_out(tenant, number).await,
        }
    }

    /// Removes those that an earlier file had and this one has not.
    pub async fn keep_of_file(
        &self,
        tenant: TenantId,
        written: &[&str],
    ) -> Result<(), SoftphoneError> {
        let _changing = self.0.changing.lock().await;
        for row in self.of(tenant) {
            if row.from_file && !written.contains(&&*row.number) {
                self.take_out(tenant, &row.number).await?;
            }
        }
        Ok(())
    }

    /// Those of a tenant that stands in the file no more are its own from now on.
    pub fn leave_to_tenants(&self, but: &BTreeSet<TenantId>) {
        self.change(|all| {
            for phone in all.values_mut() {
                phone.row.from_file &= but.contains(&phone.row.tenant);
            }
        });
    }

    async fn take_out(&self, tenant: TenantId, number: &str) -> Result<bool, SoftphoneError> {
        let removed = self.0.store.remove_softphone(tenant, number).await?;
        self.change(|all| all.remove(number));
        Ok(removed)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Softphone>) -> T) -> T {
        let changed = change(&mut self.0.all.write().unwrap_or_else(PoisonError::into_inner));
        self.0.changes.send_modify(|count| *count += 1);
        changed
    }
}

/// The password of a softphone, for `queryPhone`.
pub fn open(sealer: &Sealer, row: &store::Softphone) -> Result<String, SealError> {
    let password = sealer.open(row.tenant, &secret_name(&row.number), &row.sealed_password)?;
    String::from_utf8(password).map_err(|_| SealError::Damaged)
}

fn secret_name(number: &str) -> String {
    format!("softphone {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TenantId = TenantId(1);
    const TWO: TenantId = TenantId(2);

    fn sealer() -> Sealer {
        Sealer::from_text(&"11".repeat(32)).unwrap()
    }

    fn new(number: &str, password: &str) -> NewSoftphone {
        NewSoftphone::new(number.into(), password.into(), String::new(), false).unwrap()
    }

    #[test]
    fn what_no_phone_could_be_is_refused() {
        let made = |number: &str, password: &str, remark: &str| {
            NewSoftphone::new(number.into(), password.into(), remark.into(), false)
        };
        assert!(made("66666666", "eight ch", "Ann's").is_ok());
        for number in ["", "+1", "66 66", "six", &"1".repeat(33)] {
            assert!(matches!(made(number, "eight ch", ""), Err(SoftphoneError::Number)));
        }
        for password in ["", "7 chars", "eight\nch", &"x".repeat(129)] {
            assert!(matches!(made("1", password, ""), Err(SoftphoneError::Password)));
        }
        assert!(matches!(made("1", "eight ch", &"x".repeat(129)), Err(SoftphoneError::Remark)));
    }

    #[tokio::test]
    async fn a_tenant_that_has_left_the_file_has_its_softphones_to_itself() {
        let store = Store::memory();
        let phones = Softphones::new(store.clone(), "offhook".into());
        for (tenant, number) in [(ONE, "66666666"), (TWO, "77777777")] {
            phones.put(tenant, new(number, "password"), true, &sealer()).await.unwrap();
        }
        let again = Softphones::new(store, "offhook".into());
        again.load(&sealer()).await.unwrap();
        again.leave_to_tenants(&BTreeSet::from([TWO]));
        assert!(
            !again.put(ONE, new("66666666", "another password"), false, &sealer()).await.unwrap()
        );
        assert!(again.remove(ONE, "66666666").await.unwrap());
        let removed = again.remove(TWO, "77777777").await;
        assert!(matches!(removed, Err(SoftphoneError::Taken)), "it stands in the file");
    }

    #[tokio::test]
    async fn a_start_finds_them_with_the_realm_of_now() {
        let store = Store::memory();
        let phones = Softphones::new(store.clone(), "offhook".into());
        let mut changes = phones.changes();
        assert!(phones.put(ONE, new("66666666", "password"), false, &sealer()).await.unwrap());
        assert!(!phones.put(ONE, new("66666666", "password"), false, &sealer()).await.unwrap());
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let again = Softphones::new(store, "another".into());
        again.load(&sealer()).await.unwrap();
        let found = again.find(ONE, "66666666").unwrap();
        assert_eq!(open(&sealer(), &found.row).unwrap(), "password");
        assert!(!changes.has_changed().unwrap(), "nothing changed in the first one");
        assert_eq!(again.users().keys().collect::<Vec<_>>(), ["66666666"]);
        assert!(again.find(TWO, "66666666").is_none(), "it is another tenant's");
    }

    #[tokio::test]
    async fn a_number_is_one_tenants_and_a_suspended_one_is_nobodys() {
        let phones = Softphones::new(Store::memory(), "offhook".into());
        phones.put(ONE, new("1", "password"), false, &sealer()).await.unwrap();
        let taken = phones.put(TWO, new("1", "password"), false, &sealer()).await;
        assert!(matches!(taken, Err(SoftphoneError::Taken)));
        assert!(!phones.remove(TWO, "1").await.unwrap());
        let suspended = NewSoftphone { suspended: true, ..new("1", "password") };
        phones.put(ONE, suspended, false, &sealer()).await.unwrap();
        assert!(phones.users().is_empty());
        assert!(phones.find(ONE, "1").is_some());
        assert!(phones.remove(ONE, "1").await.unwrap());
        assert!(phones.of(ONE).is_empty());
    }

    #[tokio::test]
    async fn those_of_the_file_change_with_the_file_only() {
        let phones = Softphones::new(Store::memory(), "offhook".into());
        for number in ["1", "2"] {
            phones.put(ONE, new(number, "password"), true, &sealer()).await.unwrap();
        }
        phones.put(ONE, new("3", "password"), false, &sealer()).await.unwrap();
        let refused = phones.put(ONE, new("1", "another password"), false, &sealer()).await;
        assert!(matches!(refused, Err(SoftphoneError::Taken)));
        assert!(matches!(phones.remove(ONE, "1").await, Err(SoftphoneError::Taken)));
        phones.keep_of_file(ONE, &["2"]).await.unwrap();
        let left: Vec<String> = phones.of(ONE).into_iter().map(|row| row.number).collect();
        assert_eq!(left, ["2", "3"]);
    }
}
