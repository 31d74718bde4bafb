//! The table of routes. It is the only way to add one, so nobody can forget to say who may use it.
//!
//! Router, role checks, form checks, and the tests over all routes use the table.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    handler::Handler,
    http::{Method, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Redirect, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use url::form_urlencoded;

use super::{
    body::{self, CSRF_FIELD},
    caller::Caller,
    idempotency,
    keyring::is_same,
    origin,
    problem::{Kind as ProblemKind, Problem},
    shared::Shared,
    upload,
};
use crate::{operator::audit::Via, settings::Role};

/// The header in which a script sends the token of its session's forms.
const CSRF_HEADER: &str = "x-csrf-token";

/// Maximum size of the form with which anybody may sign in.
const MAX_SIGN_IN: usize = 8 << 10;

/// How long a request that only reads may take.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether a request changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only reads.
    Read,
    /// It changes something that the service keeps.
    Change,
    /// It begins or ends a session.
    Session,
}

/// Who reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// A program: JSON.
    Api,
    /// A person: HTML.
    Page,
}

/// What a route is, without its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// `GET` or `POST`.
    pub method: Method,
    /// With parameters as `{name}`.
    pub path: &'static str,
    /// The lowest role that may use it; `None` if no sign-in is needed.
    pub role: Option<Role>,
    /// Whether it changes anything.
    pub kind: Kind,
    /// Who reads the answer.
    pub face: Face,
}

/// One route.
pub(super) struct Route {
    pub(super) info: RouteInfo,
    handler: MethodRouter<Shared>,
}

impl Route {
    /// `GET`, answered with JSON.
    pub(super) fn read<T: 'static>(path: &'static str, role: Role, handler: impl Handler<T, Shared>) -> Self {
        let info =
            RouteInfo { method: Method::GET, path, role: Some(role), kind: Kind::Read, face: Face::Api };
        Self { info, handler: on(MethodFilter::GET, handler) }
    }

    /// `POST`, answered with JSON.
    pub(super) fn change<T: 'static>(
        path: &'static str,
        role: Role,
        handler: impl Handler<T, Shared>,
    ) -> Self {
        let info =
            RouteInfo { method: Method::POST, path, role: Some(role), kind: Kind::Change, face: Face::Api };
        Self { info, handler: on(MethodFilter::POST, handler) }
    }

    /// `POST` of a request that only reads, because its parameters must not be in a URL.
    pub(super) fn query<T: 'static>(
        path: &'static str,
        role: Role,
        handler: impl Handler<T, Shared>,
    ) -> Self {
        let info =
            RouteInfo { method: Method::POST, path, role: Some(role), kind: Kind::Read, face: Face::Api };
        Self { info, handler: on(MethodFilter::POST, handler) }
    }

    /// `GET`, answered with a page. Visitors who are not signed in are redirected to sign in first.
    pub(super) fn page<T: 'static>(path: &'static str, role: Role, handler: impl Handler<T, Shared>) -> Self {
        let info =
            RouteInfo { method: Method::GET, path, role: Some(role), kind: Kind::Read, face: Face::Page };
        Self { info, handler: on(MethodFilter::GET, handler) }
    }

    /// `POST` of a form, which must have the field [`CSRF_FIELD`], answered with a page or a redirect.
    pub(super) fn form<T: 'static>(path: &'static str, role: Role, handler: impl Handler<T, Shared>) -> Self {
        let info =
            RouteInfo { method: Method::POST, path, role: Some(role), kind: Kind::Change, face: Face::Page };
        Self { info, handler: on(MethodFilter::POST, handler) }
    }

    /// `POST` of a form that only reads, because its parameters must not be in a URL.
    pub(super) fn form_query<T: 'static>(
        path: &'static str,
        role: Role,
        handler: impl Handler<T, Shared>,
    ) -> Self {
        let info =
            RouteInfo { method: Method::POST, path, role: Some(role), kind: Kind::Read, face: Face::Page };
        Self { info, handler: on(MethodFilter::POST, handler) }
    }

    /// `GET` of a page or a file that needs no session.
    pub(super) fn open<T: 'static>(path: &'static str, handler: impl Handler<T, Shared>) -> Self {
        let info = RouteInfo { method: Method::GET, path, role: None, kind: Kind::Read, face: Face::Page };
        Self { info, handler: on(MethodFilter::GET, handler) }
    }

    /// `POST` of a form that begins a session, or with `role` ends one.
    pub(super) fn session<T: 'static>(
        path: &'static str,
        role: Option<Role>,
        handler: impl Handler<T, Shared>,
    ) -> Self {
        let info = RouteInfo { method: Method::POST, path, role, kind: Kind::Session, face: Face::Page };
        Self { info, handler: on(MethodFilter::POST, handler) }
    }
}

/// The router of these routes.
pub(super) fn router(routes: Vec<Route>, shared: &Shared) -> Router {
    let add = |router: Router<Shared>, route: Route| {
        let path = route.info.path;
        let gate = Gate { info: route.info, shared: shared.clone() };
        router.route(path, route.handler.route_layer(from_fn_with_state(gate, pass)))
    };
    routes.into_iter().fold(Router::new(), add).with_state(shared.clone())
}

/// Stands before the handler of one route.
#[derive(Clone)]
struct Gate {
    info: RouteInfo,
    shared: Shared,
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match gate.check(request).await {
        Ok(request) => gate.run(request, next).await,
        Err(refusal) => refusal,
    }
}

impl Gate {
    /// The request with its [`Caller`], if the route has a role, or the response that refuses it.
    async fn check(&self, mut request: Request) -> Result<Request, Response> {
        if self.info.method == Method::POST {
            origin::check_site(request.headers()).map_err(Problem::into_response)?;
        }
        if self.info.kind == Kind::Session {
            request.extensions_mut().insert(body::Limit(MAX_SIGN_IN));
        }
        let Some(role) = self.info.role else { return Ok(request) };
        let via = match self.info.face {
            Face::Api => Via::Api,
            Face::Page => Via::Console,
        };
        let (parts, body) = request.into_parts();
        let caller = Caller::of(&self.shared, &parts, via).await;
        request = Request::from_parts(parts, body);
        let caller = caller.map_err(|problem| self.unauthenticated(&request, problem))?;
        if !caller.is(role) {
            let (needed, has) = (role.name(), caller.role.name());
            let detail = format!("this needs the role {needed}; `{}` has {has}", caller.actor.name);
            return Err(refused(Problem::new(ProblemKind::Forbidden, detail), caller));
        }
        if self.info.method == Method::POST
            && let Some(csrf) = &caller.csrf
        {
            request = check_form(request, csrf).await.map_err(|problem| refused(problem, caller.clone()))?;
        }
        request.extensions_mut().insert(caller);
        Ok(request)
    }

    /// A person who only lacks a session is redirected to sign in.
    fn unauthenticated(&self, request: &Request, problem: Problem) -> Response {
        if self.info.face == Face::Api || request.headers().contains_key(header::AUTHORIZATION) {
            return problem.into_response();
        }
        let then = request.uri().path_and_query().filter(|_| self.info.method == Method::GET);
        let query = then.map(|then| {
            form_urlencoded::Serializer::new(String::from("?")).append_pair("then", then.as_str()).finish()
        });
        Redirect::to(&format!("/sign-in{}", query.unwrap_or_default())).into_response()
    }

    async fn run(self, request: Request, next: Next) -> Response {
        let caller = request.extensions().get::<Caller>().cloned();
        let mut response = self.answer(request, next).await;
        // The page of a problem is in the caller's frame.
        if let Some(caller) = caller {
            response.extensions_mut().insert(caller);
        }
        response
    }

    /// A change continues when its client disconnects: half a change helps nobody.
    async fn answer(self, request: Request, next: Next) -> Response {
        match self.info.kind {
            Kind::Change => {
                let (changes, is_api) = (self.shared.changes.clone(), self.info.face == Face::Api);
                let running = changes.spawn(async move {
                    if is_api {
                        idempotency::run(&self.shared, request, next).await
                    } else {
                        next.run(request).await
                    }
                });
                running.await.unwrap_or_else(|error| Problem::internal(&error).into_response())
            }
            Kind::Read | Kind::Session => {
                let answer = tokio::time::timeout(READ_TIMEOUT, next.run(request)).await;
                answer.unwrap_or_else(|_| {
                    let detail = "the answer took too long; narrow the filters, or try again";
                    Problem::new(ProblemKind::Unavailable, detail).into_response()
                })
            }
        }
    }
}

/// A problem of this caller.
fn refused(problem: Problem, caller: Caller) -> Response {
    let mut response = problem.into_response();
    response.extensions_mut().insert(caller);
    response
}

/// The page of a stranger can send the cookie of a session in some browsers, but it does not know this token.
async fn check_form(request: Request, csrf: &str) -> Result<Request, Problem> {
    let refused = || {
        let detail = "the form has expired or is not ours; load the page again, and send its field `csrf` or the \
                      header `x-csrf-token`";
        Problem::new(ProblemKind::ForeignOrigin, detail)
    };
    if let Some(given) = request.headers().get(CSRF_HEADER) {
        let given = given.to_str().unwrap_or_default();
        return if is_same(given, csrf) { Ok(request) } else { Err(refused()) };
    }
    if upload::is_upload(request.headers()) {
        let (mut fields, request) = upload::open(request).await?;
        let given = fields.one(CSRF_FIELD)?.unwrap_or_default();
        return if is_same(&given, csrf) { Ok(request) } else { Err(refused()) };
    }
    if !body::is_form(request.headers()) {
        return Err(refused());
    }
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts, body).await?;
    let given = form_urlencoded::parse(&bytes).find(|(name, _)| name == CSRF_FIELD);
    if given.is_some_and(|(_, value)| is_same(&value, csrf)) {
        Ok(Request::from_parts(parts, Body::from(bytes)))
    } else {
        Err(refused())
    }
}
