//! Stores the stamps of a contact's values as JSON: a list of events without duplicates, and for each field an index
//! into that list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::domain::{
    contact::{Stamped, field::FieldMap},
    event::{EventRef, Stamp},
};

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    events: Vec<StoredStamp<'a>>,
    #[serde(borrow)]
    fields: BTreeMap<&'a str, usize>,
}

#[derive(Serialize, Deserialize)]
struct StoredStamp<'a> {
    /// Microseconds since 1970, UTC.
    time: i64,
    /// Nanoseconds beyond them.
    #[serde(default, skip_serializing_if = "is_zero")]
    ns: u16,
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    step: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(ns: &u16) -> bool {
    *ns == 0
}

/// The column is unreadable.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProvenanceError {
    #[error("provenance is not JSON of the expected form")]
    Json(#[from] serde_json::Error),
    #[error("provenance contains an invalid stamp")]
    Stamp,
}

pub(super) fn to_json(values: &FieldMap<Stamped>) -> String {
    let mut stamps: Vec<&Stamp> = Vec::new();
    let mut fields = BTreeMap::new();
    for (field, stamped) in values.iter() {
        let index = stamps.iter().position(|stamp| **stamp == stamped.stamp).unwrap_or_else(|| {
            stamps.push(&stamped.stamp);
            stamps.len() - 1
        });
        fields.insert(field.name(), index);
    }
    // In the order of the first field that refers to them, so the same stamps always have the same JSON.
    let events = stamps.iter().map(|stamp| {
        let nanos = stamp.time.unix_timestamp_nanos();
        StoredStamp {
            time: i64::try_from(nanos.div_euclid(1000)).unwrap_or(i64::MAX),
            ns: u16::try_from(nanos.rem_euclid(1000)).unwrap_or_default(),
            id: stamp.event.id().into(),
            source: stamp.event.source().into(),
            step: stamp.step,
        }
    });
    let stored = Stored { events: events.collect(), fields };
    serde_json::to_string(&stored).unwrap_or_default()
}

pub(super) fn from_json(text: &str) -> Result<FieldMap<Stamp>, ProvenanceError> {
    let stored: Stored<'_> = serde_json::from_str(text)?;
    let stamps = stored.events.iter().map(|event| {
        let time =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(event.time) * 1000 + i128::from(event.ns));
        Ok(Stamp {
            time: time.map_err(|_| ProvenanceError::Stamp)?,
            event: EventRef::new(&event.source, &event.id).map_err(|_| ProvenanceError::Stamp)?,
            step: event.step,
        })
    });
    let stamps = stamps.collect::<Result<Vec<_>, ProvenanceError>>()?;
    let mut fields = FieldMap::default();
    for (name, index) in stored.fields {
        let field = name.parse().map_err(|_| ProvenanceError::Stamp)?;
        fields.insert(field, stamps.get(index).ok_or(ProvenanceError::Stamp)?.clone());
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::contact::field::Field;

    #[test]
    fn stamps_keep_their_nanoseconds() {
        for (time, stored) in [
            (datetime!(1970-01-01 0:00:00.000001002 UTC), r#""time":1,"ns":2,"#),
            (datetime!(1970-01-01 0:00:00.000001 UTC), r#""time":1,"id""#),
            (datetime!(1969-12-31 23:59:59.999999999 UTC), r#""time":-1,"ns":999,"#),
            (datetime!(0000-01-01 0:00:00.000000001 UTC), r#""ns":1,"#),
            (datetime!(9999-12-31 23:59:59.999999999 UTC), r#""ns":999,"#),
        ] {
            let stamp = Stamp { time, event: EventRef::new("/a", "b").unwrap(), step: 1 };
            let mut values = FieldMap::default();
            values.insert(Field::Name, Stamped { value: "Ada".to_owned(), stamp: stamp.clone() });
            let json = to_json(&values);
            assert!(json.contains(stored), "{json}");
            assert_eq!(from_json(&json).unwrap().get(Field::Name), Some(&stamp));
        }
    }
}
