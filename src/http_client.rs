//! The HTTP/1.1 client for webhooks: one request, one answer, one deadline.
//!
//! Whatever a receiver does (hang, drip, lie, redirect, close) is an [`Outcome`], never an error and never
//! more memory than a bounded head and 64 KiB of body. Nothing here decides what happens next, knows
//! the database or follows a redirect, a proxy setting of the environment, or a name into a private network.

mod connection;
mod connector;
mod failure;
mod guard;
mod message;
mod pool;
mod retry_after;
mod stream;
mod tls;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{Request, Response, body::Incoming, header::RETRY_AFTER};
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
use pool::{Origin, Pool};

pub use guard::OwnService;
pub use tls::{SetUpError, TlsSetup};

/// How much of an answer is read.
const MAX_RESPONSE_BODY: usize = 64 * 1024;

/// Sends webhooks. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
}

/// How a request gets to its receiver.
#[derive(Clone, Debug)]
pub struct Route {
    /// The one deadline over name resolution, connection, TLS, headers and body.
    pub timeout: Duration,
    /// Whom to trust and who to be on `https`. Setups share no connections.
    pub tls: TlsSetup,
}

/// How far an attempt has come, kept outside of it because the deadline may cut it off anywhere.
#[derive(Default)]
struct Progress {
    timing: Timing,
    status: Option<u16>,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl HttpClient {
    /// A client that connects as `policy` allows, and never to what `own` names, which is resolved again and
    /// again.
    #[must_use]
    pub fn new(policy: Policy, own: Vec<OwnService>) -> Self {
        let connector = Connector { guard: Guard::new(policy, own) };
        Self { connector: Arc::new(connector), pool: Arc::default() }
    }

    /// What `https` requests of some endpoints are made with, read once, at start: the system's CA
    /// certificates and those of `ca_file`, and the client certificate of `certificate_file` with the key of
    /// `key_file`. All files are PEM.
    ///
    /// # Errors
    /// When there are no CA certificates at all, a file cannot be read or does not hold what it should, or a
    /// certificate has no key or a key no certificate. The error names the file.
    pub fn tls(
        ca_file: Option<&Path>,
        certificate_file: Option<&Path>,
        key_file: Option<&Path>,
    ) -> Result<TlsSetup, SetUpError> {
        TlsSetup::read(ca_file, certificate_file, key_file)
    }

    /// Sends one request and reads the answer.
    pub async fn send(&self, request: WebhookRequest, route: &Route) -> Outcome {
        let started = Instant::now();
        let mut progress = Progress::default();
        let attempt = self.attempt(request, &route.tls, started, &mut progress);
        let ended = timeout(route.timeout, attempt).await;
        progress.into_outcome(ended.unwrap_or(Err(Failure::Timeout)), started.elapsed())
    }

    async fn attempt(
        &self,
        request: WebhookRequest,
        tls: &TlsSetup,
        started: Instant,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let url = Url::parse(&request.url).map_err(|_| Failure::Invalid("the url is not valid"))?;
        self.connector.guard.check_url(&url)?;
        let origin = Origin::of(&url, tls).ok_or(Failure::Invalid("the url has no host"))?;
        let request = message::of(request, &url).map_err(Failure::Invalid)?;
        let (connection, response) = self.exchange(&origin, request, started, progress).await?;
        progress.timing.answer = Some(started.elapsed());
        if let Some(connection) = read(connection, response, progress).await {
            self.pool.keep(origin, connection);
        }
        Ok(())
    }

    /// Sends the request and waits for the head of the answer: on a kept connection, or on a new one where
    /// there is none, or where the kept one turns out to be closed before anything was written to it.
    async fn exchange(
        &self,
        origin: &Origin,
        mut request: Request<Body>,
        started: Instant,
        progress: &mut Progress,
    ) -> Result<(Connection, Response<Incoming>), Failure> {
        if let Some(mut kept) = self.pool.take(origin) {
            match kept.send(request).await {
                Ok(response) => return Ok((kept, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Exchange(error.into_error())),
                },
            }
        }
        // In a box: it is rare, and would make the future of every attempt several times as large.
        let mut connection = Box::pin(self.connector.connect(origin)).await?;
        progress.timing.connect = Some(started.elapsed());
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

/// Reads the answer, its body up to the bound. The connection, where it can serve another request.
///
/// A body that breaks off does not undo the status, which is the receiver's answer. What is beyond the
/// bound stays unread and costs the connection.
async fn read(
    mut connection: Connection,
    response: Response<Incoming>,
    progress: &mut Progress,
) -> Option<Connection> {
    progress.status = Some(response.status().as_u16());
    let now = time::OffsetDateTime::now_utc();
    let asked = response.headers().get(RETRY_AFTER);
    progress.retry_after = asked.and_then(|value| retry_after::parse(value.as_bytes(), now));
    let mut body = response.into_body();
    while let Some(chunk) = connection.chunk(&mut body).await {
        let chunk = chunk.ok()?;
        let room = MAX_RESPONSE_BODY.saturating_sub(progress.body.len());
        if chunk.len() > room {
            progress.body.extend_from_slice(chunk.get(..room).unwrap_or_default());
            return None;
        }
        progress.body.extend_from_slice(&chunk);
    }
    connection.is_reusable().await.then_some(connection)
}

impl Progress {
    fn into_outcome(self, ended: Result<(), Failure>, duration: Duration) -> Outcome {
        let Self { timing, status, retry_after, body: response_body } = self;
        let (class, error) = match (ended, status) {
            (Ok(()), Some(status)) => match Class::of_status(status) {
                Class::Delivered => (Class::Delivered, None),
                class => (class, Some(format!("the receiver answered {status}"))),
            },
            (Err(Failure::Timeout), Some(status)) => {
                let text = format!("the receiver answered {status} and did not finish its answer in time");
                (Class::Timeout, Some(text))
            }
            (Err(failure), _) => (failure.class(), Some(failure.sentence())),
            (Ok(()), None) => (Class::Protocol, Some("the receiver did not answer".to_owned())),
        };
        Outcome { class, status, retry_after, response_body, timing, duration, error }
    }
}

#[cfg(test)]
mod tests;
