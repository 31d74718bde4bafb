//! Tests of TLS setups: whom they trust, who they are, and that files that are wrong are named.

use tokio_rustls::TlsAcceptor;

use super::{
    certificates::{Kind, authority, file},
    *,
};

/// A receiver that speaks TLS and answers every request on a connection.
async fn secure(asks_for_certificate: bool) -> Receiver {
    let config = Arc::new(authority().server(Kind::Good, asks_for_certificate));
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
    Route { timeout: Duration::from_secs(5), tls }
}

#[tokio::test]
async fn an_additional_authority_is_trusted_by_its_own_setup_only() {
    let receiver = secure(false).await;
    let ca = authority().file();
    let (trusting, plain) = (HttpClient::tls(Some(ca.path()), None, None).unwrap(), client().route.tls);
    let client = client().client;
    for _ in 0..3 {
        let outcome = client.send(request(&receiver.url), &route(trusting.clone())).await;
        assert_eq!(outcome.class, Class::Delivered, "{outcome:?}");
    }
    assert_eq!(receiver.connections(), 1);
    // A kept connection of the other setup is none of its own.
    let outcome = client.send(request(&receiver.url), &route(plain)).await;
    assert_eq!(outcome.class, Class::Tls, "{outcome:?}");
    assert_eq!(outcome.error.unwrap(), "no TLS session: the certificate's issuer is not trusted");
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_there_is_one() {
    let receiver = secure(true).await;
    let (certificate, key) = authority().issue(Kind::Good);
    let (ca, certificate, key) = (authority().file(), file(&certificate), file(&key.serialize_pem()));
    let with = HttpClient::tls(Some(ca.path()), Some(certificate.path()), Some(key.path())).unwrap();
    let without = HttpClient::tls(Some(ca.path()), None, None).unwrap();
    let client = client().client;
    let outcome = client.send(request(&receiver.url), &route(with)).await;
    assert_eq!(outcome.class, Class::Delivered, "{outcome:?}");
    let outcome = client.send(request(&receiver.url), &route(without)).await;
    assert_eq!(outcome.class, Class::Tls, "{outcome:?}");
}

#[test]
fn files_that_are_wrong_are_named() {
    let (certificate, key) = authority().issue(Kind::Good);
    let (_, other_key) = authority().issue(Kind::Good);
    let (certificate, key) = (file(&certificate), file(&key.serialize_pem()));
    let (other_key, empty) = (file(&other_key.serialize_pem()), file(""));
    let broken = file("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let not_der = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let (certificate, key, other_key) = (certificate.path(), key.path(), other_key.path());
    let (empty, broken, not_der, nowhere) =
        (empty.path(), broken.path(), not_der.path(), Path::new("/nowhere/ca.pem"));
    for (ca, chain, private, named, says) in [
        (Some(nowhere), None, None, nowhere, "cannot read"),
        (Some(empty), None, None, empty, "holds no certificate"),
        (Some(broken), None, None, broken, "cannot read"),
        (Some(not_der), None, None, not_der, "not usable"),
        (Some(key), None, None, key, "holds no certificate"),
        (None, Some(certificate), None, certificate, "needs a key file"),
        (None, None, Some(key), key, "needs a certificate file"),
        (None, Some(certificate), Some(certificate), certificate, "holds no private key"),
        (None, Some(empty), Some(key), empty, "holds no certificate"),
        (None, Some(certificate), Some(other_key), other_key, "do not work together"),
        (None, Some(not_der), Some(key), not_der, "do not work together"),
    ] {
        let error = HttpClient::tls(ca, chain, private).unwrap_err().to_string();
        assert!(error.contains(named.to_str().unwrap()) && error.contains(says), "{error}");
    }
    assert!(!format!("{:?}", HttpClient::tls(None, Some(certificate), Some(key)).unwrap()).contains("key"));
}
