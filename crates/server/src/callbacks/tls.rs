//! The TLS side of outgoing HTTP: the machine's certificate authorities and, if wanted, one's own.
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;

/// Why outgoing TLS cannot be set up; the operator's settings are at fault.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read certificate authorities from {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{0} holds no certificate: expected PEM with at least one CERTIFICATE block")]
    Empty(PathBuf),
    #[error("TLS cannot be configured: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Verifies peers by the authorities that the machine trusts and by those in the PEM file `extra_ca`. A machine without
/// any (a bare container) gets a warning and refuses every https peer, rather than not starting.
pub fn client_config(extra_ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = extra_ca {
        for certificate in pem_certificates(path)? {
            roots.add(certificate)?;
        }
    }
    if roots.is_empty() {
        tracing::warn!(
            "no certificate authorities on this machine: https callbacks fail (install ca-certificates)"
        );
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn pem_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error: rustls_pki_types::pem::Error| TlsError::Unreadable {
        path: path.into(),
        reason: error.to_string(),
    };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let certificates = certificates.map_err(unreadable)?;
    if certificates.is_empty() { Err(TlsError::Empty(path.into())) } else { Ok(certificates) }
}
