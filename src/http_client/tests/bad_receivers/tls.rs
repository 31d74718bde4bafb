//! Receivers at `https` addresses that do not manage TLS, or not as it should be.

use rustls::ServerConfig;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    certificates::{Kind, authority},
    *,
};

pub(super) fn table() -> Vec<Bad> {
    let mut table = handshakes();
    table.extend(certificates());
    table.extend(sessions());
    table.into_iter().map(Bad::https).collect()
}

/// The head of a record of 64 bytes, and the beginning of a `ServerHello` in it.
const HALF: &[u8] = b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c\x03\x03aaaaaaaa";

fn handshakes() -> Vec<Bad> {
    let says = |name, class, bytes: &'static [u8]| {
        Bad::runs(name, class, move |mut peer| async move {
            // The greeting of the client: were it left unread, the close would be a reset.
            let _ = peer.stream.read(&mut [0; 4096]).await;
            peer.write(bytes).await;
            peer.close().await;
        })
    };
    vec![
        Bad::runs("silence instead of TLS", Class::Timeout, |mut peer| async move { peer.hold().await }),
        Bad::runs("half a handshake, then nothing", Class::Timeout, |mut peer| async move {
            let _ = peer.stream.read(&mut [0; 4096]).await;
            peer.write(HALF).await;
            peer.hold().await;
        }),
        Bad::runs("drips a handshake", Class::Timeout, |mut peer| async move {
            let _ = peer.stream.read(&mut [0; 4096]).await;
            peer.write(b"\x16\x03\x03\x40\x00\x02\x00\x3f\x00").await;
            peer.drip().await;
        }),
        Bad::runs("resets the handshake", Class::Tls, |mut peer| async move {
            let _ = peer.stream.read(&mut [0; 4096]).await;
            peer.reset();
        }),
        says("closes in the handshake", Class::Tls, b""),
        says("half a handshake, then closes", Class::Tls, HALF),
        says("a TLS alert", Class::Tls, b"\x15\x03\x03\x00\x02\x02\x28"),
        says("plain HTTP on the https port", Class::Tls, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        says("noise instead of TLS", Class::Tls, &[0xaa; 100]),
        Bad::runs("endless noise instead of TLS", Class::Tls, |mut peer| async move {
            peer.write_for_ever(&[0x16; 4096]).await;
        }),
    ]
}

/// A receiver that goes on with `then` once TLS stands.
fn secure<F>(
    name: &'static str,
    class: Class,
    config: ServerConfig,
    then: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> Bad
where
    F: Future<Output = ()> + Send,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Bad::runs(name, class, move |peer| {
        let (acceptor, then) = (acceptor.clone(), then.clone());
        async move {
            if let Ok(stream) = acceptor.accept(peer.stream).await {
                then(stream).await;
            }
        }
    })
}

/// Reads a request, writes this, and breaks off without a goodbye.
fn answers(name: &'static str, class: Class, config: ServerConfig, answer: &'static [u8]) -> Bad {
    secure(name, class, config, move |mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(answer).await;
        let _ = stream.flush().await;
        let (mut tcp, _) = stream.into_inner();
        let _ = tcp.shutdown().await;
        let _ = tcp.read(&mut [0; 4096]).await;
    })
}

fn certificates() -> Vec<Bad> {
    let with = |name, kind| answers(name, Class::Tls, authority().server(kind, false), OK);
    let mut http2 = authority().server(Kind::Good, false);
    http2.alpn_protocols = vec![b"h2".to_vec()];
    vec![
        with("an expired certificate", Kind::Expired),
        with("a certificate of tomorrow", Kind::NotYetValid),
        with("a certificate of another name", Kind::OtherName),
        with("a certificate of its own", Kind::SelfSigned),
        answers("asks for a client certificate", Class::Tls, authority().server(Kind::Good, true), OK),
        answers("speaks HTTP/2 only", Class::Tls, http2, OK),
    ]
}

fn sessions() -> Vec<Bad> {
    let good = || authority().server(Kind::Good, false);
    vec![
        answers("TLS, and then an answer", Class::Delivered, good(), OK).status(200).body(2),
        answers("TLS, and then noise", Class::Protocol, good(), &[0xaa; 100]),
        answers("TLS, and then nothing", Class::Protocol, good(), b""),
        answers(
            "TLS, and half an answer",
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
        secure("TLS, and then silence", Class::Timeout, good(), |stream| async move {
            let _stream = stream;
            std::future::pending::<()>().await;
        }),
        secure("TLS, and then raw bytes", Class::Tls, good(), |stream| async move {
            let (mut tcp, _) = stream.into_inner();
            let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let _ = tcp.read(&mut [0; 4096]).await;
        }),
    ]
}
