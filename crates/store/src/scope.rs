//! Whose rows a reader sees.

use engine::vocabulary::TenantId;

use crate::sql::Value;

/// What serves a tenant names it; whoever has to see all says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Tenant(TenantId),
    /// For starts, deliveries, sign-in, and who watches from outside. No route may (held by a test of `xtask`).
    All,
}

impl Scope {
    pub(crate) fn tenant(self) -> Option<TenantId> {
        match self {
            Scope::Tenant(tenant) => Some(tenant),
            Scope::All => None,
        }
    }

    pub(crate) fn holds(self, tenant: TenantId) -> bool {
        self.tenant().is_none_or(|own| own == tenant)
    }
}

impl From<TenantId> for Scope {
    fn from(tenant: TenantId) -> Self {
        Scope::Tenant(tenant)
    }
}

/// What a statement compares with the tenant of a row; NULL where each will do.
impl From<Scope> for Value {
    fn from(scope: Scope) -> Self {
        Value::Integer(scope.tenant().map(|tenant| i64::from(tenant.0)))
    }
}
