//! Tests against receivers on loopback, each a task of the test. Misbehaving receivers are one table, in
//! `bad_receivers`.

mod bad_receivers;
mod certificates;
mod generated;
mod peer;
mod reuse;
mod tls;

use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::mpsc};

use super::*;
use crate::domain::webhook::request;
use peer::{OK, Receiver, answering, receiver};

/// Only a failure uses it.
const WAIT_TIMEOUT: Duration = Duration::from_mins(2);

/// A client with a default route.
struct Client {
    client: HttpClient,
    route: Route,
}

fn sending() -> Sending<'static> {
    Sending {
        company: "acme",
        headers: &[],
        now: OffsetDateTime::now_utc(),
        awaits_body: true,
        is_wanted: &|| true,
    }
}

impl Client {
    async fn send(&self, request: WebhookRequest) -> Outcome {
        self.client.send(&request, &sending(), &self.route).await
    }
}

fn client_of(policy: Policy, own: Vec<OwnService>) -> Client {
    let route = Route { timeout: WAIT_TIMEOUT, tls: HttpClient::tls(None, None, None).unwrap() };
    Client { client: HttpClient::new(policy, own), route }
}

fn loopback() -> Policy {
    let allowed_networks = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap()).to_vec();
    Policy { allow_http: true, allowed_networks, ..Policy::default() }
}

fn client() -> Client {
    client_of(loopback(), Vec::new())
}

fn request(url: &str) -> WebhookRequest {
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    WebhookRequest { method: request::Method::Post, url: url.to_owned(), headers, body: Some(b"x".to_vec()) }
}

async fn send_to(url: &str) -> Outcome {
    client().send(request(url)).await
}

/// Sends a request and returns what the receiver read, line by line, with its port replaced by `PORT`.
async fn lines_received(change: impl FnOnce(&mut WebhookRequest)) -> Vec<String> {
    let (sender, mut heads) = mpsc::unbounded_channel();
    let receiver = receiver(move |mut peer| {
        let sender = sender.clone();
        async move {
            sender.send(peer.read_head().await).unwrap();
            peer.write(OK).await;
        }
    })
    .await;
    let mut sent = request(&receiver.url);
    change(&mut sent);
    assert_eq!(client().send(sent).await.class, Class::Delivered);
    let port = Url::parse(&receiver.url).unwrap().port().unwrap().to_string();
    heads.recv().await.unwrap().lines().map(|line| line.replace(&port, "PORT")).collect()
}

#[tokio::test]
async fn request_is_sent_unchanged_except_for_its_fragment() {
    let lines = lines_received(|request| {
        request.url.push_str("?a=%2F&b=%20#f");
        request.headers.push(("x-name".to_owned(), "José".to_owned()));
    })
    .await;
    let expected = [
        "POST /hook?a=%2F&b=%20 HTTP/1.1",
        "host: 127.0.0.1:PORT",
        "accept-encoding: identity",
        "content-type: text/plain",
        "x-name: José",
        "content-length: 1",
        "",
    ];
    // The body follows the head.
    assert_eq!(lines[..expected.len()], expected);
}

#[tokio::test]
async fn missing_body_has_length_zero_for_post_put_and_patch() {
    use request::Method;
    use strum::VariantArray as _;
    for method in Method::VARIANTS.iter().copied() {
        let lines = lines_received(|request| {
            request.method = method;
            request.body = None;
        })
        .await;
        let length = lines.iter().find(|line| line.starts_with("content-length"));
        let expected = matches!(method, Method::Post | Method::Put | Method::Patch);
        assert_eq!(length.map(String::as_str), expected.then_some("content-length: 0"), "{method:?}");
        assert!(lines[0].starts_with(method.name()), "{lines:?}");
    }
}

#[test]
fn host_header_omits_the_default_port() {
    for (url, host) in [
        ("https://hooks.example/x", "hooks.example"),
        ("https://hooks.example:443/x", "hooks.example"),
        ("https://hooks.example:8443/x", "hooks.example:8443"),
        ("http://hooks.example:443/x", "hooks.example:443"),
        ("http://HOOKS.example:80/x", "hooks.example"),
        ("https://[fd00::1]/", "[fd00::1]"),
        ("https://[FD00:0::1]:8443/", "[fd00::1]:8443"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
    ] {
        let message = message::build(&request(url), &[], &Url::parse(url).unwrap()).unwrap();
        assert_eq!(message.headers()["host"], host, "{url}");
    }
}

#[tokio::test]
async fn every_status_is_an_outcome() {
    for status in [200, 201, 202, 204, 206, 300, 304, 400, 401, 403, 404, 408, 410, 425, 429, 500, 503, 599] {
        let answer = format!("HTTP/1.1 {status} Some Reason\r\nconnection: close\r\n\r\n");
        let outcome = send_to(&answering(answer).await.url).await;
        assert_eq!((outcome.class, outcome.status), (Class::of_status(status), Some(status)));
        let error = outcome.error.unwrap_or_default();
        assert!(
            error.is_empty() == (outcome.class == Class::Delivered) && !error.contains("Reason"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn answer_that_breaks_off_is_incomplete_for_those_who_wait_for_it() {
    let long =
        format!("content-length: {}\r\n\r\n{}", MAX_RESPONSE_BODY + 1, "a".repeat(MAX_RESPONSE_BODY + 1));
    let refused = "the receiver answered 422";
    for (status, rest, expected) in [
        ("200 OK", "content-length: 2\r\n\r\nok", ""),
        ("200 OK", "\r\nok", ""),
        ("204 No Content", "\r\n", ""),
        // The limit is ours.
        ("200 OK", long.as_str(), ""),
        ("200 OK", "content-length: 3\r\n\r\nok", INCOMPLETE),
        ("200 OK", "content-length: 3\r\n\r\n", INCOMPLETE),
        ("200 OK", "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n", INCOMPLETE),
        ("422 No", "content-length: 3\r\n\r\nok", refused),
    ] {
        let receiver = answering(format!("HTTP/1.1 {status}\r\n{rest}")).await;
        for awaits_body in [true, false] {
            let Client { client, route } = client();
            let sending = Sending { awaits_body, ..sending() };
            let outcome = client.send(&request(&receiver.url), &sending, &route).await;
            let expected = if awaits_body || expected == refused { expected } else { "" };
            assert_eq!(outcome.error.as_deref().unwrap_or_default(), expected, "{status} {awaits_body}");
            assert_eq!(outcome.class == Class::Delivered, status != "422 No");
        }
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let inside = receiver(|_| async {}).await;
    let answer = format!("HTTP/1.1 307 Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", inside.url);
    assert_eq!(send_to(&answering(answer).await.url).await.class, Class::Rejected);
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn cookies_are_not_sent_back() {
    let (sender, mut heads) = mpsc::unbounded_channel();
    let receiver = receiver(move |mut peer| {
        let sender = sender.clone();
        async move {
            loop {
                let head = peer.read_head().await;
                if head.is_empty() || sender.send(head).is_err() {
                    return;
                }
                peer.write(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let client = client();
    for _ in 0..2 {
        let sent = WebhookRequest { body: None, ..request(&receiver.url) };
        assert_eq!(client.send(sent).await.class, Class::Delivered);
    }
    assert_eq!(heads.recv().await, heads.recv().await);
}

#[tokio::test]
async fn closed_port_is_a_connect_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let outcome = send_to(&closed).await;
    assert_eq!(outcome.class, Class::Connect, "{outcome:?}");
    assert_eq!(outcome.timing, Timing::default());
}

#[tokio::test]
async fn host_names_are_checked_by_their_addresses() {
    let receiver = receiver(|_| async {}).await;
    let port = Url::parse(&receiver.url).unwrap().port().unwrap();
    let named = receiver.url.replace("127.0.0.1", "localhost");
    let dotted = receiver.url.replace("127.0.0.1", "localhost.");
    let strict = client_of(
        Policy { allowed_networks: Vec::new(), allowed_ports: vec![port], ..loopback() },
        Vec::new(),
    );
    for url in [&receiver.url, &named] {
        let outcome = strict.send(request(url)).await;
        assert_eq!(outcome.class, Class::Blocked);
        assert!(outcome.error.unwrap().contains("a loopback address"));
    }
    // Some systems do not resolve this name.
    assert!(matches!(strict.send(request(&dotted)).await.class, Class::Blocked | Class::Dns));
    let own = client_of(loopback(), vec![OwnService { host: "localhost".to_owned(), port }]);
    for url in [&receiver.url, &named, &receiver.url.replace("127.0.0.1", "127.9.9.9")] {
        let outcome = own.send(request(url)).await;
        assert_eq!(outcome.class, Class::Blocked, "{url}: {outcome:?}");
        assert!(outcome.error.unwrap().contains("the service's own"));
    }
    assert_eq!(receiver.connections(), 0);
    let outcome = strict.send(request("http://no-such-name.invalid/")).await;
    assert_eq!(outcome.class, Class::Dns, "{outcome:?}");
}

/// The caller's clock counts, which is the database's.
#[tokio::test]
async fn date_in_retry_after_is_compared_to_the_given_time() {
    let answer =
        "HTTP/1.1 503 Busy\r\nretry-after: Thu, 01 Jan 1970 01:00:00 GMT\r\ncontent-length: 0\r\n\r\n";
    let (receiver, Client { client, route }) = (answering(answer).await, client());
    let at_epoch = Sending { now: OffsetDateTime::UNIX_EPOCH, ..sending() };
    let outcome = client.send(&request(&receiver.url), &at_epoch, &route).await;
    let asked = outcome.retry_after.unwrap();
    let hour = Duration::from_hours(1);
    assert!(asked <= hour && hour <= asked + route.timeout, "{asked:?}");
}

#[tokio::test]
async fn name_that_does_not_resolve_in_time_is_a_dns_failure() {
    let (hanging, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let names = Names::with(2, move |_| {
        // Until the test has ended.
        let _ = released.lock().unwrap().recv();
        Ok(Vec::new())
    });
    let Client { mut client, mut route } = client();
    client.connector = Arc::new(Connector { guard: Guard::new(loopback(), Vec::new()), names });
    route.timeout = Duration::from_millis(10);
    let outcome = Client { client, route }.send(request("http://slow.example/")).await;
    assert_eq!(outcome.class, Class::Dns);
    assert_eq!(outcome.error.as_deref(), Some("the receiver's host name did not resolve in time"));
    drop(hanging);
}

#[tokio::test]
async fn invalid_urls_and_headers_are_not_sent() {
    for url in ["not a url", "http://127.0.0.1:99999/", "http://[fe80::1%25eth0]/"] {
        assert_eq!(send_to(url).await.class, Class::Invalid, "{url}");
    }
    let mut bad = request("http://127.0.0.1:1/");
    bad.headers.push(("x".to_owned(), "a\r\nb".to_owned()));
    assert_eq!(client().send(bad).await.class, Class::Invalid);
}
