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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(config: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let own = rcgen::generate_simple_self_signed(vec!["sip.example.com".to_owned()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        std::fs::write(at("cert.pem"), own.cert.pem()).unwrap();
        std::fs::write(at("other.pem"), other.serialize_pem()).unwrap();
        std::fs::write(at("empty.pem"), "nothing").unwrap();
        let text = config.replace("$", &directory.path().display().to_string());
        std::fs::write(at("offhook.toml"), text).unwrap();
        let config = Config::read(Some(&at("offhook.toml")), []).unwrap();
        sip_tls(&config).expect_err("it is wrong").to_string()
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
        let listener = |certificate: &str, key: &str| {
            let files = format!("certificate = \"$/{certificate}\"\nkey = \"$/{key}\"");
            said(&format!("[sip]\ntls = \"127.0.0.1:0\"\n{files}"))
        };
        let trunk = |more: &str| {
            said(&format!("[[trunk]]\nname = \"t\"\naddress = \"h\"\ntransport = \"tls\"\n{more}"))
        };
        let table = [
            (
                listener("none.pem", "other.pem"),
                ["[sip] certificate", "none.pem", "cannot be read"],
            ),
            (
                listener("empty.pem", "other.pem"),
                ["[sip] certificate", "empty.pem", "no certificate"],
            ),
            (listener("cert.pem", "empty.pem"), ["[sip] key", "empty.pem", "no private key"]),
            (listener("cert.pem", "other.pem"), ["[sip]", "", "do not fit"]),
            (
                trunk("tls_ca = \"$/empty.pem\""),
                ["trunk `t` tls_ca", "empty.pem", "no certificate"],
            ),
            (
                trunk("tls_ca = \"$/cert.pem\"\ntls_name = \"not a name\""),
                ["trunk `t`", "not a name", "neither a host name nor"],
            ),
        ];
        for (said, parts) in table {
            assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
        }
    }

    #[test]
    fn who_has_to_be_there_is_the_same_after_a_restart() {
        // It lies on disk with calls: another number would leave them without a way back.
        assert_eq!(peer(&"carrier".into()), TlsPeer(0x5803_587e_6791_c119));
    }
}
