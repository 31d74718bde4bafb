//! Parameters that several routes share.

use std::{collections::HashSet, str::FromStr};

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    console::{
        body::Params,
        caller::Caller,
        problem::{Kind, Problem},
    },
    domain::event::Key,
    operator::{paging::MAX_PAGE, selection::Selection, views::Sight},
    settings::Role,
};

/// Rows of a page without `limit`.
const DEFAULT_PAGE: u32 = 50;

/// Maximum number of ids in one request.
const MAX_IDS: usize = 500;

/// The parameters of the path.
pub(super) struct InPath<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let bad =
            |_| Problem::new(Kind::NotFound, "there is no such address: its last part must be a whole id");
        path.map(|Path(path)| Self(path)).map_err(bad)
    }
}

/// The body of a change that needs nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    pub(super) reason: Option<String>,
}

/// The body of a change of several things.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ids {
    ids: Vec<Uuid>,
    pub(super) reason: Option<String>,
}

impl Ids {
    /// The ids, each once, in their order.
    ///
    /// # Errors
    /// When there are none, or too many.
    pub(super) fn distinct(&self) -> Result<Vec<Uuid>, Problem> {
        if !(1..=MAX_IDS).contains(&self.ids.len()) {
            return Err(Problem::invalid("ids", format!("give 1 to {MAX_IDS} ids")));
        }
        let mut seen = HashSet::new();
        Ok(self.ids.iter().copied().filter(|id| seen.insert(*id)).collect())
    }
}

/// Maximum number of keys in one request. A filter selects more.
const MAX_KEYS: usize = 10_000;

/// Keys that one statement looks up.
const PORTION: usize = 500;

/// A key in a body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    company: String,
    id: Uuid,
}

/// What a body selects: by keys, which are its member `name`, each once and in their order, or by a filter.
///
/// # Errors
/// When it has both or neither, or no key, or too many.
pub(super) fn selection<F>(
    name: &str,
    keys: Option<Vec<NewKey>>,
    filter: Option<F>,
) -> Result<Selection<F>, Problem> {
    let keys = match (keys, filter) {
        (Some(keys), None) => keys,
        (None, Some(filter)) => return Ok(Selection::Matching(Box::new(filter))),
        _ => return Err(Problem::invalid("filter", format!("give either `{name}` or `filter`"))),
    };
    if !(1..=MAX_KEYS).contains(&keys.len()) {
        return Err(Problem::invalid(name, format!("give 1 to {MAX_KEYS}; a filter selects more")));
    }
    let mut seen = HashSet::new();
    let keys = keys.into_iter().map(|key| Key { company: key.company, id: key.id });
    Ok(Selection::Keys(keys.filter(|key| seen.insert(key.clone())).collect()))
}

/// Refuses unknown keys: a typo must not become an operation on the rest. `known` returns those that exist.
///
/// # Errors
/// When one is unknown, or the database fails.
pub(super) async fn all_exist<F>(
    what: &str,
    selection: &Selection<F>,
    known: impl AsyncFn(&[Key]) -> Result<Vec<Key>, sqlx::Error>,
) -> Result<(), Problem> {
    let Selection::Keys(keys) = selection else { return Ok(()) };
    for portion in keys.chunks(PORTION) {
        let known: HashSet<Key> = known(portion).await?.into_iter().collect();
        if let Some(key) = portion.iter().find(|key| !known.contains(key)) {
            let detail = format!("there is no {what} `{}` of this company; nothing was changed", key.id);
            return Err(Problem::new(Kind::NotFound, detail));
        }
    }
    Ok(())
}

/// What the caller may see.
pub(super) fn sight(caller: &Caller) -> Sight {
    if caller.is(Role::Operator) { Sight::Full } else { Sight::Masked }
}

/// `limit`: the size of the page.
pub(super) fn limit(query: &mut Params) -> Result<u32, Problem> {
    let parse = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
    Ok(query.parsed("limit", parse, &format!("1 to {MAX_PAGE}"))?.unwrap_or(DEFAULT_PAGE))
}

/// The same in a body.
pub(super) fn page(limit: Option<u32>) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    let is_page = (1..=MAX_PAGE).contains(&limit);
    is_page.then_some(limit).ok_or_else(|| Problem::invalid("limit", format!("expected 1 to {MAX_PAGE}")))
}

/// A whole number in a body. JSON Schema counts `50.0` as an integer, too.
pub(super) fn whole<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(number)? else { return Ok(None) };
    // An f64 prints a whole number without a fraction, and all digits of it.
    number
        .to_string()
        .parse()
        .map(Some)
        .map_err(|_| D::Error::custom("expected a whole number that is not negative"))
}

/// A moment, or how long ago it was.
pub(super) fn moment(query: &mut Params, name: &'static str) -> Result<Option<OffsetDateTime>, Problem> {
    moment_in(name, query.one(name)?)
}

/// The same, from a text.
pub(super) fn moment_in(name: &str, text: Option<String>) -> Result<Option<OffsetDateTime>, Problem> {
    let parse = |text: &str| {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| {
            let ago = time::Duration::try_from(humantime::parse_duration(text).ok()?).ok()?;
            OffsetDateTime::now_utc().checked_sub(ago)
        });
        // What Postgres can store, with room on both sides.
        moment.filter(|moment| (1970..10_000).contains(&moment.year()))
    };
    parsed(name, text, parse, "a time such as 2026-11-22T10:00:00Z, or a duration such as 24h")
}

/// A text that the database accepts in a comparison.
pub(super) fn text(query: &mut Params, name: &'static str) -> Result<Option<String>, Problem> {
    storable(name, query.one(name)?)
}

/// The same, from a text.
pub(super) fn storable(name: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    let parse = |text: &str| (text.len() <= MAX_TEXT && !text.contains('\0')).then(|| text.to_owned());
    parsed(name, text, parse, &format!("at most {MAX_TEXT} bytes, without a zero character"))
}

/// A text of a type that can be read from one.
pub(super) fn read<T: FromStr>(
    name: &str,
    text: Option<String>,
    expected: &str,
) -> Result<Option<T>, Problem> {
    parsed(name, text, |text| text.parse().ok(), expected)
}

fn parsed<T>(
    name: &str,
    text: Option<String>,
    parse: impl FnOnce(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| Problem::invalid(name, format!("expected {expected}")))
}

/// Maximum length of a filter, in bytes.
const MAX_TEXT: usize = 2_048;

/// One of several names.
pub(super) fn named<T: strum::VariantArray + Copy + Into<&'static str>>(
    name: &str,
    text: &str,
) -> Result<T, Problem> {
    let found = T::VARIANTS.iter().copied().find(|variant| Into::<&str>::into(*variant) == text);
    let names = || T::VARIANTS.iter().map(|variant| (*variant).into()).collect::<Vec<&str>>().join(", ");
    found.ok_or_else(|| Problem::invalid(name, format!("expected one of {}", names())))
}
