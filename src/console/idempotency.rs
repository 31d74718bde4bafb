//! Makes changes repeatable: with the same `Idempotency-Key`, a change happens once.
//!
//! The key is taken before the change begins, in its own transaction. If the process dies in between, the key stays
//! taken: nobody knows what was done, so a repetition is refused, never run. A request that changed nothing releases
//! its key.

use axum::{
    body::{Body, Bytes, HttpBody as _, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

use super::{
    body,
    caller::Caller,
    problem::{Kind, Problem},
    shared::Shared,
};
use crate::postgres::idempotency::{self as store, Known};

/// The header with the key.
pub(super) const HEADER: &str = "idempotency-key";

/// Maximum size of an answer that is kept.
const MAX_ANSWER: usize = 1 << 20;

/// After this many seconds, a request without an answer counts as dead.
const PRESUMED_DEAD: i64 = 300;

/// Marks a response that must not be kept, because it has personal data or secrets.
#[derive(Clone, Copy)]
pub(super) struct Personal;

/// Runs a change, or answers as its first run was answered.
pub(super) async fn run(shared: &Shared, request: Request, next: Next) -> Response {
    let key = match key(request.headers()) {
        Ok(None) => return next.run(request).await,
        Ok(Some(key)) => key,
        Err(problem) => return problem.into_response(),
    };
    let Some(caller) = request.extensions().get::<Caller>().map(|caller| caller.actor.name.clone()) else {
        return next.run(request).await;
    };
    match run_once(shared, &caller, &key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let key = key.as_bytes();
    let is_plain = (1..=255).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if !is_plain || given.next().is_some() {
        let detail = "must be 1 to 255 visible ASCII characters, and given once";
        return Err(Problem::invalid("Idempotency-Key", detail));
    }
    Ok(Some(String::from_utf8_lossy(key).into_owned()))
}

async fn run_once(
    shared: &Shared,
    caller: &str,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts, body).await?;
    let mut hash = Sha256::new();
    for part in [parts.method.as_str(), &parts.uri.to_string()] {
        hash.update(part.as_bytes());
        hash.update(b"\0");
    }
    hash.update(&bytes);
    let hash = hash.finalize();
    let is_released = shared.released_keys.take(caller, key);
    let take = async |conn: &mut sqlx::PgConnection| {
        if is_released {
            store::release(&mut *conn, caller, key).await?;
        }
        store::take(conn, caller, key, &hash).await
    };
    let known = shared.database.unit(take).await.inspect_err(|_| {
        if is_released {
            shared.released_keys.add(caller, key);
        }
    })?;
    if let Some(response) = answered(known)? {
        return Ok(response);
    }
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    keep(shared, caller, key, response).await
}

/// The response to a request whose key is taken.
fn answered(known: Known) -> Result<Option<Response>, Problem> {
    match known {
        Known::New => Ok(None),
        Known::OtherRequest => {
            let detail = "this key belongs to a request with another address or body; use a new key";
            Err(Problem::new(Kind::IdempotencyKeyReused, detail))
        }
        Known::Unfinished { seconds } if seconds < PRESUMED_DEAD => {
            let detail = "the request with this key is still running";
            Err(Problem::new(Kind::Conflict, detail).retry_after(1))
        }
        Known::Unfinished { .. } => {
            let detail = "the request with this key was interrupted, and may have taken effect or not; look first, and \
                          use a new key";
            Err(Problem::new(Kind::Conflict, detail))
        }
        Known::Finished { answer: None, .. } => {
            let detail = "the request with this key took effect; its answer is not kept, because it has personal \
                          data or is too large";
            Err(Problem::new(Kind::Conflict, detail))
        }
        Known::Finished { status, answer: Some(answer) } => {
            let mut response = Response::new(Body::from(answer));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
            Ok(Some(response))
        }
    }
}

async fn keep(shared: &Shared, caller: &str, key: &str, response: Response) -> Result<Response, Problem> {
    let status = response.status();
    if !status.is_success() {
        let problem = response.extensions().get::<Problem>();
        let is_unchanged = problem.map_or(!status.is_server_error(), |problem| problem.is_unchanged);
        // It may have changed something, which a repetition with the same key would not report.
        if !is_unchanged {
            return Ok(response);
        }
        if let Err(error) = shared.database.unit(async |conn| store::release(conn, caller, key).await).await {
            tracing::warn!(error = crate::telemetry::chain(&error), "could not release an idempotency key");
            shared.released_keys.add(caller, key);
        }
        return Ok(response);
    }
    let (response, answer) = storable(response).await?;
    let answer = answer.as_ref().and_then(|answer| std::str::from_utf8(answer).ok());
    let finish =
        async |conn: &mut sqlx::PgConnection| store::finish(conn, caller, key, status.as_u16(), answer).await;
    if let Err(error) = shared.database.unit(finish).await {
        // The change is made. A repetition learns that its outcome is unknown.
        tracing::warn!(error = crate::telemetry::chain(&error), "could not keep the answer of a request");
    }
    Ok(response)
}

/// The response, and its body if that may be kept. Any other one is passed on as it is: the change is made.
async fn storable(response: Response) -> Result<(Response, Option<Bytes>), Problem> {
    let is_personal = response.extensions().get::<Personal>().is_some();
    let is_small = response.body().size_hint().upper().is_some_and(|size| size <= MAX_ANSWER as u64);
    if is_personal || !is_small {
        return Ok((response, None));
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_ANSWER).await.map_err(|error| Problem::internal(&error))?;
    Ok((Response::from_parts(parts, Body::from(bytes.clone())), Some(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_and_personal_answers_are_passed_on_but_not_kept() {
        for (length, is_personal, is_kept) in
            [(2, false, true), (MAX_ANSWER, false, true), (MAX_ANSWER + 1, false, false), (2, true, false)]
        {
            let text = "x".repeat(length);
            let mut response = Response::new(Body::from(text.clone()));
            if is_personal {
                response.extensions_mut().insert(Personal);
            }
            let (response, kept) = storable(response).await.unwrap();
            assert_eq!(kept.is_some(), is_kept, "{length}");
            assert!(to_bytes(response.into_body(), usize::MAX).await.unwrap() == text);
        }
    }
}
