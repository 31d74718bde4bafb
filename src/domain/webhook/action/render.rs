//! Renders the request of a [`WebhookAction`] from the values of an event.
//!
//! No value can change the structure of a JSON body, the host or the path structure of the URL, or add a
//! header.

use crate::domain::{
    value::text::shortened,
    webhook::{
        action::WebhookAction,
        endpoint::Profile,
        request::{MAX_HEADERS, WebhookInvalid, WebhookRequest},
        slack,
        template::{Piece, Template},
        variables::Variables,
    },
};

/// Renders the request of one webhook step.
///
/// `default_body` is the public `contact.upserted` or `webhook.requested` event as JSON. POST, PUT and PATCH
/// send it if the action has no body. A Slack endpoint always gets a Slack message, with the values escaped.
pub fn render(
    action: &WebhookAction,
    profile: Profile,
    variables: &Variables<'_>,
    default_body: &[u8],
) -> Result<WebhookRequest, WebhookInvalid> {
    let url = action.url.as_ref().map_err(Clone::clone)?.render(action.method, variables)?;
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
        (Some(body), Profile::Plain) => (Some(body.render(variables)?), body.content_type(variables)),
        (None, Profile::Plain) if action.method.sends_event() => {
            (Some(default_body.to_vec()), "application/cloudevents+json")
        }
        (Some(body), Profile::Slack) => {
            (Some(body.render_for_slack(variables, default_body)?), "application/json")
        }
        (None, Profile::Slack) if action.method.sends_event() => {
            (Some(slack::event_message(default_body)), "application/json")
        }
        // Receivers may rely on a content type, so one is sent even without a body.
        (None, Profile::Plain | Profile::Slack) => (None, "application/json"),
    };
    if profile == Profile::Slack {
        // The author's content type describes the body as written, not the Slack message.
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
                        "unknown variable {} in header {}",
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
                "the header values are longer than {MAX_HEADERS} bytes together"
            )));
        }
    }
    if value.chars().any(char::is_control) {
        let message = format!(
            "the value of header {} contains a line break or another control character",
            shortened(name)
        );
        return Err(WebhookInvalid::new(message));
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
