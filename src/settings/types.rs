//! The types of settings, and how they are parsed.
//!
//! No error repeats the value that it refuses: it may be a secret.

use std::{fmt, str::FromStr, time::Duration};

use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};
use strum::VariantNames;

use crate::domain::event::CompanyId;
pub use crate::domain::{
    chain::rules::OnUnidentified,
    contact::{directory::OnConflict, placeholder::PlaceholderLists},
    value::phone::Region,
};

/// The region of one company, `company=REGION`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct CompanyRegion {
    /// The company.
    pub company: CompanyId,
    /// Its region.
    pub region: Region,
}

impl TryFrom<String> for CompanyRegion {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // A company id may contain an equals sign; a region code cannot.
        let (company, region) = text.rsplit_once('=').ok_or("expected company=REGION, such as acme=MX")?;
        let company = CompanyId::new(company.trim()).map_err(|_| "the company must be 1 to 255 bytes")?;
        let region = Region::new(region.trim()).ok_or(
            "the region must be a two-letter code (ISO 3166-1) with a phone numbering plan, such as MX",
        )?;
        Ok(Self { company, region })
    }
}

/// What a commit waits for. Never nothing: an acknowledged event must survive a crash of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum SynchronousCommit {
    /// The disk, and that of the synchronous standby if there is one.
    On,
    /// That the synchronous standby has applied it.
    RemoteApply,
    /// That the synchronous standby has received it.
    RemoteWrite,
    /// The disk of the primary alone.
    Local,
}

impl SynchronousCommit {
    /// Its value in Postgres.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What the bearer of a token may do; each role includes those before it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Read, with personal data masked.
    Viewer,
    /// Read values and bodies; replay, discard, restore, resend, pause.
    Operator,
    /// Change messages and contacts.
    Editor,
    /// Everything.
    Admin,
}

impl Role {
    /// Its name in `http.tokens`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The length of a token, in bytes, below which it may be guessed.
pub const MIN_TOKEN: usize = 16;

/// An access token for the API and the console.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpToken {
    /// The bearer: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// What the bearer may do.
    pub role: Role,
    /// The secret: not empty, without spaces.
    pub token: SecretString,
}

impl TryFrom<String> for HttpToken {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(role), Some(token)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("expected name:role:token");
        };
        if !is_plain_name(name, 64) {
            return Err("the name must be 1 to 64 letters, digits, dots, underscores or hyphens");
        }
        let role = role.parse().map_err(|_| "the role must be viewer, operator, editor or admin")?;
        if token.is_empty() || token.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("the token must not be empty or contain spaces");
        }
        Ok(Self { name: name.to_owned(), role, token: token.to_owned().into() })
    }
}

/// Whether `text` is 1 to `max` ASCII letters, digits, dots, underscores or hyphens.
pub(super) fn is_plain_name(text: &str, max: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=max).contains(&text.len()) && text.bytes().all(plain)
}

/// A variant by its name; the error lists all names.
pub(super) fn by_name<'de, D: Deserializer<'de>, T: FromStr + VariantNames>(
    deserializer: D,
) -> Result<T, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| D::Error::custom(format_args!("expected {}", any_of(T::VARIANTS))))
}

/// `"a", "b" or "c"`.
fn any_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

/// A duration with its unit, such as `250ms`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}

/// A duration with its unit, or an empty text for none.
pub(super) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    OptionalSpan::deserialize(deserializer).map(|span| span.0)
}

struct OptionalSpan(Option<Duration>);

impl<'de> Deserialize<'de> for OptionalSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OptionalSpanVisitor)
    }
}

struct OptionalSpanVisitor;

impl Visitor<'_> for OptionalSpanVisitor {
    type Value = OptionalSpan;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"90d\", or an empty text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OptionalSpan, E> {
        if text.trim().is_empty() {
            return Ok(OptionalSpan(None));
        }
        SpanVisitor.visit_str(text).map(|span| OptionalSpan(Some(span.0)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<OptionalSpan, E> {
        SpanVisitor.visit_i64(number).map(|span| OptionalSpan(Some(span.0)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<OptionalSpan, E> {
        SpanVisitor.visit_f64(number).map(|span| OptionalSpan(Some(span.0)))
    }
}

/// A list of durations with their units.
pub(super) fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    Ok(Vec::<Span>::deserialize(deserializer)?.into_iter().map(|span| span.0).collect())
}

/// A duration as a type of its own, for settings that may be absent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration: a number with a unit, such as \"250ms\", \"30s\" or \"5m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        humantime::parse_duration(text).map(Span).map_err(|_| {
            E::custom("expected a duration: a number with a unit, such as \"250ms\", \"30s\" or \"5m\"")
        })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Span, E> {
        Err(E::custom(format_args!("a duration needs a unit, such as \"{number}s\" or \"{number}ms\"")))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Span, E> {
        Err(E::custom(format_args!(
            "a duration is a whole number with a unit; write {number} seconds in milliseconds"
        )))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn token_is_name_role_and_secret() {
        let token = HttpToken::try_from("ci:operator:a:b".to_owned()).unwrap();
        assert_eq!(
            (token.name.as_str(), token.role, token.token.expose_secret()),
            ("ci", Role::Operator, "a:b")
        );
        for bad in [
            "",
            "ci",
            "ci:operator",
            "ci:operator:",
            ":viewer:x",
            "ci:root:x",
            "c i:viewer:x",
            "ci:viewer:a b",
        ] {
            assert!(HttpToken::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Role::Viewer < Role::Operator && Role::Editor < Role::Admin);
    }

    #[test]
    fn plain_name_has_a_limited_length_and_alphabet() {
        assert!(is_plain_name("a.b_c-9", 7) && !is_plain_name("a.b_c-9", 6));
        assert!(!is_plain_name("", 6) && !is_plain_name("ä", 6) && !is_plain_name("a b", 6));
    }
}
