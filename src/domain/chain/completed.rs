//! How a chain ended, for whoever waits for it: the event `trigger.completed`.
//!
//! A [`Chain`] is what is known when the event is applied; the ends of its webhooks come later. When they
//! come, and who is told, is not decided here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

use crate::domain::{
    chain::{
        outgoing::{Outgoing, Publisher},
        plan::{Plan, Work},
    },
    contact::{ContactId, Operation},
    event::{CompanyId, EventRef},
    trigger::definition::{Action, Trigger},
};

/// Its CloudEvents `type` and its routing key.
pub const KIND: &str = "trigger.completed";
/// Most bytes of one answer that are told.
const MOST_OF_ONE: usize = 64 * 1024;
/// Most bytes of all answers of one chain together: a broker takes no message of any size, and one that it
/// refuses would be refused for ever.
const MOST_OF_ALL: usize = 1024 * 1024;

/// A chain, applied. Holds ids of the conversation; never logged.
#[derive(Clone, Serialize, Deserialize)]
pub struct Chain {
    #[serde(serialize_with = "write_event", deserialize_with = "read_event")]
    event: EventRef,
    session: Option<String>,
    assistant: Option<String>,
    max_interactions: u32,
    /// All of the chain, in order; those that run come first.
    steps: Vec<Step>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Step {
    trigger: String,
    what: What,
}

/// What a step is, and did.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Upserted { operation: String, contact: String },
    Webhook { directive: Option<String> },
    SkippedUpsert,
    SkippedWebhook { directive: Option<String> },
}

/// How a webhook step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The receiver took it.
    Succeeded,
    /// It was given up.
    Failed,
    /// A newer one took its place.
    Superseded,
}

/// The end of a webhook step, and its last attempt.
#[derive(Clone)]
pub struct WebhookEnd {
    /// How.
    pub end: End,
    /// The status of the last answer, where there was one.
    pub http_status: Option<u16>,
    /// What is kept of the body of that answer, at most 64 KiB. Empty where there was none.
    pub body: Vec<u8>,
    /// Class and sentence of the last failure.
    pub error: Option<(String, String)>,
}

/// Whether a trigger of the event's chain is to interpret what came of it.
#[must_use]
pub fn is_interpreted(plan: &Plan) -> bool {
    plan.event.triggers.iter().any(|trigger| trigger.interprets_response())
}

impl Chain {
    /// The chain of a plan that is carried out. `upserted` tells what each CRM step did, in order.
    #[must_use]
    pub fn new(plan: &Plan, upserted: impl IntoIterator<Item = (Operation, ContactId)>) -> Self {
        let mut upserted = upserted.into_iter();
        let ran = plan.steps.iter().filter_map(|step| {
            let what = match &step.work {
                Work::UpsertContact(_) => {
                    let (operation, contact) = upserted.next()?;
                    What::Upserted { operation: operation.name().to_owned(), contact: contact.to_string() }
                }
                Work::Webhook(action) => {
                    What::Webhook { directive: action.response_directive().map(str::to_owned) }
                }
            };
            Some(Step { trigger: step.trigger.name().to_owned(), what })
        });
        let all = plan
            .event
            .triggers
            .iter()
            .flat_map(|trigger| trigger.actions().iter().map(|action| Step::skipped(trigger, action)));
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

    /// The places of the webhooks that run, counted from 1.
    pub fn webhooks(&self) -> impl Iterator<Item = u16> {
        let steps = (1_u16..).zip(&self.steps);
        steps.filter(|(_, step)| matches!(step.what, What::Webhook { .. })).map(|(index, _)| index)
    }

    /// `trigger.completed`. `ends` are those of the webhooks, by the places of [`Self::webhooks`].
    #[must_use]
    pub fn completed(
        &self,
        company: &CompanyId,
        publisher: &Publisher<'_>,
        ends: &[(u16, WebhookEnd)],
    ) -> Outgoing {
        let mut room = MOST_OF_ALL;
        let steps = (1_u16..).zip(&self.steps).map(|(index, step)| {
            let end = ends.iter().find(|(of, _)| *of == index).map(|(_, end)| end);
            step.told(index, end, &mut room)
        });
        let steps: Vec<Value> = steps.collect();
        let mut data = Map::new();
        data.insert("company".into(), json!({ "id": company.as_str() }));
        data.insert("steps".into(), steps.into());
        let trigger = self.steps.first().map(|step| &step.trigger);
        let (id, source) = (self.event.id(), self.event.source());
        data.insert("trigger".into(), json!({ "name": trigger, "eventId": id, "eventSource": source }));
        for (key, id) in [("session", &self.session), ("assistant", &self.assistant)] {
            if let Some(id) = id {
                data.insert(key.into(), json!({ "id": id }));
            }
        }
        let ran = self.steps.iter().filter(|step| step.ran()).count();
        data.insert("interaction".into(), json!({ "index": ran, "max": self.max_interactions }));
        let contact = self.steps.iter().rev().find_map(|step| match &step.what {
            What::Upserted { contact, .. } => Some(contact.clone()),
            _ => None,
        });
        publisher.envelope(self.event.id_of(company, KIND, 0), KIND, KIND.into(), contact, data.into())
    }
}

impl Step {
    fn skipped(trigger: &Trigger, action: &Action) -> Self {
        let what = match action {
            Action::UpsertContact(_) => What::SkippedUpsert,
            Action::Webhook(action) => {
                What::SkippedWebhook { directive: action.response_directive().map(str::to_owned) }
            }
        };
        Self { trigger: trigger.name().to_owned(), what }
    }

    const fn ran(&self) -> bool {
        matches!(self.what, What::Upserted { .. } | What::Webhook { .. })
    }

    /// `room` is how many bytes of answers may still be told.
    fn told(&self, index: u16, end: Option<&WebhookEnd>, room: &mut usize) -> Value {
        let (kind, status) = match &self.what {
            What::Upserted { .. } => ("CRM", "succeeded"),
            What::SkippedUpsert => ("CRM", "skipped"),
            What::SkippedWebhook { .. } => ("WEBHOOK", "skipped"),
            What::Webhook { .. } => ("WEBHOOK", end.map_or("failed", |end| end.end.status())),
        };
        let mut told = Map::new();
        told.insert("index".into(), index.into());
        told.insert("trigger".into(), self.trigger.as_str().into());
        told.insert("type".into(), kind.into());
        told.insert("status".into(), status.into());
        match &self.what {
            What::Upserted { operation, contact } => {
                told.insert("operation".into(), operation.as_str().into());
                told.insert("contactId".into(), contact.as_str().into());
            }
            What::Webhook { directive } | What::SkippedWebhook { directive } => {
                if let Some(end) = end {
                    end.tell(&mut told, room);
                }
                if let Some(directive) = directive {
                    told.insert("responseDirective".into(), directive.as_str().into());
                }
            }
            What::SkippedUpsert => {}
        }
        told.into()
    }
}

impl End {
    const fn status(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Superseded => "skipped",
        }
    }
}

impl WebhookEnd {
    fn tell(&self, told: &mut Map<String, Value>, room: &mut usize) {
        if let Some(status) = self.http_status {
            told.insert("httpStatus".into(), status.into());
        }
        let body = self.body.get(..MOST_OF_ONE).unwrap_or(&self.body);
        match room.checked_sub(body.len()) {
            _ if body.is_empty() => {}
            Some(rest) => {
                *room = rest;
                let (member, text) = match text(body) {
                    Some(text) => ("responseBody", text.to_owned()),
                    None => ("responseBodyBase64", STANDARD.encode(body)),
                };
                told.insert(member.into(), text.into());
            }
            None => {
                told.insert("responseBodyOmitted".into(), true.into());
            }
        }
        if let (End::Failed, Some((class, message))) = (self.end, &self.error) {
            told.insert("error".into(), json!({ "class": class, "message": message }));
        }
    }
}

/// The body as text. One that was cut in the middle of a character is text up to there.
fn text(body: &[u8]) -> Option<&str> {
    match std::str::from_utf8(body) {
        Ok(text) => Some(text),
        Err(bad) if bad.error_len().is_none() && body.len() == MOST_OF_ONE => {
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
