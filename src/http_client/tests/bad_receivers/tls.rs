//! `https` receivers that fail the TLS handshake, have a bad certificate, or break the session.

use rustls::ServerConfig;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    certificates::{Kind, authority},
    *,
};

pub(super) fn table() -> Vec<Case> {
    let mut table = handshakes();
    table.extend(certificates());
    table.extend(sessions());
    table.into_iter().map(Case::https).collect()
}

/// The header of a 64-byte TLS record and the beginning of its `ServerHello`.
const HALF_A_HANDSHAKE: &[u8] = b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c\x03\x03aaaaaaaa";

fn handshakes() -> Vec<Case> {
    let writes = |name, class, bytes: &'static [u8]| {
        Case::runs(name, class, move |mut peer| async move {
            // Reads the `ClientHello`: with unread bytes, the close would be a reset.
            let _ = peer.stream.read(&mut [0; 4096]).await;
            peer.write(bytes).await;
            peer.close().await;
        })
    };
    vec![
        Case::runs(
            "silence instead of TLS",
            Class::Timeout,
            |mut peer| async move { peer.stay_silent().await },
        ),
        Case::runs("half a handshake, then nothing", Class::Timeout, |mut peer| async move {
            let _ = peer.stream.read(&mut [0; 4096]).await;
            peer.write(HALF_A_HANDSHAKE).await;
            peer.stay_silent().await;
        }),
        Case::runs("drips a handshake", Class::Timeout, |mut peer| async move {
            let _ = peer.stream.read(&mut [0; 4096]).await;
            peer.write(b"\x16\x03\x03\x40\x00\x02\x00\x3f\x00").await;
            peer.drip().await;
        }),
        Case::runs("resets the handshake", Class::Tls, |mut peer| async move {
            let _ = peer.stream.read(&mut [0; 4096]).await;
            peer.reset();
        }),
        writes("closes in the handshake", Class::Tls, b""),
        writes("half a handshake, then closes", Class::Tls, HALF_A_HANDSHAKE),
        writes("a TLS alert", Class::Tls, b"\x15\x03\x03\x00\x02\x02\x28"),
        writes("plain HTTP on the https port", Class::Tls, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        writes("noise instead of TLS", Class::Tls, &[0xaa; 100]),
        Case::runs("endless noise instead of TLS", Class::Tls, |mut peer| async move {
            peer.write_forever(&[0x16; 4096]).await;
        }),
    ]
}

/// A receiver that runs `then` after the TLS handshake.
fn after_handshake<F>(
    name: &'static str,
    class: Class,
    config: ServerConfig,
    then: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> Case
where
    F: Future<Output = ()> + Send,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Case::runs(name, class, move |peer| {
        let (acceptor, then) = (acceptor.clone(), then.clone());
        async move {
            if let Ok(stream) = acceptor.accept(peer.stream).await {
                then(stream).await;
            }
        }
    })
}

/// A receiver that reads a request, writes `answer`, and closes the connection without `close_notify`.
fn answers(name: &'static str, class: Class, config: ServerConfig, answer: &'static [u8]) -> Case {
    after_handshake(name, class, config, move |mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(answer).await;
        let _ = stream.flush().await;
        let (mut tcp, _) = stream.into_inner();
        let _ = tcp.shutdown().await;
        let _ = tcp.read(&mut [0; 4096]).await;
    })
}

fn certificates() -> Vec<Case> {
    let with = |name, kind| answers(name, Class::Tls, authority().server_config(kind, false), OK);
    let mut http2 = authority().server_config(Kind::Good, false);
    http2.alpn_protocols = vec![b"h2".to_vec()];
    vec![
        with("an expired certificate", Kind::Expired),
        with("a certificate that is not valid yet", Kind::NotYetValid),
        with("a certificate for another host name", Kind::OtherName),
        with("a self-signed certificate", Kind::SelfSigned),
        answers("asks for a client certificate", Class::Tls, authority().server_config(Kind::Good, true), OK),
        answers("speaks HTTP/2 only", Class::Tls, http2, OK),
    ]
}

fn sessions() -> Vec<Case> {
    let good = || authority().server_config(Kind::Good, false);
    vec![
        answers("TLS, then an answer", Class::Delivered, good(), OK).status(200).body(2),
        answers("TLS, then noise", Class::Protocol, good(), &[0xaa; 100]),
        answers("TLS, then a close", Class::Protocol, good(), b""),
        answers(
            "TLS, then half an answer",
            Class::Delivered,
            good(),
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart",
        )
        .status(200)
        .body(4),
        answers(
            "TLS cut off after a body without length",
            Class::Delivered,
            good(),
            b"HTTP/1.1 200 OK\r\n\r\npart",
        )
        .status(200)
        .body(4),
        after_handshake("TLS, then silence", Class::Timeout, good(), |stream| async move {
            let _stream = stream;
            std::future::pending::<()>().await;
        }),
        after_handshake("TLS, then plaintext", Class::Tls, good(), |stream| async move {
            let (mut tcp, _) = stream.into_inner();
            let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let _ = tcp.read(&mut [0; 4096]).await;
        }),
    ]
}
