//! Tests of TLS setups: trusted CAs, client certificates, and errors that name the file.

use tokio_rustls::TlsAcceptor;

use super::{
    certificates::{Kind, authority, file},
    *,
};

/// Starts an `https` receiver that answers every request on a connection.
async fn https_receiver(asks_for_certificate: bool) -> Receiver {
    let config = Arc::new(authority().server_config(Kind::Good, asks_for_certificate));
    let mut receiver = receiver(move |peer| {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        async move {
            let Ok(mut stream) = acceptor.accept(peer.stream).await else { return };
            let mut buffer = [0; 4096];
            while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await, Ok(1..)) {
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    receiver.url = receiver.url.replace("http:", "https:");
    receiver
}

fn route(tls: TlsSetup) -> Route {
    Route { timeout: WAIT_TIMEOUT, tls }
}

#[tokio::test]
async fn extra_ca_is_trusted_by_its_own_setup_only() {
    let receiver = https_receiver(false).await;
    let ca = authority().file();
    let (trusting, plain) = (HttpClient::tls(Some(ca.path()), None, None).unwrap(), client().route.tls);
    let client = client().client;
    for _ in 0..3 {
        let outcome = client.send(&request(&receiver.url), &sending(), &route(trusting.clone())).await;
        assert_eq!(outcome.class, Class::Delivered, "{outcome:?}");
    }
    assert_eq!(receiver.connections(), 1);
    // The idle connection of the other setup is not reused.
    let outcome = client.send(&request(&receiver.url), &sending(), &route(plain)).await;
    assert_eq!(outcome.class, Class::Tls, "{outcome:?}");
    assert_eq!(
        outcome.error.unwrap(),
        "could not establish a TLS session: the certificate's issuer is not trusted"
    );
    assert_eq!(receiver.connections(), 2);
}

/// A ticket holds bytes that the receiver chose.
#[tokio::test]
async fn no_session_is_resumed() {
    let config = Arc::new(authority().server_config(Kind::Good, false));
    let (sender, mut kinds) = mpsc::unbounded_channel();
    let receiver = receiver(move |peer| {
        let (acceptor, sender) = (TlsAcceptor::from(Arc::clone(&config)), sender.clone());
        async move {
            let mut stream = acceptor.accept(peer.stream).await.unwrap();
            let mut buffer = [0; 4096];
            tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await.unwrap();
            sender.send(stream.get_ref().1.handshake_kind()).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let ca = authority().file();
    let route = route(HttpClient::tls(Some(ca.path()), None, None).unwrap());
    let client = client().client;
    for _ in 0..2 {
        let url = receiver.url.replace("http:", "https:");
        let outcome = client.send(&request(&url), &sending(), &route).await;
        assert_eq!(outcome.class, Class::Delivered, "{outcome:?}");
        assert_eq!(kinds.recv().await.unwrap(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn client_certificate_is_presented_if_configured() {
    let receiver = https_receiver(true).await;
    let (certificate, key) = authority().issue(Kind::Good);
    // Editors may put a byte order mark before the first line.
    let marked = |pem: &str| file(&format!("\u{feff}{pem}"));
    let (ca, certificate, key) = (authority().file(), marked(&certificate), marked(&key.serialize_pem()));
    let with = HttpClient::tls(Some(ca.path()), Some(certificate.path()), Some(key.path())).unwrap();
    let without = HttpClient::tls(Some(ca.path()), None, None).unwrap();
    let client = client().client;
    let outcome = client.send(&request(&receiver.url), &sending(), &route(with)).await;
    assert_eq!(outcome.class, Class::Delivered, "{outcome:?}");
    let outcome = client.send(&request(&receiver.url), &sending(), &route(without)).await;
    assert_eq!(outcome.class, Class::Tls, "{outcome:?}");
}

#[test]
fn errors_name_the_unusable_file() {
    let (certificate, key) = authority().issue(Kind::Good);
    let (_, other_key) = authority().issue(Kind::Good);
    let (certificate, key) = (file(&certificate), file(&key.serialize_pem()));
    let (other_key, empty) = (file(&other_key.serialize_pem()), file(""));
    let broken = file("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let not_der = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let (certificate, key, other_key) = (certificate.path(), key.path(), other_key.path());
    let (empty, broken, not_der, nowhere) =
        (empty.path(), broken.path(), not_der.path(), Path::new("/nowhere/ca.pem"));
    for (ca, chain, private, named, text) in [
        (Some(nowhere), None, None, nowhere, "could not read"),
        (Some(empty), None, None, empty, "contains no certificate"),
        (Some(broken), None, None, broken, "could not read"),
        (Some(not_der), None, None, not_der, "not usable"),
        (Some(key), None, None, key, "contains no certificate"),
        (None, Some(certificate), None, certificate, "is set without a key file"),
        (None, None, Some(key), key, "is set without a certificate file"),
        (None, Some(certificate), Some(certificate), certificate, "contains no private key"),
        (None, Some(empty), Some(key), empty, "contains no certificate"),
        (None, Some(certificate), Some(other_key), other_key, "do not work together"),
        (None, Some(not_der), Some(key), not_der, "do not work together"),
    ] {
        let error = HttpClient::tls(ca, chain, private).unwrap_err().to_string();
        assert!(error.contains(named.to_str().unwrap()) && error.contains(text), "{error}");
    }
    assert!(!format!("{:?}", HttpClient::tls(None, Some(certificate), Some(key)).unwrap()).contains("key"));
}
