//! Certificates of a test's own, and a TLS front before a peer that speaks plain TCP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_rustls::TlsAcceptor;

/// Who signs certificates, with a directory for its files.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    directory: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let directory = TempDir::new().expect("a directory");
        let authority = Authority { issuer: Issuer::new(params, key), pem, directory };
        std::fs::write(authority.file(), &authority.pem).expect("a file");
        authority
    }

    /// A PEM file with its own certificate.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certificate and key for `name`, as PEM.
    pub fn signed(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// The same in these two files.
    pub fn write(&self, name: &str, certificate: &Path, key: &Path) {
        let (certificate_pem, key_pem) = self.signed(name);
        std::fs::write(certificate, certificate_pem).expect("a file");
        std::fs::write(key, key_pem).expect("a file");
    }

    pub fn acceptor(&self, name: &str) -> TlsAcceptor {
        let (certificate, key) = self.signed(name);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config.with_no_client_auth().with_single_cert(vec![certificate], key)
            });
        TlsAcceptor::from(Arc::new(config.expect("they fit")))
    }

    /// A client that trusts this authority and no other.
    pub fn connector(&self) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM");
        roots.add(own).expect("a certificate");
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions that there are")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Ends TLS and passes everything on.
pub struct Front {
    pub address: SocketAddr,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    task: JoinHandle<()>,
}

impl Front {
    pub async fn before(peer: SocketAddr, acceptor: TlsAcceptor) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let acceptor = Arc::new(Mutex::new(acceptor));
        let connections: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let (shown, open) = (acceptor.clone(), connections.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = shown.lock().expect("no panic").clone();
                let connection = tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut behind = TcpStream::connect(peer).await.expect("the peer is there");
                    let _ = copy_bidirectional(&mut stream, &mut behind).await;
                });
                open.lock().expect("no panic").push(connection.abort_handle());
            }
        });
        Front { address, acceptor, connections, task }
    }

    /// What is shown to those who connect from now on.
    pub fn show(&self, acceptor: TlsAcceptor) {
        *self.acceptor.lock().expect("no panic") = acceptor;
    }

    /// Connections that were opened so far.
    pub fn connections(&self) -> usize {
        self.connections.lock().expect("no panic").len()
    }

    pub fn cut_all(&self) {
        self.connections.lock().expect("no panic").iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_all();
    }
}
