//! Builds the HTTP message of a webhook request: the rendered request plus `Host`, `Accept-Encoding` and
//! `Content-Length`. `domain::webhook::action` rejects definitions that set one of these.

use hyper::{
    Method, Request, Uri,
    body::Bytes,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue},
};
use url::{Position, Url};

use super::connection::Body;
use crate::domain::webhook::request::{self, WebhookRequest};

/// `more` are headers after those of the request; `url` is the parsed `request.url`. The error says which part cannot be
/// sent.
pub(super) fn build(
    request: &WebhookRequest,
    more: &[(String, String)],
    url: &Url,
) -> Result<Request<Body>, &'static str> {
    let method = request.method;
    let mut message = Request::new(Body::new(Bytes::new()));
    *message.headers_mut() =
        header_map(&request.headers, more, url).ok_or("a header name or value is not valid")?;
    // Without the fragment, which is never sent (RFC 9110, section 7.1).
    let target = Uri::try_from(&url[Position::BeforePath..Position::AfterQuery]);
    *message.uri_mut() = target.map_err(|_| "the URL is not valid")?;
    *message.method_mut() = method_of(method);
    let body = request.body.as_deref();
    let length = body.map(<[u8]>::len);
    // Without a length, a server may wait for the body that these methods usually have (RFC 9110, section 8.6).
    if let Some(length) = length.or_else(|| expects_body(method).then_some(0)) {
        message.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *message.body_mut() = Body::new(Bytes::copy_from_slice(body.unwrap_or_default()));
    Ok(message)
}

const fn expects_body(method: request::Method) -> bool {
    use request::Method::{Delete, Get, Patch, Post, Put};
    match method {
        Post | Put | Patch => true,
        Get | Delete => false,
    }
}

const fn method_of(method: request::Method) -> Method {
    match method {
        request::Method::Get => Method::GET,
        request::Method::Post => Method::POST,
        request::Method::Put => Method::PUT,
        request::Method::Patch => Method::PATCH,
        request::Method::Delete => Method::DELETE,
    }
}

fn header_map(own: &[(String, String)], more: &[(String, String)], url: &Url) -> Option<HeaderMap> {
    let mut map = HeaderMap::with_capacity(own.len() + more.len() + 3);
    map.insert(HOST, HeaderValue::try_from(host(url)?).ok()?);
    map.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in own.iter().chain(more) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(map)
}

/// The `Host` header: without the scheme's default port, an IPv6 address in brackets.
fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}
