//! A `WEBHOOK` action as a trigger author writes it, parsed once.
//!
//! An invalid structure is an error of [`WebhookAction::parse`] and makes the trigger invalid. An invalid
//! URL, header or body is kept and reported by [`render::render`], so that only this step fails and the chain
//! still upserts its contact.

mod body;
mod headers;
pub mod render;
mod url_template;

use std::fmt;

use serde_json::{Map, Value};

use crate::domain::{
    json::is_empty,
    webhook::request::{Method, WebhookInvalid, WebhookRequest},
};
use body::Body;
use headers::Headers;
use url_template::UrlTemplate;

/// A parsed webhook action, rendered once per event.
pub struct WebhookAction {
    pub(super) method: Method,
    pub(super) url: Result<UrlTemplate, WebhookInvalid>,
    pub(super) headers: Headers,
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
        let method = match text(members, "method")?.map(str::trim).filter(|name| !name.is_empty()) {
            Some(name) => name.parse().map_err(|_| "method must be GET, POST, PUT, PATCH or DELETE")?,
            None => Method::Post,
        };
        let headers = headers::parse(members.get("headers"))?;
        let content_type = headers.iter().flatten().find(|(name, _)| name == "content-type");
        let content_type = content_type.and_then(|(_, template)| template.as_plain());
        let is_unknown =
            |(name, value): &(&String, &Value)| !MEMBERS.contains(&name.as_str()) && !is_empty(value);
        let unknown = members.iter().filter(is_unknown).map(|(name, _)| name);
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
            response_directive: text(members, "responseDirective")?
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned),
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

    /// Whether the body is sent as text, because it is neither JSON nor a form. A value can change its structure, regardless of the
    /// declared content type.
    #[must_use]
    pub const fn is_sent_as_text(&self) -> bool {
        matches!(self.body, Ok(Some(Body::Text(_))))
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

/// Position, name and value of each header of a `headers` member that can be read.
#[must_use]
pub fn headers_of(headers: &Value) -> Vec<(usize, String, String)> {
    headers::written(Some(headers)).unwrap_or_default()
}

/// The JSON that a text body is once its variables have values, with the variables as texts and numbers of no
/// meaning. `None` if the body is sent as text.
#[must_use]
pub fn json_of_text(body: &str) -> Option<Value> {
    body::as_json(body).map(|(value, _)| value).filter(|value| value.is_object() || value.is_array())
}

/// An optional string member. `null` counts as absent.
fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a string")),
    }
}

#[cfg(test)]
mod tests;
