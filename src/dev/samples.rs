//! The sample triggers that `dev` fires: two valid ones, and some that are broken, each with its expected outcome.

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::domain::fault::Reason;

/// The company of all samples.
pub const COMPANY: &str = "acme";

/// The outcome of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The contact with this email exists.
    Contact(&'static str),
    /// The contact exists and the receiver has received the webhook.
    ContactAndWebhook(&'static str),
    /// A dead letter with this reason.
    DeadLetter(Reason),
}

/// One message to publish.
#[derive(Clone, Debug)]
pub struct Sample {
    /// One line for people.
    pub title: &'static str,
    /// Event id and message id; new in every run.
    pub id: String,
    /// Message body.
    pub body: Vec<u8>,
    /// The outcome that `dev` waits for.
    pub expected: Expected,
}

/// All samples of one run, with new event ids. Webhooks go to `receiver`.
#[must_use]
pub fn samples(receiver: &str) -> Vec<Sample> {
    vec![
        event(
            "CRM, then a webhook to the sales team (maxInteractions 2)",
            Expected::ContactAndWebhook("ada@analytical.example"),
            |data| {
                data["trigger"] = qualified_lead();
                data["next"] = json!([notify_sales(receiver)]);
                data["arguments"] = json!({"name": "Ada Lovelace", "email": "ada@analytical.example",
                    "company": "Analytical Engines", "interest": "growth"});
            },
        ),
        event(
            "CRM only, parameters with names of their own",
            Expected::Contact("grace@navy.example"),
            |data| {
                data["trigger"] = lead();
                data["arguments"] = json!({"customerName": "Grace Hopper", "customerEmail": "Grace@Navy.example ",
                    "customerCompany": "Navy", "customerRole": "Rear Admiral"});
            },
        ),
        event("an argument outside its enum", Expected::DeadLetter(Reason::ArgumentsInvalid), |data| {
            data["trigger"] = qualified_lead();
            data["arguments"] =
                json!({"name": "X", "email": "x@sample.example", "company": "X", "interest": "free"});
        }),
        event(
            "`$name` instead of the bare parameter name",
            Expected::DeadLetter(Reason::TriggerInvalid),
            |data| {
                let mut trigger = qualified_lead();
                if let Some(name) = trigger.pointer_mut("/action/name") {
                    *name = json!("$name");
                }
                data["trigger"] = trigger;
                data["arguments"] = json!({"name": "X", "email": "x@sample.example", "company": "X"});
            },
        ),
        event(
            "a phone that is not a phone number",
            Expected::DeadLetter(Reason::IdentifierInvalid),
            |data| {
                data["trigger"] = json!({"name": "call_back",
                "parameters": {"properties": {"phone": {"type": "string"}}},
                "action": {"type": "CRM", "subtype": "UPSERT_CONTACT", "phone": "phone"}});
                data["arguments"] = json!({"phone": "call me maybe"});
            },
        ),
        not_json(),
    ]
}

fn event(title: &'static str, expected: Expected, fill: impl FnOnce(&mut Value)) -> Sample {
    let id = Uuid::now_v7().to_string();
    let mut data = json!({
        "company": {"id": COMPANY},
        "assistant": {"id": "sales", "maxInteractions": 2},
        "session": {"id": Uuid::now_v7().to_string()},
    });
    fill(&mut data);
    let event = json!({
        "specversion": "1.0",
        "id": id,
        "source": "/companies/acme/assistants/sales",
        "type": "trigger.fired",
        "time": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": data,
    });
    Sample { title, id, body: event.to_string().into_bytes(), expected }
}

fn not_json() -> Sample {
    let id = Uuid::now_v7().to_string();
    let body = format!("{{\"id\": \"{id}\", this is not JSON").into_bytes();
    Sample { title: "a body that is not JSON", id, body, expected: Expected::DeadLetter(Reason::Undecodable) }
}

fn qualified_lead() -> Value {
    json!({
        "name": "register_qualified_lead",
        "description": "Registers the lead in the CRM after collecting the necessary data.",
        "parameters": {
            "properties": {
                "name": {"type": "string"},
                "email": {"type": "string"},
                "company": {"type": "string"},
                "interest": {"type": "string", "enum": ["starter", "growth", "enterprise"]},
            },
            "required": ["name", "email", "company"],
        },
        "interpretResponse": false,
        "action": {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email", "company": "company"},
    })
}

fn notify_sales(receiver: &str) -> Value {
    json!({
        "name": "notify_sales",
        "action": {
            "type": "WEBHOOK",
            "url": format!("{receiver}?contact=$contact.id"),
            "method": "POST",
            "headers": [{"key": "X-Demo", "value": "contact-relay"}],
            "body": {"text": "New $interest lead: $name ($email), session $session.id"},
        },
    })
}

fn lead() -> Value {
    json!({
        "name": "register_lead",
        "parameters": {
            "properties": {
                "customerName": {"type": "string", "description": "Customer full name"},
                "customerEmail": {"type": "string", "description": "Email"},
                "customerCompany": {"type": "string", "description": "Company"},
                "customerRole": {"type": "string", "description": "Job title/role"},
            },
            "required": ["customerName", "customerEmail"],
        },
        "action": {
            "type": "CRM",
            "subtype": "UPSERT_CONTACT",
            "name": "customerName",
            "email": "customerEmail",
            "company": "customerCompany",
            "position": "customerRole",
        },
    })
}
