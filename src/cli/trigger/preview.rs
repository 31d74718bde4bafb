//! `trigger preview`: runs a trigger as worker 1 would, without writing or sending anything.

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
            outgoing::Publisher,
            plan::{Explained, Outcome, Plan, Step, Work, plan},
            rules::Rules,
            run::{Deployment, Firing, run},
        },
        contact::{ContactId, ContactUpdate, Rejected, directory::Directory, field::Field},
        trace_context::TraceContext,
        trigger::{cache::TriggerCache, fired::decode, shapes::is_empty_list},
        webhook::{
            delivery::Delivery, own_headers::OwnHeaders, request::WebhookRequest, signature::SigningSecret,
        },
    },
    settings::Settings,
};

/// Prints the steps of one event. Exits 1 if the event or a step would be a dead letter.
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

/// The steps of the event, and how many further steps are skipped.
fn fire(
    text: &str,
    arguments: &RawValue,
    client_data: &RawValue,
    company: Option<&str>,
    settings: &Settings,
) -> anyhow::Result<Value> {
    let event = event(text, arguments, client_data, company)?;
    let rules = rules(settings);
    let planned = decode(&event, &TriggerCache::default()).and_then(|event| plan(event, &rules));
    let plan = planned.map_err(|fault| anyhow::anyhow!("dead letter {}: {}", fault.reason, fault.message))?;
    Ok(json!({ "steps": steps(&plan, &rules, settings), "skipped": plan.skipped }))
}

/// The JSON object of an option, or of the file that `@FILE` names.
fn argument(text: &str, option: &str) -> anyhow::Result<Box<RawValue>> {
    let text = match text.strip_prefix('@') {
        // Programs that write files may not know an empty object from an empty list.
        Some(file) => match definition::read(Path::new(file))? {
            text if is_empty_list(&text) => "{}".to_owned(),
            text => text,
        },
        None => text.to_owned(),
    };
    let value: Box<RawValue> =
        serde_json::from_str(&text).with_context(|| format!("{option} is not JSON"))?;
    anyhow::ensure!(value.get().starts_with('{'), "{option} must be a JSON object");
    Ok(value)
}

/// The event to preview. Company, assistant, session and images come from the file if it has them.
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

/// Runs the plan against no contacts, as worker 1 would for a new person, and shows each step.
fn steps(plan: &Plan, rules: &Rules, settings: &Settings) -> Vec<Value> {
    let terms = settings.webhook.terms();
    let deployment = Deployment {
        publisher: Publisher {
            source: &settings.events.source,
            include_identity: settings.events.include_identity,
            now: OffsetDateTime::now_utc(),
        },
        policy: settings.contacts.policy(),
        terms: &terms,
    };
    let trace = TraceContext::default();
    let firing = Firing { plan, trace: &trace, reply_to: None };
    let mut ids = (0..).map(|number| ContactId(Uuid::from_u128(number)));
    let run = run(firing, &mut Directory::default(), &deployment, || ids.next().unwrap_or(NOBODY));
    let show = |step: &Step| {
        let mut shown = match &step.work {
            Work::UpsertContact(update) => upsert(update, plan.explain(step, rules)),
            Work::Webhook(_) => {
                let deliveries = run.iter().flat_map(|run| &run.deliveries);
                let delivery = deliveries.into_iter().find(|delivery| delivery.step == step.index);
                delivery.map_or_else(|| json!({ "type": "WEBHOOK" }), |delivery| webhook(delivery, settings))
            }
        };
        if let Value::Object(members) = &mut shown {
            if let Err(refusal) = &run
                && refusal.step == step.index
            {
                let text = format!("dead letter contact_conflict: {}", refusal.rule.sentence());
                members.insert("error".to_owned(), text.into());
            }
            members.insert("index".to_owned(), step.index.into());
            members.insert("trigger".to_owned(), step.trigger.name().into());
        }
        shown
    };
    plan.steps.iter().map(show).collect()
}

/// The id of a contact after 2^128 others.
const NOBODY: ContactId = ContactId(Uuid::nil());

fn upsert(update: &ContactUpdate, explained: Vec<Explained>) -> Value {
    let fields = update.values.iter().map(|(field, value)| (field.name(), shown(field, value)));
    let fields: BTreeMap<&str, String> = fields.collect();
    let arguments: Vec<Value> = explained.into_iter().map(argument_json).collect();
    json!({ "type": "CRM", "fields": fields, "rejected": update.rejected, "arguments": arguments })
}

fn shown(field: Field, value: &str) -> String {
    match field {
        Field::Identity => output::masked(value),
        _ => value.to_owned(),
    }
}

/// What came of one argument: `stored`, `noValue` or `rejected`.
fn argument_json(Explained { field, parameter, given, outcome }: Explained) -> Value {
    let (outcome, value, because) = match outcome {
        Outcome::Stored(value, because) => ("stored", Some(shown(field, &value)), because),
        Outcome::NoValue(because) => ("noValue", None, Some(because)),
        Outcome::Rejected(because) => ("rejected", None, Some(because)),
    };
    json!({
        "field": field.name(), "parameter": parameter, "given": shown(field, &given),
        "outcome": outcome, "value": value, "because": because,
    })
}

fn webhook(delivery: &Delivery, settings: &Settings) -> Value {
    if let Some(fault) = &delivery.fault {
        return json!({ "type": "WEBHOOK", "error": format!("dead letter webhook_invalid: {fault}") });
    }
    let mut request = delivery.request.clone();
    request.headers.extend(own_headers(&delivery.key.company, &delivery.endpoint_url, settings));
    let mut shown = request_json(&request);
    let allowed = Url::parse(&request.url).map(|url| settings.webhook.egress().check_url(&url));
    if let (Ok(Err(blocked)), Value::Object(members)) = (allowed, &mut shown) {
        members.insert("error".to_owned(), format!("dead letter webhook_blocked: {blocked}").into());
    }
    shown
}

/// The headers that each attempt adds, in order. Signatures are named, not computed.
fn own_headers(company: &str, url: &str, settings: &Settings) -> Vec<(String, String)> {
    let secrets = settings.webhook.endpoint(company, url).signing_secrets;
    let secrets = secrets.iter().filter_map(|secret| SigningSecret::parse(secret.expose_secret()).ok());
    let signatures: Vec<_> = secrets.map(|secret| format!("{},<signature>", secret.version())).collect();
    let signature = Some(signatures.join(" ")).filter(|signature| !signature.is_empty());
    let headers = OwnHeaders {
        traceparent: TRACEPARENT,
        tracestate: None,
        timestamp: TIMESTAMP,
        signature: signature.as_deref(),
        id: ID,
    };
    headers.list()
}

/// Placeholders of values that differ between attempts.
const ID: &str = "<the id of the delivery>";
const TIMESTAMP: &str = "<Unix seconds of the attempt>";
const TRACEPARENT: &str = "<of the event, or derived from the id>";

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

/// A printable member of an object.
fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map(output::printable).unwrap_or_default()
}

/// One line about an argument: what is stored, or why nothing is.
fn outcome_line(argument: &Value) -> String {
    let [value, given, because] = ["value", "given", "because"].map(|name| text(argument, name));
    let remark = match because.as_str() {
        Rejected::UNVERIFIED => " (kept as given: unverified)".to_owned(),
        Rejected::ONE_OF_TWO => " (the other number cannot be used: one_of_two)".to_owned(),
        "" => String::new(),
        because => format!(" ({because})"),
    };
    let cleaned = if value == given { String::new() } else { format!(", cleaned from {given}") };
    match text(argument, "outcome").as_str() {
        "stored" => format!("{value}{remark}{cleaned}"),
        "rejected" => format!("not taken: {because}, given {given}"),
        _ => format!("no value: {because}, given {given}"),
    }
}

fn as_text(preview: &Value) -> String {
    let mut out = String::new();
    let mut push = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    for step in preview.get("steps").and_then(Value::as_array).into_iter().flatten() {
        let index = step.get("index").map(ToString::to_string).unwrap_or_default();
        push(format!("step {index}: {} of trigger {}", text(step, "type"), text(step, "trigger")));
        for argument in step.get("arguments").and_then(Value::as_array).into_iter().flatten() {
            push(format!("  {:<11} {}", text(argument, "field"), outcome_line(argument)));
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
        push("Values in <> differ between attempts.".to_owned());
    }
    if let Some(skipped) = preview.get("skipped").and_then(Value::as_u64).filter(|skipped| *skipped > 0) {
        push(format!("{skipped} further steps are skipped: the chain has used its interactions"));
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
