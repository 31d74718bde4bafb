//! The console's pages: HTML from templates, which escape all text from strangers. Pages work without JavaScript:
//! every change is a form that is posted and answered with a redirect. Nothing here decides what a change does.

mod assets;
mod attempts;
mod audit;
mod chart;
mod contact;
mod contact_changes;
mod contacts;
mod dead_letter;
mod dead_letters;
mod deliveries;
mod delivery;
mod edit;
mod endpoint;
mod endpoints;
mod explain;
mod failures;
mod operation;
mod operations;
mod overview;
mod parts;
mod plan;
mod playground;
mod progress;
mod query;
mod shell;
mod transfer;

use askama::Template;
use axum::{
    http::{HeaderMap, header},
    response::{Html, IntoResponse as _, Response},
};

use self::{assets::Assets, shell::Shell};
use super::{caller::Caller, problem::Problem, route::Route};
use crate::settings::Role;

/// The pages.
pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::open(assets::PATH, assets::serve),
        Route::page("/", Role::Viewer, overview::show),
        Route::page("/failures", Role::Viewer, failures::list),
        Route::form("/failures/note", Role::Operator, failures::note),
        Route::page("/dead-letters", Role::Viewer, dead_letters::list),
        Route::page("/dead-letters/{id}", Role::Viewer, dead_letter::show),
        Route::form("/dead-letters/export", Role::Admin, transfer::export),
        Route::page("/dead-letters/import", Role::Admin, transfer::show),
        Route::form("/dead-letters/import", Role::Admin, transfer::import),
        Route::form("/dead-letters/import/file", Role::Admin, transfer::upload),
        Route::form("/dead-letters/{id}/edit", Role::Editor, edit::edit),
        Route::form("/dead-letters/{id}/reveal", Role::Admin, dead_letter::reveal),
        Route::page("/operations", Role::Viewer, operations::list),
        Route::form("/operations/plan", Role::Operator, plan::plan),
        Route::page("/operations/{id}", Role::Viewer, operation::show),
        Route::page("/deliveries", Role::Viewer, deliveries::list),
        Route::page("/deliveries/{id}", Role::Viewer, delivery::show),
        Route::form("/deliveries/resend/plan", Role::Operator, plan::plan_resend),
        Route::form("/deliveries/discard/plan", Role::Operator, plan::plan_discard),
        Route::form("/deliveries/{id}/resend", Role::Operator, delivery::resend),
        Route::form("/deliveries/{id}/reveal", Role::Admin, delivery::reveal),
        Route::page("/endpoints", Role::Viewer, endpoints::list),
        Route::page("/endpoints/{id}", Role::Viewer, endpoint::show),
        Route::form("/endpoints/{id}/pause", Role::Operator, endpoint::pause),
        Route::form("/endpoints/{id}/resume", Role::Operator, endpoint::resume),
        Route::form("/endpoints/{id}/enable", Role::Operator, endpoint::enable),
        Route::form("/endpoints/{id}/test", Role::Operator, endpoint::test),
        Route::page("/contacts", Role::Viewer, contacts::show),
        Route::form_query("/contacts", Role::Viewer, contacts::search),
        Route::page("/contacts/{id}", Role::Viewer, contact::show),
        Route::form("/contacts/{id}/unmerge", Role::Editor, contact_changes::unmerge),
        Route::form("/contacts/{id}/erase", Role::Admin, contact_changes::erase),
        Route::form("/contacts/{id}/reveal", Role::Admin, contact_changes::reveal),
        Route::page("/playground", Role::Viewer, playground::show),
        Route::form_query("/playground", Role::Viewer, playground::preview),
        Route::page("/audit", Role::Viewer, audit::list),
    ];
    routes.extend(operation::decisions());
    routes
}

/// What the sign-in form shows.
pub(super) struct SignIn<'a> {
    /// The path to go to afterwards.
    pub(super) then: &'a str,
    /// Why it is shown again.
    pub(super) fault: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    then: &'a str,
    fault: Option<&'a str>,
    assets: Assets,
}

/// The page with the sign-in form.
pub(super) fn sign_in(page: &SignIn<'_>) -> Response {
    html(&SignInPage { then: page.then, fault: page.fault, assets: Assets::new() })
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    title: &'static str,
    detail: &'a str,
    assets: Assets,
}

/// A problem of somebody who has signed in: in the frame, with a way back.
#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'a> {
    shell: Shell,
    title: &'static str,
    detail: &'a str,
    /// Whether a form was sent that changed nothing.
    is_unchanged: bool,
    back: String,
}

/// A problem as a page, for a client that asked for one; `is_form` if it sent a form.
pub(super) fn problem(asked: &HeaderMap, is_form: bool, response: Response) -> Response {
    let text = |name| asked.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let accept = text(header::ACCEPT);
    let Some(problem) = response.extensions().get::<Problem>().filter(|_| accept.contains("text/html"))
    else {
        return response;
    };
    let (title, detail) = (problem.kind.title(), problem.detail.as_str());
    let page = match response.extensions().get::<Caller>() {
        Some(caller) if caller.csrf.is_some() => html(&RefusedPage {
            shell: Shell::new(caller, "", title),
            title,
            detail,
            is_unchanged: is_form && problem.is_unchanged,
            back: origin(text(header::REFERER), text(header::HOST)),
        }),
        _ => html(&ProblemPage { title, detail, assets: Assets::new() }),
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts.status, parts.headers, page).into_response()
}

/// The page of ours that a request came from, or the first one.
fn origin(referer: &str, host: &str) -> String {
    let path = referer.split_once("://").and_then(|(_, rest)| rest.strip_prefix(host));
    query::back(path.map(str::to_owned), "/")
}

/// A page. A template fails only if writing to memory does.
fn html(page: &impl Template) -> Response {
    page.render()
        .map_or_else(|error| Problem::internal(&error).into_response(), |text| Html(text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn way_back_is_a_page_of_ours() {
        for (referer, expected) in [
            ("https://relay.example:8443/dead-letters?a=b", "/dead-letters?a=b"),
            ("https://evil.example/dead-letters", "/"),
            ("https://relay.example:8443.evil.example/x", "/"),
            ("https://relay.example:8443//evil.example", "/"),
            ("relay.example:8443/x", "/"),
            ("", "/"),
        ] {
            assert_eq!(origin(referer, "relay.example:8443"), expected, "{referer}");
        }
    }
}
