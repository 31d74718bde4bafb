//! Findings from the settings alone. The settings have already been validated.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::{Finding, Promise, Status};
use crate::settings::{Effective, OnConflict, Settings, Webhook};

const AREA: &str = "settings";

pub(super) fn findings(effective: &Effective) -> Vec<Finding> {
    let settings = &effective.settings;
    let mut findings = vec![files(effective), signatures(settings), receivers(settings)];
    findings.extend([schedule(&settings.webhook), conflicts(settings.contacts.on_conflict)]);
    findings.extend([tokens(settings), pepper(settings), history(settings)]);
    findings.extend(weak(effective));
    findings
}

fn files(Effective { exposed, .. }: &Effective) -> Finding {
    let Some(first) = exposed.first() else {
        return Finding::new(
            AREA,
            "secret files",
            Status::Fine,
            "no secret is in a file that everybody can read",
        );
    };
    let found = format!("{} secrets are in files that everybody can read: {first}", exposed.len());
    Finding::new(AREA, "secret files", Status::Warning, found)
        .remedy("run `chmod o-r` on each file; see `config check`")
}

fn signatures(settings: &Settings) -> Finding {
    let secrets = settings.webhook.signing_secrets.len();
    if secrets > 0 {
        return Finding::new(AREA, "webhook signatures", Status::Fine, format!("{secrets} signing secrets"));
    }
    Finding::new(AREA, "webhook signatures", Status::Warning, "receivers cannot verify who sends a webhook")
        .remedy("set webhook.signing_secrets")
}

fn receivers(settings: &Settings) -> Finding {
    let webhook = &settings.webhook;
    if webhook.allow_http {
        return Finding::new(AREA, "webhook receivers", Status::Warning, "webhooks may be sent without TLS")
            .remedy("set webhook.allow_http = false");
    }
    let networks = webhook.allowed_networks.len();
    let found = format!("https only; public addresses and {networks} networks that are allowed");
    Finding::new(AREA, "webhook receivers", Status::Fine, found)
}

/// The longest schedule must end before `webhook.max_age`, which ends it otherwise.
fn schedule(webhook: &Webhook) -> Finding {
    let longest =
        |schedule: Vec<Duration>| schedule.iter().sum::<Duration>().mul_f64(1.0 + webhook.retry_jitter);
    let longest = webhook.retry_schedules().into_iter().map(longest).max().unwrap_or_default();
    let in_hours = |time: Duration| format!("{} h", time.as_secs().div_ceil(3600));
    let found = format!("may take {}, of {} that it has", in_hours(longest), in_hours(webhook.max_age));
    let finding = |status| Finding::new(AREA, "retry schedule", status, found).of(&[Promise::Attempted]);
    if longest < webhook.max_age {
        return finding(Status::Fine);
    }
    finding(Status::Broken).remedy("raise webhook.max_age, or shorten webhook.retry_schedule")
}

/// Which of two contacts came first decides, unless they merge.
fn conflicts(on_conflict: OnConflict) -> Finding {
    let finding = |status, found: &str| Finding::new(AREA, "conflicts", status, found).of(&[Promise::Once]);
    if on_conflict == OnConflict::Merge {
        return finding(Status::Fine, "contacts of one person are merged, in any order of events");
    }
    finding(Status::Broken, "what two contacts of one person get depends on which event came first")
        .remedy("set contacts.on_conflict = \"merge\", unless you want that")
}

fn tokens(settings: &Settings) -> Finding {
    let (bind, tokens) = (settings.http.bind, settings.http.tokens.len());
    if tokens == 0 {
        let found = format!("no token: on {bind} only health and metrics answer");
        return Finding::new(AREA, "http tokens", Status::Fine, found);
    }
    if !bind.ip().is_loopback() {
        let found = format!("{tokens} tokens are sent to {bind}, which has no TLS of its own");
        return Finding::new(AREA, "http tokens", Status::Warning, found)
            .remedy("put a proxy with TLS before it, or set http.bind to a loopback address");
    }
    Finding::new(AREA, "http tokens", Status::Fine, format!("{tokens} tokens, on {bind}"))
}

fn weak(effective: &Effective) -> Option<Finding> {
    let weak = effective.weak.first()?;
    let finding = Finding::new(AREA, "weak tokens", Status::Warning, weak.to_string());
    Some(finding.remedy("replace each by one that `openssl rand -hex 32` makes; see `config check`"))
}

fn pepper(settings: &Settings) -> Finding {
    if settings.contacts.suppression_pepper.expose_secret().is_empty() {
        let found = "who has a dump of the database can find out which phones and emails were erased";
        return Finding::new(AREA, "suppression pepper", Status::Warning, found)
            .remedy("set contacts.suppression_pepper before the first erasure, and never change it");
    }
    Finding::new(AREA, "suppression pepper", Status::Fine, "is set")
}

fn history(settings: &Settings) -> Finding {
    let found = match settings.retention.history {
        None => "contacts can be unmerged, and `verify` can prove their values, for ever".to_owned(),
        Some(kept) => {
            format!(
                "history leaves after {}; older merges cannot be undone",
                humantime::format_duration(kept)
            )
        }
    };
    Finding::new(AREA, "history", Status::Fine, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load;

    fn effective(settings: &[(&str, &str)]) -> Effective {
        let name = |key: &str| format!("CONTACT_RELAY__{key}").into();
        load(None, settings.iter().map(|(key, value)| (name(key), (*value).into()))).unwrap()
    }

    fn with_status(settings: &[(&str, &str)], status: Status) -> Vec<String> {
        let found = findings(&effective(settings)).into_iter().filter(|finding| finding.status == status);
        found.map(|finding| finding.name).collect()
    }

    #[test]
    fn default_settings_break_no_promise() {
        assert_eq!(with_status(&[], Status::Broken), [""; 0]);
        assert_eq!(with_status(&[], Status::Warning), ["webhook signatures", "suppression pepper"]);
    }

    #[test]
    fn settings_that_break_a_promise_are_named() {
        for (name, value, finding) in [
            ("WEBHOOK__RETRY_SCHEDULE", "5s,7d", "retry schedule"),
            ("WEBHOOK__MAX_AGE", "70h", "retry schedule"),
            (
                "WEBHOOK__ENDPOINTS",
                r#"[{url = "https://a.example", retry_schedule = ["7d"]}]"#,
                "retry schedule",
            ),
            ("CONTACTS__ON_CONFLICT", "reject", "conflicts"),
        ] {
            assert_eq!(with_status(&[(name, value)], Status::Broken), [finding], "{name}");
        }
        let exposed =
            [("WEBHOOK__ALLOW_HTTP", "true"), ("HTTP__BIND", "0.0.0.0:80"), ("HTTP__TOKENS", "a:viewer:x")];
        let warned = with_status(&exposed, Status::Warning);
        assert!(
            ["webhook receivers", "http tokens", "weak tokens"]
                .iter()
                .all(|name| warned.contains(&(*name).to_owned()))
        );
    }
}
