//! Explains why an envelope could not be decoded, and finds out whose event it is. Slower than decoding, so only used
//! after that has failed. Messages name members, never values.

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::domain::{
    event::{CompanyId, EventRef},
    fault::{Fault, Reason},
    json::{self, BadJson, Defect, Members},
    trigger::{
        definition::is_name,
        shapes::{Id, ListOrEmptyObject, Whole, is_empty_list, is_empty_text},
    },
};

/// The expected type of a member.
enum Kind {
    Text,
    Id,
    /// A whole number from 0 to `u64::MAX`.
    Whole,
    List,
    /// Also an empty list or an empty text, if no member is required.
    Object(&'static [Member]),
    /// Checked elsewhere.
    Any,
}

struct Member {
    name: &'static str,
    required: bool,
    kind: Kind,
}

const fn required(name: &'static str, kind: Kind) -> Member {
    Member { name, required: true, kind }
}

const fn optional(name: &'static str, kind: Kind) -> Member {
    Member { name, required: false, kind }
}

/// The members that decoding reads. `specversion` comes first, because another version has other members.
const ENVELOPE: [Member; 6] = [
    required("specversion", Kind::Id),
    required("type", Kind::Text),
    required("id", Kind::Id),
    required("source", Kind::Text),
    required("time", Kind::Text),
    required("data", Kind::Object(&DATA)),
];
const DATA: [Member; 8] = [
    required("company", Kind::Object(&[required("id", Kind::Id)])),
    optional(
        "assistant",
        Kind::Object(&[optional("id", Kind::Id), optional("maxInteractions", Kind::Whole)]),
    ),
    optional("session", Kind::Object(&[optional("id", Kind::Id)])),
    optional("clientData", Kind::Any),
    optional("images", Kind::List),
    required("trigger", Kind::Any),
    optional("next", Kind::Any),
    required("arguments", Kind::Any),
];

/// The fault of a text that is not a `trigger.fired` event.
pub(super) fn explain(text: &str) -> Fault {
    let members = match json::members(text) {
        Ok(members) => members,
        Err(defect) => return bad("the body", defect),
    };
    let version = id_at(&members, &["specversion"]).and_then(|version| super::check_version(&version).err());
    let fault = version.or_else(|| examine("", &members, &ENVELOPE).err());
    with_origin(&members, fault.unwrap_or_else(|| super::invalid("the body is not a `trigger.fired` event")))
}

/// Adds company, event and trigger to a fault, as far as the members contain them.
pub(super) fn with_origin(members: &Members<'_>, fault: Fault) -> Fault {
    let company = id_at(members, &["data", "company", "id"]);
    let (source, id) = (text_at(members, &["source"]), id_at(members, &["id"]));
    Fault {
        company: company.and_then(|id| CompanyId::new(&id).ok()),
        event: source.zip(id).and_then(|(source, id)| EventRef::new(&source, &id).ok()),
        trigger: text_at(members, &["data", "trigger", "name"]).filter(|name| is_name(name)),
        ..fault
    }
}

/// The event's time, if it can be read.
pub(super) fn time(members: &Members<'_>) -> Option<OffsetDateTime> {
    super::utc(&text_at(members, &["time"])?).ok()
}

fn bad(member: &str, defect: Defect) -> Fault {
    super::bad_member(member, &BadJson { defect, member: None }, Reason::EventInvalid)
}

/// The string at a path of members, if the whole path can be read.
fn text_at(members: &Members<'_>, path: &[&str]) -> Option<String> {
    read(at(members, path)?)
}

/// The id at a path of members, if the whole path can be read.
fn id_at(members: &Members<'_>, path: &[&str]) -> Option<String> {
    let Id(id) = read(at(members, path)?)?;
    Some(id.into_owned())
}

fn at<'a>(members: &Members<'a>, path: &[&str]) -> Option<&'a RawValue> {
    let (first, rest) = path.split_first()?;
    let value = find(members, first)?;
    if rest.is_empty() { Some(value) } else { at(&json::members(value.get()).ok()?, rest) }
}

fn find<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
}

fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

fn examine(path: &str, members: &Members<'_>, expected: &[Member]) -> Result<(), Fault> {
    if json::has_duplicate(members) {
        let member = if path.is_empty() { "the body".to_owned() } else { format!("`{path}`") };
        return Err(bad(&member, Defect::DuplicateKey));
    }
    for Member { name, required, kind } in expected {
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        match find(members, name) {
            Some(value) if *required || value.get() != "null" => examine_value(&path, value, kind)?,
            None if *required => return Err(super::invalid(format!("`{path}` is required"))),
            _ => {}
        }
    }
    Ok(())
}

fn is_nothing(value: &str) -> bool {
    is_empty_list(value) || is_empty_text(value)
}

fn examine_value(path: &str, value: &RawValue, kind: &Kind) -> Result<(), Fault> {
    let (fits, expected) = match kind {
        Kind::Text => (read::<String>(value).is_some(), "a string"),
        Kind::Id => (read::<Id<'_>>(value).is_some(), "a string or a whole number"),
        Kind::Whole => (read::<Whole>(value).is_some(), "a whole number from 0 to 18446744073709551615"),
        Kind::List => (read::<ListOrEmptyObject<&RawValue>>(value).is_some(), "a list"),
        Kind::Any => return Ok(()),
        Kind::Object(expected) if is_nothing(value.get()) && expected.iter().all(|one| !one.required) => {
            return Ok(());
        }
        Kind::Object(expected) => {
            return match json::members(value.get()) {
                Ok(members) => examine(path, &members, expected),
                Err(defect) => Err(bad(&format!("`{path}`"), defect)),
            };
        }
    };
    if fits { Ok(()) } else { Err(super::invalid(format!("`{path}` must be {expected}"))) }
}
