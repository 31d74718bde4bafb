//! HTTP requests to the management interface, each on its own connection, with the user and password of the URL.

use std::{fmt, io, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Url;

/// Maximum size of an answer, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// Why a request failed. Never contains the password.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// The address is not one.
    #[error("amqp.management_url is not an http:// or https:// address")]
    Address,
    /// It cannot be reached.
    #[error("could not reach the management interface at {address}: {cause}; check amqp.management_url")]
    Unreachable {
        /// Host and port.
        address: String,
        /// Why.
        cause: String,
    },
    /// It refuses this user.
    #[error("the management interface refuses (status {status}); its user needs the tag `monitoring`")]
    Refused {
        /// Of its answer.
        status: u16,
    },
    /// The answer is not what `RabbitMQ` would say.
    #[error("the answer of the management interface to {path} could not be read; check amqp.management_url")]
    Unreadable {
        /// What was asked for.
        path: String,
    },
}

/// Asks one address.
pub(super) struct Client {
    url: Url,
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
    limit: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(address: &str, limit: Duration) -> Result<Self, ManagementError> {
        let url = Url::parse(address).map_err(|_| ManagementError::Address)?;
        let host = url.host_str().ok_or(ManagementError::Address)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or(ManagementError::Address)?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
        let basic = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user)));
        let authorization = basic.ok().filter(|_| !url.username().is_empty());
        Ok(Self { url, host, port, authorization, limit })
    }

    /// The answer to a GET of this path below `api`; `None` if it does not exist.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Bytes>, ManagementError> {
        let unreachable = |cause: String| ManagementError::Unreachable {
            address: format!("{}:{}", self.host, self.port),
            cause,
        };
        let asked = timeout(self.limit, self.ask(path)).await;
        let asked = asked.map_err(|_| unreachable(format!("no answer within {} ms", self.limit.as_millis())));
        match asked?.map_err(|error| unreachable(error.to_string()))? {
            (StatusCode::OK, body) => Ok(Some(body)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => Err(ManagementError::Refused { status: status.as_u16() }),
        }
    }

    async fn ask(&self, path: &str) -> io::Result<(StatusCode, Bytes)> {
        let request = self.request(path).map_err(io::Error::other)?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        if self.url.scheme() != "https" {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        exchange(connector()?.connect(name, stream).await?, request).await
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
        // The interface may have a prefix (`management.path_prefix`).
        let prefix = self.url.path().trim_end_matches('/');
        let request = Request::get(format!("{prefix}/api/{path}"))
            .header(HOST, format!("{}:{}", self.url.host_str().unwrap_or_default(), self.port))
            .header(CONNECTION, "close")
            .header(ACCEPT, "application/json");
        let authorization = self.authorization.iter();
        authorization
            .fold(request, |request, value| request.header(AUTHORIZATION, value.clone()))
            .body(Empty::new())
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answering = async {
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(io::Error::other)?;
        Ok((head.status, body.to_bytes()))
    };
    // The connection runs here, so it ends with this exchange.
    let (mut answering, mut connection) = (std::pin::pin!(answering), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut answering => answer,
        ended = &mut connection => {
            ended.map_err(io::Error::other)?;
            answering.await
        }
    }
}

/// Trusts the authorities of the system, or of `SSL_CERT_FILE`.
fn connector() -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
