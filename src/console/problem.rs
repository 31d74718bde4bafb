//! Errors as `application/problem+json` (RFC 9457).
//!
//! A problem says what is wrong with the request and what to do. It contains no personal data or secrets except what
//! the request itself contained.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::telemetry::chain;

/// The prefix of `type`. The rest is [`Kind::name`].
const TYPE: &str = "urn:contact-relay:problem:";

/// What kind of problem, by which a client can decide what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Kind {
    /// A parameter, header or body is not valid.
    InvalidRequest,
    /// No token, or one that is not valid.
    Unauthenticated,
    /// The role does not allow it.
    Forbidden,
    /// The request may come from a stranger's page.
    ForeignOrigin,
    /// No such route or object.
    NotFound,
    /// The route has other methods.
    MethodNotAllowed,
    /// The body took too long.
    RequestTimeout,
    /// Its state does not allow it.
    Conflict,
    /// The person was erased.
    Erased,
    /// The body is too large.
    TooLarge,
    /// The body is not what its route reads.
    UnsupportedMediaType,
    /// The `Host` is not one of ours.
    UnknownHost,
    /// The body is well-formed, but its contents make no sense.
    Unprocessable,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyKeyReused,
    /// Too many attempts to sign in have failed.
    TooManyAttempts,
    /// The service failed.
    Internal,
    /// Database or broker do not answer now.
    Unavailable,
}

impl Kind {
    /// The last part of `type`.
    pub(super) fn name(self) -> &'static str {
        self.into()
    }

    /// The status of the response.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Erased => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Unprocessable | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What a person reads first; the same for every problem of this kind.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not valid",
            Self::Unauthenticated => "A token is required",
            Self::Forbidden => "The role does not allow this",
            Self::ForeignOrigin => "The request came from another site",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::RequestTimeout => "The request took too long to arrive",
            Self::Conflict => "Its state does not allow this",
            Self::Erased => "The person was erased",
            Self::TooLarge => "The request is too large",
            Self::UnsupportedMediaType => "The type of the body is not supported",
            Self::UnknownHost => "The host is not known",
            Self::Unprocessable => "The request cannot be processed",
            Self::IdempotencyKeyReused => "The idempotency key was used for another request",
            Self::TooManyAttempts => "Too many attempts have failed",
            Self::Internal => "The service failed",
            Self::Unavailable => "The service is not available now",
        }
    }
}

/// A parameter or member that is not valid.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Invalid {
    /// Its name.
    name: String,
    /// What is wrong with it.
    detail: String,
}

/// Why a request failed.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    /// What happened, to what, and what to do.
    pub(super) detail: String,
    invalid: Option<Invalid>,
    /// Seconds after which a repetition may succeed.
    retry_after: Option<u16>,
    /// Whether it is known that nothing has changed. Always so with a 4xx.
    pub(super) is_unchanged: bool,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let is_unchanged = kind.status().is_client_error();
        Self { kind, detail: detail.into(), invalid: None, retry_after: None, is_unchanged }
    }

    /// The parameter or member `name` is not valid.
    pub(super) fn invalid(name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let invalid = Some(Invalid { name: name.to_owned(), detail: detail.clone() });
        Self { invalid, ..Self::new(Kind::InvalidRequest, format!("{name}: {detail}")) }
    }

    /// A repetition may succeed after this many seconds.
    pub(super) fn retry_after(self, seconds: u16) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Nothing has changed.
    pub(super) fn unchanged(self) -> Self {
        Self { is_unchanged: true, ..self }
    }

    /// Something may have changed: not all of the request was one transaction.
    pub(super) fn unsure(self) -> Self {
        Self { is_unchanged: false, ..self }
    }

    /// Logs an internal error. The client does not see it.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = chain(error), "could not answer a request");
        Self::new(Kind::Internal, "the service failed; its log has the cause")
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "type": format!("{TYPE}{}", self.kind.name()),
            "title": self.kind.title(),
            "status": self.kind.status().as_u16(),
            "detail": self.detail,
        });
        if let (Value::Object(members), Some(invalid)) = (&mut json, &self.invalid) {
            members.insert("errors".to_owned(), json!([invalid]));
        }
        json
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.json().to_string()));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind == Kind::Unauthenticated {
            let scheme = HeaderValue::from_static("Bearer realm=\"contact-relay\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // A page shows the problem in its own way.
        response.extensions_mut().insert(self);
        response
    }
}

/// For one transaction. Callers with several, some of which changed something, add [`Problem::unsure`].
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let is_unchanged = changed_nothing(&error);
        Self { is_unchanged, ..Self::of(&error) }
    }
}

/// Whether the transaction that failed so was rolled back for certain. A commit whose answer was lost may have succeeded.
fn changed_nothing(error: &sqlx::Error) -> bool {
    match error {
        // No connection could be had.
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(refused) => {
            // Connection exceptions, and those of a stopping server: they may have replaced the answer.
            let code = refused.code();
            !code.is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
        }
        _ => false,
    }
}

impl Problem {
    fn of(error: &sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        let detail = match (error, code.as_deref()) {
            // query_canceled, lock_not_available
            (_, Some("57014")) => "the search took too long; narrow its filters",
            (_, Some("55P03")) => "the database is busy with the same rows; try again",
            // `Protocol`: something else accepts connections in its place, such as a proxy whose server is gone.
            (
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
                _,
            ) => "the database does not answer; try again",
            // Connections, resources, shutdowns of the server.
            (_, Some(code)) if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => {
                "the database does not answer; try again"
            }
            // Data exceptions: the database cannot read a filter's value as a text or number.
            (_, Some(code)) if code.starts_with("22") => {
                return Self::new(Kind::InvalidRequest, "a value contains what the database cannot store");
            }
            _ => return Self::internal(error),
        };
        tracing::warn!(error = chain(error), "could not answer a request: {detail}");
        Self::new(Kind::Unavailable, detail).retry_after(5)
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn lost_answer_of_a_commit_may_have_changed_something() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        let other = sqlx::Error::Protocol("unexpected response from SSLRequest: 0x00".to_owned());
        for (error, is_unchanged) in [(sqlx::Error::PoolTimedOut, true), (lost, false), (other, false)] {
            let problem = Problem::from(error);
            assert_eq!((problem.kind, problem.is_unchanged), (Kind::Unavailable, is_unchanged));
        }
        assert!(
            Problem::new(Kind::Conflict, "").is_unchanged && !Problem::new(Kind::Internal, "").is_unchanged
        );
    }

    #[test]
    fn problem_has_the_members_of_rfc_9457() {
        for kind in Kind::VARIANTS {
            let response = Problem::new(*kind, "why").into_response();
            assert!(kind.status().is_client_error() || kind.status().is_server_error());
            assert_eq!(response.status(), kind.status());
            let json = Problem::new(*kind, "why").json();
            assert_eq!(json["type"], format!("urn:contact-relay:problem:{}", kind.name()));
            assert_eq!((&json["status"], &json["detail"]), (&json!(kind.status().as_u16()), &json!("why")));
        }
        let invalid = Problem::invalid("limit", "must be 1 to 500");
        assert_eq!(invalid.json()["errors"], json!([{ "name": "limit", "detail": "must be 1 to 500" }]));
    }
}
