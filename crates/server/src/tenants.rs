//! Tenants: what each may do (typed settings), who they are (registry), where they come from.

mod number_bindings;
mod provision;
mod registry;
mod retention;
mod routes;
mod settings;
mod softphones;
mod trial_days;
mod two_legs;

pub use number_bindings::{BindError, Held, NumberBindings, Pair};
pub use provision::{CALLBACK_SHARED_KEY, FirstRun, Provisioner};
pub use registry::{BadSettings, Tenant, Tenants};
pub use retention::{Horizons, Retention};
pub use routes::PrefixRoute;
pub use settings::{Barred, Review, SignatureKind, TenantSettings, is_callable};
pub use softphones::{NewSoftphone, SoftphoneError, Softphones, open as softphone_password};
pub use trial_days::TrialDays;
pub use two_legs::{Anonymous, Bidirectional, BindingMode, Ita, MAX_CODE_PREFIX, is_number};
