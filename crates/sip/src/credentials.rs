//! What a trunk or a registration answers digest challenges with.

use std::fmt;

/// User and password for digest challenges (RFC 3261 §22, RFC 7616).
///
/// They are used only against the address that was dialled and, where `realm` is given, only in
/// that realm: a far side that challenges a BYE from elsewhere learns nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    /// The only realm that is answered; `None` answers any realm of the dialled address.
    pub realm: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"…")
            .field("realm", &self.realm)
            .finish()
    }
}
