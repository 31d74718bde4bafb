//! Dead letters: list, groups, note, get, edit. `operations` changes many at once.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use uuid::Uuid;

use super::input::{self, InPath};
use crate::{
    console::{
        body::{Json, Params},
        caller::Caller,
        idempotency::Personal,
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
        audit::Actor,
        dead_letters::{
            self, Filter, ResolveError, State as DeadLetterState,
            edit::{self, Edit},
        },
        selection::Selection,
        views,
    },
    postgres::Database,
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::read("/api/v1/dead-letters", Role::Viewer, list),
        Route::read("/api/v1/dead-letters/groups", Role::Viewer, groups),
        Route::change("/api/v1/dead-letters/groups/{signature}/note", Role::Operator, note),
        Route::read("/api/v1/dead-letters/{id}", Role::Viewer, get),
        Route::change("/api/v1/dead-letters/{id}/edit", Role::Editor, edit),
    ]
}

async fn list(State(shared): State<Shared>, mut query: Params) -> Result<Reply, Problem> {
    let (states, event) = (query.all("state"), query.one("event")?);
    let state = Some(states).filter(|states| !states.is_empty());
    let given = Given { event, state, ..Given::take(&mut query)? };
    let filter = given.filter(&DeadLetterState::UNSETTLED)?;
    let after = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let limit = input::limit(&mut query)?;
    query.end()?;
    Reply::of(&dead_letters::list(&shared.database, &filter, after, limit).await?)
}

async fn groups(State(shared): State<Shared>, mut query: Params) -> Result<Reply, Problem> {
    let filter = Given::take(&mut query)?.filter(&DeadLetterState::UNSETTLED)?;
    let after = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let limit = input::limit(&mut query)?;
    query.end()?;
    Reply::of(&dead_letters::groups(&shared.database, &filter, after, limit).await?)
}

/// The filters as they are given: the parameters of a listing, or members of JSON with the same names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    reason: Option<String>,
    stage: Option<String>,
    company: Option<String>,
    trigger: Option<String>,
    endpoint: Option<String>,
    event: Option<String>,
    signature: Option<String>,
    text: Option<String>,
    since: Option<String>,
    until: Option<String>,
    state: Option<Vec<String>>,
}

impl Given {
    /// What listings and groups have in common: all but the states and the event.
    fn take(query: &mut Params) -> Result<Self, Problem> {
        Ok(Self {
            reason: query.one("reason")?,
            stage: query.one("stage")?,
            company: query.one("company")?,
            trigger: query.one("trigger")?,
            endpoint: query.one("endpoint")?,
            event: None,
            signature: query.one("signature")?,
            text: query.one("text")?,
            since: query.one("since")?,
            until: query.one("until")?,
            state: None,
        })
    }

    /// The filter; these are the default states.
    pub(super) fn filter(self, states: &[DeadLetterState]) -> Result<Filter, Problem> {
        let given = self.state.filter(|given| !given.is_empty());
        let given = given.map(|names| names.iter().map(|name| input::named("state", name)).collect());
        Ok(Filter {
            reason: self.reason.map(|name| input::named::<Reason>("reason", &name)).transpose()?,
            stage: self.stage.map(|name| input::named::<Stage>("stage", &name)).transpose()?,
            company: input::storable("company", self.company)?,
            trigger: input::storable("trigger", self.trigger)?,
            endpoint: input::read("endpoint", self.endpoint, "the id of an endpoint")?,
            event_id: input::storable("event", self.event)?,
            signature: input::read("signature", self.signature, "the signature of a group")?,
            text: input::read("text", self.text, "1 to 200 characters on one line")?,
            since: input::moment_in("since", self.since)?,
            until: input::moment_in("until", self.until)?,
            states: given.transpose()?.unwrap_or_else(|| states.to_vec()),
            limit: None,
        })
    }
}

/// Refuses a selection with an unknown key.
pub(super) async fn all_exist(database: &Database, selection: &Selection<Filter>) -> Result<(), Problem> {
    input::all_exist("dead letter", selection, async |keys: &[Key]| {
        let rows = dead_letters::summaries(database, keys).await?;
        Ok(rows.into_iter().map(|row| Key { company: row.company, id: row.id }).collect())
    })
    .await
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Result<Reply, Problem> {
    let (database, id) = (&shared.database, id.to_string());
    let key = dead_letters::resolve(database, &id).await?;
    let shown = dead_letters::show(database, &key).await?.ok_or(ResolveError::Unknown(id))?;
    Ok(Reply(views::dead_letters::dead_letter(&shown, input::sight(&caller))?))
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
    let actor = caller.because(new.reason.as_deref())?;
    on_one_thread(move || async move {
        dead_letters::write_note(&shared.database, &actor, signature, new.text.as_deref()).await?;
        Ok(Reply(json!({ "signature": signature, "note": new.text })))
    })
    .await
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
    let actor = caller.because(new.reason.as_deref())?;
    on_one_thread(move || edit_one(shared, actor, id, new)).await
}

async fn edit_one(shared: Shared, actor: Actor, id: Uuid, new: NewEvent) -> Result<Response, Problem> {
    let (database, settings) = (&shared.database, &shared.settings);
    let key = dead_letters::resolve(database, &id.to_string()).await?;
    let body = serde_json::from_str(new.body.get()).unwrap_or_else(|_| new.body.get().to_owned());
    let edit = Edit { key: &key, body: body.as_bytes(), company: new.company.as_deref() };
    if new.dry_run {
        let draft = edit::draft(database, settings, &edit).await?;
        let draft = json!({
            "company": draft.company, "eventId": draft.event_id, "source": draft.source,
            "difference": draft.difference, "dryRun": true,
        });
        let mut response = Reply(draft).into_response();
        response.extensions_mut().insert(Personal);
        return Ok(response);
    }
    let edited = edit::edit(database, settings, &actor, &edit).await?;
    let edited = json!({
        "id": edited.key.id, "company": edited.key.company, "eventId": edited.event_id, "editedFrom": key.id,
        "sent": edited.is_sent,
    });
    Ok(Reply(edited).into_response())
}
