//! A second look at an envelope that did not fit: which member is wrong, and whose event it is.
//! Slower than the first look and only taken on its failure. Messages name members, never values.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::domain::{
    event::{CompanyId, EventRef},
    fault::{Fault, Reason},
    trigger::{
        definition::is_name,
        json::{self, BadJson, Defect, Members},
    },
};

/// What a member must be.
enum Kind {
    Text,
    /// A whole number from 0 to `u32::MAX`.
    Whole,
    List,
    /// A list of texts.
    Texts,
    Object(&'static [Member]),
    /// Looked into elsewhere.
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

/// The members that the first look reads, `specversion` first: another version has other members.
const ENVELOPE: [Member; 6] = [
    required("specversion", Kind::Text),
    required("type", Kind::Text),
    required("id", Kind::Text),
    required("source", Kind::Text),
    required("time", Kind::Text),
    required("data", Kind::Object(&DATA)),
];
const DATA: [Member; 8] = [
    required("company", Kind::Object(&[required("id", Kind::Text)])),
    optional(
        "assistant",
        Kind::Object(&[optional("id", Kind::Text), optional("maxInteractions", Kind::Whole)]),
    ),
    optional("session", Kind::Object(&[optional("id", Kind::Text)])),
    optional("clientData", Kind::Any),
    optional("images", Kind::Texts),
    required("trigger", Kind::Any),
    optional("next", Kind::List),
    required("arguments", Kind::Any),
];

/// The fault of `text`, which is no `trigger.fired` event.
pub(super) fn explain(text: &str) -> Fault {
    let members = match json::members(text) {
        Ok(members) => members,
        Err(defect) => return bad("the body", defect),
    };
    let fault = match text_at(&members, &["specversion"]) {
        Some(version) if version != "1.0" => super::check_version(&version).err(),
        _ => examine("", &members, &ENVELOPE).err(),
    };
    placed(&members, fault.unwrap_or_else(|| super::invalid("the body is not a `trigger.fired` event")))
}

/// `fault` with whose event it is, as far as the members tell.
pub(super) fn placed(members: &Members<'_>, fault: Fault) -> Fault {
    let company = text_at(members, &["data", "company", "id"]);
    let (source, id) = (text_at(members, &["source"]), text_at(members, &["id"]));
    Fault {
        company: company.and_then(|id| CompanyId::new(&id).ok()),
        event: source.zip(id).and_then(|(source, id)| EventRef::new(&source, &id).ok()),
        trigger: text_at(members, &["data", "trigger", "name"]).filter(|name| is_name(name)),
        ..fault
    }
}

fn bad(place: &str, defect: Defect) -> Fault {
    super::bad_member(place, &BadJson { defect, member: None }, Reason::EventInvalid)
}

/// The text at a path of members, where all of it can be read.
fn text_at(members: &Members<'_>, path: &[&str]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let value = find(members, first)?;
    if rest.is_empty() { read(value) } else { text_at(&json::members(value.get()).ok()?, rest) }
}

fn find<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
}

fn read<T: DeserializeOwned>(value: &RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

fn examine(place: &str, members: &Members<'_>, expected: &[Member]) -> Result<(), Fault> {
    if json::has_duplicate(members) {
        let place = if place.is_empty() { "the body".to_owned() } else { format!("`{place}`") };
        return Err(bad(&place, Defect::DuplicateKey));
    }
    for Member { name, required, kind } in expected {
        let place = if place.is_empty() { (*name).to_owned() } else { format!("{place}.{name}") };
        match find(members, name) {
            Some(value) if *required || value.get() != "null" => examine_value(&place, value, kind)?,
            None if *required => return Err(super::invalid(format!("`{place}` is required"))),
            _ => {}
        }
    }
    Ok(())
}

fn examine_value(place: &str, value: &RawValue, kind: &Kind) -> Result<(), Fault> {
    let (fits, expected) = match kind {
        Kind::Text => (read::<String>(value).is_some(), "a string"),
        Kind::Whole => (read::<u32>(value).is_some(), "a whole number from 0 to 4294967295"),
        Kind::List => (read::<Vec<Box<RawValue>>>(value).is_some(), "a list"),
        Kind::Texts => (read::<Vec<String>>(value).is_some(), "a list of strings"),
        Kind::Any => return Ok(()),
        Kind::Object(expected) => {
            return match json::members(value.get()) {
                Ok(members) => examine(place, &members, expected),
                Err(defect) => Err(bad(&format!("`{place}`"), defect)),
            };
        }
    };
    if fits { Ok(()) } else { Err(super::invalid(format!("`{place}` must be {expected}"))) }
}
