//! Against a server on the loopback address.

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

async fn listener(scheme: &str) -> (TcpListener, AMQPUri) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("{scheme}://{address}").parse().unwrap())
}

#[tokio::test]
async fn amqp_is_plain() {
    let (listener, uri) = listener("amqp").await;
    let (mut stream, _socket) = dial(&uri).await.unwrap();
    stream.write_all(b"AMQP").await.unwrap();
    let mut read = [0; 4];
    listener.accept().await.unwrap().0.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"AMQP");
}

#[tokio::test]
async fn amqps_refuses_a_certificate_of_an_unknown_authority() {
    let (listener, uri) = listener("amqps").await;
    let (config, _roots) = server();
    let accepting = async { TlsAcceptor::from(config).accept(listener.accept().await.unwrap().0).await };
    let (dialed, accepted) = tokio::join!(dial(&uri), accepting);
    assert_eq!(dialed.err().unwrap().kind(), io::ErrorKind::InvalidData);
    assert!(accepted.is_err());
}

#[tokio::test]
async fn tls_carries_bytes_in_both_directions() {
    let (listener, _uri) = listener("amqps").await;
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (config, roots) = server();
    let serving = async {
        let mut server = TlsAcceptor::from(config).accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut read = [0; 4];
        server.read_exact(&mut read).await.unwrap();
        server.write_all(&read).await.unwrap();
        server.flush().await.unwrap();
    };
    let asking = async {
        let mut client: Dialed = Box::new(encrypt(tcp, "127.0.0.1", roots).await.unwrap().compat());
        let mut read = [0; 4];
        client.write_all(b"AMQP").await.unwrap();
        client.flush().await.unwrap();
        client.read_exact(&mut read).await.unwrap();
        read
    };
    assert_eq!(&tokio::join!(asking, serving).0, b"AMQP");
}

/// A server with a certificate for 127.0.0.1, and the roots that trust it.
fn server() -> (Arc<ServerConfig>, RootCertStore) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (Arc::new(config), roots)
}
