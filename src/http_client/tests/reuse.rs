//! Tests of connection reuse.

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::*;

/// Starts a receiver that answers every request on a connection.
async fn keep_alive_receiver() -> Receiver {
    receiver(|mut peer| async move {
        while peer.read_head().await.contains("/hook") {
            peer.write(OK).await;
        }
    })
    .await
}

fn bodyless(url: &str) -> WebhookRequest {
    WebhookRequest { body: None, ..request(url) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_reused() {
    let receiver = keep_alive_receiver().await;
    let client = client();
    for _ in 0..1000 {
        assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Delivered);
    }
    assert_eq!(receiver.connections(), 1);
    for _ in 0..60 {
        let wave = join_all((0..16).map(|_| client.send(bodyless(&receiver.url)))).await;
        assert!(wave.iter().all(|outcome| outcome.class == Class::Delivered));
    }
    assert!(receiver.connections() <= 16, "{}", receiver.connections());
}

#[tokio::test]
async fn connect_time_is_reported_for_new_connections_only() {
    let receiver = keep_alive_receiver().await;
    let client = client();
    let first = client.send(bodyless(&receiver.url)).await;
    let second = client.send(bodyless(&receiver.url)).await;
    let (connect, answer) = (first.timing.connect.unwrap(), first.timing.answer.unwrap());
    assert!(connect <= answer && answer <= first.duration, "{:?}", first.timing);
    assert_eq!(second.timing.connect, None);
    assert!(second.timing.answer.unwrap() <= second.duration);
}

#[tokio::test]
async fn closed_idle_connection_is_replaced() {
    let (stored, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let shared = (Arc::clone(&stored), Arc::clone(&closed));
    // Answers as if it kept the connection open, and closes it once the client has stored it.
    let receiver = receiver(move |mut peer| {
        let (stored, closed) = shared.clone();
        async move {
            peer.read_head().await;
            peer.write(OK).await;
            stored.notified().await;
            drop(peer);
            closed.notify_one();
        }
    })
    .await;
    let client = client();
    for count in 1..=20 {
        assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Delivered);
        stored.notify_one();
        closed.notified().await;
        timeout(WAIT_TIMEOUT, close_arrives(&receiver)).await.expect("the kernel reports the close");
        assert_eq!(receiver.connections(), count);
    }
}

/// Waits until the kernel, and with it the runtime, knows that the receiver has closed a connection.
async fn close_arrives(receiver: &Receiver) {
    /// `TCP_CLOSE_WAIT` of the kernel.
    const CLOSE_WAIT: &str = "08";
    let port = format!(":{:04X}", Url::parse(&receiver.url).unwrap().port().unwrap());
    loop {
        // A line has its number, the local address, the remote address and the state.
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let is_closed = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().take(4).collect();
            words.get(2).is_some_and(|remote| remote.ends_with(&port)) && words.get(3) == Some(&CLOSE_WAIT)
        };
        let closed = sockets.lines().any(is_closed);
        // The runtime polls its sockets before it continues a task that yielded.
        tokio::task::yield_now().await;
        if closed {
            return;
        }
    }
}

#[tokio::test]
async fn written_request_is_not_retried() {
    let receiver = receiver(|mut peer| async move {
        peer.read_head().await;
        peer.write(OK).await;
        peer.read_head().await;
    })
    .await;
    let client = client();
    assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Delivered);
    assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Protocol);
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn surplus_bytes_are_not_the_next_response() {
    for surplus in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    ] {
        let receiver = receiver(move |mut peer| async move {
            while peer.read_head().await.contains("/hook") {
                peer.write(surplus.as_bytes()).await;
            }
        })
        .await;
        let client = client();
        for count in 1..=3 {
            assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Delivered);
            assert_eq!(receiver.connections(), count);
        }
    }
}

#[tokio::test]
async fn tolerated_heads_end_where_the_next_response_begins() {
    let receiver = receiver(|mut peer| async move {
        while peer.read_head().await.contains("/hook") {
            peer.write(b"HTTP/1.1 200 OK\r\nstray\r\nContent-Length : 2\r\nx: a\r\n b\r\n\r\nok").await;
        }
    })
    .await;
    let client = client();
    for _ in 0..3 {
        let outcome = client.send(bodyless(&receiver.url)).await;
        assert_eq!((outcome.class, outcome.response_body.as_slice()), (Class::Delivered, b"ok".as_slice()));
    }
    assert_eq!(receiver.connections(), 1);
}

/// What a proxy in front of many receivers passes on without understanding it. It ends the answer elsewhere, and one of
/// the receivers chooses what comes after that.
#[tokio::test]
async fn connection_with_two_lengths_is_not_reused() {
    for (head, count) in [
        ("content-length: 12\r\nTransfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 3),
        ("transfer-encoding: chunked\r\nContent-Length : 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", 3),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 3),
        ("content-length: 2\r\nContent-Length:\r\n 2\r\n\r\nok", 3),
        ("transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
        ("content-length: 2\r\n\r\nok", 1),
    ] {
        let receiver = receiver(move |mut peer| async move {
            while peer.read_head().await.contains("/hook") {
                peer.write(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await;
            }
        })
        .await;
        let client = client();
        for _ in 0..3 {
            let outcome = client.send(bodyless(&receiver.url)).await;
            assert_eq!(outcome.class, Class::Delivered, "{head}");
        }
        assert_eq!(receiver.connections(), count, "{head}");
    }
    // An answer that cannot have a body needs no length.
    let receiver = receiver(|mut peer| async move {
        while peer.read_head().await.contains("/hook") {
            peer.write(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Delivered);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn body_that_nobody_waits_for_holds_up_nothing() {
    for (status, class) in
        [("200 OK", Class::Delivered), ("422 No", Class::Rejected), ("503 Busy", Class::HttpStatus)]
    {
        let receiver = receiver(move |mut peer| async move {
            peer.read_head().await;
            peer.write(format!("HTTP/1.1 {status}\r\ncontent-length: 100\r\n\r\nok").as_bytes()).await;
            peer.stay_silent().await;
        })
        .await;
        let Client { client, route } = client();
        let sending = Sending { awaits_body: false, ..sending() };
        let outcome = client.send(&request(&receiver.url), &sending, &route).await;
        assert_eq!((outcome.class, outcome.response_body.as_slice()), (class, b"ok".as_slice()));
        // The deadline is WAIT_TIMEOUT.
        assert!(outcome.duration < WAIT_TIMEOUT, "{:?}", outcome.duration);
    }
}

/// PHP, Cloud Run and proxies stop the work behind an answer when its connection is closed.
#[tokio::test]
async fn receiver_that_goes_on_sending_is_not_cut_off() {
    let (sender, mut pauses) = mpsc::unbounded_channel();
    let receiver = receiver(move |mut peer| {
        let sender = sender.clone();
        async move {
            peer.read_head().await;
            peer.write(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let (started, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
            while started.elapsed() < 2 * BODY_TIMEOUT && peer.write(b" ").await {
                tokio::time::sleep(Duration::from_millis(20)).await;
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            peer.write(b"done").await;
            sender.send(longest).unwrap();
        }
    })
    .await;
    let Client { client, route } = client();
    let sending = Sending { awaits_body: false, ..sending() };
    loop {
        let outcome = client.send(&request(&receiver.url), &sending, &route).await;
        assert_eq!(outcome.class, Class::Delivered);
        // A busy machine may have kept the receiver from sending.
        if timeout(WAIT_TIMEOUT, pauses.recv()).await.unwrap().unwrap() < BODY_TIMEOUT / 2 {
            assert!(outcome.response_body.ends_with(b"done"), "{:?}", outcome.duration);
            return;
        }
    }
}

#[tokio::test]
async fn idle_connections_are_closed_without_another_request() {
    let (sender, mut closed) = mpsc::unbounded_channel();
    let receiver = receiver(move |mut peer| {
        let sender = sender.clone();
        async move {
            while peer.read_head().await.contains("/hook") {
                peer.write(OK).await;
            }
            sender.send(()).unwrap();
        }
    })
    .await;
    let client = client();
    assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Delivered);
    timeout(WAIT_TIMEOUT, closed.recv()).await.unwrap();
}
