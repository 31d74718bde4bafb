//! The HTTP request of a delivery. It is rendered and stored once; every attempt sends the same bytes.

use std::fmt;

use strum::{EnumString, IntoStaticStr, VariantArray};

/// The `user-agent` header of every request.
pub const USER_AGENT: &str = concat!("contact-relay/", env!("CARGO_PKG_VERSION"));
/// In bytes. RFC 9110, 4.1 recommends support for at least 8,000.
pub const MAX_URL: usize = 8 * 1024;
/// Bytes of all header values together.
pub const MAX_HEADERS: usize = 32 * 1024;
/// In bytes. Without a limit, a short template could repeat a long value any number of times.
pub const MAX_BODY: usize = 1024 * 1024;

/// An HTTP method that a webhook may use. Parsed in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "UPPERCASE", ascii_case_insensitive)]
#[expect(missing_docs, reason = "the variants are the method names")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether a request sends the event if its action has no body.
    pub(super) const fn sends_event(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

/// A request as it is sent, without the headers that the service adds to each attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookRequest {
    /// From the action.
    pub method: Method,
    /// Absolute. May contain personal data and secrets.
    pub url: String,
    /// Names in lower case, and values. Always includes `content-type`. May contain secrets.
    pub headers: Vec<(String, String)>,
    /// The exact bytes to send.
    pub body: Option<Vec<u8>>,
}

impl WebhookRequest {
    /// Bytes of URL, headers and body together.
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

/// The webhook cannot be rendered. The message says where and why, without values.
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
