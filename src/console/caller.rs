//! Who sends a request: the holder of a token, or a session of the console.

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, header, request::Parts},
};
use time::OffsetDateTime;

use super::{
    connections::Peer,
    keyring::{Keyring, Session},
    problem::{Kind, Problem},
    shared::Shared,
};
use crate::{
    metrics::Proof,
    operator::audit::{Actor, Via},
    settings::Role,
};

/// The cookie of a session.
pub(super) const COOKIE: &str = "contact_relay_session";

/// Who sends a request. A handler with this parameter has a caller whose role its route accepts.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Their name, for the audit.
    pub(super) actor: Actor,
    /// What they may do.
    pub(super) role: Role,
    /// The token that the forms of this session must send as `csrf`. A caller with a bearer token has none.
    pub(super) csrf: Option<String>,
}

impl Caller {
    /// Whether they may do what this role may.
    pub(super) fn is(&self, role: Role) -> bool {
        self.role >= role
    }

    /// The caller as the actor of a change, with their reason.
    ///
    /// # Errors
    /// When the reason cannot be recorded.
    pub(super) fn because(&self, reason: Option<&str>) -> Result<Actor, Problem> {
        let actor = self.actor.clone().because(reason);
        actor.map_err(|error| Problem::invalid("reason", error.to_string()))
    }

    /// Reads the token, or without one the session, of a request.
    ///
    /// # Errors
    /// When there is neither, or it is not valid.
    pub(super) async fn of(shared: &Shared, parts: &Parts, via: Via) -> Result<Self, Problem> {
        let (keyring, headers) = (&shared.keyring, &parts.headers);
        if keyring.is_empty() {
            return Err(unauthenticated(
                "nobody has access: http.tokens is empty; add an entry name:role:token and restart",
            ));
        }
        let by = |name: String| Actor::new(name, via);
        if headers.contains_key(header::AUTHORIZATION) {
            let token = token(headers).unwrap_or_default();
            let find = || keyring.bearer(token);
            let peer = peer(&parts.extensions)?;
            let bearer =
                shared.sign_in_throttle.admit(peer, Proof::Bearer, Keyring::is_long(token), find).await?;
            return Ok(Self { actor: by(bearer.name), role: bearer.role, csrf: None });
        }
        let session = session(keyring, headers)
            .ok_or_else(|| unauthenticated("send `Authorization: Bearer <token>`, or sign in at /sign-in"))?;
        let Session { bearer, csrf } = session;
        Ok(Self { actor: by(bearer.name), role: bearer.role, csrf: Some(csrf) })
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Only open routes lack it.
        parts.extensions.get().cloned().ok_or_else(|| unauthenticated("this needs a token"))
    }
}

/// Who is on the other end of the connection. The server has noted it.
///
/// # Errors
/// Never.
pub(super) fn peer(extensions: &Extensions) -> Result<Peer, Problem> {
    let peer = extensions.get().copied();
    peer.ok_or_else(|| Problem::new(Kind::Internal, "the service failed; it does not know its client"))
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(Kind::Unauthenticated, detail)
}

/// The only `Authorization`, if it is a bearer token.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn session(keyring: &Keyring, headers: &HeaderMap) -> Option<Session> {
    let now = OffsetDateTime::now_utc();
    // Another service of this host may have set one of the same name; any valid one will do.
    cookies(headers).take(4).find_map(|value| keyring.session(value, now))
}

/// The values of [`COOKIE`]. Other cookies may have any bytes, so each is decoded on its own.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let pairs =
        headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn strange_cookie_hides_nothing() {
        let (first, second) =
            (b"a=\xff\xfe; contact_relay_session=one;b=\xc3\xa4; ;=", b"contact_relay_session=two");
        let values =
            [&first[..], &second[..]].map(|value| (header::COOKIE, HeaderValue::from_bytes(value).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), ["one", "two"]);
    }
}
