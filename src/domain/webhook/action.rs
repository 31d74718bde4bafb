//! A `WEBHOOK` action as a trigger author writes it, parsed once.
//!
//! An invalid structure is an error of [`WebhookAction::parse`] and makes the trigger invalid. An invalid
//! URL, header or body is kept and reported by [`render::render`], so that only this step fails and the chain
//! still upserts its contact.

mod body;
pub mod render;
mod url_template;

use std::fmt;

use serde_json::{Map, Value};

use crate::domain::webhook::{
    request::{Method, WebhookInvalid, WebhookRequest},
    template::Template,
};
use body::Body;
use url_template::UrlTemplate;

/// A parsed webhook action, rendered once per event.
pub struct WebhookAction {
    pub(super) method: Method,
    pub(super) url: Result<UrlTemplate, WebhookInvalid>,
    /// Names are in lower case, valid and not among [`OWN_HEADERS`].
    pub(super) headers: Result<Vec<(String, Template)>, WebhookInvalid>,
    pub(super) body: Result<Option<Body>, WebhookInvalid>,
    url_as_written: String,
    response_directive: Option<String>,
    unknown_members: Vec<String>,
}

impl fmt::Debug for WebhookAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookAction").field("method", &self.method).finish_non_exhaustive()
    }
}

const MEMBERS: [&str; 6] = ["type", "url", "method", "headers", "body", "responseDirective"];

/// Headers that the service sets itself, and those that belong to the connection (RFC 9110, 7.6.1).
const OWN_HEADERS: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

impl WebhookAction {
    /// Parses a definition with `"type": "WEBHOOK"`. Ignores unknown members; [`WebhookAction::problems`]
    /// reports them.
    ///
    /// # Errors
    /// A sentence about the definition, without its values.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let members = value.as_object().ok_or("an action must be an object")?;
        if members.get("type").and_then(Value::as_str) != Some("WEBHOOK") {
            return Err("type must be \"WEBHOOK\"".to_owned());
        }
        let url = text(members, "url")?.ok_or("url is missing")?;
        let method = match text(members, "method")? {
            Some(name) => name.parse().map_err(|_| "method must be GET, POST, PUT, PATCH or DELETE")?,
            None => Method::Post,
        };
        let headers = headers(members.get("headers"))?;
        let content_type = headers.iter().flatten().find(|(name, _)| name == "content-type");
        let content_type = content_type.and_then(|(_, template)| template.as_plain());
        let unknown = members.keys().filter(|name| !MEMBERS.contains(&name.as_str()));
        Ok(Self {
            method,
            url: UrlTemplate::parse(url),
            body: members
                .get("body")
                .filter(|body| !body.is_null())
                .map(|body| Body::parse(body, content_type))
                .transpose(),
            headers,
            url_as_written: url.to_owned(),
            response_directive: text(members, "responseDirective")?.map(str::to_owned),
            unknown_members: unknown.cloned().collect(),
        })
    }

    /// Problems of this definition that any event would run into, as sentences without values.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let url = self.url.as_ref().err().map(ToString::to_string);
        let headers = self.headers.as_ref().err().map(ToString::to_string);
        let body = self.body.as_ref().err().map(ToString::to_string);
        let unknown = self.unknown_members.iter().map(|name| {
            format!("\"{name}\" is not a member of a WEBHOOK action; its members are {}", MEMBERS.join(", "))
        });
        url.into_iter().chain(headers).chain(body).chain(unknown).collect()
    }

    /// Whether a body whose content type is not declared is sent as text, because it is not JSON.
    #[must_use]
    pub fn falls_back_to_text(&self) -> bool {
        let declares =
            |headers: &Vec<(String, Template)>| headers.iter().any(|(name, _)| name == "content-type");
        matches!(self.body, Ok(Some(Body::Text(_)))) && !self.headers.as_ref().is_ok_and(declares)
    }

    /// Scheme, host, port and path as written, which identify the endpoint. `None` if the URL is invalid.
    #[must_use]
    pub fn endpoint_url(&self) -> Option<&str> {
        self.url.as_ref().ok().map(UrlTemplate::endpoint)
    }

    /// The author's instruction to the platform for interpreting the response.
    #[must_use]
    pub fn response_directive(&self) -> Option<&str> {
        self.response_directive.as_deref()
    }

    /// Method and URL as written, to show a step that cannot be rendered. Never sent.
    #[must_use]
    pub fn as_written(&self) -> WebhookRequest {
        let url = self.url_as_written.clone();
        WebhookRequest { method: self.method, url, headers: Vec::new(), body: None }
    }
}

/// An optional string member. `null` counts as absent.
fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a string")),
    }
}

type Headers = Result<Vec<(String, Template)>, WebhookInvalid>;

fn headers(value: Option<&Value>) -> Result<Headers, String> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Ok(Vec::new())),
        Some(Value::Array(list)) => list,
        // Some languages write an empty list like an empty object.
        Some(Value::Object(members)) if members.is_empty() => return Ok(Ok(Vec::new())),
        Some(_) => return Err("headers must be a list of objects with key and value".to_owned()),
    };
    let mut headers = Vec::with_capacity(list.len());
    let mut illegal = None;
    for (index, entry) in list.iter().enumerate() {
        let at = |what: &str| format!("headers[{index}]: {what}");
        let entry = entry.as_object().ok_or_else(|| at("must be an object with key and value"))?;
        let name = text(entry, "key").map_err(|e| at(&e))?.ok_or_else(|| at("key is missing"))?;
        let value = text(entry, "value").map_err(|e| at(&e))?.ok_or_else(|| at("value is missing"))?;
        let name = name.to_ascii_lowercase();
        if OWN_HEADERS.contains(&name.as_str()) || name.starts_with("webhook-") {
            return Err(at("the service sets this header, so an action cannot"));
        }
        if !is_token(&name) {
            illegal.get_or_insert(at("key is not a valid header name"));
        } else if value.chars().any(char::is_control) {
            illegal.get_or_insert(at("value contains a line break or another control character"));
        }
        headers.push((name, Template::parse(value)));
    }
    Ok(illegal.map_or(Ok(headers), |message| Err(WebhookInvalid::new(message))))
}

/// Whether the text is a token (RFC 9110, 5.6.2), which a header name must be.
fn is_token(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_inside)
}

#[cfg(test)]
mod tests;
