//! Tests of which connections serve another request.

use futures_util::future::join_all;

use super::*;

/// Answers every request, each with the number of its connection's requests.
async fn keeping() -> Receiver {
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
async fn connections_are_kept_under_load() {
    let receiver = keeping().await;
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
async fn timing_tells_a_new_connection_from_a_kept_one() {
    let receiver = keeping().await;
    let client = client();
    let first = client.send(bodyless(&receiver.url)).await;
    let second = client.send(bodyless(&receiver.url)).await;
    let (connect, answer) = (first.timing.connect.unwrap(), first.timing.answer.unwrap());
    assert!(connect <= answer && answer <= first.duration, "{:?}", first.timing);
    assert_eq!(second.timing.connect, None);
    assert!(second.timing.answer.unwrap() <= second.duration);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_fails_no_attempt() {
    // Closes after each answer, without having said so.
    let receiver = receiver(|mut peer| async move {
        peer.read_head().await;
        peer.write(OK).await;
    })
    .await;
    let client = client();
    for count in 1..=20 {
        assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Delivered);
        // Until the close is here; it is told by no call of this client.
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(receiver.connections(), count);
    }
}

#[tokio::test]
async fn a_request_that_was_written_is_not_sent_again() {
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
async fn what_comes_after_an_answer_is_not_the_next_answer() {
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
async fn idle_connections_are_closed_unasked() {
    let (gone, mut is_gone) = tokio::sync::mpsc::unbounded_channel();
    let receiver = receiver(move |mut peer| {
        let gone = gone.clone();
        async move {
            while peer.read_head().await.contains("/hook") {
                peer.write(OK).await;
            }
            gone.send(()).unwrap();
        }
    })
    .await;
    let client = client();
    assert_eq!(client.send(bodyless(&receiver.url)).await.class, Class::Delivered);
    timeout(Duration::from_secs(10), is_gone.recv()).await.unwrap();
}
