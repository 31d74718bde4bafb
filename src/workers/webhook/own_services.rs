//! The client of webhooks, and the addresses of the service's own broker, database and console, which it
//! refuses to connect to.

use std::{net::SocketAddr, str::FromStr as _};

use secrecy::ExposeSecret as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::{
    domain::webhook::egress,
    http_client::{HttpClient, OwnService},
    settings::Settings,
};

/// A client that connects only where the settings allow, and never to the service's own services.
pub(super) fn guarded_client(settings: &Settings) -> HttpClient {
    let policy = egress::Policy { own: console(settings), ..settings.webhook.egress() };
    HttpClient::new(policy, named(settings))
}

/// The broker and the database, by their names in the settings.
fn named(settings: &Settings) -> Vec<OwnService> {
    let broker = broker(settings.amqp.url.expose_secret());
    broker.into_iter().chain(database(settings.postgres.url.expose_secret())).collect()
}

/// The console, unless the system chooses its port.
fn console(settings: &Settings) -> Vec<SocketAddr> {
    let bind = settings.http.bind;
    (bind.port() != 0).then_some(bind).into_iter().collect()
}

fn broker(url: &str) -> Option<OwnService> {
    let url = Url::parse(url).ok()?;
    let port = url.port().unwrap_or(if url.scheme() == "amqps" { 5671 } else { 5672 });
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(OwnService { host: host.trim_matches(['[', ']']).to_owned(), port })
}

/// `None` for a Unix socket, which a webhook cannot reach.
fn database(url: &str) -> Option<OwnService> {
    let options = PgConnectOptions::from_str(url).ok()?;
    let host = options.get_host().trim_matches(['[', ']']);
    let is_tcp = options.get_socket().is_none() && !host.starts_with('/');
    is_tcp.then(|| OwnService { host: host.to_owned(), port: options.get_port() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: fn(&str) -> Option<OwnService>, url: &str, host: &str, port: u16) {
        assert_eq!(read(url), Some(OwnService { host: host.to_owned(), port }), "{url}");
    }

    #[test]
    fn broker_is_read_from_amqp_url() {
        check(broker, "amqp://u:p@mq.example/%2f", "mq.example", 5672);
        check(broker, "amqps://u:p@mq.example/%2f", "mq.example", 5671);
        check(broker, "amqp://u:p@[fd00::1]:99/v?heartbeat=1", "fd00::1", 99);
        assert_eq!(broker("nonsense"), None);
    }

    #[test]
    fn database_is_read_from_postgres_url() {
        check(database, "postgres://u:p@db.example/d", "db.example", 5432);
        check(database, "postgres://u:p@db.example:99/d?sslmode=disable", "db.example", 99);
        check(database, "postgres://u:p@x/d?host=db.example&port=98", "db.example", 98);
        check(database, "postgres://u:p@[fd00::1]:99/d", "fd00::1", 99);
        assert_eq!(database("postgres:///d?host=/run/postgresql"), None);
        assert_eq!(database("postgres://u@%2Frun%2Fpostgresql/d"), None);
    }
}
