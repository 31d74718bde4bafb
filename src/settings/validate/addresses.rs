//! Checks the addresses of broker and database as their clients read them, so that none is refused after the start.
//!
//! No message repeats a value: it may be a secret.

use lapin::uri::AMQPUri;
use sqlx::postgres::PgConnectOptions;
use url::Url;

/// Maximum length of a virtual host's name, in bytes: it travels as a short string (AMQP 0-9-1, 4.2.5.3).
const MAX_VHOST: usize = 255;

/// Checks `amqp.url`. The error says what is wrong with it.
pub(super) fn broker(text: &str) -> Result<(), String> {
    let form = "expected an address such as amqp://user:password@host:5672/%2f (amqps:// for TLS)";
    if !is_address(text, &["amqp", "amqps"]) {
        return Err(form.to_owned());
    }
    let Ok(uri) = text.parse::<AMQPUri>() else {
        return Err(refused(text, form, |text| text.parse::<AMQPUri>().is_ok()));
    };
    if uri.vhost.len() > MAX_VHOST {
        return Err(format!("the virtual host, which follows the port, must have at most {MAX_VHOST} bytes"));
    }
    Ok(())
}

/// Checks `postgres.url`. The error says what is wrong with it.
pub(super) fn database(text: &str) -> Result<(), String> {
    let form = "expected an address such as postgres://user:password@host:5432/database";
    if !is_address(text, &["postgres", "postgresql"]) {
        return Err(form.to_owned());
    }
    let is_read = |text: &str| text.parse::<PgConnectOptions>().is_ok();
    if is_read(text) { Ok(()) } else { Err(refused(text, form, is_read)) }
}

/// Whether it is a URL with a host and one of these schemes.
pub(super) fn is_address(text: &str, schemes: &[&str]) -> bool {
    Url::parse(text)
        .is_ok_and(|url| schemes.contains(&url.scheme()) && url.host_str().is_some_and(|h| !h.is_empty()))
}

/// Why the client does not read an address: the value of a parameter, or else its `form`.
fn refused(text: &str, form: &str, is_read: impl Fn(&str) -> bool) -> String {
    let Ok(mut url) = Url::parse(text) else { return form.to_owned() };
    let parameters: Vec<(String, String)> =
        url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    url.set_query(None);
    if !is_read(url.as_str()) {
        return form.to_owned();
    }
    let refused = parameters.iter().find(|(key, value)| {
        let mut alone = url.clone();
        alone.query_pairs_mut().append_pair(key, value);
        !is_read(alone.as_str())
    });
    refused
        .map_or_else(|| form.to_owned(), |(key, _)| format!("the value of its parameter {key} is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_read_every_accepted_address() {
        for url in ["amqp://h", "amqps://u:p@h:1/%2f?heartbeat=5&auth_mechanism=plain&other=x"] {
            assert_eq!(broker(url), Ok(()), "{url}");
        }
        for url in ["postgres://h", "postgresql://u:p@h:1/d?sslmode=require&port=2&other=x"] {
            assert_eq!(database(url), Ok(()), "{url}");
        }
        let vhost = |length: usize| broker(&format!("amqp://h/{}", "v".repeat(length)));
        assert!(vhost(255).is_ok() && vhost(256).unwrap_err().contains("at most 255 bytes"));
        // Encoded it is longer than it is.
        assert_eq!(broker(&format!("amqp://h/{}", "%2f".repeat(255))), Ok(()));
    }

    #[test]
    fn refused_parameter_is_named_without_its_value() {
        let broker = |query: &str| broker(&format!("amqp://u:hunter2@h/?other=x&{query}")).unwrap_err();
        let database =
            |query: &str| database(&format!("postgres://u:hunter2@h/d?other=x&{query}")).unwrap_err();
        for (why, key) in [
            (broker("heartbeat=hunter2"), "heartbeat"),
            (broker("frame_max=-1"), "frame_max"),
            (broker("auth_mechanism=hunter2"), "auth_mechanism"),
            (database("sslmode=hunter2"), "sslmode"),
            (database("port=hunter2"), "port"),
            (database("sslmode=require&statement-cache-capacity=x"), "statement-cache-capacity"),
            (database("hostaddr=hunter2"), "hostaddr"),
        ] {
            assert_eq!(why, format!("the value of its parameter {key} is not valid"));
        }
        // Not UTF-8
        assert!(super::broker("amqp://h/%ff").unwrap_err().starts_with("expected"));
        assert!(super::database("postgres://h/%ff?sslmode=x").unwrap_err().starts_with("expected"));
    }
}
