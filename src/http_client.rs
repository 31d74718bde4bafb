//! The HTTP/1.1 client for webhooks: one request, one response, one deadline.
//!
//! A receiver that hangs, drips, redirects, breaks off or sends garbage produces an [`Outcome`], never an error. It
//! costs at most a bounded response head and 64 KiB of body in memory. The client follows no redirects, ignores proxy
//! variables of the environment, and connects only to addresses that the egress policy allows. It never decides
//! about retries and never touches the database.

mod connection;
mod connector;
mod failure;
mod guard;
mod message;
mod names;
mod pool;
mod retry_after;
mod stream;
mod tls;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{
    Request, Response,
    body::Incoming,
    header::{CONTENT_LENGTH, HeaderMap, RETRY_AFTER, TRANSFER_ENCODING},
};
use time::OffsetDateTime;
use tokio::time::timeout;
use url::Url;

use crate::domain::webhook::{
    attempt::{Class, Outcome, Timing},
    egress::Policy,
    request::WebhookRequest,
};
use connection::{Body, Connection};
use connector::Connector;
use failure::Failure;
use guard::Guard;
use names::Names;
use pool::{Origin, Pool};

pub use guard::OwnService;
pub use tls::{SetUpError, TlsSetup};

/// Maximum bytes of a response body that are recorded. A longer body is cut off.
const MAX_RESPONSE_BODY: usize = 64 * 1024;

/// Maximum time without a byte of a response body that nobody waits for. A receiver that announces a wrong length, or never
/// ends its response, would hold up its lane until the deadline, and get the request again if the process ended in the meantime. One
/// that keeps sending may still be at work, and stop when the connection is closed.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);

const INCOMPLETE: &str = "the answer is incomplete: its body broke off, or did not end in time";

/// Maximum number of host names that are looked up at once, each by a thread that cannot be interrupted.
const MAX_LOOKUPS: usize = 64;

/// Sends webhook requests. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
}

/// Connection settings for the requests of one or more endpoints.
#[derive(Clone, Debug)]
pub struct Route {
    /// A single deadline over name resolution, connecting, TLS, request, response head and body.
    pub timeout: Duration,
    /// Used for `https`. Different setups never share a connection.
    pub tls: TlsSetup,
}

/// The context of a request.
#[derive(Clone, Copy)]
pub struct Sending<'a> {
    /// Whose request it is. Companies share the threads that resolve names.
    pub company: &'a str,
    /// Headers after those of the request.
    pub headers: &'a [(String, String)],
    /// The time at which it begins, for dates in answers.
    pub now: OffsetDateTime,
    /// Whether somebody waits for the body of the answer, so that it may take until the deadline.
    pub awaits_body: bool,
    /// Whether it is still wanted: checked once a new connection is open, which may take long.
    pub is_wanted: &'a (dyn Fn() -> bool + Sync),
}

/// Results of an attempt so far. Kept outside its future, because the deadline can drop that at any point.
#[derive(Default)]
struct Progress {
    /// Waits for the resolver.
    is_resolving: bool,
    timing: Timing,
    status: Option<u16>,
    retry_after: Option<Duration>,
    body: Vec<u8>,
    /// Somebody waits for the body, and it has not ended.
    is_incomplete: bool,
}

impl HttpClient {
    /// `policy` limits the addresses to connect to. The services in `own` are always blocked; their host names are
    /// resolved again every minute.
    #[must_use]
    pub fn new(policy: Policy, own: Vec<OwnService>) -> Self {
        let connector = Connector { guard: Guard::new(policy, own), names: Names::new(MAX_LOOKUPS) };
        Self { connector: Arc::new(connector), pool: Arc::default() }
    }

    /// Reads a TLS setup from PEM files. It trusts the system's CA certificates and those in `ca_file`, and
    /// authenticates with the client certificate in `certificate_file` and its key in `key_file`.
    ///
    /// # Errors
    /// When a CA certificate is missing, a file is unreadable or lacks its item, or only one of certificate and key
    /// is set. The error names the file.
    pub fn tls(
        ca_file: Option<&Path>,
        certificate_file: Option<&Path>,
        key_file: Option<&Path>,
    ) -> Result<TlsSetup, SetUpError> {
        TlsSetup::read(ca_file, certificate_file, key_file)
    }

    /// Everything that is wrong with these PEM files, where [`Self::tls`] reports the first fault. Each names its file.
    #[must_use]
    pub fn tls_faults(
        ca_file: Option<&Path>,
        certificate_file: Option<&Path>,
        key_file: Option<&Path>,
    ) -> Vec<SetUpError> {
        TlsSetup::faults(ca_file, certificate_file, key_file)
    }

    /// Sends one request, and reads the response. Never resends a request once a byte of it was written.
    pub async fn send(&self, request: &WebhookRequest, sending: &Sending<'_>, route: &Route) -> Outcome {
        let started = Instant::now();
        let mut progress = Progress::default();
        let attempt = self.attempt(request, sending, &route.tls, started, &mut progress);
        let ended = timeout(route.timeout, attempt).await;
        progress.into_outcome(ended.unwrap_or(Err(Failure::Timeout)), started.elapsed())
    }

    async fn attempt(
        &self,
        request: &WebhookRequest,
        sending: &Sending<'_>,
        tls: &TlsSetup,
        started: Instant,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let &Sending { headers, now, awaits_body, .. } = sending;
        let url = Url::parse(&request.url).map_err(|_| Failure::Invalid("the URL is not valid"))?;
        self.connector.guard.check_url(&url)?;
        let origin = Origin::of(&url, tls).ok_or(Failure::Invalid("the URL has no host"))?;
        let request = message::build(request, headers, &url).map_err(Failure::Invalid)?;
        let (connection, response) = self.exchange(sending, &origin, request, started, progress).await?;
        progress.timing.answer = Some(started.elapsed());
        // The deadline ends the wait for the body.
        let patience = if awaits_body { Duration::MAX } else { BODY_TIMEOUT };
        progress.is_incomplete = awaits_body;
        let reading = read_response(connection, response, now + started.elapsed(), patience, progress);
        if let Some(connection) = reading.await {
            self.pool.put(origin, connection);
        }
        Ok(())
    }

    /// Sends the request and waits for the response head. Uses an idle connection, or a new one if none is idle or
    /// the idle one turns out to be closed before a byte was written.
    async fn exchange(
        &self,
        sending: &Sending<'_>,
        origin: &Origin,
        mut request: Request<Body>,
        started: Instant,
        progress: &mut Progress,
    ) -> Result<(Connection, Response<Incoming>), Failure> {
        if let Some(mut idle) = self.pool.take(origin) {
            match idle.send(request).await {
                Ok(response) => return Ok((idle, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Exchange(error.into_error())),
                },
            }
        }
        progress.is_resolving = true;
        let addresses = self.connector.resolve(sending.company, origin).await?;
        progress.is_resolving = false;
        // Boxed: connecting is rare, and its state would make the future of every attempt several times as large.
        let mut connection = Box::pin(self.connector.connect(origin, &addresses)).await?;
        progress.timing.connect = Some(started.elapsed());
        if !(sending.is_wanted)() {
            return Err(Failure::Withdrawn);
        }
        match connection.send(request).await {
            Ok(response) => Ok((connection, response)),
            Err(error) => Err(Failure::Exchange(error.into_error())),
        }
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

/// Reads the response, with at most `MAX_RESPONSE_BODY` bytes of its body, and waits at most `patience` for the next of
/// them. Returns the connection if it can carry another request.
///
/// A body that breaks off or never ends does not change the outcome: the status is the receiver's answer. A body over
/// the limit stays unread, so its connection is closed.
async fn read_response(
    mut connection: Connection,
    response: Response<Incoming>,
    now: OffsetDateTime,
    patience: Duration,
    progress: &mut Progress,
) -> Option<Connection> {
    progress.status = Some(response.status().as_u16());
    let header = response.headers().get(RETRY_AFTER);
    progress.retry_after = header.and_then(|value| retry_after::parse(value.as_bytes(), now));
    let is_plainly_framed = is_plainly_framed(response.headers());
    let mut body = response.into_body();
    while let Some(chunk) = timeout(patience, connection.next_chunk(&mut body)).await.ok()? {
        let chunk = chunk.ok()?;
        let capacity = MAX_RESPONSE_BODY.saturating_sub(progress.body.len());
        if chunk.len() > capacity {
            progress.body.extend_from_slice(chunk.get(..capacity).unwrap_or_default());
            progress.is_incomplete = false;
            return None;
        }
        progress.body.extend_from_slice(&chunk);
    }
    progress.is_incomplete = false;
    (is_plainly_framed && connection.is_reusable().await).then_some(connection)
}

/// Whether at most one header says where the body ends. A proxy that has not understood a header such as
/// `Transfer-Encoding : chunked` passes it on beside its own, and does not end the response where we do. The rest would
/// look like the response to the next request, which may be another company's.
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING].iter().flat_map(|name| headers.get_all(name)).count() <= 1
}

impl Progress {
    fn into_outcome(self, ended: Result<(), Failure>, duration: Duration) -> Outcome {
        let Self { is_resolving, timing, status, retry_after, body: response_body, is_incomplete } = self;
        let ended = match ended {
            Err(Failure::Timeout) if is_resolving => Err(Failure::SlowDns),
            ended => ended,
        };
        let (class, error) = match (ended, status.map(|status| (status, Class::of_status(status)))) {
            // The receiver has decided, even if its body never ends. Another attempt after a 2xx or a 422 would repeat
            // the request, and the wait that a 503 asks for counts.
            (_, Some((_, Class::Delivered))) => {
                (Class::Delivered, is_incomplete.then(|| INCOMPLETE.to_owned()))
            }
            (_, Some((status, class))) => (class, Some(format!("the receiver answered {status}"))),
            (Err(failure), None) => (failure.class(), Some(failure.message())),
            (Ok(()), None) => (Class::Protocol, Some("the receiver did not answer".to_owned())),
        };
        Outcome { class, status, retry_after, response_body, timing, duration, error }
    }
}

#[cfg(test)]
mod tests;
