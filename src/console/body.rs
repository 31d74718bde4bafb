//! Reads bodies, queries and forms. What is not understood is refused, never ignored.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::problem::{Kind, Problem};

/// Maximum size of a body.
const MAX_BODY: usize = 2 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a whole body.
///
/// # Errors
/// When it is too large, does not arrive in time, or breaks off.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Kind::TooLarge, format!("the body may have at most {} MiB", MAX_BODY >> 20));
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Kind::InvalidRequest, "the body ended early")),
        Err(_) => Err(Problem::new(Kind::RequestTimeout, "the body did not arrive in time")),
    }
}

fn is_limit(error: &axum::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the body is that of an HTML form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|found| found.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// The media type without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or_default();
    value.split(';').next().map(str::trim)
}

/// A body of JSON. One that is empty counts as `{}`.
pub(super) struct Json<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body).await?;
        let is_json = match media_type(&parts.headers) {
            Some(found) => found.eq_ignore_ascii_case("application/json"),
            None => bytes.is_empty(),
        };
        if !is_json {
            let detail = "send JSON with the header `content-type: application/json`";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| Problem::new(Kind::InvalidRequest, format!("the body is not valid: {error}")))
    }
}

/// The parameters of a query, or the fields of a form. Each is taken by its name; [`Params::end`] refuses those that
/// nobody took.
#[derive(Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    known: BTreeSet<&'static str>,
}

impl Params {
    pub(super) fn new(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self { pairs: pairs.collect(), known: BTreeSet::new() }
    }

    /// Every value of `name`. An empty one counts as not given: a form sends its empty fields.
    pub(super) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.insert(name);
        let values = self.pairs.iter().filter(|(given, value)| given == name && !value.is_empty());
        values.map(|(_, value)| value.clone()).collect()
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// When it is given twice.
    pub(super) fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        let value = values.pop();
        if values.is_empty() { Ok(value) } else { Err(Problem::invalid(name, "give it once")) }
    }

    /// The value of `name`, parsed.
    ///
    /// # Errors
    /// When it is given twice, or is not valid.
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| Problem::invalid(name, format!("expected {expected}")))
    }

    /// Refuses parameters that nobody took: a filter with a typing error must not select everything.
    ///
    /// # Errors
    /// When there is one.
    pub(super) fn end(self) -> Result<(), Problem> {
        let unknown = self.pairs.iter().find(|(name, _)| !self.known.contains(name.as_str()));
        unknown.map_or(Ok(()), |(name, _)| {
            let known: Vec<&str> = self.known.iter().copied().collect();
            let name: String = name.chars().take(64).collect();
            Err(Problem::invalid(&name, format!("there is no such parameter; known: {}", known.join(", "))))
        })
    }
}

/// The query of the address.
impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::new(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

/// The fields of an HTML form.
pub(super) struct Form(pub(super) Params);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if !is_form(&parts.headers) {
            let detail = "send a form with the header `content-type: application/x-www-form-urlencoded`";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        Ok(Self(Params::new(&read(&parts.headers, body).await?)))
    }
}
