//! What the settings say by themselves. They were valid when they were read.

use secrecy::ExposeSecret as _;

use super::{Finding, Status};
use crate::settings::{Effective, Settings};

const AREA: &str = "settings";

pub(super) fn findings(effective: &Effective) -> Vec<Finding> {
    let settings = &effective.settings;
    let mut findings = vec![files(effective), signatures(settings), receivers(settings)];
    findings.extend([tokens(settings), pepper(settings), history(settings)]);
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
