//! Reads bodies, queries and forms. What is not understood is refused, never ignored.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::problem::{Kind, Problem};

/// Maximum size of a body, unless its route has a [`Limit`].
const MAX_BODY: usize = 2 << 20;

/// How long a body may take to arrive; less than a request that only reads may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Maximum number of parameters or fields. The largest form of a page has a fourth of them.
const MAX_PARAMS: usize = 2000;

/// The field in which a form of ours sends the token of its session. The check of the route has read it.
pub(super) const CSRF_FIELD: &str = "csrf";

/// How the addresses begin that programs use.
const API: &str = "/api/";

/// An extension of a request: the maximum size of its body.
#[derive(Clone, Copy)]
pub(super) struct Limit(pub(super) usize);

/// Reads a whole body.
///
/// # Errors
/// When it is too large, does not arrive in time, or breaks off.
pub(super) async fn read(parts: &Parts, body: Body) -> Result<Bytes, Problem> {
    let Limit(limit) = parts.extensions.get().copied().unwrap_or(Limit(MAX_BODY));
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limit as u64) {
        return Err(too_large(limit));
    }
    let all = tokio::time::timeout(BODY_TIMEOUT, collect(body, limit)).await;
    all.unwrap_or_else(|_| Err(Problem::new(Kind::RequestTimeout, "the body did not arrive in time")))
}

/// Into one buffer: a client may send each byte in its own frame, which costs many times its size.
async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Kind::InvalidRequest, "the body ended early"))?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - all.len() {
            return Err(too_large(limit));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the body may have at most {} KiB", limit >> 10))
}

/// Whether the body is that of an HTML form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/x-www-form-urlencoded")
}

/// Whether the body is of this media type.
pub(super) fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    media_type(headers).is_some_and(|found| found.eq_ignore_ascii_case(expected))
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
        let bytes = read(&parts, body).await?;
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
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    known: BTreeSet<&'static str>,
}

impl Params {
    /// # Errors
    /// When there are too many.
    pub(super) fn new(text: &[u8]) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned()));
        let pairs: Vec<(String, String)> = pairs.take(MAX_PARAMS + 1).collect();
        if pairs.len() > MAX_PARAMS {
            let detail = format!("there may be at most {MAX_PARAMS} parameters");
            return Err(Problem::new(Kind::InvalidRequest, detail));
        }
        Ok(Self::of(pairs))
    }

    /// These fields.
    pub(super) const fn of(pairs: Vec<(String, String)>) -> Self {
        Self { pairs, known: BTreeSet::new() }
    }

    /// The fields of a form of ours.
    pub(super) fn of_form(mut self) -> Self {
        self.known.insert(CSRF_FIELD);
        self
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

    /// The value of `name`; an absent one is an empty text.
    ///
    /// # Errors
    /// When it is given twice.
    pub(super) fn text(&mut self, name: &'static str) -> Result<String, Problem> {
        Ok(self.one(name)?.unwrap_or_default())
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

    /// Refuses parameters that were not taken: a mistyped filter must not select everything.
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
        let params = Self::new(parts.uri.query().unwrap_or_default().as_bytes())?;
        // Only a form sends its empty fields. A program that does may have lost a value, and would select everything.
        let empty = params.pairs.iter().find(|(_, value)| value.is_empty());
        match empty.filter(|_| parts.uri.path().starts_with(API)) {
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(Problem::invalid(&name, "it is empty; leave it out"))
            }
            None => Ok(params),
        }
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
        Params::new(&read(&parts, body).await?).map(|params| Self(params.of_form()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// A body of frames with one byte each.
    fn trickle(length: usize) -> Body {
        Body::from_stream(stream::iter(
            (0..length).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"x"))),
        ))
    }

    #[tokio::test]
    async fn body_has_a_limit_in_however_many_frames() {
        let (mut parts, ()) = Request::new(()).into_parts();
        assert_eq!(read(&parts, trickle(9)).await.unwrap(), "xxxxxxxxx");
        assert_eq!(read(&parts, Body::empty()).await.unwrap(), "");
        for (length, expected) in [(8, None), (9, Some(Kind::TooLarge))] {
            parts.extensions.insert(Limit(8));
            for body in [trickle(length), Body::from("x".repeat(length))] {
                let read = read(&parts, body).await.map(|bytes| bytes.len()).map_err(|problem| problem.kind);
                assert_eq!(read, expected.map_or(Ok(length), Err), "{length}");
            }
        }
    }

    #[tokio::test]
    async fn long_body_is_refused_by_its_length() {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.headers.insert(header::CONTENT_LENGTH, (MAX_BODY + 1).into());
        let hangs = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(&parts, hangs).await.unwrap_err().kind, Kind::TooLarge);
    }

    #[test]
    fn number_of_parameters_has_a_limit() {
        assert!(Params::new("a=1&".repeat(MAX_PARAMS).as_bytes()).is_ok());
        assert!(Params::new("a=1&".repeat(MAX_PARAMS + 1).as_bytes()).is_err());
        assert!(Params::new("a&".repeat(MAX_BODY / 2).as_bytes()).is_err());
    }
}
