//! Receivers whose response head is not HTTP, too large, or unusual.

use super::*;

pub(super) fn table() -> Vec<Case> {
    let mut table = not_http();
    table.extend(too_large());
    table.extend(statuses());
    table.extend(lengths());
    table.extend(odd_headers());
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
        Case::answers("two blanks after the version", Class::Protocol, "HTTP/1.1  200 OK\r\n\r\n"),
    ]
}

fn lengths() -> Vec<Case> {
    let protocol = |name, lines: &str| {
        Case::answers(name, Class::Protocol, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok"))
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
    ]
}

fn odd_headers() -> Vec<Case> {
    let refused = |name, line: &[u8]| {
        let answer = [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".as_slice(), line, b"\r\n\r\n"].concat();
        Case::answers(name, Class::Protocol, answer)
    };
    vec![
        refused("a zero byte in a header", b"x: a\0b"),
        refused("a bare carriage return in a header", b"x: a\rb"),
        // curl and browsers read it, the library does not (RFC 9112, 6.1 leaves it open).
        Case::answers(
            "HTTP/1.0 with chunks",
            Class::Protocol,
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
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
