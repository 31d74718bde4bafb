//! The result of a chain: the event `trigger.completed`.
//!
//! An [`AwaitedChain`] is built when the event is applied, before its webhooks have ended. The caller adds
//! their results.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::domain::{
    chain::{
        outgoing::{About, OutgoingEvent, Publisher, ReplyTo},
        plan::{Plan, Work},
    },
    contact::{ContactId, Operation},
    event::{CompanyId, EventRef},
    trace_context::TraceContext,
    trigger::definition::{Action, Trigger},
};

/// CloudEvents `type` and routing key of the result.
pub const KIND: &str = "trigger.completed";
/// Bytes of one response body in a result.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Bytes of all response bodies in a result. A broker limits the size of a message, and would refuse the same
/// result on every retry.
const MAX_RESPONSES_BYTES: usize = 1024 * 1024;

/// A chain whose result somebody waits for.
#[derive(Clone)]
pub struct AwaitedChain {
    /// The company.
    pub company: CompanyId,
    /// Its steps, and what the upserts did.
    pub chain: AppliedChain,
    /// The queue that gets a copy of the result.
    pub reply_to: Option<ReplyTo>,
    /// The trace of the trigger event.
    pub trace: TraceContext,
    /// When its deliveries were created.
    pub created_at: OffsetDateTime,
}

/// The steps of an applied chain. Contains the session's id, so it is never logged.
#[derive(Clone, Serialize, Deserialize)]
pub struct AppliedChain {
    #[serde(serialize_with = "write_event", deserialize_with = "read_event")]
    event: EventRef,
    session: Option<String>,
    assistant: Option<String>,
    max_interactions: u64,
    /// All steps of the chain, in order; those that run come first.
    steps: Vec<AppliedStep>,
}

#[derive(Clone, Serialize, Deserialize)]
struct AppliedStep {
    trigger: String,
    outcome: StepOutcome,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepOutcome {
    Upserted { operation: String, contact: String },
    Webhook { directive: Option<String> },
    SkippedUpsert,
    SkippedWebhook { directive: Option<String> },
}

/// How a webhook step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEnd {
    /// The receiver accepted it.
    Succeeded,
    /// It is a dead letter.
    Failed,
    /// A delivery of a newer version of the contact replaced it.
    Superseded,
}

/// The end of a webhook step, with its last attempt.
#[derive(Clone)]
pub struct WebhookResult {
    /// How it ended.
    pub end: WebhookEnd,
    /// Status of the last response.
    pub http_status: Option<u16>,
    /// The stored part of the last response's body, at most 64 KiB.
    pub body: Vec<u8>,
    /// Whether that body broke off.
    pub is_incomplete: bool,
    /// Class and message of the last failure.
    pub error: Option<(String, String)>,
}

/// Whether a trigger of the event's chain asks for the result (`interpretResponse`).
#[must_use]
pub fn is_interpreted(plan: &Plan) -> bool {
    plan.event.triggers.iter().any(|trigger| trigger.interprets_response())
}

impl AppliedChain {
    /// The chain of an applied plan. `upserted` holds operation and contact of each CRM step, in order.
    #[must_use]
    pub fn new(plan: &Plan, upserted: impl IntoIterator<Item = (Operation, ContactId)>) -> Self {
        let mut upserted = upserted.into_iter();
        let ran = plan.steps.iter().filter_map(|step| {
            let outcome = match &step.work {
                Work::UpsertContact(_) => {
                    let (operation, contact) = upserted.next()?;
                    StepOutcome::Upserted {
                        operation: operation.name().to_owned(),
                        contact: contact.to_string(),
                    }
                }
                Work::Webhook(action) => {
                    StepOutcome::Webhook { directive: action.response_directive().map(str::to_owned) }
                }
            };
            Some(AppliedStep { trigger: step.trigger.name().to_owned(), outcome })
        });
        let all =
            plan.event.triggers.iter().flat_map(|trigger| {
                trigger.actions().iter().map(|action| AppliedStep::skipped(trigger, action))
            });
        Self {
            event: plan.event.event.clone(),
            session: plan.event.session_id.clone(),
            assistant: plan.event.assistant_id.clone(),
            max_interactions: plan.max_interactions,
            steps: ran.chain(all.skip(plan.steps.len())).collect(),
        }
    }

    /// The trigger event.
    #[must_use]
    pub const fn event(&self) -> &EventRef {
        &self.event
    }

    /// The webhook steps that run, counted from 1.
    pub fn webhooks(&self) -> impl Iterator<Item = u16> {
        let steps = (1_u16..).zip(&self.steps);
        steps.filter(|(_, step)| matches!(step.outcome, StepOutcome::Webhook { .. })).map(|(index, _)| index)
    }
}

impl AwaitedChain {
    /// Builds `trigger.completed`. `results` are those of [`AppliedChain::webhooks`], by step.
    #[must_use]
    pub fn completed(&self, publisher: &Publisher<'_>, results: &[(u16, WebhookResult)]) -> OutgoingEvent {
        let chain = &self.chain;
        let mut room = MAX_RESPONSES_BYTES;
        let steps = (1_u16..).zip(&chain.steps).map(|(index, step)| {
            let result = results.iter().find(|(of, _)| *of == index).map(|(_, result)| result);
            step.to_json(index, result, &mut room)
        });
        let steps: Vec<Value> = steps.collect();
        let mut data = Map::new();
        data.insert("company".into(), json!({ "id": self.company.as_str() }));
        data.insert("steps".into(), steps.into());
        let trigger = chain.steps.first().map(|step| &step.trigger);
        let (id, source) = (chain.event.id(), chain.event.source());
        data.insert("trigger".into(), json!({ "name": trigger, "eventId": id, "eventSource": source }));
        for (key, id) in [("session", &chain.session), ("assistant", &chain.assistant)] {
            if let Some(id) = id {
                data.insert(key.into(), json!({ "id": id }));
            }
        }
        let ran = chain.steps.iter().filter(|step| step.ran()).count();
        data.insert("interaction".into(), json!({ "index": ran, "max": chain.max_interactions }));
        let subject = chain.steps.iter().rev().find_map(|step| match &step.outcome {
            StepOutcome::Upserted { contact, .. } => Some(contact.clone()),
            _ => None,
        });
        let event_id = chain.event.id_of(&self.company, KIND, 0);
        let about = About { company: &self.company, subject };
        let event = publisher.envelope(event_id, KIND, KIND.into(), about, id.to_owned(), &data);
        OutgoingEvent { trace: self.trace.clone(), reply_to: self.reply_to.clone(), ..event }
    }
}

impl AppliedStep {
    fn skipped(trigger: &Trigger, action: &Action) -> Self {
        let outcome = match action {
            Action::UpsertContact(_) => StepOutcome::SkippedUpsert,
            Action::Webhook(action) => {
                StepOutcome::SkippedWebhook { directive: action.response_directive().map(str::to_owned) }
            }
        };
        Self { trigger: trigger.name().to_owned(), outcome }
    }

    const fn ran(&self) -> bool {
        matches!(self.outcome, StepOutcome::Upserted { .. } | StepOutcome::Webhook { .. })
    }

    /// `room` is the number of bytes left for response bodies.
    fn to_json(&self, index: u16, result: Option<&WebhookResult>, room: &mut usize) -> Value {
        let (kind, status) = match &self.outcome {
            StepOutcome::Upserted { .. } => ("CRM", "succeeded"),
            StepOutcome::SkippedUpsert => ("CRM", "skipped"),
            StepOutcome::SkippedWebhook { .. } => ("WEBHOOK", "skipped"),
            StepOutcome::Webhook { .. } => ("WEBHOOK", result.map_or("failed", |result| result.end.status())),
        };
        let mut json = Map::new();
        json.insert("index".into(), index.into());
        json.insert("trigger".into(), self.trigger.as_str().into());
        json.insert("type".into(), kind.into());
        json.insert("status".into(), status.into());
        match &self.outcome {
            StepOutcome::Upserted { operation, contact } => {
                json.insert("operation".into(), operation.as_str().into());
                json.insert("contactId".into(), contact.as_str().into());
            }
            StepOutcome::Webhook { directive } | StepOutcome::SkippedWebhook { directive } => {
                if let Some(result) = result {
                    result.describe(&mut json, room);
                }
                if let Some(directive) = directive {
                    json.insert("responseDirective".into(), directive.as_str().into());
                }
            }
            StepOutcome::SkippedUpsert => {}
        }
        json.into()
    }
}

impl WebhookEnd {
    const fn status(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Superseded => "skipped",
        }
    }
}

impl WebhookResult {
    fn describe(&self, json: &mut Map<String, Value>, room: &mut usize) {
        if let Some(status) = self.http_status {
            json.insert("httpStatus".into(), status.into());
        }
        let body = self.body.get(..MAX_RESPONSE_BYTES).unwrap_or(&self.body);
        match room.checked_sub(body.len()) {
            _ if body.is_empty() => {}
            Some(rest) => {
                *room = rest;
                let (member, text) = match text(body) {
                    Some(text) => ("responseBody", text.to_owned()),
                    None => ("responseBodyBase64", STANDARD.encode(body)),
                };
                json.insert(member.into(), text.into());
            }
            None => {
                json.insert("responseBodyOmitted".into(), true.into());
            }
        }
        if self.is_incomplete {
            json.insert("responseBodyIncomplete".into(), true.into());
        }
        if let (WebhookEnd::Failed, Some((class, message))) = (self.end, &self.error) {
            json.insert("error".into(), json!({ "class": class, "message": message }));
        }
    }
}

/// The body as text, without a last character that the size limit cut in two.
fn text(body: &[u8]) -> Option<&str> {
    match std::str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(bad) if bad.error_len().is_none() && body.len() == MAX_RESPONSE_BYTES => {
            std::str::from_utf8(body.get(..bad.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

fn write_event<S: Serializer>(event: &EventRef, serializer: S) -> Result<S::Ok, S::Error> {
    (event.source(), event.id()).serialize(serializer)
}

fn read_event<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventRef, D::Error> {
    let (source, id) = <(String, String)>::deserialize(deserializer)?;
    EventRef::new(&source, &id).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests;
