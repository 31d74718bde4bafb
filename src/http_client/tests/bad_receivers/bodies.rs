//! Receivers whose answer goes on wrongly: bodies that never end, break off, or explode.

use super::*;

const CAP: usize = MAX_RESPONSE_BODY;

pub(super) fn table() -> Vec<Bad> {
    let mut table = endless();
    table.extend(broken());
    table
}

fn endless() -> Vec<Bad> {
    let endless = |name, head: &'static str, more: &'static [u8]| {
        let bad = Bad::runs(name, Class::Delivered, move |mut peer| async move {
            peer.read_head().await;
            peer.write(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await;
            peer.write_for_ever(more).await;
        });
        bad.status(200)
    };
    vec![
        endless("10 GB with a length", "content-length: 10000000000\r\n\r\n", &[b'a'; 4096]).body(CAP),
        endless("10 GB without a length", "x: y\r\n\r\n", &[b'a'; 4096]).body(CAP),
        endless("chunks without end", "transfer-encoding: chunked\r\n\r\n", b"10\r\naaaaaaaaaaaaaaaa\r\n")
            .body(CAP),
        endless("chunks of a byte", "transfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")
            .body(CAP),
        endless("a chunk of 10 GB", "transfer-encoding: chunked\r\n\r\n2540BE400\r\n", &[b'a'; 4096])
            .body(CAP),
        endless("an endless chunk size", "transfer-encoding: chunked\r\n\r\n", &[b'0'; 4096]),
        endless("an endless chunk extension", "transfer-encoding: chunked\r\n\r\n1;", &[b'a'; 4096]),
        endless("endless trailers", "transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
        endless("a gzip bomb", "content-encoding: gzip\r\n\r\n", &[0; 4096]).body(CAP),
        Bad::runs("an endless failure", Class::HttpStatus, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 500 Oops\r\n\r\n").await;
            peer.write_for_ever(&[b'a'; 4096]).await;
        })
        .status(500)
        .body(CAP),
    ]
}

fn broken() -> Vec<Bad> {
    let answer = |name, answer: &str| Bad::answers(name, Class::Delivered, answer).status(200);
    let chunked = |name, chunks: &str| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        Bad::answers(name, Class::Delivered, format!("{head}{chunks}")).status(200)
    };
    let sized = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        [head.into_bytes(), vec![b'a'; length]].concat()
    };
    vec![
        answer("shorter than its length", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").body(4),
        answer("longer than its length", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokay").body(2),
        answer("compressed", "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nbomb")
            .body(4),
        answer(
            "both framings",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )
        .body(2),
        chunked("a chunk size of letters", "zz\r\nok\r\n0\r\n\r\n"),
        chunked("a negative chunk size", "-2\r\nok\r\n0\r\n\r\n"),
        chunked("a chunk size beyond numbers", "fffffffffffffffff\r\nok\r\n"),
        chunked("a chunk longer than its size", "1\r\nok\r\n0\r\n\r\n").body(1),
        chunked("no last chunk", "2\r\nok\r\n").body(2),
        chunked("no line end after the size", "2ok").body(0),
        chunked("trailers", "2\r\nok\r\n0\r\nx: secret\r\n\r\n").body(2),
        Bad::answers("exactly the bound", Class::Delivered, sized(CAP)).status(200).body(CAP),
        Bad::answers("one byte more than the bound", Class::Delivered, sized(CAP + 1)).status(200).body(CAP),
        Bad::answers(
            "204 with a body",
            Class::Delivered,
            "HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nbody",
        )
        .status(204),
        Bad::answers(
            "304 with a body",
            Class::Rejected,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nbody",
        )
        .status(304),
    ]
}
