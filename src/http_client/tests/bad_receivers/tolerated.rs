//! Receivers whose answer is odd, and an answer all the same: what curl and browsers take for a 200 is one.

use RetryAfter::{Between, Exactly, Missing};

use super::*;

pub(super) fn table() -> Vec<Case> {
    let delivered = |name, answer: Vec<u8>| Case::answers(name, Class::Delivered, answer).status(200);
    let headers = HEADERS.iter().map(|(name, lines, _source)| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".as_slice();
        delivered(name, [head, lines, b"\r\n\r\n"].concat())
    });
    let answers =
        ANSWERS.iter().map(|(name, text, body, _source)| delivered(name, text.as_bytes().into()).body(*body));
    let waits = WAITS.iter().map(|(value, expected, _source)| {
        let answer = format!("HTTP/1.1 503 Busy\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        Case::answers(value, Class::HttpStatus, answer).status(503).retry_after(*expected)
    });
    headers.chain(answers).chain(waits).chain(others()).collect()
}

/// Lines among the headers of a 200, and a source.
const HEADERS: &[(&str, &[u8], &str)] = &[
    ("a folded header", b"x: a\r\n b", "https://github.com/tornadoweb/tornado/issues/9"),
    (
        "a header folded by a tab, often",
        b"x: a\r\n\tb\r\n\tc\r\n  d",
        "https://github.com/dotnet/corefx/issues/27727",
    ),
    ("a header folded before its value", b"x:\r\n a", "RFC 9112, 5.2"),
    (
        "a folded policy",
        b"content-security-policy: default-src 'self';\r\n    img-src 'self' data:",
        "https://github.com/renatoathaydes/rawhttp/issues/56: a policy in ten lines",
    ),
    ("folded bare line feeds", b"x: a\n b\ny: c", "RFC 9112, 2.2: a line feed ends a line"),
    ("a space before the colon", b"x : a", "https://github.com/seanmonstar/httparse/issues/88: behind nginx"),
    ("a tab before the colon", b"x\t: a", "https://github.com/dotnet/corefx/issues/9208"),
    ("a header without a colon", b"secret", "https://github.com/curl/curl/issues/11802"),
    (
        "a stray line among headers",
        b"x: a\r\n<br />secret notice in /var/www/hook.php on line 7\r\ny: b",
        "PHP: a warning that is printed too early",
    ),
    (
        "a second status line among headers",
        b"HTTP/1.1 200 OK\r\ny: b",
        "https://github.com/curl/curl/issues/11802: of a script",
    ),
    ("a CGI's status among headers", b"Status: 500 Oops", "RFC 3875, 6.3.3: a script's own, passed on"),
    ("a header without a name", b": a", "https://github.com/curl/curl/issues/11802"),
    ("a space in a header's name", b"x y: a", "as above"),
    ("a value that is not UTF-8", b"x: \xff\xfe\xc3", "RFC 9110, 5.5: obs-text"),
    ("a value in Latin-1", b"content-disposition: inline; filename=Jos\xe9.txt", "RFC 9110, 5.5: obs-text"),
    ("a name that is not ASCII", b"\xc3\xa4: b", "as above: in a name"),
    ("an escape character in a header", b"x: \x1b[0m", "as above: a program's colors"),
    ("a value of nothing", b"x:", "RFC 9110, 5.5: a value may be empty"),
    ("a value without a blank", b"x:a", "RFC 9112, 5: blanks are optional"),
    ("a value with blanks after it", b"x: a \t ", "RFC 9112, 5: blanks are optional"),
    ("a header twice", b"x: a\r\nx: b", "RFC 9110, 5.3"),
    ("a cookie", b"set-cookie: session=secret; path=/", "RFC 6265, 3"),
    ("two cookies", b"set-cookie: a=secret\r\nset-cookie: b=secret", "RFC 6265, 3"),
    (
        "content-length as a connection header",
        b"connection: content-length, keep-alive",
        "RFC 9110, 7.6.1: it must not be there",
    ),
    ("an old proxy's header", b"proxy-connection: keep-alive", "RFC 9112, C.2.2"),
    (
        "another server's upgrade",
        b"upgrade: h2,h2c\r\nconnection: upgrade",
        "RFC 9110, 7.8: an offer of Apache",
    ),
];

/// A whole answer of 200, the length of its body, and a source.
const ANSWERS: &[(&str, &str, usize, &str)] = &[
    ("no header", "HTTP/1.1 200 OK\r\n\r\n", 0, "RFC 9112, 6.3: the connection's end is the body's"),
    (
        "a status without a reason",
        "HTTP/1.1 200\r\n\r\n",
        0,
        "https://github.com/chansen/p5-http-tiny/issues/119: no blank",
    ),
    (
        "an empty reason after a blank",
        "HTTP/1.1 200 \r\n\r\n",
        0,
        "https://github.com/zendframework/zendframework/pull/2289",
    ),
    ("a reason of blanks", "HTTP/1.1 200   \r\n\r\n", 0, "as above"),
    ("a reason that is not ASCII", "HTTP/1.1 200 Está bien\r\n\r\n", 0, "RFC 9112, 4: obs-text"),
    ("another reason", "HTTP/1.1 200 Error\r\n\r\n", 0, "RFC 9112, 4: it means nothing"),
    ("100 and then 200", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 0, "RFC 9110, 15.2.1"),
    (
        "100, 102, 103 and then 200",
        "HTTP/1.1 100 A\r\n\r\nHTTP/1.1 102 B\r\n\r\nHTTP/1.1 103 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        0,
        "RFC 8297, 2; RFC 2518, 10.1",
    ),
    ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok", 2, "RFC 1945, 7.2.2: no length"),
    ("HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 2, "RFC 1945, 10.4"),
    (
        "HTTP/1.0 that stays open",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        2,
        "RFC 9112, C.2.2",
    ),
    ("bare line feeds", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok", 2, "RFC 9112, 2.2"),
    ("empty lines before the status line", "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 0, "RFC 9112, 2.2"),
    (
        "a folded line before any header",
        "HTTP/1.1 200 OK\r\n x: y\r\n\r\n",
        0,
        "https://github.com/curl/curl/issues/10319",
    ),
    (
        "a space before the colon of the length",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nokay",
        2,
        "https://github.com/seanmonstar/httparse/issues/88",
    ),
    ("a folded length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nokay", 2, "RFC 9112, 5.2"),
    (
        "a space before the colon of the encoding",
        "HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        2,
        "https://github.com/dotnet/corefx/issues/9208",
    ),
    (
        "the same length twice",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        2,
        "RFC 9112, 6.3",
    ),
    (
        "the same length twice in one line",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
        2,
        "RFC 9110, 8.6",
    ),
    ("a length with zeros", "HTTP/1.1 200 OK\r\ncontent-length: 0002\r\n\r\nok", 2, "RFC 9110, 8.6: digits"),
    (
        "an unknown transfer encoding",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: evil\r\n\r\nok",
        2,
        "RFC 9112, 6.3",
    ),
    (
        "the encoding in capitals",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        2,
        "RFC 9112, 7: codings in any case",
    ),
    (
        "a chunk with an extension",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
        2,
        "RFC 9112, 7.1.1",
    ),
    (
        "a chunk's size with zeros",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0002\r\nok\r\n000\r\n\r\n",
        2,
        "RFC 9112, 7.1: hexadecimal digits",
    ),
    (
        "shorter than its length",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart",
        4,
        "https://github.com/ledgetech/lua-resty-http/issues/215: a length that lies",
    ),
    (
        "longer than its length",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokay",
        2,
        "as above: the other way",
    ),
];

/// The values of `Retry-After` in a 503, the wait that they mean, and a source.
const WAITS: &[(&str, RetryAfter, &str)] = &[
    ("7", Exactly(7), "RFC 9110, 10.2.3"),
    ("007", Exactly(7), "RFC 9110, 10.2.3: digits"),
    (" 7 ", Exactly(7), "RFC 9112, 5: blanks are optional"),
    ("\r\n 7", Exactly(7), "RFC 9112, 5.2: folded"),
    ("7\r\nretry-after: 9", Exactly(7), "as above: two of them"),
    ("1000000000", Exactly(1_000_000_000), "as above: a long wait"),
    ("99999999999999999999999999", Exactly(u64::MAX), "as above: a wait that overflows"),
    ("Sun, 06 Nov 1994 08:49:37 GMT", Exactly(0), "RFC 9110, 5.6.7: a past date"),
    (
        "Fri, 31 Dec 9999 23:59:59 GMT",
        Between(200_000_000_000, 300_000_000_000),
        "RFC 9110, 5.6.7: a far date",
    ),
    (
        "Sunday, 06-Nov-94 08:49:37 GMT",
        Exactly(0),
        "https://github.com/open-telemetry/opamp-go/issues/131: RFC 850",
    ),
    ("Sun Nov  6 08:49:37 1994", Exactly(0), "https://github.com/go-resty/resty/issues/1220: asctime"),
    (
        "Fri Dec 31 23:59:59 9999",
        Between(200_000_000_000, 300_000_000_000),
        "RFC 9110, 5.6.7: asctime, a far date",
    ),
    ("-1", Missing, "RFC 9110, 10.2.3: not below zero"),
    ("1e9", Missing, "RFC 9110, 10.2.3: digits"),
    ("1.5", Missing, "RFC 9110, 10.2.3: whole seconds"),
    ("", Missing, "as above: nothing"),
    ("soon", Missing, "English"),
    ("Sun, 99 Nov 1994 08:49:37 GMT", Missing, "as above: no such day"),
    ("1994-11-06T08:49:37Z", Missing, "RFC 3339: no form of HTTP"),
];

fn others() -> Vec<Case> {
    vec![
        Case::runs("100 before the body, 200 after it", Class::Delivered, |mut peer| async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            peer.read_exactly(4 * 1024 * 1024).await;
            peer.write(OK).await;
            peer.close().await;
        })
        .status(200)
        .body(2)
        .request(5 * 1024 * 1024),
        Case::answers(
            "a folded header of a refusal",
            Class::Rejected,
            "HTTP/1.1 422 No\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nno",
        )
        .status(422)
        .body(2),
        Case::answers(
            "429",
            Class::HttpStatus,
            "HTTP/1.1 429 Slow\r\nretry-after: 3\r\nconnection: close\r\n\r\n",
        )
        .status(429)
        .retry_after(Exactly(3)),
    ]
}
