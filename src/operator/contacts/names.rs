//! Finds contacts by the beginning of their name.
//!
//! Case and accents do not count. A page is continued from a contact, not from a name: a cursor is handed to those who see
//! values masked, and may end in a log.

use std::str::FromStr;

use sqlx::PgConnection;

use crate::{
    domain::{
        contact::{Contact, ContactId},
        event::CompanyId,
    },
    postgres::{Database, contacts as store},
};

/// The longest name to search for, in characters.
const MAX_NAME: usize = 200;

/// The name, or the beginning of a name, to search for: 1 to 200 characters without control characters.
#[derive(Clone)]
pub struct NameSearch(String);

/// The text is no name to search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name to search for must be 1 to {MAX_NAME} characters, without control characters")]
pub struct BadName;

impl FromStr for NameSearch {
    type Err = BadName;

    /// Spaces are as in a stored name: single ones, and none at the ends.
    fn from_str(text: &str) -> Result<Self, BadName> {
        let name = text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let is_name = (1..=MAX_NAME).contains(&name.chars().take(MAX_NAME + 1).count())
            && !name.contains(char::is_control);
        if is_name { Ok(Self(name)) } else { Err(BadName) }
    }
}

/// How much of the name is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Its beginning, or all of it.
    Beginning,
    /// All of it. For those who see values masked: they could find out a name letter by letter.
    Whole,
}

/// Why a search failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The contact that ended the page before is no more, or has no name any more.
    #[error("the contact that ended the page before has changed; begin again without a cursor")]
    NoSuchPage,
    /// The database failed.
    #[error("could not read the contacts")]
    Database(#[from] sqlx::Error),
}

/// At most `limit` of the contacts of a company with such a name, by name, after the contact `after`, and the contact after which
/// the next page begins.
///
/// # Errors
/// When the page does not exist any more, or the database fails.
pub async fn search(
    database: &Database,
    company: &CompanyId,
    name: &NameSearch,
    given: Given,
    after: Option<ContactId>,
    limit: u32,
) -> Result<(Vec<Contact>, Option<ContactId>), SearchError> {
    let read = async |conn: &mut PgConnection| {
        let after = match after {
            Some(id) => {
                let place = store::place_by_name(conn, company, id).await?;
                Some((place.ok_or(SearchError::NoSuchPage)?, id))
            }
            None => None,
        };
        let (is_whole, after) =
            (given == Given::Whole, after.as_ref().map(|(name, id)| (name.as_str(), *id)));
        let found = store::by_name(conn, company, &name.0, is_whole, after, i64::from(limit) + 1).await?;
        Ok::<_, SearchError>(found)
    };
    let mut found = database.unit(read).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.id);
    Ok((found, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_to_search_for_is_short_and_has_single_spaces() {
        let read = |text: &str| text.parse().map(|NameSearch(name)| name);
        assert_eq!(read("  Ada   Lovelace "), Ok("Ada Lovelace".to_owned()));
        assert_eq!(read("%_\\'"), Ok("%_\\'".to_owned()));
        for bad in ["", "   ", "a\nb", "a\0", &"x".repeat(MAX_NAME + 1), &"x".repeat(10_000)] {
            assert_eq!(read(bad), Err(BadName), "{bad:.20}");
        }
    }
}
