//! Settings that nobody else may read.

use super::*;

#[test]
fn value_is_read_from_a_file() {
    let secret = file("amqp://me:pass@broker/v\n");
    let path = secret.path().to_str().unwrap();
    let effective = with_env(&[("AMQP__URL_FILE", path)]).unwrap();
    assert_eq!(effective.settings.amqp.url.expose_secret(), "amqp://me:pass@broker/v");
    assert_eq!(effective.entries["amqp.url"].shown, "\"amqp://me:redacted@broker/v\"");

    let both = faults(with_env(&[("AMQP__URL_FILE", path), ("AMQP__URL", "amqp://h")]));
    assert!(both["amqp.url"].contains("both"), "{both:?}");
    let missing = faults(with_env(&[("AMQP__URL_FILE", "/nowhere/at/all")]));
    assert!(missing["amqp.url"].contains("could not read /nowhere/at/all"), "{missing:?}");
}

#[test]
fn secret_in_a_file_that_everybody_can_read_is_reported() {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};
    let url = file("amqp://me:hunter2@broker");
    let settings = file("[postgres]\nurl = \"postgres://me:hunter2@h/d\"\n[http]\nbind = \"127.0.0.1:1\"\n");
    let harmless = file("amqp://broker");
    let exposed = |url: &tempfile::NamedTempFile, mode| {
        for file in [url, &settings] {
            std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        }
        let variables = env(&[("AMQP__URL_FILE", url.path().to_str().unwrap())]);
        load(Some(settings.path()), variables).unwrap().exposed
    };
    for mode in [0o600, 0o640] {
        assert_eq!(exposed(&url, mode), []);
    }
    let found = exposed(&url, 0o644);
    assert_eq!(
        found.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(),
        ["postgres.url", "amqp.url"]
    );
    let text = format!("{found:?}");
    assert!(text.contains("chmod o-r") && !text.contains("hunter2"), "{text}");
    assert_eq!(exposed(&harmless, 0o644).len(), 1, "an address without a password is no secret");
}

#[test]
fn token_that_can_be_guessed_is_a_warning_that_names_its_entry_and_origin() {
    let weak = |tokens: &str| load(None, env(&[("HTTP__TOKENS", tokens)])).unwrap().weak;
    assert_eq!(weak("ci:viewer:0123456789abcdef"), []);
    let found = weak("ci:viewer:0123456789abcdef,ada:admin:0123456789abcde");
    let (text, begins) =
        (found[0].to_string(), "http.tokens (environment variable CONTACT_RELAY__HTTP__TOKENS): ");
    assert!(found.len() == 1 && text.starts_with(begins) && text.contains("entry 2"), "{text}");
    assert!(!text.contains("0123"), "{text}");
}

/// What was acknowledged would be lost with the database.
#[test]
fn signing_secret_is_checked_when_settings_load() {
    let (shared, private) =
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
    for (secret, said) in [
        (shared, None),
        (private, None),
        ("hunter2", Some("must begin with \"whsec_\"")),
        ("whsec_hunter2", Some("standard base64")),
        ("whsec_AAAA", Some("24 to 64 bytes")),
        ("whsk_AAAA", Some("32 bytes")),
        ("whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", Some("public key")),
    ] {
        let list = format!("{shared},{secret}");
        let rule = format!(r#"[{{url = "https://a.example", signing_secrets = ["{secret}"]}}]"#);
        for (name, value, entry) in
            [("WEBHOOK__SIGNING_SECRETS", list, "entry 2: "), ("WEBHOOK__ENDPOINTS", rule, "entry 1: ")]
        {
            let fault = with_env(&[(name, &value)]).err().map(|error| error.faults[0].message.clone());
            assert_eq!(fault.is_some(), said.is_some(), "{name} {secret}: {fault:?}");
            for part in said.into_iter().chain(said.and(Some(entry))) {
                assert!(fault.as_ref().unwrap().contains(part), "{name} {secret}: {fault:?}");
            }
            assert!(!fault.unwrap_or_default().contains("hunter2"));
        }
    }
}

/// Worker 1 keeps the terms for as long as it runs.
#[test]
fn endpoint_terms_contain_no_secret() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let rule = format!(
        r#"[{{url = "https://a.example", signing_secrets = ["{secret}"], max_in_flight = 3, rate = "2/s"}}]"#
    );
    let webhook = with_env(&[("WEBHOOK__ENDPOINTS", &rule)]).unwrap().settings.webhook;
    assert!(format!("{webhook:?}").contains("SecretBox"), "Debug shows where a secret is");
    let terms = webhook.terms();
    assert!(!format!("{terms:?}").contains("SecretBox"), "{terms:?}");
    let terms = terms.of("acme", "https://a.example/x");
    assert_eq!((terms.max_in_flight, terms.send_interval), (3, Some(Duration::from_millis(500))));
}

#[test]
fn secrets_are_redacted() {
    let secret = format!("whsec_{}", "A".repeat(32));
    let effective = with_env(&[
        ("AMQP__URL", "amqp://u:hunter2@h/v"),
        ("POSTGRES__URL", "postgres://u@h/d?password=hunter2"),
        ("WEBHOOK__SIGNING_SECRETS", &secret),
        ("HTTP__TOKENS", "a:viewer:hunter2"),
        ("CONTACTS__SUPPRESSION_PEPPER", "x:hunter2"),
    ])
    .unwrap();
    let shown = format!("{effective:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(&secret), "{shown}");
    assert_eq!(effective.entries["http.tokens"].shown, "[1 redacted]");
}
