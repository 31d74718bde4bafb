//! Prints a setting as TOML, with secrets redacted.

use config::{Value, ValueKind};
use url::Url;

use super::SECRETS;

/// The value of `key` as TOML, redacted when it is a secret.
pub(super) fn value(key: &str, value: &Value) -> String {
    if !SECRETS.contains(&key) {
        return plain(value);
    }
    match &value.kind {
        ValueKind::Array(items) if items.is_empty() => "[]".to_owned(),
        ValueKind::Array(items) => format!("[{} redacted]", items.len()),
        ValueKind::String(text) if text.is_empty() => quoted(""),
        ValueKind::String(text) if is_address(key) => quoted(&without_password(text)),
        _ => "redacted".to_owned(),
    }
}

/// Whether the value of `key` must not be shown as it is.
pub(super) fn is_secret(key: &str, shown: &Value) -> bool {
    value(key, shown) != plain(shown)
}

/// An address is shown in part, because its secret is in a known place.
fn is_address(key: &str) -> bool {
    key.rsplit_once('.').is_some_and(|(_, name)| matches!(name, "url" | "management_url"))
}

fn plain(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => quoted(text),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// TOML's basic strings have the escapes of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The address with its password, and every parameter of its query, redacted.
fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "redacted".to_owned() };
    if url.password().is_some() && url.set_password(Some("redacted")).is_err() {
        return "redacted".to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some("redacted"));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_redacted_and_address_is_shown_in_part() {
        let shown = |key: &str, text: &str| value(key, &Value::from(text));
        assert_eq!(shown("amqp.url", "amqp://u:p@h/v"), r#""amqp://u:redacted@h/v""#);
        assert_eq!(shown("contacts.suppression_pepper", "a://b"), "redacted");
        assert_eq!(shown("contacts.suppression_pepper", ""), r#""""#);
    }

    #[test]
    fn address_loses_password_and_query() {
        assert_eq!(without_password("amqp://u:p@h/v"), "amqp://u:redacted@h/v");
        assert_eq!(without_password("postgres://h/d?password=p"), "postgres://h/d?redacted");
        assert_eq!(without_password("not an address p"), "redacted");
    }
}
