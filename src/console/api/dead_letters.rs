//! Dead letters: list, groups, note, get, replay, discard, restore, edit.

use std::collections::HashMap;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::{
    input::{self, Ids, InPath},
    refusals,
};
use crate::{
    amqp::{Publisher, Topology},
    console::{
        body::{Json, Params},
        caller::Caller,
        once::Personal,
        problem::Problem,
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    domain::{
        event::Key,
        fault::{Reason, Signature, Stage},
    },
    operator::{
        audit::{self, Actor},
        dead_letters::{
            self, Filter, Left, Progress, ReplayError, ResolveError, State as DeadLetterState,
            edit::{self, Edit, Terms},
        },
        views,
    },
    settings::Role,
};

/// Changes that are shown with a dead letter, the newest ones.
const MAX_CHANGES: u32 = 20;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::read("/api/v1/dead-letters", Role::Viewer, list),
        Route::read("/api/v1/dead-letters/groups", Role::Viewer, groups),
        Route::change("/api/v1/dead-letters/groups/{signature}/note", Role::Operator, note),
        Route::read("/api/v1/dead-letters/{id}", Role::Viewer, get),
        Route::change("/api/v1/dead-letters/replay", Role::Operator, replay),
        Route::change("/api/v1/dead-letters/discard", Role::Operator, discard),
        Route::change("/api/v1/dead-letters/restore", Role::Operator, restore),
        Route::change("/api/v1/dead-letters/{id}/edit", Role::Editor, edit),
    ]
}

async fn list(State(shared): State<Shared>, mut query: Params) -> Result<Reply, Problem> {
    let states = query.all("state");
    let states: Vec<DeadLetterState> =
        states.iter().map(|name| input::named("state", name)).collect::<Result<_, _>>()?;
    let mut filter = filter(&mut query)?;
    if !states.is_empty() {
        filter.states = states;
    }
    let after = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let limit = input::limit(&mut query)?;
    query.end()?;
    Reply::of(&dead_letters::list(&shared.database, &filter, after, limit).await?)
}

async fn groups(State(shared): State<Shared>, mut query: Params) -> Result<Reply, Problem> {
    let filter = filter(&mut query)?;
    let after = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let limit = input::limit(&mut query)?;
    query.end()?;
    Reply::of(&dead_letters::groups(&shared.database, &filter, after, limit).await?)
}

/// All filters but the states, and no limit.
fn filter(query: &mut Params) -> Result<Filter, Problem> {
    let reason = query.one("reason")?;
    let stage = query.one("stage")?;
    Ok(Filter {
        reason: reason.map(|name| input::named::<Reason>("reason", &name)).transpose()?,
        stage: stage.map(|name| input::named::<Stage>("stage", &name)).transpose()?,
        company: input::text(query, "company")?,
        trigger: input::text(query, "trigger")?,
        endpoint: query.parsed("endpoint", |text| text.parse().ok(), "the id of an endpoint")?,
        event_id: input::text(query, "event")?,
        signature: query.parsed("signature", |text| text.parse().ok(), "the signature of a group")?,
        text: query.parsed("text", |text| text.parse().ok(), "1 to 200 characters on one line")?,
        since: input::moment(query, "since")?,
        until: input::moment(query, "until")?,
        ..Filter::default()
    })
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Result<Reply, Problem> {
    let (database, id) = (&shared.database, id.to_string());
    let key = dead_letters::resolve(database, &id).await?;
    let dead_letter = dead_letters::get(database, &key).await?.ok_or(ResolveError::Unknown(id))?;
    let of_it = audit::Filter { object: Some(key.id.to_string()), ..audit::Filter::default() };
    let changes = audit::list(database, &of_it, MAX_CHANGES).await?.items;
    let note = match Signature::try_from(dead_letter.summary.signature.as_slice()) {
        Ok(signature) => dead_letters::note(database, signature).await?,
        Err(_) => None,
    };
    let sight = input::sight(&caller);
    Ok(Reply(views::dead_letters::dead_letter(&dead_letter, &changes, note.as_ref(), sight)?))
}

/// The text of a note; without one, the note is removed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: Option<String>,
    reason: Option<String>,
}

async fn note(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(signature): InPath<String>,
    Json(new): Json<NewNote>,
) -> Result<Reply, Problem> {
    let signature: Signature =
        signature.parse().map_err(|_| Problem::invalid("signature", "expected the signature of a group"))?;
    let actor = input::actor(&caller, new.reason.as_deref())?;
    on_one_thread(move || async move {
        dead_letters::write_note(&shared.database, &actor, signature, new.text.as_deref()).await?;
        Ok(Reply(json!({ "signature": signature, "note": new.text })))
    })
    .await
}

async fn replay(
    State(shared): State<Shared>,
    caller: Caller,
    Json(ids): Json<Ids>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, ids.reason.as_deref())?;
    let ids = ids.distinct()?;
    on_one_thread(move || replay_all(shared, actor, ids)).await
}

async fn replay_all(shared: Shared, actor: Actor, ids: Vec<Uuid>) -> Result<Reply, Problem> {
    let chosen = Chosen::resolve(&shared, ids).await?;
    let mut publisher = Publisher::connect(&shared.settings.amqp, "replay").await?;
    let topology = Topology::new(&shared.settings.amqp.namespace);
    let (keys, mut reached) = (chosen.keys(), Progress::default());
    let progress = |progress: &Progress| reached = progress.clone();
    let replayed =
        dead_letters::replay(&shared.database, &actor, &mut publisher, &topology, &keys, None, progress);
    match replayed.await {
        Ok(progress) => Ok(chosen.reply("replayed", &progress, None)),
        Err(error) => {
            let problem = match error {
                ReplayError::Database(error) => error.into(),
                error @ ReplayError::Publish(_) => refusals::broker(&error),
            };
            chosen.ended_early("replayed", &reached, problem)
        }
    }
}

async fn discard(
    State(shared): State<Shared>,
    caller: Caller,
    Json(ids): Json<Ids>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, ids.reason.as_deref())?;
    let ids = ids.distinct()?;
    on_one_thread(move || async move {
        let chosen = Chosen::resolve(&shared, ids).await?;
        let (keys, mut reached) = (chosen.keys(), Progress::default());
        let progress = |progress: &Progress| reached = progress.clone();
        match dead_letters::discard(&shared.database, &actor, &keys, None, progress).await {
            Ok(progress) => Ok(chosen.reply("discarded", &progress, None)),
            Err(error) => chosen.ended_early("discarded", &reached, error.into()),
        }
    })
    .await
}

async fn restore(
    State(shared): State<Shared>,
    caller: Caller,
    Json(ids): Json<Ids>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, ids.reason.as_deref())?;
    let ids = ids.distinct()?;
    on_one_thread(move || async move {
        let chosen = Chosen::resolve(&shared, ids).await?;
        let (keys, mut reached) = (chosen.keys(), Progress::default());
        let progress = |progress: &Progress| reached = progress.clone();
        match dead_letters::restore(&shared.database, &actor, &keys, None, progress).await {
            Ok(progress) => Ok(chosen.reply("restored", &progress, None)),
            Err(error) => chosen.ended_early("restored", &reached, error.into()),
        }
    })
    .await
}

/// The dead letters that a request names, in its order; those that do not exist have no key.
struct Chosen(Vec<(Uuid, Option<Key>)>);

impl Chosen {
    async fn resolve(shared: &Shared, ids: Vec<Uuid>) -> Result<Self, Problem> {
        let mut chosen = Vec::with_capacity(ids.len());
        for id in ids {
            match dead_letters::resolve(&shared.database, &id.to_string()).await {
                Ok(key) => chosen.push((id, Some(key))),
                Err(ResolveError::Database(error)) => return Err(error.into()),
                Err(_) => chosen.push((id, None)),
            }
        }
        Ok(Self(chosen))
    }

    fn keys(&self) -> Vec<Key> {
        self.0.iter().filter_map(|(_, key)| key.clone()).collect()
    }

    /// Before anything was done, the request fails as a whole. Afterwards the client must learn what was done.
    fn ended_early(&self, done: &str, reached: &Progress, problem: Problem) -> Result<Reply, Problem> {
        if reached.done == 0 { Err(problem) } else { Ok(self.reply(done, reached, Some(&problem))) }
    }

    /// What became of each. With a `problem`, only as many as `reached` counts were tried, in their order.
    fn reply(&self, done: &str, reached: &Progress, problem: Option<&Problem>) -> Reply {
        let left: HashMap<&Key, Left> = reached.left.iter().map(|(key, left)| (key, *left)).collect();
        let tried = reached.done + reached.skipped + reached.failed;
        let (mut number, mut unknown, mut untried) = (0, 0, 0);
        let mut results: Vec<Value> = Vec::with_capacity(self.0.len());
        for (id, key) in &self.0 {
            let Some(key) = key else {
                unknown += 1;
                results.push(
                    json!({ "id": id, "outcome": "unknown", "detail": "there is no such dead letter" }),
                );
                continue;
            };
            number += 1;
            results.push(match (left.get(key), problem) {
                (_, Some(problem)) if number > tried => {
                    untried += 1;
                    json!({ "id": id, "outcome": "failed", "detail": problem.detail })
                }
                (None, _) => json!({ "id": id, "outcome": done }),
                (Some(Left::Skipped), _) => {
                    json!({ "id": id, "outcome": "skipped", "detail": "its state does not allow it" })
                }
                (Some(Left::Failed), _) => {
                    json!({ "id": id, "outcome": "failed", "detail": "the broker did not take it; it is open again" })
                }
            });
        }
        Reply(json!({
            done: reached.done, "skipped": reached.skipped + unknown, "failed": reached.failed + untried,
            "results": results,
        }))
    }
}

/// The whole edited event: as JSON, or as its text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewEvent {
    body: Box<RawValue>,
    company: Option<String>,
    #[serde(default)]
    dry_run: bool,
    reason: Option<String>,
}

async fn edit(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    Json(new): Json<NewEvent>,
) -> Result<Response, Problem> {
    let actor = input::actor(&caller, new.reason.as_deref())?;
    on_one_thread(move || edit_one(shared, actor, id, new)).await
}

async fn edit_one(shared: Shared, actor: Actor, id: Uuid, new: NewEvent) -> Result<Response, Problem> {
    let (database, settings) = (&shared.database, &shared.settings);
    let key = dead_letters::resolve(database, &id.to_string()).await?;
    let (rules, regions) = (settings.rules(), settings.contacts.regions());
    let terms = Terms {
        rules: &rules,
        max_clock_skew: settings.events.max_clock_skew,
        pepper: settings.contacts.suppression_pepper.expose_secret(),
        regions: &regions,
    };
    let body = serde_json::from_str(new.body.get()).unwrap_or_else(|_| new.body.get().to_owned());
    let edit = Edit { key: &key, body: body.as_bytes(), company: new.company.as_deref() };
    if new.dry_run {
        let draft = edit::draft(database, &terms, &edit).await?;
        let draft = json!({
            "company": draft.company, "eventId": draft.event_id, "source": draft.source,
            "difference": draft.difference, "dryRun": true,
        });
        let mut response = Reply(draft).into_response();
        response.extensions_mut().insert(Personal);
        return Ok(response);
    }
    // Before the broker is asked for anything.
    edit::draft(database, &terms, &edit).await?;
    let mut publisher = Publisher::connect(&settings.amqp, "replay").await?;
    let topology = Topology::new(&settings.amqp.namespace);
    let edited = edit::edit(database, &actor, &mut publisher, &topology, &terms, &edit).await?;
    let edited = json!({
        "id": edited.key.id, "company": edited.key.company, "eventId": edited.event_id, "editedFrom": key.id,
        "sent": edited.is_sent,
    });
    Ok(Reply(edited).into_response())
}
