//! Receivers that say too little, too slowly, or go.

use tokio::io::AsyncReadExt as _;

use super::*;

pub(super) fn table() -> Vec<Bad> {
    let mut table = slow();
    table.extend(gone());
    table.extend(early());
    table
}

fn slow() -> Vec<Bad> {
    use Class::Timeout;
    vec![
        Bad::runs("never answers", Timeout, |mut peer| async move { peer.hold().await }),
        Bad::runs("never reads", Timeout, |peer| async move {
            let _peer = peer;
            std::future::pending::<()>().await;
        })
        .request(4 * 1024 * 1024),
        Bad::runs("reads a byte now and then", Timeout, |mut peer| async move {
            while peer.stream.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .request(4 * 1024 * 1024),
        Bad::runs("drips the status line", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 ").await;
            peer.drip().await;
        }),
        Bad::runs("drips a header", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\nx: ").await;
            peer.drip().await;
        }),
        Bad::runs("half a head, then nothing", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-le").await;
            peer.hold().await;
        }),
        Bad::runs("drips the body", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
            peer.drip().await;
        })
        .status(200)
        .some_body(),
        Bad::runs("a head, then nothing", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 503 Busy\r\nretry-after: 5\r\ntransfer-encoding: chunked\r\n\r\n").await;
            peer.hold().await;
        })
        .status(503)
        .retry_after(RetryAfter::Exactly(5)),
        Bad::runs("1xx for ever, slowly", Timeout, |mut peer| async move {
            peer.read_head().await;
            while peer.write(b"HTTP/1.1 102 Processing\r\n\r\n").await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }),
        Bad::runs("100 and nothing more", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            peer.hold().await;
        }),
    ]
}

fn gone() -> Vec<Bad> {
    use Class::Protocol;
    vec![
        Bad::runs("accepts and closes", Protocol, |_| async {}),
        Bad::runs("closes after the request", Protocol, |mut peer| async move {
            peer.read_head().await;
            peer.close().await;
        }),
        Bad::runs("resets at the first byte", Protocol, |mut peer| async move {
            let _ = peer.stream.read_u8().await;
            peer.reset();
        }),
        Bad::runs("resets after the request", Protocol, |mut peer| async move {
            peer.read_head().await;
            peer.reset();
        }),
        Bad::runs("resets in the middle of a large request", Protocol, |mut peer| async move {
            peer.read_head().await;
            peer.reset();
        })
        .request(1024 * 1024),
        Bad::runs(
            "closes its side before the request",
            Protocol,
            |mut peer| async move { peer.close().await },
        ),
        Bad::answers("half a status line", Protocol, "HTTP/1.1 2"),
        Bad::answers("half a head", Protocol, "HTTP/1.1 200 OK\r\ncontent-le"),
        Bad::answers("a head without its end", Protocol, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"),
        Bad::answers("100 and closes", Protocol, "HTTP/1.1 100 Continue\r\n\r\n"),
        Bad::runs("resets in the body", Class::Delivered, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            peer.reset();
        })
        .status(200),
    ]
}

/// Answers before the request is through.
fn early() -> Vec<Bad> {
    vec![
        Bad::runs("413 while the body is on its way", Class::Rejected, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await;
            peer.close().await;
        })
        .status(413)
        .request(4 * 1024 * 1024),
        Bad::runs("413 and reads no more", Class::Rejected, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig").await;
            std::future::pending::<()>().await;
        })
        .status(413)
        .body(3)
        .request(4 * 1024 * 1024),
        Bad::runs("200 before the request", Class::Protocol, |mut peer| async move {
            peer.write(OK).await;
            peer.close().await;
        })
        .request(1),
    ]
}
