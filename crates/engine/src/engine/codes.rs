//! The codes of anonymous calls that wait for their callers.

use std::collections::BTreeMap;

use crate::vocabulary::{Serial, TenantId};

#[derive(Debug, Default)]
pub struct Codes {
    calls: BTreeMap<String, Serial>,
    of_call: BTreeMap<Serial, (TenantId, String)>,
    /// How many of each tenant wait.
    waiting: BTreeMap<TenantId, u32>,
}

impl Codes {
    pub fn has(&self, code: &str) -> bool {
        self.calls.contains_key(code)
    }

    pub fn of(&self, tenant: TenantId) -> u32 {
        self.waiting.get(&tenant).copied().unwrap_or(0)
    }

    pub fn insert(&mut self, tenant: TenantId, code: String, serial: Serial) {
        self.of_call.insert(serial, (tenant, code.clone()));
        self.calls.insert(code, serial);
        *self.waiting.entry(tenant).or_default() += 1;
    }

    pub fn find(&self, code: &str) -> Option<Serial> {
        self.calls.get(code).copied()
    }

    /// The call waits for nobody any more: its code is used.
    pub fn forget(&mut self, serial: Serial) {
        let Some((tenant, code)) = self.of_call.remove(&serial) else { return };
        self.calls.remove(&code);
        if let Some(waiting) = self.waiting.get_mut(&tenant) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(&tenant);
            }
        }
    }
}
