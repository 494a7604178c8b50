//! Certificates of the interfaces and of SIP: read at the start, and again at SIGHUP, for
//! connections that are opened from then on.

use std::collections::BTreeMap;
use std::path::Path;

use engine::vocabulary::TrunkName;
use ring::digest;
use sip::{Authorities, Identity, TlsClient, TlsError, TlsPeer, TlsServer, TlsSettings};

use crate::config::{Config, Transport, Trunk, TrunkKind};

/// A certificate, a key or a file of authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {why}")]
pub struct CertificateError {
    /// The section, or the trunk, and the key with its file.
    place: String,
    why: String,
}

/// What `[sip]` and the trunks say of TLS.
///
/// # Errors
/// A file that is named cannot be used, or a trunk is to be reached over TLS and nobody can be
/// trusted.
pub fn sip_tls(config: &Config) -> Result<TlsSettings, CertificateError> {
    let section = "[sip]".to_owned();
    let server = match (&config.sip.certificate, &config.sip.key) {
        (Some(certificate), Some(key)) => {
            let files = [("certificate", certificate.as_path()), ("key", key.as_path())];
            let identity = identity(&section, files)?;
            Some(TlsServer::new(identity).map_err(|why| at(section, why))?)
        }
        _ => None,
    };
    let machine = Authorities::of_this_machine();
    let mut peers = BTreeMap::new();
    for trunk in config.trunks.iter().filter(|trunk| trunk.kind == TrunkKind::Sip) {
        if let Some(client) = client(trunk, &machine)? {
            peers.insert(peer(&trunk.name), client);
        }
    }
    Ok(TlsSettings { server, peers })
}

/// Who has to be at the other end of a trunk over TLS. It lies on disk with calls, so it is made of
/// the trunk's name, which a restart does not change.
pub fn peer(trunk: &TrunkName) -> TlsPeer {
    let digest = digest::digest(&digest::SHA256, trunk.0.as_bytes());
    let head = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    TlsPeer(u64::from_be_bytes(*head))
}

/// `None` for a trunk that is not reached over TLS; one that leaves the choice to DNS does without
/// where nobody can be trusted.
fn client(
    trunk: &Trunk,
    machine: &Result<Authorities, TlsError>,
) -> Result<Option<TlsClient>, CertificateError> {
    let section = format!("trunk `{}`", trunk.name);
    let own = match &trunk.tls_ca {
        Some(path) => Some(
            Authorities::from_pem(&read(&section, "tls_ca", path)?)
                .map_err(|why| at(place(&section, "tls_ca", path), why))?,
        ),
        None => None,
    };
    let authorities = match (own.as_ref(), machine, trunk.transport) {
        (_, _, Transport::Udp | Transport::Tcp) => return Ok(None),
        (Some(own), _, _) => own,
        (None, Ok(machine), _) => machine,
        (None, Err(_), Transport::Auto) => return Ok(None),
        (None, Err(_), Transport::Tls) => {
            return Err(at(section, TlsError::NoAuthorities));
        }
    };
    let identity = match (&trunk.tls_certificate, &trunk.tls_key) {
        (Some(certificate), Some(key)) => {
            let files = [("tls_certificate", certificate.as_path()), ("tls_key", key.as_path())];
            Some(identity(&section, files)?)
        }
        _ => None,
    };
    let (host, _) = trunk.host_and_port();
    let name = trunk.tls_name.as_deref().unwrap_or(&host);
    match TlsClient::new(name, authorities, identity) {
        Ok(client) => Ok(Some(client)),
        // `_` in a host of a private network: no certificate is for it, and none is asked for.
        Err(TlsError::Name(_)) if trunk.transport == Transport::Auto => Ok(None),
        Err(why) => Err(at(section, why)),
    }
}

fn identity(
    section: &str,
    [certificate, key]: [(&'static str, &Path); 2],
) -> Result<Identity, CertificateError> {
    let chain = read(section, certificate.0, certificate.1)?;
    let private = read(section, key.0, key.1)?;
    Identity::from_pem(&chain, &private).map_err(|why| {
        let (key, path) = if matches!(why, TlsError::Key(_)) { key } else { certificate };
        at(place(section, key, path), why)
    })
}

fn read(section: &str, key: &str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|error| CertificateError {
        place: place(section, key, path),
        why: format!("cannot be read: {error}"),
    })
}

fn place(section: &str, key: &str, path: &Path) -> String {
    format!("{section} {key} = \"{}\"", path.display())
}

fn at(place: String, why: TlsError) -> CertificateError {
    CertificateError { place, why: why.to_string() }
}
