//! Signs people in with a token, or with the link that `dev` prints, and out again.

use axum::{
    Extension,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use time::OffsetDateTime;

use super::{
    body::{Form, Params},
    caller::COOKIE,
    connections::Peer,
    keyring::{Bearer, Keyring, SESSION},
    pages::{self, SignIn},
    problem::{Kind, Problem},
    route::Route,
    shared::Shared,
};
use crate::{metrics::Proof, settings::Role};

/// Why nobody can sign in.
const CLOSED: &str =
    "Nobody has access: http.tokens is empty. Add an entry name:role:token and restart the service.";

/// Why sign-ins from this address fail.
const LIMITED: &str = "Too many attempts from this address have failed. Try again in a minute.";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::open("/sign-in", show),
        Route::open("/sign-in/once/{code}", follow),
        Route::session("/sign-in", None, enter),
        Route::session("/sign-out", Some(Role::Viewer), leave),
    ]
}

async fn show(State(shared): State<Shared>, mut query: Params) -> Result<Response, Problem> {
    let then = local(query.one("then")?);
    let fault = shared.keyring.is_empty().then_some(CLOSED);
    Ok(pages::sign_in(&SignIn { then: &then, fault }))
}

async fn enter(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Form(mut form): Form,
) -> Result<Response, Problem> {
    let then = local(form.one("then")?);
    let token = form.one("token")?.unwrap_or_default();
    form.end()?;
    let (status, fault) = if shared.keyring.is_empty() {
        (StatusCode::UNAUTHORIZED, CLOSED)
    } else {
        let token = token.trim().as_bytes();
        let find = || shared.keyring.bearer(token);
        match shared.sign_in_throttle.admit(peer, Proof::Form, Keyring::is_long(token), find).await {
            Ok(bearer) => return begin(&shared, &bearer, &headers, &then),
            Err(problem) if problem.kind == Kind::TooManyAttempts => (problem.kind.status(), LIMITED),
            Err(problem) => (problem.kind.status(), "This token is not valid."),
        }
    };
    let mut page = pages::sign_in(&SignIn { then: &then, fault: Some(fault) });
    *page.status_mut() = status;
    Ok(page)
}

/// A link preview sends `HEAD`, which must not use up the link.
async fn follow(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    method: Method,
    headers: HeaderMap,
    Path(code): Path<String>,
) -> Result<Response, Problem> {
    let gone =
        || Problem::new(Kind::NotFound, "this link was already used, or is not ours; sign in at /sign-in");
    if method != Method::GET {
        return Err(gone());
    }
    let find = || shared.keyring.follow_link(&code);
    // Our codes are long.
    let bearer = shared.sign_in_throttle.admit(peer, Proof::Link, true, find).await;
    let bearer = bearer.map_err(|problem| match problem.kind {
        Kind::TooManyAttempts => problem,
        _ => gone(),
    })?;
    begin(&shared, &bearer, &headers, "/")
}

async fn leave(Form(form): Form) -> Result<Response, Problem> {
    form.end()?;
    let mut response = Redirect::to("/sign-in").into_response();
    set_cookie(&mut response, &cookie("", 0, false))?;
    Ok(response)
}

fn begin(shared: &Shared, bearer: &Bearer, headers: &HeaderMap, then: &str) -> Result<Response, Problem> {
    let session = shared.keyring.begin_session(bearer, OffsetDateTime::now_utc());
    let session = session.ok_or_else(|| Problem::new(Kind::Unauthenticated, "the token is not valid"))?;
    tracing::info!(name = bearer.name, role = bearer.role.name(), "signed in to the console");
    let mut response = Redirect::to(then).into_response();
    set_cookie(&mut response, &cookie(&session, SESSION.whole_seconds(), is_https(headers)))?;
    Ok(response)
}

fn set_cookie(response: &mut Response, cookie: &str) -> Result<(), Problem> {
    let cookie = HeaderValue::from_str(cookie).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(())
}

fn cookie(value: &str, seconds: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Whether a proxy before us speaks https with the browser.
fn is_https(headers: &HeaderMap) -> bool {
    let scheme = headers.get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok());
    scheme.is_some_and(|scheme| scheme.split(',').next().is_some_and(|first| first.trim() == "https"))
}

/// The path, if it leads to this server. A browser reads `//host` and `/\host` as another one.
fn local(path: Option<String>) -> String {
    let is_local = |path: &String| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    path.filter(is_local).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_paths_are_redirected_to() {
        let local = |path: &str| super::local(Some(path.to_owned()));
        assert_eq!(local("/dead-letters?state=open&text=%20"), "/dead-letters?state=open&text=%20");
        for foreign in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "a", "/a\r\nb", "/\t/b"]
        {
            assert_eq!(local(foreign), "/", "{foreign:?}");
        }
        assert_eq!(super::local(None), "/");
    }

    #[test]
    fn cookie_is_secure_behind_https() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([("x-forwarded-proto".parse().unwrap(), HeaderValue::from_static(value))])
        };
        assert!(is_https(&headers("https")) && is_https(&headers("https, http")));
        assert!(!is_https(&headers("http")) && !is_https(&HeaderMap::new()));
    }
}
