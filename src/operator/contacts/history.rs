//! Pages of a contact's history.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sqlx::PgConnection;
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{HistoryEntry, LookupError, entry, get, in_snapshot};
use crate::{
    domain::{contact::ContactId, event::CompanyId},
    operator::paging::BadCursor,
    postgres::{
        Database,
        contacts::{self as store, Place},
        links,
    },
};

/// The first member of a [`Position`]. Other versions of the service use another one.
const VERSION: u8 = 1;

/// The longest text of a [`Position`]. `source` and `id` of an event have at most 1 KiB each.
const MAX_TEXT: usize = 8 << 10;

/// Which entries come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Those that happened first.
    OldestFirst,
    /// Those that happened last.
    NewestFirst,
}

impl Order {
    /// Before every entry.
    fn start(self) -> Place {
        let (time, nanos, link) = match self {
            Self::OldestFirst => (datetime!(-4000-01-01 00:00 UTC), -1, Uuid::nil()),
            Self::NewestFirst => (datetime!(9999-12-31 23:59:59.999999 UTC), i16::MAX, Uuid::max()),
        };
        Place { time, nanos, event_id: String::new(), source: String::new(), step: 0, link }
    }
}

/// At most `limit` of the events, merges, unmerges and conflicts of the contact that [`super::show`] returns and of all that
/// were merged into it, and where the next page begins. At the same time, an event comes before the merges and conflicts that
/// it caused.
///
/// # Errors
/// When no such contact exists, or the database fails.
pub async fn history(
    database: &Database,
    company: &CompanyId,
    id: ContactId,
    order: Order,
    after: Option<&Position>,
    limit: u32,
) -> Result<(Vec<HistoryEntry>, Option<Position>), LookupError> {
    let place = after.map_or_else(|| order.start(), |position| position.0.clone());
    let (newest_first, one_more) = (order == Order::NewestFirst, i64::from(limit) + 1);
    let read = async |conn: &mut PgConnection| {
        let (known, ids) = get(conn, company, id).await?;
        let events = store::history(conn, company, &ids, &place, newest_first, one_more).await?;
        let of_links = (place.time, place.link);
        let links = links::of(conn, company, &ids, of_links, newest_first, one_more).await?;
        let mut found: Vec<(Place, HistoryEntry)> = Vec::with_capacity(events.len() + links.len());
        let events = events.into_iter().map(|row| {
            let place = Place {
                time: row.event_time,
                nanos: row.nanos,
                event_id: row.event_id.clone(),
                source: row.source.clone(),
                step: row.step,
                link: Uuid::nil(),
            };
            (place, entry(&known.contact, row))
        });
        let links = links.into_iter().map(|row| {
            let place = Place {
                time: row.happened_at,
                nanos: i16::MAX,
                event_id: String::new(),
                source: String::new(),
                step: 0,
                link: row.id,
            };
            (place, HistoryEntry::Link(row))
        });
        // Both sorts are stable.
        if newest_first {
            found.extend(links.chain(events));
            found.sort_by_key(|(place, _)| std::cmp::Reverse(place.time));
        } else {
            found.extend(events.chain(links));
            found.sort_by_key(|(place, _)| place.time);
        }
        Ok(found)
    };
    let mut found = in_snapshot(database, read).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|(place, _)| Position(place.clone()));
    Ok((found.into_iter().map(|(_, entry)| entry).collect(), next))
}

/// Where a page of a history ends. Callers pass its text on as they got it, with the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(Place);

/// The members of a [`Position`] as they are written.
type Written = (u8, i64, i16, String, String, i16, (u64, u64));

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { time, nanos, event_id, source, step, link } = self.0.clone();
        let micros = i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or_default();
        let written: Written = (VERSION, micros, nanos, event_id, source, step, link.as_u64_pair());
        let bytes = rmp_serde::to_vec(&written).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Position {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let text = Some(text).filter(|text| text.len() < MAX_TEXT).ok_or(BadCursor)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let (version, micros, nanos, event_id, source, step, link): Written =
            rmp_serde::from_slice(&bytes).map_err(|_| BadCursor)?;
        if version != VERSION || event_id.contains('\0') || source.contains('\0') {
            return Err(BadCursor);
        }
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000);
        let time = time.map_err(|_| BadCursor)?;
        // The range that Postgres can store.
        if time.year() < -4000 {
            return Err(BadCursor);
        }
        Ok(Self(Place { time, nanos, event_id, source, step, link: Uuid::from_u64_pair(link.0, link.1) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_survives_its_text_and_no_other_text_is_one() {
        let mut place = Order::OldestFirst.start();
        place.event_id = "ação/1".to_owned();
        for place in [place, Order::NewestFirst.start()] {
            let position = Position(place);
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        let written = |written: Written| URL_SAFE_NO_PAD.encode(rmp_serde::to_vec(&written).unwrap());
        let nul = || "\0".to_owned();
        let good = Position(Order::OldestFirst.start()).to_string();
        for text in [
            "",
            "x",
            "' OR 1=1 --",
            &good[1..],
            &"A".repeat(1 << 20),
            &written((2, 0, 0, String::new(), String::new(), 0, (0, 0))),
            &written((VERSION, i64::MAX, 0, String::new(), String::new(), 0, (0, 0))),
            &written((VERSION, i64::MIN, 0, String::new(), String::new(), 0, (0, 0))),
            &written((VERSION, 0, 0, nul(), String::new(), 0, (0, 0))),
            &written((VERSION, 0, 0, String::new(), nul(), 0, (0, 0))),
        ] {
            assert_eq!(text.parse::<Position>(), Err(BadCursor), "{text:.50}");
        }
    }
}
