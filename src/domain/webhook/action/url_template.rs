//! The URL of a webhook: a fixed scheme and host, and a path, query and fragment with variables.
//!
//! Scheme, user name, host and port cannot contain variables, not even trusted ones: only the author decides
//! who receives the data. Elsewhere every byte of a value except letters, digits, `-`, `_`, `.` and `~` is
//! percent-encoded, so no value can end its segment or parameter.

use std::fmt::Write as _;

use url::Url;

use crate::domain::{
    value::text::shortened,
    webhook::{
        request::{MAX_URL, Method, WebhookInvalid},
        template::{Piece, Template},
        variables::Variables,
    },
};

/// A URL that keeps its host for all values.
pub(in crate::domain) struct UrlTemplate {
    /// Scheme, host and port.
    base: Url,
    /// Between the slashes; at least one.
    segments: Vec<Template>,
    query: Option<Template>,
    fragment: Option<Template>,
    /// Base and path as written.
    endpoint: String,
}

impl UrlTemplate {
    pub(super) fn parse(text: &str) -> Result<Self, WebhookInvalid> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err(WebhookInvalid::new("the url contains a line break or another control character"));
        }
        let not_a_url = || WebhookInvalid::new("the url must begin with https:// and a host name");
        let (scheme, rest) = text.split_once("://").ok_or_else(not_a_url)?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(not_a_url());
        }
        let authority_end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(authority_end).ok_or_else(not_a_url)?;
        if Template::parse(authority).has_variables() {
            return Err(WebhookInvalid::new(
                "the url has a variable in its host; variables can only be in path, query and fragment",
            ));
        }
        if authority.contains('@') {
            return Err(WebhookInvalid::new(
                "the url has a user name or password; use an Authorization header instead",
            ));
        }
        if authority.is_empty() {
            return Err(not_a_url());
        }
        let base = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| not_a_url())?;
        let (rest, fragment) = split(rest, '#');
        let (path, query) = split(rest, '?');
        let path = path.strip_prefix(['/', '\\']).unwrap_or(path);
        let endpoint = format!("{base}{path}");
        Ok(Self {
            endpoint,
            base,
            // URL parsers treat a backslash as a slash.
            segments: path.split(['/', '\\']).map(Template::parse).collect(),
            query: query.map(Template::parse),
            fragment: fragment.map(Template::parse),
        })
    }

    /// Scheme, host, port and path as written.
    pub(in crate::domain) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(in crate::domain) fn render(
        &self,
        method: Method,
        variables: &Variables<'_>,
    ) -> Result<String, WebhookInvalid> {
        let mut url = self.base.as_str().to_owned();
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                url.push('/');
            }
            let start = url.len();
            push(&mut url, segment, variables)?;
            let changes = |segment: &str| {
                // It would turn a contact into the whole collection.
                changes_the_path(segment) || (segment.is_empty() && method == Method::Delete)
            };
            if segment.has_variables() && url.get(start..).is_none_or(changes) {
                return Err(WebhookInvalid::new(
                    "a segment of the url's path would be \".\", \"..\", or empty in a DELETE, with the values of this event",
                ));
            }
        }
        for (mark, part) in [('?', &self.query), ('#', &self.fragment)] {
            if let Some(part) = part {
                url.push(mark);
                push(&mut url, part, variables)?;
            }
        }
        self.checked(&url)
    }

    /// Checks that the URL parser, which the HTTP client uses too, sees the same host as the template.
    fn checked(&self, url: &str) -> Result<String, WebhookInvalid> {
        let url = Url::parse(url).map_err(|_| WebhookInvalid::new("the url is not valid"))?;
        let same_origin = url.origin() == self.base.origin();
        if !same_origin || !url.username().is_empty() || url.password().is_some() {
            return Err(WebhookInvalid::new("the url would go to another host"));
        }
        if url.as_str().len() > MAX_URL {
            return Err(too_long());
        }
        Ok(url.into())
    }
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn too_long() -> WebhookInvalid {
    WebhookInvalid::new(format!("the url is longer than {MAX_URL} bytes"))
}

fn push(url: &mut String, template: &Template, variables: &Variables<'_>) -> Result<(), WebhookInvalid> {
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => url.push_str(text),
            Piece::Variable(reference) => {
                let (value, rest) = variables.resolve(reference).ok_or_else(|| {
                    WebhookInvalid::new(format!(
                        "unknown variable {} in the url",
                        shortened(reference.as_written())
                    ))
                })?;
                percent_encode(url, &value.to_text());
                url.push_str(rest);
            }
        }
        if url.len() > MAX_URL {
            return Err(too_long());
        }
    }
    Ok(())
}

/// Percent-encodes everything but unreserved characters (RFC 3986, 2.3).
pub(super) fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Whether a segment would change the path: `.` and `..`, percent-encoded or not, are resolved by URL
/// parsers.
fn changes_the_path(segment: &str) -> bool {
    let dots = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(dots.as_str(), "." | "..")
}
