//! Certificates: what we show, whom we trust, and which name a peer has to prove (RFC 5922).

use std::{collections::BTreeMap, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use thiserror::Error;

use crate::TlsPeer;

/// What TLS connections are made with. New ones use what was set last; open ones stay as they are.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// What we show to whoever connects to a TLS listener.
    pub server: Option<TlsServer>,
    pub peers: BTreeMap<TlsPeer, TlsClient>,
}

/// Our side of connections that others open: TLS 1.2 and 1.3, no certificate is asked of them.
#[derive(Clone, Debug)]
pub struct TlsServer(pub(crate) Arc<ServerConfig>);

/// Our side of connections that we open to one peer: TLS 1.2 and 1.3, its name verified.
#[derive(Clone, Debug)]
pub struct TlsClient {
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
}

/// Certificate authorities that are trusted.
#[derive(Clone, Debug)]
pub struct Authorities(Arc<RootCertStore>);

/// A certificate with its chain, and its private key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Certificates, keys or names that cannot be used; whoever configured them is at fault.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("no certificate in it: a PEM file with at least one CERTIFICATE block is expected")]
    NoCertificate,
    #[error("a certificate in it cannot be read: {0}")]
    Certificate(String),
    #[error("no private key that can be read: {0}; a PEM file without a passphrase is expected")]
    Key(String),
    #[error("`{0}` is neither a host name nor an IP address, so no certificate can be for it")]
    Name(String),
    #[error(
        "this machine has no certificate authorities: install ca-certificates, or name a file of them"
    )]
    NoAuthorities,
    #[error("certificate and key do not fit: {0}")]
    Rustls(#[from] Error),
}

impl Identity {
    /// Both as PEM, the own certificate first.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Identity, TlsError> {
        let chain = certificates(certificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Key(error.to_string()))?;
        Ok(Identity { chain, key })
    }
}

impl Authorities {
    /// Those of a PEM file, and no others.
    pub fn from_pem(pem: &[u8]) -> Result<Authorities, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate)?;
        }
        Ok(Authorities(Arc::new(roots)))
    }

    /// Those that this machine trusts.
    pub fn of_this_machine() -> Result<Authorities, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            Err(TlsError::NoAuthorities)
        } else {
            Ok(Authorities(Arc::new(roots)))
        }
    }
}

impl TlsServer {
    pub fn new(identity: Identity) -> Result<TlsServer, TlsError> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)?;
        Ok(TlsServer(Arc::new(config)))
    }
}

impl TlsClient {
    /// `name` is the configured host, a domain or an IP address, whatever DNS says of it; it has to
    /// stand in the SubjectAltName of the peer's certificate, as a DNS name (`*` in place of its
    /// first label counts), as an IP address, or as `sip:` URI (RFC 5922 §7.1). `identity` is shown
    /// to a peer that asks who we are.
    pub fn new(
        name: &str,
        authorities: &Authorities,
        identity: Option<Identity>,
    ) -> Result<TlsClient, TlsError> {
        let bare = name.trim_matches(['[', ']']).trim_end_matches('.');
        let server_name =
            ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        let chain = WebPkiServerVerifier::builder_with_provider(authorities.0.clone(), provider())
            .build()
            .map_err(|_| TlsError::NoAuthorities)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(SipNames { chain }));
        let config = match identity {
            Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
            None => builder.with_no_client_auth(),
        };
        Ok(TlsClient { name: server_name, config: Arc::new(config) })
    }
}

/// The usual verification, to which names in the form of SIP URIs are added.
#[derive(Debug)]
struct SipNames {
    chain: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for SipNames {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The name is what is looked at last: everything else about the certificate is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if is_named_by_uri(end_entity, server_name) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A URI names a domain where it is `sip:` and that domain, without a user (RFC 5922 §7.1).
fn is_named_by_uri(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(wanted) = name else { return false };
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    certificate.valid_uri_names().any(|uri| {
        let (scheme, domain) = uri.split_once(':').unwrap_or_default();
        scheme.eq_ignore_ascii_case("sip") && domain.eq_ignore_ascii_case(wanted.as_ref())
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| TlsError::Certificate(error.to_string()))?;
    if all.is_empty() { Err(TlsError::NoCertificate) } else { Ok(all) }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
