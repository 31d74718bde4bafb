//! One delivery: its attempts, its request, and sending it again.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::{Kind, Problem},
        shared::{Shared, on_one_thread},
    },
    attempts::{Line, Request},
    explain,
    parts::{Badge, Id, Moment, object, printable},
    query::{self, key_text},
    shell::{DONE, Done, Shell, go, render},
};
use crate::{
    domain::event::Key,
    operator::{
        deliveries::{self, Delivery, State as DeliveryState},
        endpoints::shortened,
        wake_worker::wake,
    },
};

#[derive(Template)]
#[template(path = "delivery.html")]
struct Page {
    shell: Shell,
    key: String,
    id: Id,
    company: String,
    trigger: String,
    state: Badge,
    waits: &'static str,
    until: Option<Moment>,
    fault: String,
    is_pending: bool,
    can_resend: bool,
    resend: String,
    resend_verb: &'static str,
    endpoint: String,
    endpoint_href: Option<String>,
    created: Moment,
    next_attempt: Option<Moment>,
    finished: Option<Moment>,
    attempt_count: i32,
    is_newest_only: bool,
    event: Id,
    source: String,
    step: i16,
    contact: Option<(Id, String)>,
    dead_letter: Option<DeadLetter>,
    digest: Option<(Id, String)>,
    members: Vec<(Id, String)>,
    attempts: Vec<Line>,
    request: Option<Request>,
    /// Where identity documents are shown, if any are masked.
    reveal: Option<String>,
}

struct DeadLetter {
    state: Badge,
    id: Id,
    href: String,
}

/// The delivery of the path, of the company in the query.
async fn key(shared: &Shared, id: &str, company: Option<String>) -> Result<Key, Problem> {
    if let (Some(company), Ok(id)) = (&company, Uuid::try_parse(id)) {
        return Ok(Key { company: company.clone(), id });
    }
    Ok(deliveries::resolve(&shared.database, company.as_deref(), id).await?)
}

pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let (company, done) = (params.one("company")?, params.one(DONE)?);
    params.end()?;
    let key = key(&shared, &id, company).await?;
    let found = deliveries::get(&shared.database, &key).await?;
    let delivery = found.ok_or_else(gone)?;
    let shell = Shell::new(&caller, "/deliveries", "Delivery").after(done.as_deref());
    let is_pending = delivery.listed.summary.state == DeliveryState::Pending.name();
    render(&page(if is_pending { shell.live() } else { shell }, &key, &delivery))
}

pub(super) async fn reveal(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    let (key, actor) = query::target(&id, params, form, &caller)?;
    let shell = Shell::new(&caller, "/deliveries", "Delivery");
    let revealed = on_one_thread(move || async move {
        let found = deliveries::reveal(&shared.database, &actor, &key).await?;
        Ok::<_, Problem>((found.ok_or_else(gone)?, key))
    });
    let (delivery, key) = revealed.await?;
    render(&page(shell, &key, &delivery))
}

fn gone() -> Problem {
    Problem::new(Kind::NotFound, "there is no such delivery; deliveries are removed some time after they end")
}

fn page(shell: Shell, key: &Key, delivery: &Delivery) -> Page {
    let now = OffsetDateTime::now_utc();
    let row = &delivery.listed.summary;
    let is_pending = row.state == DeliveryState::Pending.name();
    let shows_bodies = shell.is_operator();
    let of = |id: Uuid| (Id::new(id), object("deliveries", &key.company, id));
    let title = format!("Delivery {}: {}", Id::new(row.id).short(), printable(&row.trigger));
    let request = &delivery.request;
    let request = Request::new(&request.method, &request.url, &request.headers, request.body.as_deref());
    Page {
        key: key_text(key),
        id: Id::new(row.id),
        company: printable(&row.company),
        trigger: printable(&row.trigger),
        state: Badge::delivery(&row.state),
        waits: delivery.listed.waits_for().map(explain::wait).unwrap_or_default(),
        until: Moment::of(delivery.listed.waits_until(), now),
        fault: delivery.fault.as_deref().map(printable).unwrap_or_default(),
        is_pending,
        can_resend: delivery.fault.is_none() && row.digest_id.is_none(),
        resend: object("deliveries", &key.company, row.id).replacen('?', "/resend?", 1),
        resend_verb: if is_pending { "Send now" } else { "Send again" },
        endpoint: printable(&row.endpoint_url.as_deref().map(shortened).unwrap_or_default()),
        endpoint_href: row.endpoint_id.map(|id| object("endpoints", &key.company, id)),
        created: Moment::new(row.created_at, now),
        next_attempt: Moment::of(row.next_attempt_at, now),
        finished: Moment::of(row.finished_at, now),
        attempt_count: row.attempts,
        is_newest_only: row.newest_only,
        event: Id::text(&row.event_id),
        source: printable(&delivery.source),
        step: delivery.step,
        contact: row.contact_id.map(|id| (Id::new(id), object("contacts", &key.company, id))),
        dead_letter: delivery.dead_letter.as_ref().map(|dead| DeadLetter {
            state: Badge::dead_letter(&dead.state),
            id: Id::new(dead.id),
            href: object("dead-letters", &key.company, dead.id),
        }),
        digest: row.digest_id.map(of),
        members: delivery.members.iter().copied().map(of).collect(),
        attempts: delivery.attempts.iter().rev().map(|one| Line::new(one, now, shows_bodies)).collect(),
        request: shows_bodies.then_some(request),
        reveal: (shell.is_admin() && delivery.has_documents)
            .then(|| object("deliveries", &key.company, row.id).replacen('?', "/reveal?", 1)),
        shell: shell.titled(title),
    }
}

pub(super) async fn resend(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    let (key, actor) = query::target(&id, params, form, &caller)?;
    let here = object("deliveries", &key.company, key.id);
    let resent = on_one_thread(move || async move {
        let resent = deliveries::resend(&shared.database, &actor, &[key]).await?;
        if resent.done > 0 {
            wake(&shared.settings.amqp).await;
        }
        Ok(resent)
    });
    let resent = resent.await?;
    let done = if resent.done > 0 { Done::Resent } else { Done::NotResent };
    Ok(go(&here, done))
}
