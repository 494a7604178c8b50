//! TLS towards receivers: verified by the machine's authorities and one's own, and by nothing less.
use super::{
    receiver::{Manners, behave, reply},
    *,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use std::sync::Arc;
use time::macros::datetime;
use tokio_rustls::TlsAcceptor;

/// An authority and its PEM file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn client(&self) -> CallbackClient {
        client(ClientSettings {
            extra_ca: Some(self.directory.path().join("ca.pem")),
            ..settings()
        })
    }

    /// A receiver with a certificate for `name`, which may have run out.
    async fn receiver(&self, name: &str, expired: bool) -> u16 {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_before = datetime!(2020-01-01 0:00 UTC);
            params.not_after = datetime!(2021-01-01 0:00 UTC);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not like the certificate leaves here.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let (told, _requests) = tokio::sync::mpsc::channel(1);
                    behave(stream, local, reply("200 OK", "", "secure"), told).await;
                });
            }
        });
        local.port()
    }
}

async fn post_to(client: &CallbackClient, port: u16) -> AttemptResult {
    let permit = permit("localhost private", &format!("https://localhost:{port}/"));
    post(client, &permit).await
}

fn assert_refused(result: AttemptResult, reason: &str) {
    match result {
        AttemptResult::Failed { failure: Failure::Tls(why), status: None }
            if why.contains(reason) => {}
        other => panic!("expected {reason}: {other:?}"),
    }
}

#[tokio::test]
async fn certificates() {
    let authority = Authority::new();
    let good = authority.receiver("localhost", false).await;
    let answered = post_to(&authority.client(), good).await;
    assert!(
        matches!(&answered, AttemptResult::Answered { status: 200, body, .. } if body == "secure"),
        "{answered:?}"
    );
    assert_refused(post_to(&client(settings()), good).await, "UnknownIssuer");
    assert_refused(post_to(&Authority::new().client(), good).await, "BadSignature");
    assert_refused(
        post_to(&authority.client(), authority.receiver("localhost", true).await).await,
        "expired",
    );
    assert_refused(
        post_to(&authority.client(), authority.receiver("other.example", false).await).await,
        "not valid for name",
    );
}

#[tokio::test]
async fn plain_http_behind_https() {
    let manners = Manners::ReplyAndClose(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let Manners::ReplyAndClose(bytes) = manners else { return };
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.unwrap();
        std::future::pending::<()>().await;
    });
    assert_refused(post_to(&client(settings()), port).await, "");
}

#[test]
fn an_authority_file_that_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let open = || {
        CallbackClient::new(ClientSettings { extra_ca: Some(path.clone()), ..settings() })
            .err()
            .unwrap()
    };
    assert!(matches!(open(), ClientError::Tls(TlsError::Unreadable { .. })));
    std::fs::write(&path, "no certificate").unwrap();
    assert!(matches!(open(), ClientError::Tls(TlsError::Empty(_))));
}
