//! The console's pages.

use axum::{
    http::{HeaderMap, header},
    response::{Html, IntoResponse as _, Response},
};

use super::{problem::Problem, route::Route};

/// The pages.
pub(super) fn routes() -> Vec<Route> {
    Vec::new()
}

/// What the sign-in form shows.
pub(super) struct SignIn<'a> {
    /// The path to go to afterwards.
    pub(super) then: &'a str,
    /// Why it is shown again.
    pub(super) fault: Option<&'a str>,
}

/// The page with the sign-in form.
pub(super) fn sign_in(page: &SignIn<'_>) -> Response {
    let fault =
        page.fault.map(|fault| format!("<p role=\"alert\">{}</p>", escaped(fault))).unwrap_or_default();
    let then = escaped(page.then);
    Html(format!(
        "<!doctype html><html lang=\"en\"><title>Sign in</title><h1>contact-relay</h1>{fault}\
         <form method=\"post\" action=\"/sign-in\"><input type=\"hidden\" name=\"then\" value=\"{then}\">\
         <label>Token <input type=\"password\" name=\"token\" required></label><button>Sign in</button></form></html>"
    ))
    .into_response()
}

/// A problem, as a page for whoever asked for one.
pub(super) fn problem(asked: &HeaderMap, response: Response) -> Response {
    let accept = asked.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let Some(problem) = response.extensions().get::<Problem>().filter(|_| accept.contains("text/html"))
    else {
        return response;
    };
    let (title, detail) = (problem.kind.title(), escaped(&problem.detail));
    let page = format!(
        "<!doctype html><html lang=\"en\"><title>{title}</title><h1>{title}</h1><p>{detail}</p></html>"
    );
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts.status, parts.headers, Html(page)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
