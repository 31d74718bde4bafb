//! The HTTP client of the export. It opens a connection per request, because there are few of them.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Url;

/// Maximum size of an answer, in bytes; nothing of it is needed.
const MAX_ANSWER: usize = 64 * 1024;

/// Deadline for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not one.
    #[error("telemetry.otlp_endpoint is not an address")]
    Address,
    /// The system has no CA certificates, or the TLS library fails.
    #[error("could not prepare TLS for telemetry.otlp_endpoint")]
    Tls(#[source] rustls::Error),
    /// The library refuses the settings.
    #[error("could not prepare the export of traces")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// Sends requests to one address.
pub(super) struct Client {
    host: String,
    port: u16,
    /// The host and port as a header.
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(endpoint: &str) -> Result<Self, StartError> {
        let url = Url::parse(endpoint).map_err(|_| StartError::Address)?;
        let written = url.host_str().ok_or(StartError::Address)?;
        // An IPv6 address has brackets in a URL only.
        let host = written.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or(StartError::Address)?;
        let authority = format!("{written}:{port}").parse().map_err(|_| StartError::Address)?;
        let tls = match url.scheme() {
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|_| StartError::Address)?;
                Some((connector()?, name))
            }
            _ => None,
        };
        Ok(Self { host, port, authority, tls })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(CONNECT_TIMEOUT, connecting).await??;
        match &self.tls {
            Some((connector, name)) => {
                exchange(connector.connect(name.clone(), stream).await?, self.framed(request)?).await
            }
            None => exchange(stream, self.framed(request)?).await,
        }
    }

    /// The request as HTTP/1.1 has it, with a path and a host.
    fn framed(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, HttpError> {
        let (mut parts, body) = request.into_parts();
        parts.uri = parts.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
        parts.headers.insert(HOST, self.authority.clone());
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(Request::from_parts(parts, Full::new(body)))
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.send(request))
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answering = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
        Ok::<_, HttpError>(Response::from_parts(head, body))
    };
    // The connection runs here, so it ends with this exchange.
    let (mut answering, mut connection) = (std::pin::pin!(answering), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut answering => answer,
        ended = &mut connection => {
            ended?;
            answering.await
        }
    }
}

/// Trusts the authorities of the system, or of `SSL_CERT_FILE`.
fn connector() -> Result<TlsConnector, StartError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(StartError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
