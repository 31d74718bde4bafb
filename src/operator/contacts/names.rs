//! Finds contacts by the beginning of their name.
//!
//! Case and accents do not count. No index exists: it would cost every event, and updates that change the name would
//! no longer be HOT. A cursor names a contact, not a name, because callers who see masked values get it, and it may
//! end up in a log.

use std::str::FromStr;

use sqlx::PgConnection;

use crate::{
    domain::{
        contact::{Contact, ContactId},
        event::CompanyId,
        value::text::folded,
    },
    postgres::{Database, contacts as store},
};

/// The longest name to search for, in characters.
const MAX_NAME: usize = 200;

/// The name, or the beginning of a name, to search for: 1 to 200 characters without control characters.
#[derive(Clone)]
pub struct NameSearch(String);

/// The text is not a name to search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name to search for must be 1 to {MAX_NAME} characters, without control characters")]
pub struct BadName;

impl FromStr for NameSearch {
    type Err = BadName;

    /// Spaces are as in a stored name: single ones, and none at the ends.
    fn from_str(text: &str) -> Result<Self, BadName> {
        let name = text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let is_name = (1..=MAX_NAME).contains(&name.chars().take(MAX_NAME + 1).count())
            && !name.contains(char::is_control)
            && !folded(&name).is_empty();
        if is_name { Ok(Self(name)) } else { Err(BadName) }
    }
}

/// How much of the name is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Its beginning, or the whole name.
    Beginning,
    /// The whole name. For callers who see masked values, who could otherwise guess a name letter by letter.
    Whole,
}

/// At most `limit` of the contacts of a company with such a name, the newest first, before the contact `before`, and the contact
/// before which the next page begins. A page may have fewer, or none, and still a next one: a search reads a limited number of
/// contacts and continues from there on request.
///
/// # Errors
/// When the database fails.
pub async fn search(
    database: &Database,
    company: &CompanyId,
    name: &NameSearch,
    given: Given,
    before: Option<ContactId>,
    limit: u32,
) -> Result<(Vec<Contact>, Option<ContactId>), sqlx::Error> {
    let is_whole = given == Given::Whole;
    let read = async |conn: &mut PgConnection| {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        store::by_name(conn, company, &name.0, is_whole, before, limit).await
    };
    database.unit(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_to_search_for_is_short_and_has_single_spaces() {
        let read = |text: &str| text.parse().map(|NameSearch(name)| name);
        assert_eq!(read("  Ada   Lovelace "), Ok("Ada Lovelace".to_owned()));
        assert_eq!(read("%_\\'"), Ok("%_\\'".to_owned()));
        for bad in ["", "   ", "a\nb", "a\0", "\u{301}", &"x".repeat(MAX_NAME + 1), &"x".repeat(10_000)] {
            assert_eq!(read(bad), Err(BadName), "{bad:.20}");
        }
    }
}
