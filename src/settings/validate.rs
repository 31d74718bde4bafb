//! Bounds and cross-checks of settings whose types are right already.
//!
//! Every check runs, so that all faults are told at once. No message repeats a value: it may be secret.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret as _;
use url::Url;

use super::{Settings, types::is_plain_name};

/// What is wrong, by key.
pub(super) fn validate(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut faults = Faults(Vec::new());
    services(settings, &mut faults);
    work(settings, &mut faults);
    webhook(settings, &mut faults);
    surface(settings, &mut faults);
    faults.0
}

struct Faults(Vec<(&'static str, String)>);

impl Faults {
    fn unless(&mut self, fine: bool, key: &'static str, message: impl Into<String>) {
        if !fine {
            self.0.push((key, message.into()));
        }
    }

    fn range(&mut self, key: &'static str, value: usize, min: usize, max: usize) {
        self.unless((min..=max).contains(&value), key, format!("must be {min} to {max}"));
    }

    fn positive(&mut self, key: &'static str, value: Duration) {
        self.unless(!value.is_zero(), key, "must be longer than 0");
    }
}

fn services(settings: &Settings, faults: &mut Faults) {
    let amqp = &settings.amqp;
    faults.unless(
        is_address(amqp.url.expose_secret(), &["amqp", "amqps"]),
        "amqp.url",
        "expected an address such as amqp://user:password@host:5672/%2f (amqps:// for TLS)",
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
    let postgres = &settings.postgres;
    faults.unless(
        is_address(postgres.url.expose_secret(), &["postgres", "postgresql"]),
        "postgres.url",
        "expected an address such as postgres://user:password@host:5432/database",
    );
    let enough = settings.upsert.consumers.saturating_add(2);
    faults.unless(
        usize::try_from(postgres.max_connections).is_ok_and(|most| most >= enough),
        "postgres.max_connections",
        format!("must be at least {enough}: one for each of upsert.consumers, and two for all other work"),
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
    faults.unless(
        upsert.batch_linger <= Duration::from_secs(10),
        "upsert.batch_linger",
        "must be at most 10s: every message waits that long",
    );
    let mut companies = BTreeSet::new();
    for (index, entry) in settings.contacts.regions.iter().enumerate() {
        faults.unless(
            companies.insert(&entry.company),
            "contacts.regions",
            format!("entry {}: the same company stands twice", index + 1),
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
    faults.positive("outbox.lease", settings.outbox.lease);
    faults.positive("outbox.sweep_interval", settings.outbox.sweep_interval);
    faults.range("dead_letter.batch_size", settings.dead_letter.batch_size, 1, 10_000);
    faults.positive("shutdown.grace", settings.shutdown.grace);
}

fn webhook(settings: &Settings, faults: &mut Faults) {
    let webhook = &settings.webhook;
    faults.range("webhook.concurrency", webhook.concurrency, 1, 10_000);
    faults.positive("webhook.timeout", webhook.timeout);
    faults.positive("webhook.poll_interval", webhook.poll_interval);
    faults.unless(
        webhook.retry_schedule.iter().all(|wait| !wait.is_zero()),
        "webhook.retry_schedule",
        "every wait must be longer than 0",
    );
    faults.unless(
        (0.0..=1.0).contains(&webhook.retry_jitter),
        "webhook.retry_jitter",
        "must be 0 to 1: the share by which a wait may be longer",
    );
    faults.unless(
        !webhook.allowed_ports.contains(&0),
        "webhook.allowed_ports",
        "every port must be 1 to 65535",
    );
    for (index, secret) in webhook.signing_secrets.iter().enumerate() {
        faults.unless(
            is_signing_secret(secret.expose_secret()),
            "webhook.signing_secrets",
            format!("entry {}: expected whsec_ and the base64 of 24 to 64 bytes", index + 1),
        );
    }
}

fn surface(settings: &Settings, faults: &mut Faults) {
    let mut names = BTreeSet::new();
    let mut tokens = BTreeSet::new();
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
            format!("entry {entry}: the same token stands twice"),
        );
    }
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&settings.log.filter) {
        faults.unless(false, "log.filter", format!("not a filter: {error}"));
    }
}

fn is_address(text: &str, schemes: &[&str]) -> bool {
    Url::parse(text)
        .is_ok_and(|url| schemes.contains(&url.scheme()) && url.host_str().is_some_and(|h| !h.is_empty()))
}

/// Standard Webhooks 1.0: `whsec_` and the base64 of 24 to 64 random bytes.
fn is_signing_secret(text: &str) -> bool {
    text.strip_prefix("whsec_")
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .is_some_and(|bytes| (24..=64).contains(&bytes.len()))
}
