//! Answers put together from what receivers really send. None panics or hangs, and a 200 stays a 200.

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::*;
use crate::http_client::{connection::Connection, message, stream::Stream};

const ANSWERS: usize = 20_000;

/// Answers before the final one (RFC 9110, 15.2).
const BEFORE: [&str; 3] =
    ["", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"];
/// With a reason, an empty one and none (RFC 9112, 4).
const STATUS: [&str; 4] =
    ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 \r\n", "HTTP/1.1 200\r\n", "HTTP/1.0 200 OK\r\n"];
/// Headers that curl and browsers take, or take no notice of.
const HEADERS: [&str; 10] = [
    "server: x\r\n",
    "x-blank : y\r\n",
    "content-security-policy: default-src 'self';\r\n    img-src 'self' data:\r\n",
    "set-cookie: a=b;\r\n\tsecure\r\n",
    "this is no header\r\n",
    "x-\u{e9}: 1\r\n",
    "x-empty:\r\n",
    "retry-after: Sunday, 99-Nov-94 08:49:37 GMT\r\n",
    "date: yesterday\r\n",
    "connection: close\r\n",
];
/// With a length, one that lies, and none.
const ENDS: [&str; 3] = ["content-length: 2\r\n\r\nok", "content-length: 100\r\n\r\nok", "\r\nok"];

fn tolerated() -> impl Strategy<Value = Vec<u8>> {
    let headers = prop::collection::vec(prop::sample::select(&HEADERS[..]), 0..6);
    let parts = (prop::sample::select(&BEFORE[..]), prop::sample::select(&STATUS[..]), headers);
    (parts, prop::sample::select(&ENDS[..]), any::<bool>()).prop_map(
        |((before, status, headers), end, bare)| {
            let answer = format!("{before}{status}{}{end}", headers.concat());
            if bare { answer.replace("\r\n", "\n").into_bytes() } else { answer.into_bytes() }
        },
    )
}

/// One byte of a tolerated answer is another one, or its end is missing.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (tolerated(), any::<prop::sample::Index>(), prop_oneof![any::<u8>().prop_map(Some), Just(None)]).prop_map(
        |(mut answer, at, byte)| {
            let at = at.index(answer.len());
            match byte {
                Some(byte) => answer[at] = byte,
                None => answer.truncate(at),
            }
            answer
        },
    )
}

/// The status of the answer, `None` if it is not HTTP.
async fn answered(listener: &TcpListener, answer: &[u8]) -> Option<u16> {
    let address = listener.local_addr().unwrap();
    let (sending, receiving) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (sending, (mut peer, _)) = (sending.unwrap(), receiving.unwrap());
    // Twenty thousand closed connections would use up the ports.
    sending.set_zero_linger().unwrap();
    let url = Url::parse(&format!("http://{address}/")).unwrap();
    let message = message::build(&request(url.as_str()), &[], &url).unwrap();
    let mut connection = Connection::open(Stream::Plain(sending)).await.unwrap();
    let receiver = async {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\nx") {
            let mut buffer = [0; 1024];
            let count = peer.read(&mut buffer).await.unwrap();
            read.extend_from_slice(&buffer[..count]);
        }
        peer.write_all(answer).await.unwrap();
        peer.shutdown().await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.send(message), receiver);
    response.ok().map(|response| response.status().as_u16())
}

#[tokio::test]
async fn generated_answers_are_read_as_curl_reads_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut runner = TestRunner::deterministic();
    for index in 0..ANSWERS {
        let is_tolerated = index % 2 == 0;
        let answer = if is_tolerated {
            tolerated().new_tree(&mut runner).unwrap().current()
        } else {
            damaged().new_tree(&mut runner).unwrap().current()
        };
        let status = answered(&listener, &answer).await;
        let shown = || String::from_utf8_lossy(&answer).into_owned();
        assert!(!is_tolerated || status == Some(200), "{status:?}: {}", shown());
    }
}
