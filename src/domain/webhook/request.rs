//! One HTTP request to a receiver. It is rendered once and stored; every attempt sends the same bytes.

use std::fmt;

/// The `user-agent` of every request.
pub const USER_AGENT: &str = concat!("contact-relay/", env!("CARGO_PKG_VERSION"));
/// The longest URL, in bytes. RFC 9110, 4.1 asks everyone to support 8,000.
pub const MAX_URL: usize = 8 * 1024;
/// The most bytes of all header values together.
pub const MAX_HEADERS: usize = 32 * 1024;
/// The longest body, in bytes: a short template could repeat a long value any number of times.
pub const MAX_BODY: usize = 1024 * 1024;

/// An HTTP method that a webhook may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The method with this name, in capitals or not.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name().eq_ignore_ascii_case(name))
    }

    /// Whether a request without a body of its own sends the event.
    pub(super) const fn sends_event(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

/// A request as it is sent, but for the headers that the service adds to each attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookRequest {
    /// The method.
    pub method: Method,
    /// The absolute URL. Personal data and secrets may stand in it.
    pub url: String,
    /// Names in lower case, and values. Always with a `content-type`. Secrets may stand in them.
    pub headers: Vec<(String, String)>,
    /// The exact bytes.
    pub body: Option<Vec<u8>>,
}

impl WebhookRequest {
    /// Bytes of url, headers and body together.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.url.len() + headers + self.body.as_ref().map_or(0, Vec::len)
    }
}

impl fmt::Debug for WebhookRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The webhook cannot be rendered. The text says where and why, for a person, without any value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WebhookInvalid(String);

impl WebhookInvalid {
    pub(in crate::domain) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

pub(super) fn too_long() -> WebhookInvalid {
    WebhookInvalid::new(format!("the body is longer than {MAX_BODY} bytes"))
}
