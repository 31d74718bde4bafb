//! What a firing of a trigger would do, without writing or sending anything.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json, value::RawValue};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use url::Url;
use uuid::Uuid;

use crate::{
    domain::{
        chain::{
            outgoing::Publisher,
            plan::{ArgumentResult, Explained, Plan, Step, Work, plan},
            rules::Rules,
            run::{Deployment, Firing, run},
        },
        contact::{ContactId, ContactUpdate, directory::Directory, field::Field},
        event::without_nan,
        fault::Fault,
        json::within_doubles,
        trace_context::TraceContext,
        trigger::{cache::TriggerCache, fired::decode, shapes::ListOrEmptyObject, spelling::unwrapped},
        value::identity::masked,
        webhook::{
            delivery::Delivery, own_headers::OwnHeaders, request::WebhookRequest, signature::SigningSecret,
        },
    },
    settings::Settings,
};

/// Why a preview failed.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The definition cannot be parsed.
    #[error("the definition is not JSON")]
    NotJson(#[from] serde_json::Error),
    /// `next` is something else.
    #[error("{0}/next must be a list of definitions")]
    Next(&'static str),
    /// The event would become a dead letter.
    #[error("dead letter {}: {}", .0.reason, .0.message)]
    DeadLetter(Fault),
}

/// Members of an object, each as it was written.
type Members = BTreeMap<String, Box<RawValue>>;

/// A definition in a text.
pub struct Found {
    /// JSON pointer (RFC 6901) into the text.
    pub place: String,
    /// The definition as it was written.
    pub raw: String,
}

/// The JSON of a text that a person or program wrote, read as tolerantly as an event.
///
/// # Errors
/// When it is not JSON. The error names line and column, never a value.
pub fn spelled(text: &str) -> Result<String, serde_json::Error> {
    let text = within_doubles(text).into_owned();
    let Err(error) = serde_json::from_str::<Value>(&text) else { return Ok(text) };
    without_nan(&text).filter(|plain| serde_json::from_str::<Value>(plain).is_ok()).ok_or(error)
}

/// The steps of the event, and how many further steps are skipped. A step that would become a dead letter has an `error`.
///
/// # Errors
/// When the definition does not exist, or the event would become a dead letter.
pub fn fire(
    text: &str,
    arguments: &RawValue,
    client_data: &RawValue,
    company: Option<&str>,
    settings: &Settings,
) -> Result<Value, PreviewError> {
    let event = event(&spelled(text)?, arguments, client_data, company)?;
    let rules = settings.rules();
    let planned = decode(&event, &TriggerCache::default()).and_then(|event| plan(event, &rules));
    let plan = planned.map_err(PreviewError::DeadLetter)?;
    Ok(json!({ "steps": steps(&plan, &rules, settings), "skipped": plan.skipped }))
}

/// The definitions in `text`: an event, an object with `trigger` and `next`, or one definition.
///
/// # Errors
/// When `next` is not a list.
pub fn find(text: &str) -> Result<Vec<Found>, PreviewError> {
    let (base, members) = data(text);
    let Some(trigger) = members.get("trigger") else {
        return Ok(vec![Found { place: base.to_owned(), raw: text.to_owned() }]);
    };
    let raw = unwrapped(trigger.get()).into_owned();
    let mut found = vec![Found { place: format!("{base}/trigger"), raw }];
    if let Some(next) = members.get("next").filter(|next| next.get() != "null") {
        // The parser's error would quote the value.
        let ListOrEmptyObject::<Box<RawValue>>(next) =
            serde_json::from_str(&unwrapped(next.get())).map_err(|_| PreviewError::Next(base))?;
        found.extend(next.into_iter().enumerate().map(|(index, raw)| Found {
            place: format!("{base}/next/{index}"),
            raw: unwrapped(raw.get()).into_owned(),
        }));
    }
    Ok(found)
}

/// The object that holds `trigger`, with its place; without members when the text is a definition itself.
fn data(text: &str) -> (&'static str, Members) {
    let members: Members = serde_json::from_str(text).unwrap_or_default();
    match members.get("data").map(|data| serde_json::from_str::<Members>(&unwrapped(data.get()))) {
        Some(Ok(data)) => ("/data", data),
        _ if members.contains_key("trigger") => ("", members),
        _ => ("", Members::new()),
    }
}

/// The event to preview. Company, assistant, session and images come from the file if it has them.
fn event(
    text: &str,
    arguments: &RawValue,
    client_data: &RawValue,
    company: Option<&str>,
) -> Result<Vec<u8>, PreviewError> {
    let (_, mut given) = data(text);
    let mut found = find(text)?.into_iter();
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
    data.insert("trigger", RawValue::from_string(trigger)?);
    data.insert("next", RawValue::from_string(format!("[{}]", next.join(",")))?);
    let envelope = BTreeMap::from([
        ("specversion", "1.0".to_owned()),
        ("id", "preview".to_owned()),
        ("source", "/preview".to_owned()),
        ("type", "trigger.fired".to_owned()),
        ("time", OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()),
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
        Field::Identity => masked(value),
        _ => value.to_owned(),
    }
}

/// The outcome of one argument: `stored`, `noValue` or `rejected`.
fn argument_json(Explained { field, parameter, given, outcome }: Explained) -> Value {
    let (outcome, value, because) = match outcome {
        ArgumentResult::Stored(value, because) => ("stored", Some(shown(field, &value)), because),
        ArgumentResult::NoValue(because) => ("noValue", None, Some(because)),
        ArgumentResult::Rejected(because) => ("rejected", None, Some(because)),
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
