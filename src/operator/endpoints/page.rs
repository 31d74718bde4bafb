//! Pages of endpoints, by company and id.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sqlx::PgConnection;
use strum::VariantArray as _;
use uuid::Uuid;

use super::Endpoint;
use crate::{
    domain::event::Key,
    operator::{lane::LaneState, paging::BadCursor},
    postgres::{Database, endpoints as store},
};

/// The first byte of a [`Position`]. Other versions of the service use another one.
const POSITION_VERSION: u8 = 1;

/// Which endpoints. What is not given does not narrow.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this company.
    pub company: Option<String>,
    /// Whose lane is in one of these states.
    pub states: Vec<LaneState>,
    /// Whose host contains this text, or whose whole address it is.
    pub address: Option<String>,
}

/// At most `limit` of the endpoints that match, by company and id, and where the next page begins.
///
/// # Errors
/// When the database fails.
pub async fn page(
    database: &Database,
    filter: &Filter,
    after: Option<&Position>,
    limit: u32,
) -> Result<(Vec<Endpoint>, Option<Position>), sqlx::Error> {
    let after = after.map(|position| &position.0);
    let (company, address) = (filter.company.as_deref(), filter.address.as_deref());
    let states = if filter.states.is_empty() { LaneState::VARIANTS } else { &filter.states };
    let names: Vec<&str> = states.iter().map(|state| state.name()).collect();
    let one_more = i64::from(limit) + 1;
    let read = async |conn: &mut PgConnection| {
        if filter.states.is_empty() && address.is_none() {
            store::page(conn, company, after, one_more).await
        } else {
            store::page_in_states(conn, company, &names, address, after, one_more).await
        }
    };
    let mut rows = database.unit(read).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| Position(row.key.clone()));
    Ok((rows.into_iter().map(Endpoint::new).collect(), next))
}

/// Where a page of endpoints ends. Callers pass its text on as they got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(Key);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes =
            [&[POSITION_VERSION], self.0.id.as_bytes().as_slice(), self.0.company.as_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Position {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        // A company's id has at most 255 bytes.
        let bytes = Some(text).filter(|text| text.len() < 400).ok_or(BadCursor)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).map_err(|_| BadCursor)?;
        let (&[POSITION_VERSION], rest) = bytes.split_first_chunk::<1>().ok_or(BadCursor)? else {
            return Err(BadCursor);
        };
        let (id, company) = rest.split_first_chunk::<16>().ok_or(BadCursor)?;
        let company = std::str::from_utf8(company).map_err(|_| BadCursor)?;
        if company.is_empty() || company.contains('\0') {
            return Err(BadCursor);
        }
        Ok(Self(Key { company: company.to_owned(), id: Uuid::from_bytes(*id) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_text_is_a_position() {
        let position = Position(Key { company: "ação".to_owned(), id: Uuid::from_u128(7) });
        let good = position.to_string();
        assert_eq!(good.parse(), Ok(position));
        let of = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let nul = [&[POSITION_VERSION][..], &[7; 16], b"a\0"].concat();
        let not_text = [&[POSITION_VERSION][..], &[7; 16], b"\xff"].concat();
        for text in ["", "x", "' OR 1=1 --", &good[1..], &of(&[2; 20]), &of(&nul), &of(&not_text)] {
            assert_eq!(text.parse::<Position>(), Err(BadCursor), "{text}");
        }
        assert_eq!("A".repeat(1 << 20).parse::<Position>(), Err(BadCursor));
    }
}
