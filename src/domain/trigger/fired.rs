//! Decodes the `trigger.fired` event: from the bytes of a message to checked members and parsed triggers.
//! `chain::plan` turns it into steps. Source: CloudEvents 1.0 (JSON format).

use std::{borrow::Cow, fmt, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use time::OffsetDateTime;

use crate::domain::{
    event::{CompanyId, EventRef, MAX_BODY, without_mark},
    fault::{Fault, Reason},
    json::{self, BadJson, Defect, Digits, ObjectOnly},
    trigger::{
        cache::TriggerCache,
        definition::{BadTrigger, Trigger},
        shapes::{Id, ListOrEmptyObject, ObjectOrEmptyList, Whole},
        size, spelling,
    },
    webhook::variables::{ContactView, Declared, Variables},
};

mod envelope;
mod meaning;
mod renamed;
mod trace;
mod values;

pub use self::{meaning::meaning, renamed::renamed, trace::trace_of};

/// Triggers in `data.next`.
const MAX_NEXT: usize = 10;
/// Id of an assistant or session, in bytes.
const MAX_ID: usize = 1024;

/// A `trigger.fired` event with valid members and definitions. Arguments are not checked yet.
pub struct TriggerFired {
    /// The tenant.
    pub company: CompanyId,
    /// Identifies the event across redeliveries.
    pub event: EventRef,
    /// CloudEvents `time`, UTC, to the nanosecond.
    pub time: OffsetDateTime,
    /// The assistant whose session fired the trigger.
    pub assistant_id: Option<String>,
    /// Maximum number of steps that run; `None` for the default.
    pub max_interactions: Option<u64>,
    /// The conversation that fired the trigger.
    pub session_id: Option<String>,
    /// Data of the platform's client, for webhooks. Personal data.
    pub client_data: Map<String, Value>,
    /// Those of the client data.
    pub client_digits: Digits,
    /// URLs of images of the conversation, for webhooks.
    pub images: Vec<String>,
    /// The trigger, then those of `next`. Never empty.
    pub triggers: Vec<Arc<Trigger>>,
    /// The values that the language model filled in. A null counts as not given, but may satisfy the schema. Personal
    /// data.
    pub arguments: Map<String, Value>,
    /// Those of the arguments.
    pub digits: Digits,
    /// Given arguments that a plan counts as not given: they are placeholders or blank, and violate the schema.
    pub left_out: Map<String, Value>,
    /// The memory of definitions that no other event shares, in bytes.
    size_of_triggers: usize,
}

impl fmt::Debug for TriggerFired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TriggerFired")
            .field("company", &self.company)
            .field("event", &self.event)
            .field("time", &self.time)
            .field("triggers", &self.triggers)
            .finish_non_exhaustive()
    }
}

impl TriggerFired {
    /// Name of the trigger that fired.
    #[must_use]
    pub fn first_trigger(&self) -> &str {
        self.triggers.first().map_or("", |trigger| trigger.name())
    }

    /// About how much memory it takes, in bytes. A short text can take seventy times its size.
    #[must_use]
    pub fn size(&self) -> usize {
        let images: usize = self.images.iter().map(|image| size_of::<String>() + image.capacity()).sum();
        let values = [&self.arguments, &self.left_out, &self.client_data].map(size::of_members);
        let values: usize = values.into_iter().sum();
        let digits = self.digits.iter().chain(&self.client_digits);
        let digits: usize =
            digits.map(|(key, digits)| 2 * size_of::<String>() + key.len() + digits.len()).sum();
        size_of::<Self>() + images + values + digits + self.size_of_triggers
    }

    /// A fault of this event.
    pub fn fault(&self, reason: Reason, message: impl Into<String>) -> Fault {
        Fault {
            company: Some(self.company.clone()),
            event: Some(self.event.clone()),
            trigger: self.triggers.first().map(|trigger| trigger.name().to_owned()),
            ..Fault::new(reason, message)
        }
    }

    /// Refuses an event that is later than `latest`.
    ///
    /// # Errors
    /// `event_invalid`.
    pub fn not_after(self, latest: OffsetDateTime) -> Result<Self, Fault> {
        if self.time > latest {
            let message = "`time` is later than now by more than events.max_clock_skew";
            return Err(self.fault(Reason::EventInvalid, message));
        }
        Ok(self)
    }

    /// The variables of a webhook. `contact` is the result of the chain's last CRM step.
    #[must_use]
    pub fn variables<'a>(&'a self, contact: Option<ContactView<'a>>) -> Variables<'a> {
        Variables {
            event_id: self.event.id(),
            company_id: self.company.as_str(),
            session_id: self.session_id.as_deref(),
            assistant_id: self.assistant_id.as_deref(),
            images: &self.images,
            arguments: (&self.arguments, &self.digits),
            client_data: (&self.client_data, &self.client_digits),
            declared: self,
            contact,
        }
    }
}

/// All triggers of the chain have the same arguments.
impl Declared for TriggerFired {
    fn declares(&self, name: &str) -> bool {
        self.triggers.iter().any(|trigger| trigger.declares(name))
    }
}

/// Decodes the body of a message.
///
/// # Errors
/// A fault with company, event and trigger as far as they can be read.
pub fn decode(body: &[u8], triggers: &TriggerCache) -> Result<TriggerFired, Fault> {
    if body.len() > MAX_BODY {
        let message = format!("the body is larger than {MAX_BODY} bytes");
        return Err(with_origin(body, Fault::new(Reason::TooLarge, message)));
    }
    let Ok(text) = std::str::from_utf8(without_mark(body)) else {
        return Err(Fault::new(Reason::Undecodable, "the body is not UTF-8"));
    };
    if !json::is_shallow(text) {
        let message = format!("the body is nested deeper than {} levels", json::MAX_DEPTH);
        return Err(Fault::new(Reason::Undecodable, message));
    }
    if let Ok(ObjectOnly(envelope)) = serde_json::from_str::<ObjectOnly<Envelope<'_>>>(text) {
        return envelope.check(triggers);
    }
    let text = spelled(text);
    match serde_json::from_str::<ObjectOnly<Envelope<'_>>>(&text) {
        Ok(ObjectOnly(envelope)) => envelope.check(triggers),
        Err(_) => Err(envelope::explain(&text)),
    }
}

/// See [`spelling::event`].
fn spelled(text: &str) -> Cow<'_, str> {
    spelling::event(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Adds company, event and trigger of an undecoded message to its fault, as far as they can be read.
///
/// Reads only the envelope and the trigger's name, never the rest of the trigger or the arguments, so it is
/// safe on a message that crashes the process when it is decoded.
#[must_use]
pub fn with_origin(body: &[u8], fault: Fault) -> Fault {
    let text = std::str::from_utf8(without_mark(body)).ok().filter(|text| json::is_shallow(text));
    let Some(text) = text.map(spelled) else { return fault };
    match json::members(&text) {
        Ok(members) => envelope::with_origin(&members, fault),
        Err(_) => fault,
    }
}

/// The `time` of a CloudEvents event that need not be valid otherwise.
#[must_use]
pub fn time_of(body: &[u8]) -> Option<OffsetDateTime> {
    let text = std::str::from_utf8(without_mark(body)).ok().filter(|text| json::is_shallow(text))?;
    envelope::time(&json::members(&spelled(text)).ok()?)
}

/// The members that matter here, borrowed from the body. Others are ignored (CloudEvents 1.0, 3.1).
#[derive(Deserialize)]
struct Envelope<'a> {
    /// Also the number 1.0, or 1 of a language that does not know the difference.
    #[serde(borrow)]
    specversion: Id<'a>,
    #[serde(borrow)]
    id: Id<'a>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    data: ObjectOnly<EventData<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventData<'a> {
    #[serde(borrow)]
    company: ObjectOnly<Company<'a>>,
    #[serde(borrow)]
    assistant: Option<ObjectOrEmptyList<Assistant<'a>>>,
    #[serde(borrow)]
    session: Option<ObjectOrEmptyList<Session<'a>>>,
    #[serde(borrow)]
    client_data: Option<&'a RawValue>,
    /// An item that is not a text is left out: no image is worth an event.
    #[serde(borrow)]
    images: Option<ListOrEmptyObject<&'a RawValue>>,
    #[serde(borrow)]
    trigger: &'a RawValue,
    /// A list, also as a text.
    #[serde(borrow)]
    next: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: &'a RawValue,
}

#[derive(Deserialize)]
struct Company<'a> {
    #[serde(borrow)]
    id: Id<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assistant<'a> {
    #[serde(borrow)]
    id: Option<Id<'a>>,
    #[serde(default)]
    max_interactions: Whole,
}

#[derive(Default, Deserialize)]
struct Session<'a> {
    #[serde(borrow)]
    id: Option<Id<'a>>,
}

impl Envelope<'_> {
    fn check(self, cache: &TriggerCache) -> Result<TriggerFired, Fault> {
        let ObjectOnly(data) = self.data;
        let company = CompanyId::new(&data.company.0.id.0);
        let event = EventRef::new(&self.source, &self.id.0);
        let origin = (company.clone().ok(), event.clone().ok());
        let with_origin =
            |fault: Fault| Fault { company: origin.0.clone(), event: origin.1.clone(), ..fault };

        check_version(&self.specversion.0).map_err(with_origin)?;
        if self.r#type != "trigger.fired" {
            return Err(with_origin(invalid("`type` must be `trigger.fired`")));
        }
        let company = company.map_err(|bad| with_origin(invalid(format!("`data.company.id` {bad}"))))?;
        let event = event.map_err(|bad| with_origin(invalid(format!("`source` and `id` {bad}"))))?;
        let time = utc(&self.time).map_err(with_origin)?;
        data.check(company, event, time, cache).map_err(with_origin)
    }
}

impl EventData<'_> {
    fn check(
        self,
        company: CompanyId,
        event: EventRef,
        time: OffsetDateTime,
        cache: &TriggerCache,
    ) -> Result<TriggerFired, Fault> {
        let (triggers, size_of_triggers) = self.triggers(cache)?;
        let name = triggers.first().map(|trigger| trigger.name().to_owned());
        let with_trigger = |fault: Fault| Fault { trigger: name.clone(), ..fault };

        let assistant = self.assistant.map(|ObjectOrEmptyList(assistant)| assistant).unwrap_or_default();
        let session = self.session.map(|ObjectOrEmptyList(session)| session).unwrap_or_default();
        let images = self.images.map(|ListOrEmptyObject(images)| images).unwrap_or_default();
        let images = images.iter().filter_map(|image| json::text(image.get()));
        let (client_data, client_digits) = self
            .client_data
            .map_or_else(|| Ok(Default::default()), values::client_data)
            .map_err(with_trigger)?;
        let (arguments, digits) = values::arguments(self.arguments, &triggers).map_err(with_trigger)?;
        Ok(TriggerFired {
            assistant_id: checked_id(assistant.id, "data.assistant.id").map_err(with_trigger)?,
            session_id: checked_id(session.id, "data.session.id").map_err(with_trigger)?,
            client_data,
            client_digits,
            arguments,
            digits,
            left_out: Map::new(),
            company,
            event,
            time,
            max_interactions: assistant.max_interactions.0,
            images: images.map(|image| image.replace('\0', "")).collect(),
            triggers,
            size_of_triggers,
        })
    }

    /// The parsed definitions of the chain, and the memory of those that are not shared.
    fn triggers(&self, cache: &TriggerCache) -> Result<(Vec<Arc<Trigger>>, usize), Fault> {
        let next = self.next.map_or(Cow::Borrowed("[]"), |next| spelling::unwrapped(next.get()));
        let (first, mut size) = cache.parse(&spelling::unwrapped(self.trigger.get()));
        let first = first.map_err(|bad| bad_trigger("data.trigger", &bad))?;
        let with_trigger = |fault: Fault| Fault { trigger: Some(first.name().to_owned()), ..fault };
        let ListOrEmptyObject::<&RawValue>(next) =
            serde_json::from_str(&next).map_err(|_| with_trigger(invalid("`data.next` must be a list")))?;
        if next.len() > MAX_NEXT {
            return Err(with_trigger(invalid(format!("`data.next` has more than {MAX_NEXT} triggers"))));
        }
        let mut triggers = Vec::with_capacity(1 + next.len());
        triggers.push(Arc::clone(&first));
        for (index, raw) in next.iter().enumerate() {
            let (parsed, more) = cache.parse(&spelling::unwrapped(raw.get()));
            size += more;
            let path = format!("data.next[{index}]");
            triggers.push(parsed.map_err(|bad| with_trigger(bad_trigger(&path, &bad)))?);
        }
        Ok((triggers, size))
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(Reason::EventInvalid, message)
}

fn check_version(version: &str) -> Result<(), Fault> {
    if spelling::is_version_1(version) {
        return Ok(());
    }
    Err(Fault::new(Reason::UnsupportedVersion, "`specversion` must be `1.0`"))
}

fn bad_trigger(path: &str, bad: &BadTrigger) -> Fault {
    Fault { trigger: bad.name.clone(), ..Fault::new(bad.reason, format!("`{path}`: {}", bad.message())) }
}

fn utc(text: &str) -> Result<OffsetDateTime, Fault> {
    let bad = || invalid("`time` must be an RFC 3339 time, such as 2026-11-22T10:00:00.123Z");
    spelling::utc(text).ok_or_else(bad)
}

/// An empty id counts as absent.
fn checked_id(id: Option<Id<'_>>, path: &str) -> Result<Option<String>, Fault> {
    let id = id.map(|Id(id)| id.into_owned()).filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| id.len() > MAX_ID || id.contains(char::is_control)) {
        return Err(invalid(format!("`{path}` must be at most {MAX_ID} bytes without control characters")));
    }
    Ok(id)
}

/// `unstorable` is the reason for valid JSON that cannot be stored.
fn bad_member(member: &str, bad: &BadJson, unstorable: Reason) -> Fault {
    let reason = match bad.defect {
        Defect::Syntax { .. } | Defect::DuplicateKey => Reason::Undecodable,
        Defect::NotAnObject => Reason::EventInvalid,
        Defect::WideNumber => unstorable,
    };
    Fault::new(reason, format!("{member} {}", bad.defect))
}

#[cfg(test)]
mod tests;
