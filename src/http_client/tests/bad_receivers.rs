//! Every broken, hostile or failing receiver produces one outcome of the right class, at its deadline at the latest and
//! in bounded memory.

mod bodies;
mod heads;
mod silence;
mod tls;
mod tolerated;

use std::ops::RangeInclusive;

use futures_util::{StreamExt as _, future::BoxFuture, stream};

use super::{peer::Peer, *};

/// Maximum bytes that an endless receiver can write before the client stops reading. Includes the kernel's buffers
/// of both sides, which grow to about 36 MB on loopback.
const MAX_BYTES_WRITTEN: usize = 64 * 1024 * 1024;
/// For cases that are expected to time out. A busy machine may need longer to get to the point where the receiver hangs:
/// then the case runs again with more time.
const SHORT_TIMEOUT: Duration = Duration::from_millis(400);

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
    /// Whether the receiver resets the connection after a pause, in which the client should read the head.
    pauses: bool,
    /// Whether the attempt ends at its deadline. Only then can its class be `Timeout`.
    hangs: bool,
}

/// What the receiver does on each connection.
#[derive(Clone)]
enum Behavior {
    /// Reads a request, writes these bytes and closes.
    Answer(Vec<u8>),
    Run(Arc<dyn Fn(Peer) -> BoxFuture<'static, ()> + Send + Sync>),
}

/// The expected `Outcome::retry_after`, in seconds.
#[derive(Clone, Copy)]
enum RetryAfter {
    Missing,
    Exactly(u64),
    Between(u64, u64),
}

impl Case {
    fn new(name: &'static str, class: Class, behavior: Behavior) -> Self {
        let retry_after = RetryAfter::Missing;
        let (body, request) = (0..=0, 1);
        let hangs = class == Class::Timeout;
        Self {
            name,
            behavior,
            class,
            status: None,
            retry_after,
            body,
            https: false,
            request,
            pauses: false,
            hangs,
        }
    }

    fn answers(name: &'static str, class: Class, answer: impl Into<Vec<u8>>) -> Self {
        Self::new(name, class, Behavior::Answer(answer.into()))
    }

    fn runs<F>(name: &'static str, class: Class, behavior: impl Fn(Peer) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::new(name, class, Behavior::Run(Arc::new(move |peer| Box::pin(behavior(peer)))))
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

    fn pauses(self) -> Self {
        Self { pauses: true, ..self }
    }

    /// It does not end its answer, which is an answer all the same.
    fn hangs(self) -> Self {
        Self { hangs: true, ..self }
    }

    fn request(self, request: usize) -> Self {
        Self { request, ..self }
    }
}

fn table() -> Vec<Case> {
    let tables = [silence::table(), heads::table(), bodies::table(), tls::table(), tolerated::table()];
    tables.into_iter().flatten().collect()
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
    let mut time = SHORT_TIMEOUT;
    loop {
        let tried = timeout(WAIT_TIMEOUT + time, attempt(&case, &tls, time)).await;
        let (wrong, is_too_soon) = match tried {
            Ok(Ok(())) => return None,
            Ok(Err(wrong)) => wrong,
            Err(_) => return Some(format!("{}: did not end at its deadline", case.name)),
        };
        time *= 2;
        if !is_too_soon || time > WAIT_TIMEOUT {
            return Some(wrong);
        }
    }
}

/// Runs one case, which may take `time` if it is to time out, and in which a receiver that pauses does so for `time`.
/// Returns what is wrong, and whether that may be because the time was too short.
async fn attempt(case: &Case, tls: &TlsSetup, time: Duration) -> Result<(), (String, bool)> {
    let Case { name, class, status, retry_after, body, request: length, hangs, .. } = case;
    let receiver = match case.behavior.clone() {
        Behavior::Answer(bytes) => answering(bytes).await,
        Behavior::Run(run) => {
            receiver(move |mut peer| {
                peer.pause = time;
                run(peer)
            })
            .await
        }
    };
    let url = if case.https { receiver.url.replace("http:", "https:") } else { receiver.url.clone() };
    let limit = if *hangs { time } else { WAIT_TIMEOUT };
    let sent = WebhookRequest { body: Some(vec![b'x'; *length]), ..request(&url) };
    let outcome = client().client.send(&sent, &sending(), &Route { timeout: limit, tls: tls.clone() }).await;
    let written = receiver.written.load(std::sync::atomic::Ordering::SeqCst);
    let error = outcome.error.clone().unwrap_or_default();
    let is_told = match class {
        // Those who wait for the body must know.
        Class::Delivered => error == INCOMPLETE || (error.is_empty() && !hangs),
        _ => !error.is_empty(),
    };
    let checks = [
        ("class", outcome.class != *class),
        ("status", outcome.status != *status),
        ("retry-after", !retry_after.holds(outcome.retry_after)),
        ("body", !body.contains(&outcome.response_body.len())),
        ("connections", receiver.connections() != 1),
        ("memory", written > MAX_BYTES_WRITTEN),
        ("too early", *hangs && outcome.duration < limit),
        ("error", !is_told),
        ("discloses data", ["127.0.0.1", "hook", "secret", "evil"].iter().any(|word| error.contains(word))),
        ("timing", outcome.timing.answer.is_some() != status.is_some()),
    ];
    let wrong: Vec<&str> = checks.into_iter().filter(|(_, wrong)| *wrong).map(|(what, _)| what).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    // What the client has not read when the connection is reset is lost.
    let is_too_soon = match outcome.class {
        Class::Timeout => *hangs && !wrong.contains(&"too early"),
        Class::Delivered | Class::HttpStatus | Class::Rejected | Class::Gone => *hangs && wrong == ["body"],
        Class::Protocol => case.pauses,
        _ => false,
    };
    let (list, asked, length) = (wrong.join(", "), outcome.retry_after, outcome.response_body.len());
    let text = format!("{name}: {list}: {outcome:?}, {asked:?}, body {length}, written {written}, {time:?}");
    Err((text, is_too_soon))
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
