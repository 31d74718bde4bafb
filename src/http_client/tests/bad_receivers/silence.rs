//! Receivers that are silent, slow, or close the connection.

use tokio::io::AsyncReadExt as _;

use super::*;

pub(super) fn table() -> Vec<Case> {
    let mut table = slow();
    table.extend(unfinished());
    table.extend(closing());
    table.extend(early());
    table
}

fn slow() -> Vec<Case> {
    use Class::Timeout;
    vec![
        Case::runs("never answers", Timeout, |mut peer| async move { peer.stay_silent().await }),
        Case::runs("never reads", Timeout, |peer| async move {
            let _peer = peer;
            std::future::pending::<()>().await;
        })
        .request(4 * 1024 * 1024),
        Case::runs("reads one byte every 20 ms", Timeout, |mut peer| async move {
            while peer.stream.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .request(4 * 1024 * 1024),
        Case::runs("drips the status line", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 ").await;
            peer.drip().await;
        }),
        Case::runs("drips a header", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\nx: ").await;
            peer.drip().await;
        }),
        Case::runs("half a head, then nothing", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-le").await;
            peer.stay_silent().await;
        }),
        Case::runs("slow 1xx responses", Timeout, |mut peer| async move {
            peer.read_head().await;
            while peer.write(b"HTTP/1.1 102 Processing\r\n\r\n").await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }),
        Case::runs("100, then nothing", Timeout, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            peer.stay_silent().await;
        }),
    ]
}

/// Receivers that never end the body of their answer. The status is their answer.
fn unfinished() -> Vec<Case> {
    [taken(), not_taken()].into_iter().flatten().collect()
}

fn not_taken() -> Vec<Case> {
    let drips = |name, class, status: u16| {
        let case = Case::runs(name, class, move |mut peer| async move {
            peer.read_head().await;
            peer.write(format!("HTTP/1.1 {status} No\r\ncontent-length: 100000\r\n\r\n").as_bytes()).await;
            peer.drip().await;
        });
        case.status(status).some_body().hangs()
    };
    vec![
        drips("drips the body of a 422", Class::Rejected, 422),
        drips("drips the body of a 400", Class::Rejected, 400),
        drips("drips the body of a redirect", Class::Rejected, 302),
        drips("drips the body of a 410", Class::Gone, 410),
        drips("drips the body of a 500", Class::HttpStatus, 500),
        Case::runs("a refusal with a length that is too much", Class::Rejected, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 404 No\r\ncontent-length: 100\r\n\r\nno").await;
            peer.stay_silent().await;
        })
        .status(404)
        .body(2)
        .hangs(),
        Case::runs("asks for a wait, then nothing", Class::HttpStatus, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 503 Busy\r\nretry-after: 5\r\ntransfer-encoding: chunked\r\n\r\n").await;
            peer.stay_silent().await;
        })
        .status(503)
        .retry_after(RetryAfter::Exactly(5))
        .hangs(),
    ]
}

fn taken() -> Vec<Case> {
    let keeps_open = |name, answer: &'static [u8]| {
        let case = Case::runs(name, Class::Delivered, move |mut peer| async move {
            peer.read_head().await;
            peer.write(answer).await;
            peer.stay_silent().await;
        });
        case.status(200).hangs()
    };
    vec![
        Case::runs("drips the body", Class::Delivered, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
            peer.drip().await;
        })
        .status(200)
        .some_body()
        .hangs(),
        // ledgetech/lua-resty-http #215
        keeps_open(
            "a length that is one too much, on a connection that stays open",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        )
        .body(2),
        keeps_open("a length and no body, as if for HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"),
        keeps_open(
            "no last chunk, on a connection that stays open",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        )
        .body(2),
        // vlang/v #26431
        keeps_open("neither length nor end", b"HTTP/1.1 200 OK\r\n\r\nok").body(2),
        keeps_open("an event stream", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hi\n\n")
            .body(6),
    ]
}

fn closing() -> Vec<Case> {
    use Class::Protocol;
    vec![
        Case::runs("accepts and closes", Protocol, |_| async {}),
        Case::runs("closes after the request", Protocol, |mut peer| async move {
            peer.read_head().await;
            peer.close().await;
        }),
        Case::runs("resets at the first byte", Protocol, |mut peer| async move {
            let _ = peer.stream.read_u8().await;
            peer.reset();
        }),
        Case::runs("resets after the request", Protocol, |mut peer| async move {
            peer.read_head().await;
            peer.reset();
        }),
        Case::runs("resets in the middle of a large request", Protocol, |mut peer| async move {
            peer.read_head().await;
            peer.reset();
        })
        .request(1024 * 1024),
        Case::runs("closes its sending side before the request", Protocol, |mut peer| async move {
            peer.close().await;
        }),
        Case::answers("half a status line", Protocol, "HTTP/1.1 2"),
        Case::answers("half a head", Protocol, "HTTP/1.1 200 OK\r\ncontent-le"),
        Case::answers("a head without its end", Protocol, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"),
        Case::answers("100, then closes", Protocol, "HTTP/1.1 100 Continue\r\n\r\n"),
        Case::runs("resets in the body", Class::Delivered, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await;
            tokio::time::sleep(peer.pause).await;
            peer.reset();
        })
        .status(200)
        .pauses(),
    ]
}

/// Receivers that answer before they have read the request.
fn early() -> Vec<Case> {
    vec![
        Case::runs("413 while the body is being sent", Class::Rejected, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await;
            peer.close().await;
        })
        .status(413)
        .request(4 * 1024 * 1024),
        Case::runs("413, then stops reading", Class::Rejected, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig").await;
            std::future::pending::<()>().await;
        })
        .status(413)
        .body(3)
        .request(4 * 1024 * 1024),
        Case::runs("200 before the request", Class::Delivered, |mut peer| async move {
            peer.write(OK).await;
            peer.close().await;
        })
        .status(200)
        .body(2),
    ]
}
