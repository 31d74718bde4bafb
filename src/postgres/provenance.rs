//! The stored form of the stamps of a contact's values: each event once, and for each field the
//! place of its event in that list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::domain::contact::Stamped;
use crate::domain::{
    contact::field::FieldMap,
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
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    step: u16,
}

/// What stands in the column cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProvenanceError {
    #[error("provenance is not of the stored form")]
    Json(#[from] serde_json::Error),
    #[error("provenance holds an impossible stamp")]
    Stamp,
}

pub(super) fn to_json(values: &FieldMap<Stamped>) -> String {
    let mut stamps: Vec<&Stamp> = Vec::new();
    let mut fields = BTreeMap::new();
    for (field, stamped) in values.iter() {
        let place = stamps.iter().position(|stamp| **stamp == stamped.stamp).unwrap_or_else(|| {
            stamps.push(&stamped.stamp);
            stamps.len() - 1
        });
        fields.insert(field.name(), place);
    }
    // In the order of the first field that names them, so the same stamps always give the same text.
    let events = stamps.iter().map(|stamp| StoredStamp {
        time: i64::try_from(stamp.time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX),
        id: stamp.event.id().into(),
        source: stamp.event.source().into(),
        step: stamp.step,
    });
    let stored = Stored { events: events.collect(), fields };
    serde_json::to_string(&stored).unwrap_or_default()
}

pub(super) fn from_json(text: &str) -> Result<FieldMap<Stamp>, ProvenanceError> {
    let stored: Stored<'_> = serde_json::from_str(text)?;
    let stamps = stored.events.iter().map(|event| {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(event.time) * 1000);
        Ok(Stamp {
            time: time.map_err(|_| ProvenanceError::Stamp)?,
            event: EventRef::new(&event.source, &event.id).map_err(|_| ProvenanceError::Stamp)?,
            step: event.step,
        })
    });
    let stamps = stamps.collect::<Result<Vec<_>, ProvenanceError>>()?;
    let mut fields = FieldMap::default();
    for (name, place) in stored.fields {
        let field = name.parse().map_err(|_| ProvenanceError::Stamp)?;
        fields.insert(field, stamps.get(place).ok_or(ProvenanceError::Stamp)?.clone());
    }
    Ok(fields)
}
