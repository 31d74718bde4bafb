//! `healthcheck`: asks the service on this host or in this container whether it is ready.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

use super::{
    exit::{Exit, Unavailable},
    output,
};
use crate::settings::Settings;

/// Maximum size of the answer.
const MAX_ANSWER: usize = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 ready, 1 not ready (each part that is not is printed), 69 nothing answers on http.bind.")]
pub(super) struct Args {
    /// Maximum time for the whole check
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What `/readyz` answers.
#[derive(Deserialize)]
struct Readiness {
    ready: bool,
    parts: serde_json::Map<String, serde_json::Value>,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let address = reachable(settings.http.bind);
    let late = || format!("no answer within {}", humantime::format_duration(args.timeout)).into();
    let asked = timeout(args.timeout, ask(address)).await.unwrap_or_else(|_| Err(late()));
    let (status, body) = asked
        .map_err(|cause| Unavailable::new(format!("no service answers at {address} (http.bind)"), cause))?;
    let body = body
        .map_err(|cause| anyhow::anyhow!(cause))
        .with_context(|| format!("could not read the answer of {address} (http.bind)"))?;
    let Ok(Readiness { ready, parts }) = serde_json::from_slice(&body) else {
        anyhow::bail!("{address} (http.bind) answered {status}, but not as contact-relay does");
    };
    for (part, state) in parts {
        let state = state.as_str().unwrap_or_default();
        if state != "ready" {
            output::line(format_args!("{part}: {state}"))?;
        }
    }
    let is_ready = ready && status == StatusCode::OK;
    Ok(if is_ready { Exit::Done } else { Exit::Failed })
}

/// The same port on this host, if the service listens on all addresses.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

/// Status and body of the answer. The error says why there is none.
async fn ask(address: SocketAddr) -> Result<(StatusCode, Result<Bytes, Cause>), Cause> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz")
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok::<_, hyper::Error>((status, body.map(http_body_util::Collected::to_bytes)))
    };
    // The connection ends only after the answer.
    let (answered, _) = tokio::join!(answered, connection);
    Ok(answered?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_that_listens_on_all_addresses_is_asked_on_this_host() {
        for (bind, asked) in
            [("0.0.0.0:8080", "127.0.0.1:8080"), ("[::]:80", "[::1]:80"), ("10.1.2.3:81", "10.1.2.3:81")]
        {
            assert_eq!(reachable(bind.parse().unwrap()).to_string(), asked);
        }
    }
}
