//! Every kind of fault, reported at once, with its origin and without secrets.

mod secrets;

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use secrecy::ExposeSecret as _;

use super::*;
use crate::settings::Role;

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (format!("CONTACT_RELAY__{name}").into(), (*value).into())).collect()
}

fn with_env(pairs: &[(&str, &str)]) -> Result<Effective, LoadError> {
    load(None, env(pairs))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The messages by key.
fn faults(result: Result<Effective, LoadError>) -> BTreeMap<String, String> {
    result.unwrap_err().faults.into_iter().map(|fault| (fault.key, fault.message)).collect()
}

#[test]
fn defaults_are_complete_and_valid() {
    let effective = load(None, []).unwrap();
    assert!(effective.entries.values().all(|entry| entry.origin == Origin::Default));
    assert_eq!(effective.entries["webhook.timeout"].shown, "\"15s\"");
    assert_eq!(effective.settings.webhook.retry_schedule.len(), 11);
}

#[test]
fn environment_overrides_file_overrides_defaults() {
    let file = file("[amqp]\nnamespace = \"from-file\"\n[chain]\ndefault_max_interactions = 7\n");
    let effective = load(Some(file.path()), env(&[("AMQP__NAMESPACE", "from-env")])).unwrap();
    assert_eq!(effective.settings.amqp.namespace, "from-env");
    assert_eq!(effective.settings.chain.default_max_interactions, 7);
    let origin = |key: &str| effective.entries[key].origin.clone();
    assert_eq!(origin("amqp.namespace"), Origin::Environment("CONTACT_RELAY__AMQP__NAMESPACE".to_owned()));
    assert_eq!(origin("chain.default_max_interactions"), Origin::File(file.path().to_owned()));
    assert_eq!(origin("amqp.url"), Origin::Default);
}

#[test]
fn files_may_begin_with_a_byte_order_mark() {
    let namespace = file("\u{feff}[amqp]\r\nnamespace = \"marked\"\r\n");
    let url = file("\u{feff}amqp://broker\r\n");
    let variables = env(&[("AMQP__URL_FILE", url.path().to_str().unwrap())]);
    let settings = load(Some(namespace.path()), variables).unwrap().settings;
    assert_eq!(settings.amqp.namespace, "marked");
    assert_eq!(settings.amqp.url.expose_secret(), "amqp://broker");
    let mut latin1 = tempfile::NamedTempFile::new().unwrap();
    latin1.write_all(b"[amqp]\nnamespace = \"caf\xe9\"\n").unwrap();
    let found = faults(load(Some(latin1.path()), []));
    assert!(found[""].contains("not UTF-8"), "{found:?}");
}

#[test]
fn environment_text_becomes_every_type() {
    let secret = format!("whsec_{}", "A".repeat(32));
    let settings = with_env(&[
        ("UPSERT__CONSUMERS", "3"),
        ("WEBHOOK__ALLOW_HTTP", "true"),
        ("WEBHOOK__RETRY_JITTER", "0.5"),
        ("WEBHOOK__RETRY_SCHEDULE", "100ms, 2s,1h"),
        ("WEBHOOK__ALLOWED_NETWORKS", "127.0.0.0/8,::1/128,[fd00::/8]:8443"),
        ("WEBHOOK__ALLOWED_PORTS", "8443, 9443"),
        ("PLACEHOLDERS__ANYWHERE", "[vazio], n/a"),
        ("WEBHOOK__SIGNING_SECRETS", &secret),
        ("HTTP__BIND", "[::1]:0"),
        ("HTTP__TOKENS", "a:viewer:x,b:admin:y:z"),
        ("LOG__FORMAT", "json"),
        ("CONTACTS__DEFAULT_REGION", "US"),
    ])
    .unwrap()
    .settings;
    assert_eq!(settings.upsert.consumers, 3);
    assert!(settings.webhook.allow_http);
    assert_eq!(
        settings.webhook.retry_schedule,
        [Duration::from_millis(100), Duration::from_secs(2), Duration::from_hours(1)]
    );
    assert_eq!(settings.webhook.allowed_networks.len(), 3);
    assert_eq!(settings.webhook.allowed_ports, [8443, 9443]);
    assert_eq!(settings.placeholders.anywhere, ["[vazio]", "n/a"]);
    assert_eq!(settings.webhook.signing_secrets[0].expose_secret(), secret);
    assert_eq!(settings.http.tokens[1].role, Role::Admin);
    assert_eq!(settings.http.tokens[1].token.expose_secret(), "y:z");
}

#[test]
fn list_in_the_environment_may_begin_with_a_bracket() {
    let networks = |text| with_env(&[("WEBHOOK__ALLOWED_NETWORKS", text)]);
    for (text, count) in [
        ("[fd00::/8]:8443", 1),
        (" [fd00::/8]:8443, 10.0.0.0/8", 2),
        (r#"["[fd00::/8]:8443", "10.0.0.0/8"]"#, 2),
        ("[]", 0),
    ] {
        assert_eq!(networks(text).unwrap().settings.webhook.allowed_networks.len(), count, "{text}");
    }
    for (text, said) in [(r#"["10.0.0.0/8""#, "a TOML list"), ("[fd00::/8", "invalid")] {
        let refused = faults(networks(text));
        assert!(refused["webhook.allowed_networks"].contains(said), "{text}: {refused:?}");
    }
    let endpoints = faults(with_env(&[("WEBHOOK__ENDPOINTS", "[ {url = https://a.example}]")]));
    assert!(endpoints["webhook.endpoints"].contains("a TOML list"), "{endpoints:?}");
}

#[test]
fn variable_whose_name_is_not_utf8_is_unknown() {
    use std::os::unix::ffi::OsStringExt as _;
    let variable = |name: &[u8]| (OsString::from_vec(name.to_vec()), OsString::from("hunter2"));
    let error = load(None, [variable(b"CONTACT_RELAY__AMQP__\xff")]).unwrap_err();
    let expected = "environment variable CONTACT_RELAY__AMQP__\u{fffd}: does not name a setting";
    assert!(error.to_string().ends_with(expected), "{error}");
    assert!(load(None, [variable(b"OTHER__\xff"), variable(b"\xff")]).is_ok());
}

#[test]
fn company_has_its_own_region() {
    use crate::domain::event::CompanyId;
    let settings =
        with_env(&[("CONTACTS__REGIONS", "acme=MX, a=b = us"), ("PLACEHOLDERS__ANYWHERE", "n/a,vazio")])
            .unwrap();
    let regions = settings.settings.contacts.regions();
    for (company, region) in [("acme", "MX"), ("a=b", "US"), ("globex", "BR")] {
        assert_eq!(regions.of(&CompanyId::new(company).unwrap()).code(), region, "{company}");
    }
    assert_eq!(settings.settings.placeholders.anywhere, ["n/a", "vazio"]);
}

#[test]
fn empty_text_is_an_empty_list() {
    let settings = with_env(&[("WEBHOOK__RETRY_SCHEDULE", ""), ("HTTP__TOKENS", " ")]).unwrap().settings;
    assert!(settings.webhook.retry_schedule.is_empty() && settings.http.tokens.is_empty());
}

#[test]
fn duration_beyond_the_database_range_is_refused() {
    let endless = "300000y";
    let rule = r#"[{url = "https://a.example", timeout = "300000y", retry_schedule = ["300000y"]}]"#;
    for (name, key, value) in [
        ("WEBHOOK__TIMEOUT", "webhook.timeout", endless),
        ("WEBHOOK__RETRY_SCHEDULE", "webhook.retry_schedule", endless),
        ("WEBHOOK__BREAKER_WAIT", "webhook.breaker_wait", endless),
        ("WEBHOOK__POLL_INTERVAL", "webhook.poll_interval", endless),
        ("WEBHOOK__ENDPOINTS", "webhook.endpoints", rule),
        ("OUTBOX__LEASE", "outbox.lease", endless),
    ] {
        let refused = faults(with_env(&[(name, value)]));
        assert!(refused.get(key).is_some_and(|why| why.contains("at most 365d")), "{key}: {refused:?}");
    }
}

#[test]
fn retention_is_checked_against_itself_and_max_age() {
    let kept = |pairs: &[(&str, &str)]| with_env(pairs).map(|effective| effective.settings.retention);
    assert_eq!(kept(&[]).unwrap().history, None);
    let history = kept(&[("RETENTION__HISTORY", "400d")]).unwrap().history;
    assert_eq!(history, Some(Duration::from_hours(400 * 24)));
    let exact = [("DELIVERIES", "8d"), ("ATTEMPTS", "7d"), ("DEAD_LETTERS", "8d"), ("HISTORY", "8d")];
    let names = exact.map(|(name, value)| (format!("RETENTION__{name}"), value));
    assert!(kept(&names.each_ref().map(|(name, value)| (name.as_str(), *value))).is_ok());
    for (name, value, key, said) in [
        ("DELIVERIES", "29d", "retention.deliveries", "retention.attempts"),
        ("ATTEMPTS", "6d", "retention.attempts", "max_age"),
        ("ATTEMPTS", "31d", "retention.deliveries", "retention.attempts"),
        ("DEAD_LETTERS", "29d", "retention.dead_letters", "retention.deliveries"),
        ("HISTORY", "3651d", "retention.history", "1d to 3650d"),
        ("HISTORY", "29d", "retention.history", "retention.deliveries"),
        ("HISTORY", "400", "retention.history", "a number with a unit"),
        ("DEAD_LETTERS", "3651d", "retention.dead_letters", "1d to 3650d"),
        ("DEAD_LETTERS", "", "retention.dead_letters", "expected a duration"),
    ] {
        let refused = faults(with_env(&[(&format!("RETENTION__{name}"), value)]));
        assert!(refused.get(key).is_some_and(|why| why.contains(said)), "{name} {value}: {refused:?}");
    }
    let short = faults(with_env(&[("RETENTION__DELIVERIES", "7d"), ("RETENTION__ATTEMPTS", "7d")]));
    assert!(short["retention.deliveries"].contains("max_age"), "{short:?}");
    let all = faults(with_env(&[("WEBHOOK__MAX_AGE", "60d")]));
    assert_eq!(all.len(), 2, "{all:?}");
}

#[test]
fn commits_cannot_be_asynchronous() {
    let error = faults(with_env(&[("POSTGRES__SYNCHRONOUS_COMMIT", "off")]));
    let expected = "expected \"on\", \"remote_apply\", \"remote_write\" or \"local\"";
    assert!(error["postgres.synchronous_commit"].contains(expected), "{error:?}");
}

#[test]
fn invalid_variable_is_reported_with_key_and_origin() {
    let token_twice = "a:viewer:x,a:viewer:x";
    let cases = [
        ("AMQP__URL", "http://h", "amqp.url", "amqp://user:password@host"),
        ("AMQP__URL", "", "amqp.url", "amqp://user:password@host"),
        ("AMQP__URL", "amqp://h/?channel_max=x", "amqp.url", "channel_max"),
        ("AMQP__MANAGEMENT_URL", "broker:15672", "amqp.management_url", "https://monitor:password@host"),
        ("AMQP__NAMESPACE", "a b", "amqp.namespace", "1 to 100 letters"),
        ("AMQP__NAMESPACE", "amq.x", "amqp.namespace", "not begin with"),
        ("AMQP__HEARTBEAT", "1500ms", "amqp.heartbeat", "whole seconds"),
        ("AMQP__CONNECT_TIMEOUT", "0s", "amqp.connect_timeout", "longer than 0"),
        ("POSTGRES__URL", "mysql://h/d", "postgres.url", "postgres://user:password@host"),
        ("POSTGRES__URL", "postgres://h/d?sslmode=x", "postgres.url", "sslmode"),
        ("POSTGRES__MAX_CONNECTIONS", "4", "postgres.max_connections", "at least 5"),
        ("POSTGRES__MAX_CONNECTIONS", "-1", "postgres.max_connections", "expected"),
        ("UPSERT__CONSUMERS", "0", "upsert.consumers", "1 to 64"),
        ("UPSERT__CONSUMERS", "true", "upsert.consumers", "whole number"),
        ("UPSERT__CONSUMERS", "1.5", "upsert.consumers", "whole number"),
        ("UPSERT__BATCH_SIZE", "0", "upsert.batch_size", "1 to 10000"),
        ("UPSERT__BATCH_SIZE", "10001", "upsert.batch_size", "1 to 10000"),
        (
            "CONTACTS__ON_CONFLICT",
            "no",
            "contacts.on_conflict",
            "expected \"merge\", \"prefer_phone\", \"prefer_email\" or \"reject\"",
        ),
        ("CONTACTS__ON_UNIDENTIFIED", "no", "contacts.on_unidentified", "\"create\" or \"reject\""),
        ("CONTACTS__REGIONS", "acme", "contacts.regions", "company=REGION"),
        ("CONTACTS__REGIONS", "=MX", "contacts.regions", "1 to 255 bytes"),
        ("CONTACTS__REGIONS", "acme=XX", "contacts.regions", "ISO 3166-1"),
        ("CONTACTS__REGIONS", "acme=MX, b=US,acme=MX", "contacts.regions", "entry 3: this company"),
        ("CONTACTS__DEFAULT_REGION", "Brazil", "contacts.default_region", "ISO 3166-1"),
        ("EVENTS__SOURCE", "", "events.source", "URI reference"),
        ("EVENTS__MAX_CLOCK_SKEW", "0s", "events.max_clock_skew", "longer than 0"),
        ("WEBHOOK__CONCURRENCY", "0", "webhook.concurrency", "1 to 10000"),
        ("WEBHOOK__TIMEOUT", "15", "webhook.timeout", "number with a unit"),
        ("WEBHOOK__TIMEOUT", "0s", "webhook.timeout", "longer than 0"),
        ("WEBHOOK__RETRY_SCHEDULE", "5s,,1m", "webhook.retry_schedule", "number with a unit"),
        ("WEBHOOK__RETRY_SCHEDULE", "5s,0s", "webhook.retry_schedule", "longer than 0"),
        ("WEBHOOK__RETRY_JITTER", "1.1", "webhook.retry_jitter", "0 to 1"),
        ("WEBHOOK__RETRY_JITTER", "NaN", "webhook.retry_jitter", "0 to 1"),
        ("WEBHOOK__ALLOW_HTTP", "maybe", "webhook.allow_http", "true or false"),
        ("WEBHOOK__ALLOWED_NETWORKS", "10.0.0.0", "webhook.allowed_networks", "invalid"),
        ("WEBHOOK__ALLOWED_PORTS", "443,0", "webhook.allowed_ports", "1 to 65535"),
        ("WEBHOOK__ALLOWED_PORTS", "443,25", "webhook.allowed_ports", "another protocol"),
        ("WEBHOOK__SIGNING_SECRETS", "whsec_AAAA", "webhook.signing_secrets", "entry 1"),
        ("HTTP__BIND", "localhost", "http.bind", "socket address"),
        ("HTTP__TOKENS", "a:root:x", "http.tokens", "name:role:token"),
        ("HTTP__TOKENS", token_twice, "http.tokens", "this token is listed twice"),
        ("LOG__FORMAT", "xml", "log.format", "\"auto\", \"text\" or \"json\""),
        ("LOG__FILTER", "a=b=c", "log.filter", "not a filter"),
        ("SHUTDOWN__GRACE", "soon", "shutdown.grace", "number with a unit"),
        ("AMQP__HOST", "x", "", "does not name a setting"),
        ("amqp__url", "x", "", "does not name a setting"),
        ("AMQP", "x", "", "does not name a setting"),
    ];
    cases.into_iter().for_each(assert_refused);
}

#[test]
fn invalid_setting_of_traces_is_refused() {
    let cases = [
        ("TELEMETRY__OTLP_ENDPOINT", "collector:4318", "telemetry.otlp_endpoint", "http://"),
        ("TELEMETRY__OTLP_ENDPOINT", "http://u:p@collector", "telemetry.otlp_endpoint", "without user"),
        ("TELEMETRY__OTLP_ENDPOINT", "http://collector/?key=x", "telemetry.otlp_endpoint", "query"),
        ("TELEMETRY__OTLP_HEADERS", "a=b,secret", "telemetry.otlp_headers", "entry 2"),
        ("TELEMETRY__OTLP_HEADERS", "a b=c", "telemetry.otlp_headers", "name=value"),
        ("TELEMETRY__SAMPLE_RATIO", "1.5", "telemetry.sample_ratio", "0 to 1"),
    ];
    cases.into_iter().for_each(assert_refused);
}

fn assert_refused((name, value, key, said): (&str, &str, &str, &str)) {
    let error = with_env(&[(name, value)]).unwrap_err();
    let fault = error.faults.last().unwrap();
    assert_eq!(fault.key, key, "{error}");
    assert!(fault.message.contains(said), "{name}={value}: {error}");
    assert_eq!(fault.origin, Origin::Environment(format!("CONTACT_RELAY__{name}")), "{error}");
}

#[test]
fn invalid_file_is_reported_with_key_and_origin() {
    for (text, key, said) in [
        ("[amqp]\nhost = 1", "amqp.host", "unknown setting; [amqp] has connect_timeout, heartbeat"),
        ("[broker]\nurl = 1", "broker", "unknown section"),
        ("amqp = 1", "amqp", "expected a section"),
        ("[webhook]\ntimeout = 15", "webhook.timeout", "\"15s\" or \"15ms\""),
        ("[webhook]\ntimeout = 1.5", "webhook.timeout", "with a unit"),
        ("[webhook]\nretry_schedule = [5]", "webhook.retry_schedule", "\"5s\""),
        ("[webhook]\nretry_schedule = \"5s\"", "webhook.retry_schedule", "expected a sequence"),
        ("[upsert]\nconsumers = 1.5", "upsert.consumers", "whole number"),
        ("[upsert]\nconsumers = true", "upsert.consumers", "whole number"),
        ("[webhook]\nallow_http = 1", "webhook.allow_http", "true or false"),
        ("[amqp]\nurl = [\"amqp://u:hunter2@h\"]", "amqp.url", "as text"),
        ("[webhook]\nsigning_secrets = \"hunter2\"", "webhook.signing_secrets", "list"),
        ("[http]\ntokens = [\"hunter2\"]", "http.tokens", "name:role:token"),
        ("[amqp]\nurl = \"amqp://u:hunter2@h", "", "line 2"),
        ("[amqp]\nurl = hunter2", "", "line 2"),
    ] {
        let file = file(text);
        let error = load(Some(file.path()), []).unwrap_err();
        assert_eq!(error.faults.len(), 1, "{error}");
        let fault = &error.faults[0];
        assert_eq!(fault.key, key, "{error}");
        assert!(fault.message.contains(said), "{text}: {error}");
        assert_eq!(fault.origin, Origin::File(file.path().to_owned()));
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let missing = load(Some(Path::new("/nowhere/at/all")), []).unwrap_err();
    assert!(missing.to_string().contains("file /nowhere/at/all: could not be read"), "{missing}");
}

#[test]
fn all_faults_are_reported_at_once_without_secrets() {
    let file = file("[webhook]\ntimeout = 15\nunknown = 1\n[postgres]\nurl = \"hunter2://x\"\n");
    let error = load(
        Some(file.path()),
        env(&[
            ("AMQP__URL", "amqp_hunter2"),
            ("WEBHOOK__SIGNING_SECRETS", "hunter2"),
            ("HTTP__TOKENS", "hunter2:hunter2:hunter2"),
            ("UPSERT__CONSUMERS", "x"),
            ("LOG__FORMAT", "xml"),
            ("NO__SUCH", "hunter2"),
        ]),
    )
    .unwrap_err();
    let message = error.to_string();
    assert_eq!(error.faults.len(), 9, "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    assert!(message.starts_with("bad configuration, 9 faults\n"), "{message}");
    assert!(
        message.contains("amqp.url (environment variable CONTACT_RELAY__AMQP__URL): expected"),
        "{message}"
    );
}
