//! Tests against small receivers that behave badly, each a task on a loopback port.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::domain::webhook_request;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A receiver that runs `answer` for each connection; its address, and how many came.
async fn receiver<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer(stream));
        }
    });
    (url, count)
}

/// A receiver that reads one request, writes `bytes` and closes.
async fn answering(bytes: impl Into<Vec<u8>>) -> String {
    let bytes: Vec<u8> = bytes.into();
    let answer = move |mut stream: TcpStream| {
        let bytes = bytes.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
    };
    receiver(answer).await.0
}

async fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A client with its route.
struct Client {
    client: HttpClient,
    route: Route,
}

impl Client {
    async fn send(&self, request: WebhookRequest) -> Outcome {
        self.client.send(request, &self.route).await
    }
}

fn client_with(networks: &[&str], timeout: Duration) -> Client {
    let allowed_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    let client = HttpClient::new(Policy { allow_http: true, allowed_networks });
    Client { client, route: Route { timeout, tls: HttpClient::tls(None, None, None).unwrap() } }
}

fn client() -> Client {
    client_with(&["127.0.0.0/8", "::1/128"], Duration::from_secs(5))
}

fn request(url: &str) -> WebhookRequest {
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    WebhookRequest {
        method: webhook_request::Method::Post,
        url: url.to_owned(),
        headers,
        body: Some(b"x".to_vec()),
    }
}

async fn send_to(url: &str) -> Outcome {
    client().send(request(url)).await
}

#[tokio::test]
async fn an_answer_is_read_and_the_connection_used_again() {
    let (url, connections) = receiver(|mut stream| async move {
        while read_head(&mut stream).await.contains("/hook") {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let client = client();
    for _ in 0..3 {
        let outcome = client.send(WebhookRequest { body: None, ..request(&url) }).await;
        assert_eq!((outcome.class, outcome.status, outcome.error), (Class::Delivered, Some(200), None));
        assert_eq!(outcome.response_body, b"ok");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_request_is_sent_as_it_is() {
    let (sender, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let (url, _) = receiver(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(read_head(&mut stream).await).unwrap();
            let _ = stream.write_all(OK).await;
        }
    })
    .await;
    let mut wanted = request(&format!("{url}?a=%2F&b=%20#f"));
    wanted.headers.push(("x-name".to_owned(), "José".to_owned()));
    assert_eq!(client().send(wanted).await.class, Class::Delivered);
    let head = heads.recv().await.unwrap();
    let lines: Vec<_> = head.lines().collect();
    assert_eq!(lines[0], "POST /hook?a=%2F&b=%20 HTTP/1.1");
    for line in ["accept-encoding: identity", "content-type: text/plain", "content-length: 1", "x-name: José"]
    {
        assert!(lines.contains(&line), "{head}");
    }
    assert!(!head.contains("user-agent") && !head.contains("referer"), "{head}");
}

#[tokio::test]
async fn statuses_are_data() {
    for (line, class, status) in [
        ("204 No Content", Class::Delivered, 204),
        ("302 Found\r\nlocation: http://127.0.0.1:1/other", Class::Rejected, 302),
        ("404 Not Found", Class::Rejected, 404),
        ("429 Too Many", Class::HttpStatus, 429),
        ("503 Busy", Class::HttpStatus, 503),
        ("999 What", Class::Protocol, 999),
    ] {
        let url = answering(format!("HTTP/1.1 {line}\r\nretry-after: 7\r\nconnection: close\r\n\r\n")).await;
        let outcome = send_to(&url).await;
        assert_eq!((outcome.class, outcome.status), (class, Some(status)), "{line}");
        assert_eq!(outcome.retry_after, Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (inside, connections) = receiver(|_| async {}).await;
    let url =
        answering(format!("HTTP/1.1 307 Moved\r\nlocation: {inside}\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!(send_to(&url).await.class, Class::Rejected);
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_failure() {
    let headers = "x: y\r\n".repeat(5000);
    let answers = [
        Vec::new(),
        b"HTTP/1.1 200 OK\r\ncontent-le".to_vec(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        vec![0; 4096],
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n".to_vec(),
        format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes(),
        [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 2_000_000]].concat(),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        let outcome = send_to(&answering(answer).await).await;
        assert_eq!(outcome.class, Class::Protocol, "{index}: {outcome:?}");
        let error = outcome.error.unwrap();
        assert!(!error.contains("127.0.0.1") && !error.contains("hook"), "{error}");
    }
}

#[tokio::test]
async fn one_deadline_covers_everything() {
    let silent = receiver(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    });
    let dripping = |head: &'static [u8]| {
        receiver(move |mut stream| async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(head).await;
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            while stream.write_all(b"a").await.is_ok() {
                pace.tick().await;
            }
        })
    };
    let in_head = dripping(b"HTTP/1.1 200 OK\r\nx: ").await.0;
    let in_body = dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.0;
    let client = client_with(&["127.0.0.0/8"], Duration::from_millis(200));
    for (url, status) in [(silent.await.0, None), (in_head, None), (in_body, Some(200))] {
        let outcome = client.send(request(&url)).await;
        assert_eq!((outcome.class, outcome.status), (Class::Timeout, status));
        let within = Duration::from_millis(200)..Duration::from_secs(2);
        assert!(within.contains(&outcome.duration), "{:?}", outcome.duration);
    }
}

#[tokio::test]
async fn no_more_than_the_bound_is_read() {
    let (url, _) = receiver(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    let outcome = send_to(&url).await;
    assert_eq!((outcome.class, outcome.response_body.len()), (Class::Delivered, MAX_RESPONSE_BODY));
}

#[tokio::test]
async fn compressed_answers_stay_as_they_are() {
    let url = answering("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nbomb").await;
    assert_eq!(send_to(&url).await.response_body, b"bomb");
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_undo_the_status() {
    let outcome = send_to(&answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").await).await;
    assert_eq!((outcome.class, outcome.response_body.as_slice()), (Class::Delivered, b"part".as_slice()));
}

#[tokio::test]
async fn no_connection_and_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(send_to(&closed).await.class, Class::Connect);
    let (plain, _) = receiver(|mut stream| async move {
        let _ = stream.write_all(OK).await;
    })
    .await;
    let outcome = send_to(&plain.replace("http:", "https:")).await;
    assert_eq!(outcome.class, Class::Tls, "{outcome:?}");
}

#[tokio::test]
async fn names_are_judged_by_their_addresses() {
    let (url, connections) = receiver(|_| async {}).await;
    let named = url.replace("127.0.0.1", "localhost");
    let strict = client_with(&[], Duration::from_secs(5));
    for url in [&url, &named] {
        let outcome = strict.send(request(url)).await;
        assert_eq!(outcome.class, Class::Blocked);
        assert!(outcome.error.unwrap().contains("a loopback address"));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    let outcome = strict.send(request("http://no-such-name.invalid/")).await;
    assert_eq!(outcome.class, Class::Dns, "{outcome:?}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_invalid() {
    assert_eq!(send_to("not a url").await.class, Class::Invalid);
    let mut bad = request("http://127.0.0.1:1/");
    bad.headers.push(("x".to_owned(), "a\r\nb".to_owned()));
    assert_eq!(client().send(bad).await.class, Class::Invalid);
}
