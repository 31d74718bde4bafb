//! Bounds and cross-checks of settings that have the right types.
//!
//! Every check runs, so that all faults are reported at once. No message repeats a value: it may be a secret.

mod addresses;

use std::{collections::BTreeSet, time::Duration};

use hyper::header::{HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use url::Url;

use self::addresses::is_address;
use super::{EndpointRule, MIN_TOKEN, Settings, types::is_plain_name};
use crate::domain::webhook::{egress::is_bad_port, signature::SigningSecret};

const DAY: Duration = Duration::from_hours(24);

/// All faults, each with its key.
pub(super) fn validate(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut faults = Faults(Vec::new());
    services(settings, &mut faults);
    work(settings, &mut faults);
    webhook(settings, &mut faults);
    retention(settings, &mut faults);
    surface(settings, &mut faults);
    telemetry(settings, &mut faults);
    faults.0
}

/// Secrets that can be guessed, each with its key. They are allowed, because others may have to replace them first.
pub(super) fn weak(settings: &Settings) -> Vec<(&'static str, String)> {
    let tokens = settings.http.tokens.iter().zip(1..);
    let short = tokens.filter(|(token, _)| token.token.expose_secret().len() < MIN_TOKEN);
    let message = |entry: usize| {
        format!(
            "entry {entry}: the token is shorter than {MIN_TOKEN} characters and can be guessed; `openssl rand -hex 32` makes \
             a good one"
        )
    };
    short.map(|(_, entry)| ("http.tokens", message(entry))).collect()
}

struct Faults(Vec<(&'static str, String)>);

impl Faults {
    fn unless(&mut self, fine: bool, key: &'static str, message: impl Into<String>) {
        if !fine {
            self.0.push((key, message.into()));
        }
    }

    fn checked(&mut self, key: &'static str, checked: Result<(), String>) {
        self.0.extend(checked.err().map(|message| (key, message)));
    }

    fn range(&mut self, key: &'static str, value: usize, min: usize, max: usize) {
        self.unless((min..=max).contains(&value), key, format!("must be {min} to {max}"));
    }

    /// The upper bound keeps the database's date arithmetic within its range.
    fn positive(&mut self, key: &'static str, value: Duration) {
        self.unless(is_usable(value), key, "must be longer than 0 and at most 365d");
    }
}

fn services(settings: &Settings, faults: &mut Faults) {
    let amqp = &settings.amqp;
    faults.checked("amqp.url", addresses::broker(amqp.url.expose_secret()));
    let management = amqp.management_url.expose_secret();
    faults.unless(
        management.is_empty() || is_address(management, &["http", "https"]),
        "amqp.management_url",
        "expected an address such as https://monitor:password@host:15671",
    );
    faults.unless(
        is_plain_name(&amqp.namespace, 100) && !amqp.namespace.starts_with("amq."),
        "amqp.namespace",
        "must be 1 to 100 letters, digits, dots, underscores or hyphens, and not begin with \"amq.\"",
    );
    faults.unless(
        (1..=3600).contains(&amqp.heartbeat.as_secs()) && amqp.heartbeat.subsec_nanos() == 0,
        "amqp.heartbeat",
        "must be whole seconds, 1s to 1h",
    );
    faults.positive("amqp.connect_timeout", amqp.connect_timeout);
    faults.positive("amqp.publish_timeout", amqp.publish_timeout);
    faults.range("amqp.prefetch_bytes", amqp.prefetch_bytes, 1 << 20, 1 << 30);
    let is_name = |text: &str| (1..=255).contains(&text.len()) && !text.trim_end_matches('*').contains('*');
    faults.unless(
        amqp.reply_queues.iter().all(|name| is_name(name) && !name.ends_with("**")),
        "amqp.reply_queues",
        "every entry must be a queue's name of 1 to 255 bytes, or the beginning of one and a final *",
    );
    let postgres = &settings.postgres;
    faults.checked("postgres.url", addresses::database(postgres.url.expose_secret()));
    let enough = settings.upsert.consumers.saturating_mul(2).saturating_add(3);
    faults.unless(
        usize::try_from(postgres.max_connections).is_ok_and(|most| most >= enough),
        "postgres.max_connections",
        format!("must be at least {enough}: two for each of upsert.consumers, one to stay registered, and two for all other work"),
    );
    faults.positive("postgres.acquire_timeout", postgres.acquire_timeout);
    faults.unless(
        postgres.statement_timeout >= Duration::from_millis(1),
        "postgres.statement_timeout",
        "must be at least 1ms",
    );
}

fn work(settings: &Settings, faults: &mut Faults) {
    let upsert = &settings.upsert;
    faults.range("upsert.consumers", upsert.consumers, 1, 64);
    faults.range("upsert.batch_size", upsert.batch_size, 1, 10_000);
    faults.unless(upsert.batch_bytes >= 1, "upsert.batch_bytes", "must be at least 1");
    faults.range("upsert.decoded_bytes", upsert.decoded_bytes, 1 << 20, 1 << 30);
    faults.range("upsert.rendered_bytes", upsert.rendered_bytes, 1 << 20, 1 << 30);
    faults.range("upsert.cache_bytes", upsert.cache_bytes, 1 << 20, 1 << 30);
    let mut companies = BTreeSet::new();
    for (index, entry) in settings.contacts.regions.iter().enumerate() {
        faults.unless(
            companies.insert(&entry.company),
            "contacts.regions",
            format!("entry {}: this company is listed twice", index + 1),
        );
    }
    faults.range("contacts.max_value_length", settings.contacts.max_value_length, 1, 100_000);
    faults.range("contacts.max_identifiers", settings.contacts.max_identifiers, 1, 1000);
    let source = &settings.events.source;
    faults.unless(
        (1..=1024).contains(&source.len()) && !source.chars().any(|c| c.is_control() || c == ' '),
        "events.source",
        "must be a URI reference of 1 to 1024 bytes, such as \"/contact-relay\"",
    );
    faults.positive("events.max_clock_skew", settings.events.max_clock_skew);
    faults.unless(
        (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&settings.outbox.retry_interval),
        "outbox.retry_interval",
        "must be 1s to 1h",
    );
    faults.range("outbox.in_flight_bytes", settings.outbox.in_flight_bytes, 1 << 20, 1 << 30);
    faults.positive("outbox.lease", settings.outbox.lease);
    faults.positive("outbox.sweep_interval", settings.outbox.sweep_interval);
    faults.range("dead_letter.batch_size", settings.dead_letter.batch_size, 1, 10_000);
    faults.positive("shutdown.grace", settings.shutdown.grace);
}

fn webhook(settings: &Settings, faults: &mut Faults) {
    let webhook = &settings.webhook;
    faults.range("webhook.concurrency", webhook.concurrency, 1, 10_000);
    faults.range("webhook.queue_bytes", webhook.queue_bytes, 1 << 20, 1 << 30);
    faults.positive("webhook.timeout", webhook.timeout);
    faults.positive("webhook.poll_interval", webhook.poll_interval);
    faults.unless(
        webhook.retry_schedule.iter().all(|wait| is_usable(*wait)),
        "webhook.retry_schedule",
        "every wait must be longer than 0 and at most 365d",
    );
    faults.unless(
        (0.0..=1.0).contains(&webhook.retry_jitter),
        "webhook.retry_jitter",
        "must be 0 to 1: the share by which a wait may grow",
    );
    faults.unless(
        !webhook.allowed_ports.contains(&0),
        "webhook.allowed_ports",
        "every port must be 1 to 65535",
    );
    faults.unless(
        !webhook.allowed_ports.iter().any(|port| *port > 0 && is_bad_port(*port)),
        "webhook.allowed_ports",
        "a port belongs to another protocol and is never allowed at a public address, see \
         https://fetch.spec.whatwg.org/#port-blocking; allow the network in webhook.allowed_networks instead",
    );
    faults.unless(
        (1..=10_000).contains(&webhook.max_in_flight),
        "webhook.max_in_flight",
        "must be 1 to 10000",
    );
    faults.unless(
        (Duration::from_secs(1)..=Duration::from_hours(365 * 24)).contains(&webhook.max_age),
        "webhook.max_age",
        "must be 1s to 365d",
    );
    faults.positive("webhook.breaker_wait", webhook.breaker_wait);
    for (index, rule) in webhook.endpoints.iter().enumerate() {
        endpoint(index + 1, rule, faults);
    }
    for (index, secret) in webhook.signing_secrets.iter().enumerate() {
        if let Err(bad) = SigningSecret::parse(secret.expose_secret()) {
            faults.unless(false, "webhook.signing_secrets", format!("entry {}: {bad}", index + 1));
        }
    }
}

/// One setting must not remove what the data kept by another one needs.
fn retention(settings: &Settings, faults: &mut Faults) {
    let retention = &settings.retention;
    let mut unless = |fine: bool, key: &'static str, message: &str| faults.unless(fine, key, message);
    let usable = |time: Duration| (DAY..=DAY * 3650).contains(&time);
    let times = [
        ("retention.deliveries", Some(retention.deliveries)),
        ("retention.attempts", Some(retention.attempts)),
        ("retention.dead_letters", Some(retention.dead_letters)),
        ("retention.history", retention.history),
    ];
    for (key, time) in times {
        unless(time.is_none_or(usable), key, "must be 1d to 3650d");
    }
    // Every attempt of a delivery that is still retried can be shown.
    unless(
        retention.attempts >= settings.webhook.max_age,
        "retention.attempts",
        "must be at least webhook.max_age",
    );
    // The row of a delivery proves that a killed process had sent it, and an attempt belongs to a delivery.
    unless(
        retention.deliveries >= settings.webhook.max_age.saturating_add(DAY),
        "retention.deliveries",
        "must be at least webhook.max_age and a day",
    );
    unless(
        retention.deliveries >= retention.attempts,
        "retention.deliveries",
        "must be at least retention.attempts",
    );
    // An erasure finds the deliveries of a person's events through the history.
    unless(
        retention.history.is_none_or(|history| history >= retention.deliveries),
        "retention.history",
        "must be at least retention.deliveries",
    );
    // A discarded delivery can be sent again, and its dead letter says why it was discarded.
    unless(
        retention.dead_letters >= retention.deliveries,
        "retention.dead_letters",
        "must be at least retention.deliveries",
    );
}

fn endpoint(entry: usize, rule: &EndpointRule, faults: &mut Faults) {
    let mut unless = |fine: bool, message: &str| {
        faults.unless(fine, "webhook.endpoints", format!("entry {entry}: {message}"));
    };
    unless(
        rule.pattern().is_some(),
        "url must be a URL or the beginning of one, such as https://hooks.example/sales",
    );
    unless(
        rule.max_in_flight.is_none_or(|most| (1..=10_000).contains(&most)),
        "max_in_flight must be 1 to 10000",
    );
    unless(rule.timeout().is_none_or(is_usable), "timeout must be longer than 0 and at most 365d");
    let schedule = rule.retry_schedule().unwrap_or_default();
    unless(
        schedule.into_iter().all(is_usable),
        "every wait of retry_schedule must be longer than 0 and at most 365d",
    );
    let statuses = rule.retry_statuses().iter().chain(rule.dead_statuses());
    unless(
        statuses.clone().all(|status| (300..=599).contains(status)),
        "retry_statuses and dead_statuses must be 300 to 599",
    );
    let both = rule.retry_statuses().iter().any(|status| rule.dead_statuses().contains(status));
    unless(!both, "a status cannot be in both retry_statuses and dead_statuses");
    for secret in rule.signing_secrets.iter().flatten() {
        if let Err(bad) = SigningSecret::parse(secret.expose_secret()) {
            unless(false, &format!("signing_secrets: {bad}"));
        }
    }
    unless(
        rule.digest_window().is_none_or(|window| (1..=86_400).contains(&window.as_secs())),
        "digest_window must be 1s to 24h",
    );
    unless(
        !(rule.digest_window().is_some() && rule.is_newest_only()),
        "digest_window and newest_only exclude each other",
    );
    unless(
        rule.client_certificate_file.is_some() == rule.client_key_file.is_some(),
        "client_certificate_file and client_key_file need each other",
    );
}

fn surface(settings: &Settings, faults: &mut Faults) {
    let mut names = BTreeSet::new();
    let mut tokens = BTreeSet::new();
    let is_host = |host: &String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        !host.is_empty() && host.bytes().all(plain)
    };
    faults.unless(
        settings.http.hosts.iter().all(is_host),
        "http.hosts",
        "every entry must be a host name, such as relay.example.com",
    );
    for (index, token) in settings.http.tokens.iter().enumerate() {
        let entry = index + 1;
        faults.unless(
            names.insert(&token.name),
            "http.tokens",
            format!("entry {entry}: two tokens have the same name"),
        );
        faults.unless(
            tokens.insert(token.token.expose_secret()),
            "http.tokens",
            format!("entry {entry}: this token is listed twice"),
        );
    }
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&settings.log.filter) {
        faults.unless(false, "log.filter", format!("not a filter: {error}"));
    }
}

fn telemetry(settings: &Settings, faults: &mut Faults) {
    let telemetry = &settings.telemetry;
    let endpoint = &telemetry.otlp_endpoint;
    faults.unless(
        endpoint.is_empty() || is_collector(endpoint),
        "telemetry.otlp_endpoint",
        "expected an http:// or https:// address without user, password and query, such as http://127.0.0.1:4318",
    );
    faults.unless(
        endpoint.is_empty() || cfg!(feature = "otlp"),
        "telemetry.otlp_endpoint",
        "this binary was built without the feature otlp; leave it empty",
    );
    for (index, header) in telemetry.otlp_headers.iter().enumerate() {
        let is_header = header.expose_secret().split_once('=').is_some_and(|(name, value)| {
            HeaderName::from_bytes(name.trim().as_bytes()).is_ok()
                && HeaderValue::from_str(value.trim()).is_ok()
        });
        faults.unless(
            is_header,
            "telemetry.otlp_headers",
            format!("entry {}: must be name=value, both as in HTTP", index + 1),
        );
    }
    faults.unless((0.0..=1.0).contains(&telemetry.sample_ratio), "telemetry.sample_ratio", "must be 0 to 1");
}

fn is_collector(text: &str) -> bool {
    is_address(text, &["http", "https"])
        && Url::parse(text).is_ok_and(|url| {
            url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
}

fn is_usable(time: Duration) -> bool {
    !time.is_zero() && time <= Duration::from_hours(365 * 24)
}
