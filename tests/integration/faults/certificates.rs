//! A broker and a database whose certificate has expired.

use std::{io::Write as _, sync::Arc};

use macro_rules_attribute::apply;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::not_ready;
use crate::support::{app::TestApp, test};

/// An authority as a file, and the TLS configuration of a server with a certificate from it that ended in 2020.
fn expired() -> (NamedTempFile, ServerConfig) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(authority.self_signed(&key).unwrap().pem().as_bytes()).unwrap();
    let issuer = Issuer::new(authority, key);
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2020, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (file, builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// A server that shows the certificate; that of Postgres is asked for it first. Returns its port.
async fn server(config: ServerConfig, is_postgres: bool, tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((mut stream, _)) = listener.accept().await {
            if is_postgres {
                // `SSLRequest`, and the answer that the server has TLS.
                let _ = stream.read_exact(&mut [0; 8]).await;
                let _ = stream.write_all(b"S").await;
            }
            assert!(acceptor.accept(stream).await.is_err(), "nobody trusts it");
        }
    });
    port
}

#[apply(test)]
async fn expired_certificate_of_broker_or_database_is_named(app: &TestApp) {
    let (authority, config) = expired();
    let mut servers = JoinSet::new();
    let broker = server(config.clone(), false, &mut servers).await;
    let database = server(config, true, &mut servers).await;
    app.set_variable("SSL_CERT_FILE", authority.path().to_str().unwrap());
    let urls = [
        ("amqp.url", format!("amqps://guest:hunter2@localhost:{broker}/%2f"), "localhost"),
        (
            "postgres.url",
            format!("postgres://u:hunter2@localhost:{database}/d?sslmode=verify-full"),
            "localhost",
        ),
    ];
    for (key, url, host) in urls {
        let good = app.setting(key);
        app.set(key, &url);
        let process = app.spawn(&["run"]);
        let command: &[&str] = if key == "amqp.url" { &["publish", "-"] } else { &["verify"] };
        let ended = app.cli(command).await;
        assert_eq!(ended.code, Some(69), "{ended:?}");
        let text = &ended.stderr;
        assert!(text.contains("expired") && text.contains(host) && text.contains(key), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        // The service waits for another one.
        not_ready(&process, "expired").await;
        process.kill9().await;
        app.set(key, &good);
    }
}
