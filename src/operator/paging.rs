//! Pages of a listing, from its newest row to its oldest.
//!
//! A cursor is the sort key of the last row seen, so a page costs the same wherever it begins, and new rows do not
//! shift the pages.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use time::OffsetDateTime;
use uuid::Uuid;

/// The first byte of a cursor. Other versions of the service use another one.
const VERSION: u8 = 1;

/// The largest page.
pub const MAX_PAGE: u32 = 500;

/// Where a page ends, and the next one begins. Callers pass it on as they got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    at: OffsetDateTime,
    id: Uuid,
}

/// The text is not one of our cursors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor of a listing; begin again without one")]
pub struct BadCursor;

impl Cursor {
    pub(super) const fn new(at: OffsetDateTime, id: Uuid) -> Self {
        Self { at, id }
    }

    /// The sort key, for a statement.
    #[must_use]
    pub const fn position(self) -> (OffsetDateTime, Uuid) {
        (self.at, self.id)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 25];
        let micros = i64::try_from(self.at.unix_timestamp_nanos() / 1_000).unwrap_or_default();
        let all = [VERSION].into_iter().chain(micros.to_be_bytes()).chain(*self.id.as_bytes());
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = from;
        }
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let bytes = Some(text).filter(|text| text.len() == 34).ok_or(BadCursor)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).map_err(|_| BadCursor)?;
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>().ok_or(BadCursor)? else {
            return Err(BadCursor);
        };
        let (micros, id) = rest.split_first_chunk::<8>().ok_or(BadCursor)?;
        let nanos = i128::from(i64::from_be_bytes(*micros)) * 1_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| BadCursor)?;
        // A time that Postgres cannot store is not a row's.
        if !(1970..10_000).contains(&at.year()) {
            return Err(BadCursor);
        }
        Ok(Self { at, id: Uuid::from_slice(id).map_err(|_| BadCursor)? })
    }
}

impl serde::Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A part of a listing.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Page<T> {
    /// Its rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Where a search stopped short of `limit`, because it had read enough rows.
    #[must_use]
    pub fn searched_to(&self, limit: u32) -> Option<OffsetDateTime> {
        let is_short = self.items.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        self.next.filter(|_| is_short).map(|next| next.at)
    }

    /// The first `limit` of these rows, of which the statement has read one more to know whether there are more.
    pub(super) fn of(mut rows: Vec<T>, limit: u32, cursor: impl Fn(&T) -> Cursor) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let next = if rows.len() > limit {
            rows.truncate(limit);
            rows.last().map(cursor)
        } else {
            None
        };
        Self { items: rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        let at = time::macros::datetime!(2026-11-22 10:00:00.123456 UTC);
        Cursor::new(at, Uuid::from_u128(7))
    }

    #[test]
    fn cursor_survives_its_text() {
        assert_eq!(cursor().to_string().parse(), Ok(cursor()));
    }

    #[test]
    fn no_other_text_is_a_cursor() {
        let good = cursor().to_string();
        let of = |first: u8, micros: i64| {
            let bytes: Vec<u8> = [first].into_iter().chain(micros.to_be_bytes()).chain([0; 16]).collect();
            URL_SAFE_NO_PAD.encode(bytes)
        };
        for text in [
            "",
            "x",
            "' OR 1=1 --",
            &good[1..],
            &format!("{good}="),
            &format!("{good}A"),
            &good.replace('A', "+"),
            &of(0, 1),
            &of(2, 1),
            &of(VERSION, i64::MIN),
            &of(VERSION, i64::MAX),
            &of(VERSION, -1),
            &"A".repeat(1 << 20),
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text:.50}");
        }
    }

    #[test]
    fn page_has_a_cursor_only_if_there_is_more() {
        let page = |rows: Vec<u128>| {
            let page = Page::of(rows, 2, |id| Cursor::new(cursor().at, Uuid::from_u128(*id)));
            (page.items, page.next.map(|next| next.position().1.as_u128()))
        };
        assert_eq!(page(vec![]), (vec![], None));
        assert_eq!(page(vec![1, 2]), (vec![1, 2], None));
        assert_eq!(page(vec![1, 2, 3]), (vec![1, 2], Some(2)));
    }
}
