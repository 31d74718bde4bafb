//! The `trigger.fired` event: from the bytes of a message to checked members and parsed triggers.
//! Source: CloudEvents 1.0 (JSON format) and the contract. What the triggers do with it is `plan`.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::domain::{
    event::{CompanyId, EventRef},
    fault::{Fault, Reason},
    trigger::{
        cache::TriggerCache,
        definition::{BadTrigger, Trigger},
        json::{self, BadJson, Defect, ObjectOnly},
    },
    value::text::quote,
    webhook::variables::{ContactView, Variables},
};

mod envelope;

/// Largest body of a message, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// Most further triggers in `data.next`.
const MAX_NEXT: usize = 10;
/// Longest id of an assistant or a session, in bytes.
const MAX_ID: usize = 1024;

/// A `trigger.fired` event whose members and definitions are sound. Arguments are not checked yet.
pub struct TriggerFired {
    /// The tenant.
    pub company: CompanyId,
    /// CloudEvents `source` and `id`.
    pub event: EventRef,
    /// CloudEvents `time`, UTC, whole microseconds.
    pub time: OffsetDateTime,
    /// The assistant that fired.
    pub assistant_id: Option<String>,
    /// How many steps of the chain may run, where the event says it.
    pub max_interactions: Option<u32>,
    /// The conversation.
    pub session_id: Option<String>,
    /// What the platform knows of the client, for webhooks. Personal data.
    pub client_data: Map<String, Value>,
    /// Addresses of images of the conversation, for webhooks.
    pub images: Vec<String>,
    /// The trigger and then those of `next`, in order. Never empty.
    pub triggers: Vec<Arc<Trigger>>,
    /// What the language model filled in, nulls removed. Personal data.
    pub arguments: Map<String, Value>,
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

    /// A fault of this event.
    pub fn fault(&self, reason: Reason, message: impl Into<String>) -> Fault {
        Fault {
            company: Some(self.company.clone()),
            event: Some(self.event.clone()),
            trigger: self.triggers.first().map(|trigger| trigger.name().to_owned()),
            ..Fault::new(reason, message)
        }
    }

    /// The variables that a webhook of this event can use after its chain upserted `contact`.
    #[must_use]
    pub fn variables<'a>(&'a self, contact: Option<ContactView<'a>>) -> Variables<'a> {
        Variables {
            event_id: self.event.id(),
            company_id: self.company.as_str(),
            session_id: self.session_id.as_deref(),
            assistant_id: self.assistant_id.as_deref(),
            images: &self.images,
            arguments: &self.arguments,
            client_data: &self.client_data,
            contact,
        }
    }
}

/// Reads the body of a message.
///
/// # Errors
/// A fault of the message, with company, event and trigger as far as they can be read.
pub fn decode(body: &[u8], triggers: &mut TriggerCache) -> Result<TriggerFired, Fault> {
    if body.len() > MAX_BODY {
        let message = format!("the body is larger than {MAX_BODY} bytes");
        return Err(placed(body, Fault::new(Reason::TooLarge, message)));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Fault::new(Reason::Undecodable, "the body is not UTF-8"));
    };
    if !json::is_shallow(text) {
        let message = format!("the body nests deeper than {} levels", json::MAX_DEPTH);
        return Err(Fault::new(Reason::Undecodable, message));
    }
    match serde_json::from_str::<ObjectOnly<Envelope<'_>>>(text) {
        Ok(ObjectOnly(envelope)) => envelope.check(triggers),
        Err(_) => Err(envelope::explain(text)),
    }
}

/// `fault` with company, event and trigger of a message that is not decoded, as far as they can be read.
///
/// Looks at the envelope only, never into trigger or arguments: it is safe on a message that ended the
/// process when it was decoded.
#[must_use]
pub fn placed(body: &[u8], fault: Fault) -> Fault {
    match std::str::from_utf8(body).ok().filter(|text| json::is_shallow(text)).map(json::members) {
        Some(Ok(members)) => envelope::placed(&members, fault),
        _ => fault,
    }
}

/// The members that are read, borrowed from the body. Others are ignored (CloudEvents 1.0, 3.1).
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    data: ObjectOnly<Firing<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Firing<'a> {
    #[serde(borrow)]
    company: ObjectOnly<Company<'a>>,
    assistant: Option<ObjectOnly<Assistant>>,
    session: Option<ObjectOnly<Session>>,
    #[serde(borrow)]
    client_data: Option<&'a RawValue>,
    images: Option<Vec<String>>,
    #[serde(borrow)]
    trigger: &'a RawValue,
    #[serde(borrow)]
    next: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    arguments: &'a RawValue,
}

#[derive(Deserialize)]
struct Company<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assistant {
    id: Option<String>,
    max_interactions: Option<u32>,
}

#[derive(Deserialize)]
struct Session {
    id: Option<String>,
}

impl Envelope<'_> {
    fn check(self, cache: &mut TriggerCache) -> Result<TriggerFired, Fault> {
        let ObjectOnly(data) = self.data;
        let company = CompanyId::new(&data.company.0.id);
        let event = EventRef::new(&self.source, &self.id);
        let known = (company.clone().ok(), event.clone().ok());
        let place = |fault: Fault| Fault { company: known.0.clone(), event: known.1.clone(), ..fault };

        check_version(&self.specversion).map_err(place)?;
        if self.r#type != "trigger.fired" {
            return Err(place(invalid("`type` must be `trigger.fired`")));
        }
        let company = company.map_err(|bad| place(invalid(format!("`data.company.id` {bad}"))))?;
        let event = event.map_err(|bad| place(invalid(format!("`source` and `id` {bad}"))))?;
        let time = utc_micros(&self.time).map_err(place)?;
        data.check(company, event, time, cache).map_err(place)
    }
}

impl Firing<'_> {
    fn check(
        self,
        company: CompanyId,
        event: EventRef,
        time: OffsetDateTime,
        cache: &mut TriggerCache,
    ) -> Result<TriggerFired, Fault> {
        let triggers = self.triggers(cache)?;
        let name = triggers.first().map(|trigger| trigger.name().to_owned());
        let place = |fault: Fault| Fault { trigger: name.clone(), ..fault };

        let (assistant_id, max_interactions) = self
            .assistant
            .map_or((None, None), |ObjectOnly(assistant)| (assistant.id, assistant.max_interactions));
        let session_id = self.session.and_then(|ObjectOnly(session)| session.id);
        let images = self.images.unwrap_or_default();
        if images.iter().any(|image| image.contains('\0')) {
            return Err(place(invalid("`data.images` holds a NUL character, which cannot be stored")));
        }
        Ok(TriggerFired {
            assistant_id: checked_id(assistant_id, "data.assistant.id").map_err(place)?,
            session_id: checked_id(session_id, "data.session.id").map_err(place)?,
            client_data: self.client_data.map_or_else(|| Ok(Map::new()), client_data).map_err(place)?,
            arguments: arguments(self.arguments, &triggers).map_err(place)?,
            company,
            event,
            time,
            max_interactions,
            images,
            triggers,
        })
    }

    /// The definitions of the chain, parsed now or before.
    fn triggers(&self, cache: &mut TriggerCache) -> Result<Vec<Arc<Trigger>>, Fault> {
        let next = self.next.as_deref().unwrap_or_default();
        let first = cache.parse(self.trigger.get()).map_err(|bad| bad_trigger("data.trigger", &bad))?;
        let place = |fault: Fault| Fault { trigger: Some(first.name().to_owned()), ..fault };
        if next.len() > MAX_NEXT {
            return Err(place(invalid(format!("`data.next` holds more than {MAX_NEXT} triggers"))));
        }
        let mut triggers = Vec::with_capacity(1 + next.len());
        triggers.push(Arc::clone(&first));
        for (index, raw) in next.iter().enumerate() {
            let parsed = cache.parse(raw.get());
            triggers.push(parsed.map_err(|bad| place(bad_trigger(&format!("data.next[{index}]"), &bad)))?);
        }
        Ok(triggers)
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(Reason::EventInvalid, message)
}

fn check_version(version: &str) -> Result<(), Fault> {
    if version == "1.0" {
        return Ok(());
    }
    Err(Fault::new(Reason::UnsupportedVersion, "`specversion` must be `1.0`"))
}

fn bad_trigger(place: &str, bad: &BadTrigger) -> Fault {
    Fault { trigger: bad.name.clone(), ..Fault::new(bad.reason, format!("`{place}`: {}", bad.message())) }
}

/// RFC 3339 to what Postgres keeps: UTC and microseconds. All four-digit years fit `timestamptz`.
fn utc_micros(text: &str) -> Result<OffsetDateTime, Fault> {
    let bad = || invalid("`time` must be a time as RFC 3339 writes it, such as 2026-11-22T10:00:00.123Z");
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| bad())?;
    // An offset can push the last hours of 9999 into a year that has no four digits.
    let time = time.checked_to_offset(UtcOffset::UTC).filter(|time| (0..=9999).contains(&time.year()));
    let time = time.ok_or_else(bad)?;
    time.replace_nanosecond(time.microsecond() * 1_000).map_err(|_| bad())
}

/// An optional id; empty is as good as absent.
fn checked_id(id: Option<String>, place: &str) -> Result<Option<String>, Fault> {
    let id = id.filter(|id| !id.is_empty());
    if id.as_ref().is_some_and(|id| id.len() > MAX_ID || id.contains(char::is_control)) {
        return Err(invalid(format!("`{place}` must be at most {MAX_ID} bytes without control characters")));
    }
    Ok(id)
}

fn client_data(raw: &RawValue) -> Result<Map<String, Value>, Fault> {
    json::object(raw.get()).map_err(|bad| bad_member("`data.clientData`", &bad, Reason::EventInvalid))
}

fn arguments(raw: &RawValue, triggers: &[Arc<Trigger>]) -> Result<Map<String, Value>, Fault> {
    let mut arguments = json::object(raw.get()).map_err(|bad| {
        // Only a declared name is safe to repeat: other keys are whatever a language model made up.
        let declared = bad.member.as_ref().filter(|member| {
            triggers.iter().any(|trigger| trigger.parameters().iter().any(|declared| declared == *member))
        });
        match declared {
            Some(name) => bad_member(&format!("argument {}", quote(name)), &bad, Reason::ArgumentsInvalid),
            None => bad_member("`data.arguments`", &bad, Reason::ArgumentsInvalid),
        }
    })?;
    arguments.retain(|_, value| !value.is_null());
    Ok(arguments)
}

/// `unstorable` is the reason for what is JSON and cannot be kept.
fn bad_member(place: &str, bad: &BadJson, unstorable: Reason) -> Fault {
    let reason = match bad.defect {
        Defect::Syntax | Defect::DuplicateKey => Reason::Undecodable,
        Defect::NotAnObject => Reason::EventInvalid,
        Defect::Nul | Defect::WideNumber => unstorable,
    };
    Fault::new(reason, format!("{place} {}", bad.defect))
}

#[cfg(test)]
mod tests;
