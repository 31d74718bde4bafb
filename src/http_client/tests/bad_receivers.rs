//! What every receiver that is broken, hostile or in trouble comes to: one recorded outcome of the right
//! class, in time, with flat memory.

mod bodies;
mod heads;
mod silence;
mod tls;

use std::ops::RangeInclusive;

use futures_util::{StreamExt as _, future::BoxFuture, stream};

use super::{peer::Peer, *};

/// Most bytes that a receiver may get rid of, where it would write without end. The kernel's buffers on both
/// sides count: on loopback they grow to some 36 MB.
const FLAT: usize = 64 * 1024 * 1024;
/// The deadline of those that are expected to pass it.
const SHORT: Duration = Duration::from_millis(400);
/// The deadline of all others, which do not come near it.
const LONG: Duration = Duration::from_secs(20);

/// One bad receiver.
struct Bad {
    name: &'static str,
    does: Does,
    class: Class,
    status: Option<u16>,
    retry_after: RetryAfter,
    /// How much of the answer's body is expected.
    body: RangeInclusive<usize>,
    https: bool,
    /// Bytes of the request's body.
    request: usize,
}

/// What it does with each connection.
enum Does {
    Answer(Vec<u8>),
    Run(Box<dyn Fn(Peer) -> BoxFuture<'static, ()> + Send>),
}

/// What is expected of `Outcome::retry_after`, in seconds.
enum RetryAfter {
    Nothing,
    Exactly(u64),
    Between(u64, u64),
}

impl Bad {
    fn new(name: &'static str, class: Class, does: Does) -> Self {
        let retry_after = RetryAfter::Nothing;
        Self { name, does, class, status: None, retry_after, body: 0..=0, https: false, request: 1 }
    }

    /// Reads a request, writes this, closes.
    fn answers(name: &'static str, class: Class, answer: impl Into<Vec<u8>>) -> Self {
        Self::new(name, class, Does::Answer(answer.into()))
    }

    fn runs<F>(name: &'static str, class: Class, does: impl Fn(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::new(name, class, Does::Run(Box::new(move |peer| Box::pin(does(peer)))))
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
        Self { body: 1..=100, ..self }
    }

    fn https(self) -> Self {
        Self { https: true, ..self }
    }

    fn request(self, request: usize) -> Self {
        Self { request, ..self }
    }
}

/// The whole table.
fn table() -> Vec<Bad> {
    [silence::table(), heads::table(), bodies::table(), tls::table()].into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_one_outcome() {
    let table = table();
    let count = table.len();
    assert!(count >= 90, "{count}");
    let ca = certificates::authority().file();
    let trusting = HttpClient::tls(Some(ca.path()), None, None).unwrap();
    let faults: Vec<String> = stream::iter(table)
        .map(|bad| fault(bad, trusting.clone()))
        .buffer_unordered(4)
        .filter_map(async |fault| fault)
        .collect()
        .await;
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
}

/// What is not as expected.
async fn fault(bad: Bad, tls: TlsSetup) -> Option<String> {
    let Bad { name, does, class, status, retry_after, body, https, request: length } = bad;
    let receiver = match does {
        Does::Answer(bytes) => answering(bytes).await,
        Does::Run(run) => receiver(run).await,
    };
    let url = if https { receiver.url.replace("http:", "https:") } else { receiver.url.clone() };
    let limit = if class == Class::Timeout { SHORT } else { LONG };
    let client = client().client;
    let sent = WebhookRequest { body: Some(vec![b'x'; length]), ..request(&url) };
    let began = Instant::now();
    let outcome = client.send(sent, &Route { timeout: limit, tls }).await;
    let (took, read) = (began.elapsed(), receiver.written.load(std::sync::atomic::Ordering::SeqCst));
    let error = outcome.error.clone().unwrap_or_default();
    let wrong = [
        ("class", outcome.class != class),
        ("status", outcome.status != status),
        ("retry-after", !retry_after.holds(outcome.retry_after)),
        ("body", !body.contains(&outcome.response_body.len())),
        ("connections", receiver.connections() != 1),
        ("memory", read > FLAT),
        ("too early", class == Class::Timeout && outcome.duration < limit),
        ("too late", took > limit + Duration::from_secs(2)),
        ("error", error.is_empty() != (class == Class::Delivered)),
        ("tells too much", ["127.0.0.1", "hook", "secret", "evil"].iter().any(|word| error.contains(word))),
        ("timing", outcome.timing.answer.is_some() != status.is_some()),
    ];
    let wrong: Vec<&str> = wrong.into_iter().filter(|(_, wrong)| *wrong).map(|(what, _)| what).collect();
    let what = wrong.join(", ");
    (!wrong.is_empty()).then(|| {
        format!(
            "{name}: {what}: {outcome:?}, {:?}, body {}, read {read}, {took:?}",
            outcome.retry_after,
            outcome.response_body.len()
        )
    })
}

impl RetryAfter {
    fn holds(&self, found: Option<Duration>) -> bool {
        let found = found.map(|found| found.as_secs());
        match self {
            Self::Nothing => found.is_none(),
            Self::Exactly(seconds) => found == Some(*seconds),
            Self::Between(least, most) => found.is_some_and(|found| (*least..=*most).contains(&found)),
        }
    }
}
