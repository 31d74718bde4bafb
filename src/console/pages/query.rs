//! What pages read from paths, queries and forms, and write into their own forms and links.

use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::{
    super::{
        body::Params,
        caller::Caller,
        problem::{Kind, Problem},
    },
    parts::{link, words},
    shell::DONE,
};
use crate::{domain::event::Key, operator::audit::Actor};

/// Rows of a page.
pub(super) const PAGE: u32 = 50;

/// Maximum number of things in one form.
pub(super) const MAX_SELECTED: usize = 500;

/// One choice of a list.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) name: String,
    pub(super) is_chosen: bool,
}

/// Choices by name, one of them chosen.
pub(super) fn choices<'a>(names: impl IntoIterator<Item = &'a str>, chosen: &str) -> Vec<Choice> {
    let choice = |name: &str| Choice { value: name.to_owned(), name: words(name), is_chosen: name == chosen };
    names.into_iter().map(choice).collect()
}

/// The parameters of a listing, in the order of its form.
pub(super) struct Given(Vec<(&'static str, String)>);

impl Given {
    /// Takes these parameters, each at most once.
    pub(super) fn take(params: &mut Params, names: &[&'static str]) -> Result<Self, Problem> {
        let one = |name: &&'static str| Ok((*name, params.text(name)?));
        names.iter().map(one).collect::<Result<_, Problem>>().map(Self)
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(given, _)| *given == name).map_or("", |(_, value)| value)
    }

    /// The value, unless it is empty.
    pub(super) fn given(&self, name: &str) -> Option<String> {
        Some(self.get(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// Whether any of them has a value.
    pub(super) fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| !self.get(name).is_empty())
    }

    /// The same parameters with another value of one.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let one = |(given, old): &(&'static str, String)| {
            (*given, if *given == name { value.to_owned() } else { old.clone() })
        };
        Self(self.0.iter().map(one).collect())
    }

    /// A link to the same listing with one parameter more.
    pub(super) fn link(&self, path: &str, name: &str, value: &str) -> String {
        let pairs = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        link(path, pairs.filter(|(given, _)| *given != name).chain([(name, value)]))
    }

    /// A link to the beginning of the same listing, narrowed by one parameter.
    pub(super) fn narrowed(&self, path: &str, name: &str, value: &str) -> String {
        let pairs = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        link(path, pairs.filter(|(given, _)| *given != name && *given != "cursor").chain([(name, value)]))
    }

    /// The value, parsed. One that is not valid is a sentence for the page, which then shows its form again.
    pub(super) fn parsed<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        parse(text).map(Some).ok_or_else(|| format!("{}: expected {expected}.", words(name)))
    }
}

/// A time in the past: how long ago (`2h`), or RFC 3339. Seconds may be left out, as browsers and people do.
pub(super) fn moment(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let text = text.trim();
    if let Ok(ago) = humantime::parse_duration(text) {
        return now.checked_sub(time::Duration::try_from(ago.min(MAX_AGO)).ok()?);
    }
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let with_seconds = || parse(&format!("{}:00Z", text.strip_suffix('Z').unwrap_or(text)));
    parse(text)
        .or_else(with_seconds)
        .or_else(|| parse(&format!("{text}T00:00:00Z")))
        .filter(|at| (1970..10_000).contains(&at.year()))
}

/// A time of a filter, in a field that is not shown.
pub(super) fn exact(at: Option<OffsetDateTime>) -> String {
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Longer ago than anything that is stored.
const MAX_AGO: Duration = Duration::from_hours(100 * 366 * 24);

/// What [`moment`] reads, for a message.
pub(super) const MOMENT: &str = "a time such as 2h, 2026-11-29 or 2026-11-29T10:00Z";

/// The id in a path.
pub(super) fn id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::new(Kind::NotFound, "this is not an id"))
}

/// The object of a form whose only field is a reason, and who changes it. Some objects have no company.
pub(super) fn target(
    id: &str,
    mut params: Params,
    mut form: Params,
    caller: &Caller,
) -> Result<(Key, Actor), Problem> {
    let company = params.text("company")?;
    // The form may be on a page that shows what was just done.
    params.one(DONE)?;
    params.end()?;
    let actor = caller.because(form.one("reason")?.as_deref())?;
    form.end()?;
    Ok((Key { company, id: self::id(id)? }, actor))
}

/// The value of a checkbox: the id first, because a company may be any text.
pub(super) fn key_text(key: &Key) -> String {
    format!("{}/{}", key.id, key.company)
}

/// Reads the values of checkboxes.
pub(super) fn keys(texts: &[String]) -> Result<Vec<Key>, Problem> {
    if texts.len() > MAX_SELECTED {
        return Err(Problem::invalid("id", format!("select at most {MAX_SELECTED} at once")));
    }
    let key = |text: &String| {
        let (id, company) = text.split_once('/')?;
        Some(Key { company: company.to_owned(), id: Uuid::try_parse(id).ok()? })
    };
    let keys: Option<Vec<Key>> = texts.iter().map(key).collect();
    keys.ok_or_else(|| Problem::invalid("id", "expected the ids of the page"))
}

/// The page that a form came from, if it is one of ours.
pub(super) fn back(given: Option<String>, otherwise: &str) -> String {
    let is_ours = |path: &String| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    given.filter(is_ours).unwrap_or_else(|| otherwise.to_owned())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn moment_is_a_distance_or_a_time() {
        let now = datetime!(2026-11-29 12:00 UTC);
        for (text, expected) in [
            ("2h", datetime!(2026-11-29 10:00 UTC)),
            ("1day 30m", datetime!(2026-11-28 11:30 UTC)),
            ("2026-11-01", datetime!(2026-11-01 0:00 UTC)),
            ("2026-11-01T10:30", datetime!(2026-11-01 10:30 UTC)),
            ("2026-11-01T10:30Z", datetime!(2026-11-01 10:30 UTC)),
            ("2026-11-01T10:30:05+01:00", datetime!(2026-11-01 9:30:05 UTC)),
        ] {
            assert_eq!(moment(text, now), Some(expected), "{text}");
        }
        assert!(moment("99999999years", now).is_none_or(|at| at < now));
        for text in ["", "soon", "0000-01-01", "99999-01-01T00:00:00Z", "' OR 1=1"] {
            assert_eq!(moment(text, now), None, "{text}");
        }
    }

    #[test]
    fn key_survives_its_checkbox() {
        for company in ["acme", "", "a/b", "ä & \"x\""] {
            let key = Key { company: company.to_owned(), id: Uuid::from_u128(7) };
            assert_eq!(keys(&[key_text(&key)]).unwrap(), [key]);
        }
        assert!(keys(&["x/acme".to_owned()]).is_err() && keys(&[String::new()]).is_err());
        assert!(keys(&vec![key_text(&Key { company: String::new(), id: Uuid::nil() }); 501]).is_err());
    }

    #[test]
    fn form_returns_only_to_our_pages() {
        assert_eq!(back(Some("/dead-letters?a=b".to_owned()), "/x"), "/dead-letters?a=b");
        for foreign in ["//evil.example", "https://evil.example", "", "/a b", "/\\evil.example"] {
            assert_eq!(back(Some(foreign.to_owned()), "/x"), "/x");
        }
    }
}
