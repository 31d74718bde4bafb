//! What a firing would give: made by the same code as in the workers, with nothing behind it.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json, value::RawValue};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use url::Url;
use uuid::Uuid;

use super::{
    super::{exit::Exit, output},
    Preview, definition,
};
use crate::{
    app::rules,
    domain::{
        chain::{
            outgoing::{Origin, Outgoing, Publisher},
            plan::{Plan, Step, Work, plan},
        },
        contact::{
            ContactId, ContactUpdate, Rejected,
            directory::{Applied, Conflict, Directory},
            field::Field,
        },
        trigger::{cache::TriggerCache, fired::decode},
        webhook::{
            action::WebhookAction,
            action::render::render,
            egress::Policy,
            request::{USER_AGENT, WebhookRequest},
            signature::SigningSecret,
            variables::ContactView,
        },
    },
    settings::{EndpointTerms, Settings},
};

/// Prints the steps of one firing. Exits 1 when the event or a step would be a dead letter.
pub(in super::super) fn preview(args: &Preview, settings: &Settings) -> anyhow::Result<Exit> {
    let text = definition::read(&args.file)?;
    let arguments = argument(&args.arguments, "--arguments")?;
    let client_data = argument(&args.client_data, "--client-data")?;
    let company = args.company.as_deref();
    let fired = fire(&text, &arguments, &client_data, company, settings)?;
    output::object(args.output.format, &fired, as_text)?;
    let steps = fired.get("steps").and_then(Value::as_array);
    let fine = steps.into_iter().flatten().all(|step| step.get("error").is_none());
    Ok(if fine { Exit::Done } else { Exit::Failed })
}

/// The steps, and how many are skipped.
fn fire(
    text: &str,
    arguments: &RawValue,
    client_data: &RawValue,
    company: Option<&str>,
    settings: &Settings,
) -> anyhow::Result<Value> {
    let event = event(text, arguments, client_data, company)?;
    let planned =
        decode(&event, &mut TriggerCache::default()).and_then(|event| plan(event, &rules(settings)));
    let plan = planned.map_err(|fault| anyhow::anyhow!("dead letter {}: {}", fault.reason, fault.message))?;
    Ok(json!({ "steps": Firing::new(&plan, settings).steps(), "skipped": plan.skipped }))
}

/// The option's JSON object, from a file where it is `@FILE`.
fn argument(text: &str, option: &str) -> anyhow::Result<Box<RawValue>> {
    let text = match text.strip_prefix('@') {
        Some(file) => definition::read(Path::new(file))?,
        None => text.to_owned(),
    };
    let value: Box<RawValue> =
        serde_json::from_str(&text).with_context(|| format!("{option} is not JSON"))?;
    anyhow::ensure!(value.get().starts_with('{'), "{option} must be a JSON object");
    Ok(value)
}

/// The event of a firing. What the file says of company, assistant, session and images stands.
fn event(
    text: &str,
    arguments: &RawValue,
    client_data: &RawValue,
    company: Option<&str>,
) -> anyhow::Result<Vec<u8>> {
    let (_, mut given) = definition::data(text);
    let mut found = definition::find(text)?.into_iter();
    let trigger = found.next().map(|found| found.raw).unwrap_or_default();
    let next: Vec<String> = found.map(|found| found.raw).collect();
    let mut data: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, default) in [
        ("company", r#"{"id":"preview"}"#),
        ("assistant", r#"{"id":"preview"}"#),
        ("session", r#"{"id":"preview"}"#),
        ("images", "[]"),
    ] {
        let value = given.remove(name).map_or_else(|| RawValue::from_string(default.to_owned()), Ok)?;
        data.insert(name, value);
    }
    if let Some(id) = company {
        data.insert("company", serde_json::value::to_raw_value(&json!({ "id": id }))?);
    }
    let kept = given.remove("clientData").filter(|_| client_data.get() == "{}");
    data.insert("clientData", kept.unwrap_or_else(|| client_data.to_owned()));
    data.insert("arguments", arguments.to_owned());
    data.insert("trigger", RawValue::from_string(trigger).context("the definition is not JSON")?);
    data.insert("next", RawValue::from_string(format!("[{}]", next.join(",")))?);
    let envelope = BTreeMap::from([
        ("specversion", "1.0".to_owned()),
        ("id", "preview".to_owned()),
        ("source", "/preview".to_owned()),
        ("type", "trigger.fired".to_owned()),
        ("time", OffsetDateTime::now_utc().format(&Rfc3339)?),
    ]);
    let mut event: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, value) in envelope {
        event.insert(name, serde_json::value::to_raw_value(&value)?);
    }
    event.insert("data", serde_json::value::to_raw_value(&data)?);
    Ok(serde_json::to_vec(&event)?)
}

/// The steps of one plan, carried out in memory.
struct Firing<'a> {
    plan: &'a Plan,
    settings: &'a Settings,
    policy: Policy,
    terms: EndpointTerms,
    publisher: Publisher<'a>,
    directory: Directory,
    /// What the last CRM step did, and the event that it would publish.
    last: Option<(Applied, Outgoing)>,
}

impl<'a> Firing<'a> {
    fn new(plan: &'a Plan, settings: &'a Settings) -> Self {
        Self {
            plan,
            settings,
            policy: settings.webhook.egress(),
            terms: settings.webhook.terms(),
            publisher: Publisher {
                source: &settings.events.source,
                include_identity: settings.events.include_identity,
                now: OffsetDateTime::now_utc(),
            },
            directory: Directory::default(),
            last: None,
        }
    }

    fn steps(mut self) -> Vec<Value> {
        self.plan.steps.iter().map(|step| self.step(step)).collect()
    }

    fn step(&mut self, step: &'a Step) -> Value {
        let origin = Origin {
            event: &self.plan.event,
            trigger: step.trigger.name(),
            step: step.index,
            max_interactions: self.plan.max_interactions,
        };
        let mut shown = match &step.work {
            Work::UpsertContact(update) => {
                let shown = |field, value: &String| match field {
                    Field::Identity => output::masked(value),
                    _ => value.clone(),
                };
                let fields = update.values.iter().map(|(field, value)| (field.name(), shown(field, value)));
                let fields: BTreeMap<&str, String> = fields.collect();
                let mut shown = json!({ "type": "CRM", "fields": fields, "rejected": update.rejected });
                if let (Err(conflict), Value::Object(members)) = (self.upsert(update, origin), &mut shown) {
                    let text = format!("dead letter contact_conflict: {}", conflict.rule.sentence());
                    members.insert("error".to_owned(), text.into());
                }
                shown
            }
            Work::Webhook(action) => self.webhook(action, origin),
        };
        if let Value::Object(members) = &mut shown {
            members.insert("index".to_owned(), step.index.into());
            members.insert("trigger".to_owned(), step.trigger.name().into());
        }
        shown
    }

    fn upsert(&mut self, update: &ContactUpdate, origin: Origin<'_>) -> Result<(), Conflict> {
        let company = &self.plan.event.company;
        let policy = self.settings.contacts.policy();
        let applied = self.directory.apply(company, update, ContactId(Uuid::nil()), &policy)?;
        if let Some(contact) = self.directory.get(company, applied.id) {
            let outgoing = self.publisher.contact_upserted(origin, &applied, contact, &update.rejected);
            self.last = Some((applied, outgoing));
        }
        Ok(())
    }

    fn webhook(&self, action: &WebhookAction, origin: Origin<'_>) -> Value {
        let view = self.last.as_ref().and_then(|(applied, _)| {
            Some(ContactView {
                contact: self.directory.get(&self.plan.event.company, applied.id)?,
                operation: applied.operation,
                include_identity: self.settings.events.include_identity,
            })
        });
        let variables = self.plan.event.variables(view);
        let requested = self.publisher.webhook_requested(origin);
        let default_body = self.last.as_ref().map_or(&requested.body, |(_, upserted)| &upserted.body);
        let url = action.endpoint_url().unwrap_or_default();
        let profile = self.terms.of(self.plan.event.company.as_str(), url).profile;
        match render(action, profile, &variables, default_body) {
            Err(invalid) => {
                json!({ "type": "WEBHOOK", "error": format!("dead letter webhook_invalid: {invalid}") })
            }
            Ok(mut request) => {
                request.headers.extend(self.own_headers(url));
                let mut shown = request_json(&request);
                let allowed = Url::parse(&request.url).map(|url| self.policy.check_url(&url));
                if let (Ok(Err(blocked)), Value::Object(members)) = (allowed, &mut shown) {
                    members
                        .insert("error".to_owned(), format!("dead letter webhook_blocked: {blocked}").into());
                }
                shown
            }
        }
    }

    /// The headers that each attempt adds, in their order. Signatures are named, not made.
    fn own_headers(&self, url: &str) -> Vec<(String, String)> {
        let webhook = &self.settings.webhook;
        let own = webhook.per_endpoint(|rule| rule.signing_secrets.clone());
        let own = own.get(self.plan.event.company.as_str(), url).and_then(Option::as_ref);
        let secrets = own.unwrap_or(&webhook.signing_secrets);
        let secrets = secrets.iter().filter_map(|secret| SigningSecret::parse(secret.expose_secret()).ok());
        let signatures: Vec<_> = secrets.map(|secret| format!("{},<signature>", secret.version())).collect();
        let mut headers =
            vec![("user-agent", USER_AGENT), ("traceparent", TRACEPARENT), ("webhook-timestamp", TIMESTAMP)];
        let signatures = signatures.join(" ");
        if !signatures.is_empty() {
            headers.push(("webhook-signature", &signatures));
        }
        headers.push(("webhook-id", ID));
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// What stands in place of something that differs from attempt to attempt.
const ID: &str = "<the id of the delivery>";
const TIMESTAMP: &str = "<Unix seconds of the attempt>";
const TRACEPARENT: &str = "<of the event, or made from the id>";

fn request_json(request: &WebhookRequest) -> Value {
    let mut shown = json!({
        "type": "WEBHOOK",
        "method": request.method.name(),
        "url": request.url,
        "headers": request.headers,
    });
    if let (Value::Object(members), Some(body)) = (&mut shown, &request.body) {
        match std::str::from_utf8(body) {
            Ok(text) => members.insert("body".to_owned(), text.into()),
            Err(_) => members.insert("bodyBase64".to_owned(), STANDARD.encode(body).into()),
        };
    }
    shown
}

fn as_text(preview: &Value) -> String {
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).map(output::printable).unwrap_or_default()
    };
    let mut out = String::new();
    let mut push = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    for step in preview.get("steps").and_then(Value::as_array).into_iter().flatten() {
        let index = step.get("index").map(ToString::to_string).unwrap_or_default();
        push(format!("step {index}: {} of trigger {}", text(step, "type"), text(step, "trigger")));
        for (name, value) in step.get("fields").and_then(Value::as_object).into_iter().flatten() {
            push(format!("  {name:<11} {}", output::printable(value.as_str().unwrap_or_default())));
        }
        for rejected in step.get("rejected").and_then(Value::as_array).into_iter().flatten() {
            let (field, reason) = (text(rejected, "field"), text(rejected, "reason"));
            let taken = if reason == Rejected::UNVERIFIED { "kept as given" } else { "not taken" };
            push(format!("  {field:<11} {taken}: {reason}"));
        }
        if step.get("url").is_some() {
            push(format!("  {} {}", text(step, "method"), text(step, "url")));
        }
        for header in step.get("headers").and_then(Value::as_array).into_iter().flatten() {
            let part = |index: usize| header.get(index).and_then(Value::as_str).unwrap_or_default();
            push(format!("  {}: {}", part(0), output::printable(part(1))));
        }
        if let Some(body) = step.get("body").and_then(Value::as_str) {
            push(format!("\n  {}", output::printable(body)));
        }
        if step.get("error").is_some() {
            push(format!("  {}", text(step, "error")));
        }
        push(String::new());
    }
    if preview.pointer("/steps").is_some_and(|steps| steps.to_string().contains("\"method\"")) {
        push("What stands in <> differs from attempt to attempt.".to_owned());
    }
    if let Some(skipped) = preview.get("skipped").and_then(Value::as_u64).filter(|skipped| *skipped > 0) {
        push(format!("{skipped} further steps are skipped: the chain may have no more interactions"));
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
