//! Receivers whose response body never ends, breaks off, or is malformed.

use super::*;

pub(super) fn table() -> Vec<Case> {
    let mut table = endless();
    table.extend(broken());
    table
}

fn endless() -> Vec<Case> {
    let endless = |name, head: &'static str, more: &'static [u8]| {
        let case = Case::runs(name, Class::Delivered, move |mut peer| async move {
            peer.read_head().await;
            peer.write(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await;
            peer.write_forever(more).await;
        });
        case.status(200)
    };
    vec![
        endless("10 GB with a length", "content-length: 10000000000\r\n\r\n", &[b'a'; 4096])
            .body(MAX_RESPONSE_BODY),
        endless("10 GB without a length", "x: y\r\n\r\n", &[b'a'; 4096]).body(MAX_RESPONSE_BODY),
        endless("endless chunks", "transfer-encoding: chunked\r\n\r\n", b"10\r\naaaaaaaaaaaaaaaa\r\n")
            .body(MAX_RESPONSE_BODY),
        endless(
            "endless one-byte chunks",
            "transfer-encoding: chunked\r\n\r\n",
            b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n",
        )
        .body(MAX_RESPONSE_BODY),
        endless("a chunk of 10 GB", "transfer-encoding: chunked\r\n\r\n2540BE400\r\n", &[b'a'; 4096])
            .body(MAX_RESPONSE_BODY),
        endless("an endless chunk size", "transfer-encoding: chunked\r\n\r\n", &[b'0'; 4096]),
        endless("an endless chunk extension", "transfer-encoding: chunked\r\n\r\n1;", &[b'a'; 4096]),
        endless("endless trailers", "transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
        endless("a gzip bomb", "content-encoding: gzip\r\n\r\n", &[0; 4096]).body(MAX_RESPONSE_BODY),
        Case::runs("an endless chunk size after a pause", Class::Delivered, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            tokio::time::sleep(peer.pause).await;
            peer.write_forever(&[b'0'; 4096]).await;
        })
        .status(200),
        Case::runs("an endless 500", Class::HttpStatus, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 500 Oops\r\n\r\n").await;
            peer.write_forever(&[b'a'; 4096]).await;
        })
        .status(500)
        .body(MAX_RESPONSE_BODY),
    ]
}

fn broken() -> Vec<Case> {
    let answer = |name, answer: &str| Case::answers(name, Class::Delivered, answer).status(200);
    let chunked = |name, chunks: &str| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        Case::answers(name, Class::Delivered, format!("{head}{chunks}")).status(200)
    };
    let sized = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        [head.into_bytes(), vec![b'a'; length]].concat()
    };
    vec![
        answer("compressed", "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nbomb")
            .body(4),
        answer(
            "a length and chunks",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )
        .body(2),
        chunked("a chunk size of letters", "zz\r\nok\r\n0\r\n\r\n"),
        chunked("a negative chunk size", "-2\r\nok\r\n0\r\n\r\n"),
        chunked("a chunk size that overflows", "fffffffffffffffff\r\nok\r\n"),
        chunked("a chunk longer than its size", "1\r\nok\r\n0\r\n\r\n").body(1),
        chunked("no last chunk", "2\r\nok\r\n").body(2),
        chunked("no line end after the size", "2ok").body(0),
        chunked("trailers", "2\r\nok\r\n0\r\nx: secret\r\n\r\n").body(2),
        Case::answers("a body of the maximum length", Class::Delivered, sized(MAX_RESPONSE_BODY))
            .status(200)
            .body(MAX_RESPONSE_BODY),
        Case::answers("a body one byte over the maximum", Class::Delivered, sized(MAX_RESPONSE_BODY + 1))
            .status(200)
            .body(MAX_RESPONSE_BODY),
        Case::answers(
            "204 with a body",
            Class::Delivered,
            "HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nbody",
        )
        .status(204),
        Case::answers(
            "304 with a body",
            Class::Rejected,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nbody",
        )
        .status(304),
    ]
}
