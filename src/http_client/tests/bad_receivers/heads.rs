//! Receivers whose answer begins wrongly: what is not HTTP, too large, or says strange things.

use super::*;

pub(super) fn table() -> Vec<Bad> {
    let mut table = no_http();
    table.extend(too_large());
    table.extend(statuses());
    table.extend(lengths());
    table.extend(odd_headers());
    table.extend(waits());
    table.extend(redirects());
    table
}

fn no_http() -> Vec<Bad> {
    let protocol = |name, answer: &[u8]| Bad::answers(name, Class::Protocol, answer);
    vec![
        protocol("zeros", &[0; 4096]),
        protocol("noise", &(0..=255).cycle().take(5000).collect::<Vec<u8>>()),
        protocol("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n"),
        protocol("a mail server", b"220 mx.evil.example ESMTP\r\n"),
        protocol("a database", b"-ERR unknown command 'POST'\r\n"),
        protocol("HTTP/0.9", b"<html>secret</html>"),
        protocol("HTTP/2", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff"),
        protocol("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        protocol("HTTP/3.0", b"HTTP/3.0 200 OK\r\n\r\n"),
        protocol("HTTP/1.9", b"HTTP/1.9 200 OK\r\n\r\n"),
        protocol("a request", b"POST /hook HTTP/1.1\r\nhost: x\r\n\r\n"),
        protocol("an ICY stream", b"ICY 200 OK\r\n\r\n"),
        protocol("small letters", b"http/1.1 200 ok\r\n\r\n"),
        protocol("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        Bad::runs("speaks first, like SSH", Class::Protocol, |mut peer| async move {
            peer.write(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            peer.hold().await;
        }),
        Bad::runs("an echo", Class::Protocol, |mut peer| async move {
            let head = peer.read_head().await;
            peer.write(head.as_bytes()).await;
            peer.close().await;
        }),
    ]
}

fn too_large() -> Vec<Bad> {
    let protocol = |name, answer: Vec<u8>| Bad::answers(name, Class::Protocol, answer);
    let endless = |name, start: &'static str, more: &'static [u8]| {
        Bad::runs(name, Class::Protocol, move |mut peer| async move {
            peer.read_head().await;
            peer.write(start.as_bytes()).await;
            peer.write_for_ever(more).await;
        })
    };
    let headers = |count: usize| {
        let lines: Vec<String> = (0..count).map(|index| format!("x-{index}: y\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.concat()).into_bytes()
    };
    let long = |start: &str, end: &str| [start.as_bytes(), &vec![b'a'; 1_000_000], end.as_bytes()].concat();
    vec![
        endless("an endless reason", "HTTP/1.1 200 ", &[b'a'; 4096]),
        endless("an endless header line", "HTTP/1.1 200 OK\r\nx: ", &[b'a'; 4096]),
        endless("an endless header name", "HTTP/1.1 200 OK\r\nx", &[b'a'; 4096]),
        endless("endless headers", "HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        endless("an endless version", "HTTP/1.", &[b'1'; 4096]),
        protocol("10,000 headers", headers(10_000)),
        protocol("129 headers", headers(129)),
        Bad::answers("128 headers", Class::Delivered, headers(128)).status(200),
        protocol("one header of 1 MB", long("HTTP/1.1 200 OK\r\nx: ", "\r\n\r\n")),
        protocol("a header name of 1 MB", long("HTTP/1.1 200 OK\r\n", ": x\r\n\r\n")),
        protocol("a reason of 1 MB", long("HTTP/1.1 200 ", "\r\n\r\n")),
        Bad::runs("1xx for ever, fast", Class::Protocol, |mut peer| async move {
            peer.read_head().await;
            peer.write_for_ever(b"HTTP/1.1 103 Early Hints\r\nlink: </evil>\r\n\r\n").await;
        }),
    ]
}

fn statuses() -> Vec<Bad> {
    let answer = |name, class, line: &str| Bad::answers(name, class, format!("HTTP/1.1 {line}\r\n\r\n"));
    vec![
        answer("status 000", Class::Protocol, "000 Zero"),
        answer("status 99", Class::Protocol, "99 Short"),
        answer("status 2000", Class::Protocol, "2000 Long"),
        answer("status -200", Class::Protocol, "-200 Negative"),
        answer("status 2O0", Class::Protocol, "2O0 Letter"),
        answer("no status", Class::Protocol, ""),
        answer("status 999", Class::Protocol, "999 secret").status(999),
        answer("status 600", Class::Protocol, "600 secret").status(600),
        answer(
            "switching protocols unasked",
            Class::Protocol,
            "101 Switching\r\nupgrade: websocket\r\nconnection: upgrade",
        )
        .status(101),
        answer("only a status", Class::Delivered, "200").status(200),
        answer(
            "100, 102, 103 and then 200",
            Class::Delivered,
            "100 A\r\n\r\nHTTP/1.1 102 B\r\n\r\nHTTP/1.1 103 C\r\n\r\nHTTP/1.1 200 OK",
        )
        .status(200),
        Bad::answers("HTTP/1.0", Class::Delivered, "HTTP/1.0 200 OK\r\n\r\nok").status(200).body(2),
        Bad::answers("line feeds alone", Class::Delivered, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok")
            .status(200)
            .body(2),
        Bad::answers("empty lines before", Class::Delivered, "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").status(200),
    ]
}

fn lengths() -> Vec<Bad> {
    let protocol = |name, lines: &str| {
        Bad::answers(name, Class::Protocol, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok"))
    };
    let fine = |name, lines: &str, body| {
        Bad::answers(name, Class::Delivered, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok"))
            .status(200)
            .body(body)
    };
    vec![
        protocol("a negative length", "content-length: -5"),
        protocol("a length with a sign", "content-length: +2"),
        protocol("a length of letters", "content-length: two"),
        protocol("an empty length", "content-length: "),
        protocol("a length in hex", "content-length: 0x2"),
        protocol("a length beyond numbers", "content-length: 99999999999999999999999"),
        protocol("the greatest length", "content-length: 18446744073709551615"),
        protocol("two different lengths", "content-length: 2\r\ncontent-length: 3"),
        protocol("two different lengths in a line", "content-length: 2, 3"),
        fine("the same length twice", "content-length: 2\r\ncontent-length: 2", 2),
        fine("an unknown transfer encoding", "transfer-encoding: evil", 2),
    ]
}

fn odd_headers() -> Vec<Bad> {
    let answer = |name, class, lines: &[u8]| {
        Bad::answers(
            name,
            class,
            [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".as_slice(), lines, b"\r\n\r\n"].concat(),
        )
    };
    vec![
        answer("a zero byte in a header", Class::Protocol, b"x: a\0b"),
        answer("a bare carriage return in a header", Class::Protocol, b"x: a\rb"),
        answer("a header over two lines", Class::Protocol, b"x: a\r\n b"),
        answer("a space before the colon", Class::Protocol, b"x : a"),
        answer("no colon", Class::Protocol, b"secret"),
        answer("no name", Class::Protocol, b": a"),
        answer("letters that are no UTF-8", Class::Delivered, b"x: \xff\xfe\xc3").status(200),
        answer("a name that is no ASCII", Class::Protocol, "ä: b".as_bytes()),
        answer("a cookie", Class::Delivered, b"set-cookie: session=secret; path=/").status(200),
        answer("a hop of its own", Class::Delivered, b"connection: content-length, keep-alive").status(200),
    ]
}

fn waits() -> Vec<Bad> {
    use RetryAfter::{Between, Exactly, Nothing};
    let busy = |name, value: &str, expected| {
        let answer = format!("HTTP/1.1 503 Busy\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        Bad::answers(name, Class::HttpStatus, answer).status(503).retry_after(expected)
    };
    vec![
        busy("wait 7", "7", Exactly(7)),
        busy("wait -1", "-1", Nothing),
        busy("wait 1e9", "1e9", Nothing),
        busy("wait 1000000000", "1000000000", Exactly(1_000_000_000)),
        busy("wait beyond numbers", "99999999999999999999999999", Exactly(u64::MAX)),
        busy("wait 1.5", "1.5", Nothing),
        busy("wait, empty", "", Nothing),
        busy("wait, in words", "soon", Nothing),
        busy("wait until a date in the past", "Sun, 06 Nov 1994 08:49:37 GMT", Exactly(0)),
        busy(
            "wait until a far date",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            Between(200_000_000_000, 300_000_000_000),
        ),
        busy("wait until no date", "Sun, 99 Nov 1994 08:49:37 GMT", Nothing),
        busy("wait twice", "7\r\nretry-after: 9", Exactly(7)),
        Bad::answers(
            "429",
            Class::HttpStatus,
            "HTTP/1.1 429 Slow\r\nretry-after: 3\r\nconnection: close\r\n\r\n",
        )
        .status(429)
        .retry_after(Exactly(3)),
    ]
}

fn redirects() -> Vec<Bad> {
    let redirect = |name, status: u16, target: &str| {
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        Bad::answers(name, Class::Rejected, answer).status(status)
    };
    vec![
        redirect("a redirect to the metadata address", 302, "http://169.254.169.254/latest/meta-data/"),
        redirect("a redirect to itself", 307, "/hook"),
        redirect("a redirect to a file", 308, "file:///etc/passwd"),
        redirect("a redirect with a port of the system", 301, "http://127.0.0.1:22/"),
        Bad::answers(
            "401 that asks for credentials",
            Class::Rejected,
            "HTTP/1.1 401 No\r\nwww-authenticate: Basic realm=\"secret\"\r\ncontent-length: 0\r\n\r\n",
        )
        .status(401),
    ]
}
