//! Every broken, hostile or failing receiver produces one outcome of the right class, before its deadline and in
//! bounded memory.

mod bodies;
mod heads;
mod silence;
mod tls;

use std::ops::RangeInclusive;

use futures_util::{StreamExt as _, future::BoxFuture, stream};

use super::{peer::Peer, *};

/// Maximum bytes that an endless receiver can write before the client stops reading. Includes the kernel's buffers
/// of both sides, which grow to about 36 MB on loopback.
const MAX_BYTES_WRITTEN: usize = 64 * 1024 * 1024;
/// For cases that are expected to time out.
const SHORT_TIMEOUT: Duration = Duration::from_millis(400);
/// For cases that time out in the body. On a busy machine, even the head takes longer than `SHORT_TIMEOUT`.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);
/// For all other cases. They end long before it.
const LONG_TIMEOUT: Duration = Duration::from_secs(20);

/// A misbehaving receiver and the outcome that it must produce.
struct Case {
    name: &'static str,
    behavior: Behavior,
    class: Class,
    status: Option<u16>,
    retry_after: RetryAfter,
    /// Expected length of the recorded response body.
    body: RangeInclusive<usize>,
    https: bool,
    /// Length of the request body.
    request: usize,
}

/// What the receiver does on each connection.
enum Behavior {
    /// Reads a request, writes these bytes and closes.
    Answer(Vec<u8>),
    Run(Box<dyn Fn(Peer) -> BoxFuture<'static, ()> + Send>),
}

/// The expected `Outcome::retry_after`, in seconds.
enum RetryAfter {
    Missing,
    Exactly(u64),
    Between(u64, u64),
}

impl Case {
    fn new(name: &'static str, class: Class, behavior: Behavior) -> Self {
        let retry_after = RetryAfter::Missing;
        Self { name, behavior, class, status: None, retry_after, body: 0..=0, https: false, request: 1 }
    }

    fn answers(name: &'static str, class: Class, answer: impl Into<Vec<u8>>) -> Self {
        Self::new(name, class, Behavior::Answer(answer.into()))
    }

    fn runs<F>(name: &'static str, class: Class, behavior: impl Fn(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::new(name, class, Behavior::Run(Box::new(move |peer| Box::pin(behavior(peer)))))
    }

    fn status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    fn retry_after(self, retry_after: RetryAfter) -> Self {
        Self { retry_after, ..self }
    }

    fn body(self, length: usize) -> Self {
        Self { body: length..=length, ..self }
    }

    fn some_body(self) -> Self {
        Self { body: 1..=200, ..self }
    }

    fn https(self) -> Self {
        Self { https: true, ..self }
    }

    fn request(self, request: usize) -> Self {
        Self { request, ..self }
    }
}

fn table() -> Vec<Case> {
    [silence::table(), heads::table(), bodies::table(), tls::table()].into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_receiver_ends_in_the_expected_outcome() {
    let table = table();
    let count = table.len();
    assert!(count >= 90, "{count}");
    let ca = certificates::authority().file();
    let trusting = HttpClient::tls(Some(ca.path()), None, None).unwrap();
    let failures: Vec<String> = stream::iter(table)
        .map(|case| check(case, trusting.clone()))
        .buffer_unordered(4)
        .filter_map(async |failure| failure)
        .collect()
        .await;
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}

/// Runs one case. Returns what differs from the expected outcome.
async fn check(case: Case, tls: TlsSetup) -> Option<String> {
    let Case { name, behavior, class, status, retry_after, body, https, request: length } = case;
    let receiver = match behavior {
        Behavior::Answer(bytes) => answering(bytes).await,
        Behavior::Run(run) => receiver(run).await,
    };
    let url = if https { receiver.url.replace("http:", "https:") } else { receiver.url.clone() };
    let limit = match (class, status) {
        (Class::Timeout, None) => SHORT_TIMEOUT,
        (Class::Timeout, Some(_)) => BODY_TIMEOUT,
        _ => LONG_TIMEOUT,
    };
    let client = client().client;
    let sent = WebhookRequest { body: Some(vec![b'x'; length]), ..request(&url) };
    let started = Instant::now();
    let outcome = client.send(&sent, &sending(), &Route { timeout: limit, tls }).await;
    let (took, written) = (started.elapsed(), receiver.written.load(std::sync::atomic::Ordering::SeqCst));
    let error = outcome.error.clone().unwrap_or_default();
    let checks = [
        ("class", outcome.class != class),
        ("status", outcome.status != status),
        ("retry-after", !retry_after.holds(outcome.retry_after)),
        ("body", !body.contains(&outcome.response_body.len())),
        ("connections", receiver.connections() != 1),
        ("memory", written > MAX_BYTES_WRITTEN),
        ("too early", class == Class::Timeout && outcome.duration < limit),
        ("too late", took > limit + Duration::from_secs(2)),
        ("error", error.is_empty() != (class == Class::Delivered)),
        ("discloses data", ["127.0.0.1", "hook", "secret", "evil"].iter().any(|word| error.contains(word))),
        ("timing", outcome.timing.answer.is_some() != status.is_some()),
    ];
    let wrong: Vec<&str> = checks.into_iter().filter(|(_, wrong)| *wrong).map(|(what, _)| what).collect();
    let list = wrong.join(", ");
    (!wrong.is_empty()).then(|| {
        format!(
            "{name}: {list}: {outcome:?}, {:?}, body {}, written {written}, {took:?}",
            outcome.retry_after,
            outcome.response_body.len()
        )
    })
}

impl RetryAfter {
    fn holds(&self, found: Option<Duration>) -> bool {
        let found = found.map(|found| found.as_secs());
        match self {
            Self::Missing => found.is_none(),
            Self::Exactly(seconds) => found == Some(*seconds),
            Self::Between(least, most) => found.is_some_and(|found| (*least..=*most).contains(&found)),
        }
    }
}
