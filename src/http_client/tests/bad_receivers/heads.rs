//! Receivers whose response head is not HTTP, too large, or unusual.

use super::*;

pub(super) fn table() -> Vec<Case> {
    let mut table = not_http();
    table.extend(too_large());
    table.extend(statuses());
    table.extend(lengths());
    table.extend(odd_headers());
    table.extend(odd_framing());
    table.extend(waits());
    table.extend(redirects());
    table
}

fn not_http() -> Vec<Case> {
    let protocol = |name, answer: &[u8]| Case::answers(name, Class::Protocol, answer);
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
        protocol("a lower-case status line", b"http/1.1 200 ok\r\n\r\n"),
        protocol("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        Case::runs("speaks first, like SSH", Class::Protocol, |mut peer| async move {
            peer.write(b"SSH-2.0-OpenSSH_9.2\r\n").await;
            peer.stay_silent().await;
        }),
        Case::runs("an echo", Class::Protocol, |mut peer| async move {
            let head = peer.read_head().await;
            peer.write(head.as_bytes()).await;
            peer.close().await;
        }),
    ]
}

fn too_large() -> Vec<Case> {
    let protocol = |name, answer: Vec<u8>| Case::answers(name, Class::Protocol, answer);
    let endless = |name, start: &'static str, repeated: &'static [u8]| {
        Case::runs(name, Class::Protocol, move |mut peer| async move {
            peer.read_head().await;
            peer.write(start.as_bytes()).await;
            peer.write_forever(repeated).await;
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
        endless("an endless fold", "HTTP/1.1 200 OK\r\nx: y\r\n", b" z\r\n"),
        endless("endless stray lines", "HTTP/1.1 200 OK\r\n", b"secret\r\n"),
        endless("an endless version", "HTTP/1.", &[b'1'; 4096]),
        protocol("10,000 headers", headers(10_000)),
        protocol("129 headers", headers(129)),
        Case::answers("128 headers", Class::Delivered, headers(128)).status(200),
        protocol("one header of 1 MB", long("HTTP/1.1 200 OK\r\nx: ", "\r\n\r\n")),
        protocol("a header name of 1 MB", long("HTTP/1.1 200 OK\r\n", ": x\r\n\r\n")),
        protocol("a reason of 1 MB", long("HTTP/1.1 200 ", "\r\n\r\n")),
        Case::runs("endless 1xx responses", Class::Protocol, |mut peer| async move {
            peer.read_head().await;
            peer.write_forever(b"HTTP/1.1 103 Early Hints\r\nlink: </evil>\r\n\r\n").await;
        }),
    ]
}

fn statuses() -> Vec<Case> {
    let answer = |name, class, line: &str| Case::answers(name, class, format!("HTTP/1.1 {line}\r\n\r\n"));
    vec![
        answer("status 000", Class::Protocol, "000 Zero"),
        answer("status 99", Class::Protocol, "99 Short"),
        answer("status 2000", Class::Protocol, "2000 Long"),
        answer("status -200", Class::Protocol, "-200 Negative"),
        answer("status 2O0", Class::Protocol, "2O0 Letter"),
        answer("an empty status", Class::Protocol, ""),
        answer("status 999", Class::Protocol, "999 secret").status(999),
        answer("status 600", Class::Protocol, "600 secret").status(600),
        answer(
            "an unrequested protocol switch",
            Class::Protocol,
            "101 Switching\r\nupgrade: websocket\r\nconnection: upgrade",
        )
        .status(101),
        answer("a status without a reason", Class::Delivered, "200").status(200),
        answer("an empty reason after a blank", Class::Delivered, "200 ").status(200),
        answer("a reason of blanks", Class::Delivered, "200   ").status(200),
        answer("a reason that is not ASCII", Class::Delivered, "200 Está bien").status(200),
        Case::answers("two blanks after the version", Class::Protocol, "HTTP/1.1  200 OK\r\n\r\n"),
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
        answer(
            "100, 102, 103 and then 200",
            Class::Delivered,
            "100 A\r\n\r\nHTTP/1.1 102 B\r\n\r\nHTTP/1.1 103 C\r\n\r\nHTTP/1.1 200 OK",
        )
        .status(200),
        Case::answers("HTTP/1.0", Class::Delivered, "HTTP/1.0 200 OK\r\n\r\nok").status(200).body(2),
        Case::answers("bare line feeds", Class::Delivered, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok")
            .status(200)
            .body(2),
        Case::answers(
            "empty lines before the status line",
            Class::Delivered,
            "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        )
        .status(200),
    ]
}

fn lengths() -> Vec<Case> {
    let protocol = |name, lines: &str| {
        Case::answers(name, Class::Protocol, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok"))
    };
    let valid = |name, lines: &str, body| {
        Case::answers(name, Class::Delivered, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok"))
            .status(200)
            .body(body)
    };
    vec![
        protocol("a negative length", "content-length: -5"),
        protocol("a length with a sign", "content-length: +2"),
        protocol("a length of letters", "content-length: two"),
        protocol("an empty length", "content-length: "),
        protocol("a length in hex", "content-length: 0x2"),
        protocol("a length that overflows", "content-length: 99999999999999999999999"),
        protocol("the largest 64-bit length", "content-length: 18446744073709551615"),
        protocol("two different lengths", "content-length: 2\r\ncontent-length: 3"),
        protocol("two different lengths in one line", "content-length: 2, 3"),
        valid("the same length twice", "content-length: 2\r\ncontent-length: 2", 2),
        valid("the same length twice in one line", "content-length: 2, 2", 2),
        valid("an unknown transfer encoding", "transfer-encoding: evil", 2),
    ]
}

/// What curl and browsers take for a 200 is one. The rest stays refused.
fn odd_headers() -> Vec<Case> {
    let answer = |name, class, lines: &[u8]| {
        Case::answers(
            name,
            class,
            [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".as_slice(), lines, b"\r\n\r\n"].concat(),
        )
    };
    let fine = |name, lines: &[u8]| answer(name, Class::Delivered, lines).status(200);
    vec![
        answer("a zero byte in a header", Class::Protocol, b"x: a\0b"),
        answer("a bare carriage return in a header", Class::Protocol, b"x: a\rb"),
        // tornadoweb/tornado #9, dotnet/corefx #27727, renatoathaydes/rawhttp #56 (a policy in ten lines)
        fine("a folded header", b"x: a\r\n b"),
        fine("a header folded by a tab, often", b"x: a\r\n\tb\r\n\tc\r\n  d"),
        fine("a header folded before its value", b"x:\r\n a"),
        fine("a folded policy", b"content-security-policy: default-src 'self';\r\n    img-src 'self' data:"),
        fine("folded bare line feeds", b"x: a\n b\ny: c"),
        // seanmonstar/httparse #88 (a receiver behind nginx), dotnet/corefx #9208
        fine("a space before the colon", b"x : a"),
        fine("a tab before the colon", b"x\t: a"),
        // curl/curl #11802: a second status line from a script; warnings that PHP prints too early
        fine("a header without a colon", b"secret"),
        fine(
            "a stray line among headers",
            b"x: a\r\n<br />secret notice in /var/www/hook.php on line 7\r\ny: b",
        ),
        fine("a second status line among headers", b"HTTP/1.1 200 OK\r\ny: b"),
        fine("a header without a name", b": a"),
        fine("a space in a header's name", b"x y: a"),
        fine("a value that is not UTF-8", b"x: \xff\xfe\xc3"),
        fine("a name that is not ASCII", "ä: b".as_bytes()),
        fine("an escape character in a header", b"x: \x1b[0m"),
        fine("a cookie", b"set-cookie: session=secret; path=/"),
        fine("content-length as a connection header", b"connection: content-length, keep-alive"),
    ]
}

/// Headers that frame the body, written oddly.
fn odd_framing() -> Vec<Case> {
    vec![
        // curl/curl #10319
        Case::answers(
            "a folded line before any header",
            Class::Delivered,
            "HTTP/1.1 200 OK\r\n x: y\r\n\r\n",
        )
        .status(200),
        Case::answers(
            "a space before the colon of the length",
            Class::Delivered,
            "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nokay",
        )
        .status(200)
        .body(2),
        Case::answers(
            "a folded length",
            Class::Delivered,
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nokay",
        )
        .status(200)
        .body(2),
        Case::answers(
            "a space before the colon of the encoding",
            Class::Delivered,
            "HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )
        .status(200)
        .body(2),
        // curl and browsers read it, the library does not (RFC 9112, 6.1 leaves it open).
        Case::answers(
            "HTTP/1.0 with chunks",
            Class::Protocol,
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        Case::answers(
            "a folded header of a refusal",
            Class::Rejected,
            "HTTP/1.1 422 No\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nno",
        )
        .status(422)
        .body(2),
    ]
}

fn waits() -> Vec<Case> {
    use RetryAfter::{Between, Exactly, Missing};
    let busy = |name, value: &str, expected| {
        let answer = format!("HTTP/1.1 503 Busy\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        Case::answers(name, Class::HttpStatus, answer).status(503).retry_after(expected)
    };
    vec![
        busy("wait 7", "7", Exactly(7)),
        busy("wait -1", "-1", Missing),
        busy("wait 1e9", "1e9", Missing),
        busy("wait 1000000000", "1000000000", Exactly(1_000_000_000)),
        busy("a wait that overflows", "99999999999999999999999999", Exactly(u64::MAX)),
        busy("wait 1.5", "1.5", Missing),
        busy("an empty wait", "", Missing),
        busy("a wait in words", "soon", Missing),
        busy("wait until a past date", "Sun, 06 Nov 1994 08:49:37 GMT", Exactly(0)),
        busy(
            "wait until a far date",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            Between(200_000_000_000, 300_000_000_000),
        ),
        busy("wait until an invalid date", "Sun, 99 Nov 1994 08:49:37 GMT", Missing),
        // open-telemetry/opamp-go #131, go-resty/resty #1220
        busy("wait until a past date of RFC 850", "Sunday, 06-Nov-94 08:49:37 GMT", Exactly(0)),
        busy("wait until a past date of asctime", "Sun Nov  6 08:49:37 1994", Exactly(0)),
        busy(
            "wait until a far date of asctime",
            "Fri Dec 31 23:59:59 9999",
            Between(200_000_000_000, 300_000_000_000),
        ),
        busy("a folded wait", "\r\n 7", Exactly(7)),
        busy("two waits", "7\r\nretry-after: 9", Exactly(7)),
        Case::answers(
            "429",
            Class::HttpStatus,
            "HTTP/1.1 429 Slow\r\nretry-after: 3\r\nconnection: close\r\n\r\n",
        )
        .status(429)
        .retry_after(Exactly(3)),
    ]
}

fn redirects() -> Vec<Case> {
    let redirect = |name, status: u16, target: &str| {
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        Case::answers(name, Class::Rejected, answer).status(status)
    };
    vec![
        redirect("a redirect to the metadata address", 302, "http://169.254.169.254/latest/meta-data/"),
        redirect("a redirect to itself", 307, "/hook"),
        redirect("a redirect to a file", 308, "file:///etc/passwd"),
        redirect("a redirect to a system port", 301, "http://127.0.0.1:22/"),
        Case::answers(
            "401 that asks for credentials",
            Class::Rejected,
            "HTTP/1.1 401 No\r\nwww-authenticate: Basic realm=\"secret\"\r\ncontent-length: 0\r\n\r\n",
        )
        .status(401),
    ]
}
