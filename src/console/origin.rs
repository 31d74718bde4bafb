//! Which sites' pages may send a request, and under which host name.
//!
//! The browser says where a request comes from (`Sec-Fetch-Site`, `Origin`) and which host its user sees (`Host`). An
//! unknown host name may belong to a stranger who points it here (DNS rebinding).

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{
    problem::{Kind, Problem},
    shared::Shared,
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Only our own files, and nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Refuses requests for other hosts and from other origins, and sets the headers that limit what browsers do with the responses.
pub(super) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let checked = check(&shared.settings.http.hosts, request.headers());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // With `no-referrer`, browsers would send `Origin: null` with our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A stylesheet with a hash in its name may override this.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Sets the headers that limit what browsers and proxies do with the responses of open routes.
pub(super) async fn open(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn check(hosts: &[String], headers: &HeaderMap) -> Result<(), Problem> {
    let mut given = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (given.next(), given.next()) else {
        return Err(Problem::new(Kind::InvalidRequest, "the request must have one header `Host`"));
    };
    let host = host.to_str().unwrap_or_default();
    if !is_known(hosts, host) {
        let detail = "this host name is not one of ours; add it to http.hosts, or use an IP address";
        return Err(Problem::new(Kind::UnknownHost, detail));
    }
    match headers.get(header::ORIGIN) {
        Some(origin) if !is_same_origin(origin.to_str().unwrap_or_default(), host) => Err(foreign()),
        _ => Ok(()),
    }
}

/// Refuses a request that the page of another site has sent. A client that is not a browser sends none of these headers.
///
/// # Errors
/// When it has.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    match site {
        // Without it, [`guard`] has compared `Origin` with `Host`, and forms have a token.
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(foreign()),
    }
}

fn foreign() -> Problem {
    let detail =
        "requests of other sites are refused; send it from the console, or without the header `Origin`";
    Problem::new(Kind::ForeignOrigin, detail)
}

fn is_known(hosts: &[String], host: &str) -> bool {
    let name = without_port(host).trim_end_matches('.');
    let is_address = name.parse::<IpAddr>().is_ok()
        || name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .is_some_and(|name| name.parse::<IpAddr>().is_ok());
    is_address
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|known| without_port(known).eq_ignore_ascii_case(name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The scheme does not count: a proxy may have ended TLS.
fn is_same_origin(origin: &str, host: &str) -> bool {
    let authority = ["https://", "http://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_known_hosts_are_served() {
        let hosts = ["relay.example.com".to_owned(), "Other.example".to_owned()];
        let check = |host: &str| check(&hosts, &headers(&[(header::HOST, host)])).is_ok();
        for known in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "10.1.2.3",
            "relay.example.com",
            "Relay.Example.Com:443",
            "other.example",
        ] {
            assert!(check(known), "{known}");
        }
        for foreign in [
            "",
            "evil.example",
            "relay.example.com.evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
        ] {
            assert!(!check(foreign), "{foreign}");
        }
        assert!(super::check(&hosts, &headers(&[])).is_err());
    }

    #[test]
    fn other_origins_are_refused() {
        let check = |origin: &str| {
            let headers = headers(&[(header::HOST, "localhost:8080"), (header::ORIGIN, origin)]);
            check(&[], &headers).is_ok()
        };
        assert!(check("http://localhost:8080") && check("https://LOCALHOST:8080"));
        for foreign in [
            "",
            "null",
            "http://localhost",
            "http://localhost:8081",
            "https://evil.example",
            "file://localhost:8080",
        ] {
            assert!(!check(foreign), "{foreign}");
        }
    }

    #[test]
    fn other_sites_are_refused() {
        let check = |site: &str| check_site(&headers(&[(SEC_FETCH_SITE, site)])).is_ok();
        assert!(check("same-origin") && check("none") && check_site(&HeaderMap::new()).is_ok());
        assert!(!check("cross-site") && !check("same-site") && !check(""));
    }
}
