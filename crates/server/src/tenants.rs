//! Tenants: what each may do (typed settings), who they are (registry), where they come from.

mod provision;
mod registry;
mod retention;
mod routes;
mod settings;

pub use provision::{CALLBACK_SHARED_KEY, FirstRun, Provisioner};
pub use registry::{BadSettings, Tenant, Tenants};
pub use retention::{Horizons, Retention};
pub use routes::PrefixRoute;
pub use settings::{Barred, Review, SignatureKind, TenantSettings};
