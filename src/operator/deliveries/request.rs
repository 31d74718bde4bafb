//! A stored request for operators: without secrets, and as a `curl` command.
//!
//! Secrets are removed here, so that no surface can show them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

use crate::{domain::webhook::own_headers::WEBHOOK_ID, postgres::deliveries::Details};

/// Replaces each secret.
pub const REDACTED: &str = "REDACTED";

/// The value of a header or query parameter is a secret if the name contains one of these, in any case.
const SECRET_NAMES: [&str; 9] =
    ["authorization", "cookie", "api-key", "apikey", "token", "secret", "key", "password", "signature"];

/// A request without secrets.
#[derive(Clone)]
pub struct RequestView {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The URL. Secrets in its query are replaced; its path is complete.
    pub url: String,
    /// Names and values; secrets are replaced. Includes `webhook-id`, but not the headers that differ between
    /// attempts (timestamp, signature).
    pub headers: Vec<(String, String)>,
    /// The exact bytes. May be personal data.
    pub body: Option<Vec<u8>>,
}

impl RequestView {
    pub(super) fn new(details: &Details, id: Uuid) -> Self {
        let mut headers: Vec<(String, String)> = details.headers.clone().unwrap_or_default();
        for (name, value) in &mut headers {
            if is_secret(name) {
                REDACTED.clone_into(value);
            }
        }
        headers.push((WEBHOOK_ID.to_owned(), id.to_string()));
        let url = without_secrets(&details.url);
        Self { method: details.method.clone(), url, headers, body: details.body.clone() }
    }

    /// A command for a POSIX shell, on one line, that sends the same request. A body that is not plain text
    /// is in base64, so that it cannot control the terminal.
    #[must_use]
    pub fn curl(&self) -> String {
        let mut command =
            format!("curl --globoff --path-as-is -X {} --url {}", quoted(&self.method), quoted(&self.url));
        let mut header = |name: &str, value: &str| {
            // curl removes a header that ends in a colon.
            let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
            command.push_str(" -H ");
            command.push_str(&quoted(&line));
        };
        for (name, value) in &self.headers {
            header(name, value);
        }
        let plain = |text: &&str| !text.chars().any(char::is_control);
        match self.body.as_deref().map(|body| (body, std::str::from_utf8(body).ok().filter(plain))) {
            None => command,
            Some((_, Some(text))) => format!("{command} --data-raw {}", quoted(text)),
            Some((bytes, None)) => {
                format!(
                    "printf %s {} | base64 -d | {command} --data-binary @-",
                    quoted(&STANDARD.encode(bytes))
                )
            }
        }
    }
}

/// Quotes any text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Splits the query as text, because a parser would not preserve the bytes that were sent.
fn without_secrets(url: &str) -> String {
    let Some((address, query)) = url.split_once('?') else { return url.to_owned() };
    let (query, fragment) = match query.split_once('#') {
        Some((query, fragment)) => (query, format!("#{fragment}")),
        None => (query, String::new()),
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    });
    format!("{address}?{}{fragment}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn view(headers: &[(&str, &str)], body: Option<&[u8]>) -> RequestView {
        let details = Details {
            source: String::new(),
            step: 1,
            method: "POST".to_owned(),
            url: "https://hooks.example/a'b?x=[1]&access_token=t0p&y=$(id)".to_owned(),
            headers: Some(
                headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ),
            body: body.map(<[u8]>::to_vec),
            fault: None,
            dead_letter: None,
            members: Vec::new(),
            attempts: Vec::new(),
        };
        RequestView::new(&details, Uuid::nil())
    }

    #[test]
    fn secrets_are_recognized_by_name() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "X-Api-Key",
            "x-hub-signature-256",
            "X-Auth-Token",
            "client-secret",
            "password",
            "apikey",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["content-type", "accept", "x-request-id", "webhook-id", "traceparent"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn view_has_no_secrets() {
        let view = view(&[("authorization", "Bearer s3cret"), ("x-tenant", "a")], None);
        assert_eq!(view.url, "https://hooks.example/a'b?x=[1]&access_token=REDACTED&y=$(id)");
        let curl = view.curl();
        assert!(curl.contains("-H 'authorization: REDACTED'") && curl.contains("-H 'x-tenant: a'"), "{curl}");
        assert!(curl.contains("-H 'webhook-id: 00000000-0000-0000-0000-000000000000'"), "{curl}");
        assert!(!curl.contains("s3cret") && !curl.contains("t0p"), "{curl}");
    }

    /// Runs the line in a shell in which `curl` is a function that prints its words and its input.
    #[test]
    fn shell_passes_the_exact_request_to_curl() {
        let hostile = "it's $(touch x) `id` \"q\" \\ !! ; | & > < * ~ ä %s";
        let json = format!("{{\"a\":\"{}\"}}", "'\\''");
        for body in [hostile.as_bytes(), json.as_bytes(), b"@/etc/passwd", b"", b"a\nb\r\x1b[2J", b"\xff\x00"]
        {
            let view = view(&[("x-note", hostile), ("x-empty", "")], Some(body));
            let script = format!("curl() {{ printf '%s\\0' \"$@\"; cat; }}\n{}", view.curl());
            let ran =
                Command::new("sh").args(["-c", &script]).stdin(std::process::Stdio::null()).output().unwrap();
            assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
            let words: Vec<&[u8]> = ran.stdout.split(|byte| *byte == 0).collect();
            let has = |word: &str| words.contains(&word.as_bytes());
            assert!(has(&view.url) && has(&format!("x-note: {hostile}")) && has("x-empty;"), "{words:?}");
            let end = [b"--data-raw\0", body, b"\0"].concat();
            let end_by_input = [b"--data-binary\0@-\0", body].concat();
            assert!(ran.stdout.ends_with(&end) || ran.stdout.ends_with(&end_by_input), "{words:?}");
            assert_eq!(view.curl().lines().count(), 1);
        }
    }
}
