//! Prints contacts, an event, the webhook requests, the dead letters, and what to try next.

use secrecy::ExposeSecret as _;

use super::super::output::{line, table};
use super::demo::Outcome;
use crate::{
    console::OneTimeCode,
    dev::{demo_receiver::DemoReceiver, services::Services},
    domain::contact::field::Field,
    settings::Settings,
};

pub(super) fn outcome(outcome: &Outcome) -> anyhow::Result<()> {
    line("\nCONTACTS (Postgres)")?;
    let text = |field: Field| {
        move |contact: &crate::domain::contact::Contact| {
            contact.values.get(field).map(|stamped| stamped.value.clone()).unwrap_or_default()
        }
    };
    line(table(
        ["id", "version", "name", "email", "company", "position"],
        outcome.contacts.iter().map(|contact| {
            [
                contact.id.to_string(),
                contact.version.to_string(),
                text(Field::Name)(contact),
                text(Field::Email)(contact),
                text(Field::Company)(contact),
                text(Field::Position)(contact),
            ]
        }),
    ))?;
    if let Some(event) = outcome.events.first() {
        line(format!("\nEVENT (one of {})", outcome.events.len()))?;
        line(serde_json::to_string_pretty(event)?)?;
    }
    for webhook in &outcome.webhooks {
        line("\nWEBHOOK (as the demo receiver received it)")?;
        line(format!("{} {}", webhook.method, webhook.path))?;
        for (name, value) in &webhook.headers {
            line(format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
        }
        line(format!("\n{}", String::from_utf8_lossy(&webhook.body)))?;
    }
    line("\nDEAD LETTERS")?;
    line(table(
        ["id", "reason", "stage", "trigger", "message"],
        outcome.dead_letters.iter().map(|dead| {
            [
                dead.id.to_string(),
                dead.reason.clone(),
                dead.stage.clone(),
                dead.trigger.clone().unwrap_or_default(),
                dead.message.clone(),
            ]
        }),
    ))?;
    for unexpected in &outcome.unexpected {
        line(format!("UNEXPECTED {unexpected}"))?;
    }
    Ok(())
}

/// Prints URLs, and commands to try next. Addresses with passwords are printed only for the private services.
pub(super) fn where_to_go(
    settings: &Settings,
    link: &OneTimeCode,
    services: Option<&Services>,
    receiver: &DemoReceiver,
) -> anyhow::Result<()> {
    line("\nWHERE TO GO")?;
    line(format!(
        "console     http://{}/sign-in/once/{}   (once; tokens are in http.tokens)",
        settings.http.bind,
        link.code.expose_secret()
    ))?;
    line(format!("health      http://{}/readyz", settings.http.bind))?;
    line(format!("receiver    {}   (also /status/503, /flaky/2)", receiver.url("/sales")))?;
    if services.is_none() {
        return Ok(());
    }
    line("In another shell, with")?;
    line(format!("  export CONTACT_RELAY__AMQP__URL={}", settings.amqp.url.expose_secret()))?;
    line(format!("  export CONTACT_RELAY__POSTGRES__URL={}", settings.postgres.url.expose_secret()))?;
    line("try")?;
    for command in [
        "contact-relay tail",
        "contact-relay publish FILE",
        "contact-relay contact find --company acme --email ada@analytical.example",
        "contact-relay dead-letter list",
    ] {
        line(format!("  {command}"))?;
    }
    Ok(())
}
