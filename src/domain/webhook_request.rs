//! One HTTP request to a receiver, rendered from a [`WebhookAction`] and the values of an event.
//!
//! Values are written by place, so that none can change the structure of a JSON body, the host or the
//! path structure of the URL, or add a header. The rendered request is stored before the first attempt
//! and every attempt sends the same bytes.

use std::fmt;

use super::{
    endpoint::Profile,
    problem::shortened,
    slack,
    template::{Piece, Template},
    variables::{Value, Variables},
    webhook_action::WebhookAction,
};

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
    const fn sends_event(self) -> bool {
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
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Renders the request of one webhook step.
///
/// `default_body` is the public `contact.upserted` event as JSON: what POST, PUT and PATCH send when
/// the action has no body. A Slack endpoint gets a message in any case, of content type JSON, with the
/// values escaped.
pub fn render(
    action: &WebhookAction,
    profile: Profile,
    variables: &Variables<'_>,
    default_body: &[u8],
) -> Result<WebhookRequest, WebhookInvalid> {
    let url = action.url.as_ref().map_err(Clone::clone)?.render(variables)?;
    let templates = action.headers.as_ref().map_err(Clone::clone)?;
    let mut headers = Vec::with_capacity(templates.len() + 1);
    let mut room = MAX_HEADERS;
    for (name, template) in templates {
        let value = header_value(name, template, variables, room)?;
        room = room.saturating_sub(value.len());
        headers.push((name.clone(), value));
    }
    let body = action.body.as_ref().map_err(Clone::clone)?.as_ref();
    let (body, content_type) = match (body, profile) {
        (Some(body), Profile::Plain) => (Some(body.render(variables)?), body.content_type()),
        (None, Profile::Plain) if action.method.sends_event() => {
            (Some(default_body.to_vec()), "application/cloudevents+json")
        }
        (Some(body), Profile::Slack) => {
            (Some(body.render_for_slack(variables, default_body)?), "application/json")
        }
        (None, Profile::Slack) if action.method.sends_event() => {
            (Some(slack::event_message(default_body)), "application/json")
        }
        // Receivers may rely on a content type, so one is sent although nothing follows it.
        (None, Profile::Plain | Profile::Slack) => (None, "application/json"),
    };
    if profile == Profile::Slack {
        // What the author declares is the body as written, not the message that is made of it.
        headers.retain(|(name, _)| name != "content-type");
    }
    if !headers.iter().any(|(name, _)| name == "content-type") {
        headers.insert(0, ("content-type".to_owned(), content_type.to_owned()));
    }
    Ok(WebhookRequest { method: action.method, url, headers, body })
}

fn header_value(
    name: &str,
    template: &Template,
    variables: &Variables<'_>,
    room: usize,
) -> Result<String, WebhookInvalid> {
    let mut value = String::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => value.push_str(text),
            Piece::Variable(reference) => {
                let (found, rest) = variables.resolve(reference).ok_or_else(|| {
                    WebhookInvalid::new(format!(
                        "{} in header {} is unknown",
                        shortened(reference.as_written()),
                        shortened(name)
                    ))
                })?;
                value.push_str(&found.to_text());
                value.push_str(rest);
            }
        }
        if value.len() > room {
            return Err(WebhookInvalid::new(format!(
                "the header values are longer than {MAX_HEADERS} bytes"
            )));
        }
    }
    if value.chars().any(char::is_control) {
        let message = format!(
            "the value of header {} holds a line break or another control character",
            shortened(name)
        );
        return Err(WebhookInvalid::new(message));
    }
    Ok(value)
}

/// Writes a text template; what is unknown stays as written.
pub(super) fn push_text(
    out: &mut String,
    template: &Template,
    variables: &Variables<'_>,
    mut push_value: impl FnMut(&mut String, &Value<'_>),
) -> Result<(), WebhookInvalid> {
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Variable(reference) => match variables.resolve(reference) {
                Some((value, rest)) => {
                    push_value(out, &value);
                    out.push_str(rest);
                }
                None => out.push_str(reference.as_written()),
            },
        }
        if out.len() > MAX_BODY {
            return Err(too_long());
        }
    }
    Ok(())
}

pub(super) fn too_long() -> WebhookInvalid {
    WebhookInvalid::new(format!("the body is longer than {MAX_BODY} bytes"))
}

#[cfg(test)]
mod tests;
