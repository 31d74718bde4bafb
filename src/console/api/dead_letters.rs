//! Dead letters: list, get, replay, discard.

use axum::extract::State;
use serde_json::{Value, json};
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
        problem::Problem,
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    domain::event::Key,
    operator::{
        audit::Actor,
        dead_letters::{self, Progress, ReplayError, ResolveError},
    },
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::change("/api/v1/dead-letters/replay", Role::Operator, replay),
        Route::change("/api/v1/dead-letters/discard", Role::Operator, discard),
    ]
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
    let (database, mut results) = (&shared.database, Results::new("replayed"));
    let mut publisher = Publisher::connect(&shared.settings.amqp, "replay").await?;
    let topology = Topology::new(&shared.settings.amqp.namespace);
    for id in ids {
        let Some(key) = results.resolve(&shared, id).await? else { continue };
        let keys = [key];
        let replayed = dead_letters::replay(database, &actor, &mut publisher, &topology, &keys, None, |_| ());
        match replayed.await {
            Ok(progress) => results.add(id, progress),
            Err(ReplayError::Database(error)) => results.fail(id, error.into())?,
            Err(error @ ReplayError::Publish(_)) => results.fail(id, refusals::broker(&error))?,
        }
    }
    Ok(results.reply())
}

async fn discard(
    State(shared): State<Shared>,
    caller: Caller,
    Json(ids): Json<Ids>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, ids.reason.as_deref())?;
    let ids = ids.distinct()?;
    on_one_thread(move || discard_all(shared, actor, ids)).await
}

async fn discard_all(shared: Shared, actor: Actor, ids: Vec<Uuid>) -> Result<Reply, Problem> {
    let mut results = Results::new("discarded");
    for id in ids {
        let Some(key) = results.resolve(&shared, id).await? else { continue };
        match dead_letters::discard(&shared.database, &actor, &[key], None, |_| ()).await {
            Ok(progress) => results.add(id, progress),
            Err(error) => results.fail(id, error.into())?,
        }
    }
    Ok(results.reply())
}

/// What became of each id.
struct Results {
    done: &'static str,
    total: Progress,
    each: Vec<Value>,
}

impl Results {
    fn new(done: &'static str) -> Self {
        Self { done, total: Progress::default(), each: Vec::new() }
    }

    async fn resolve(&mut self, shared: &Shared, id: Uuid) -> Result<Option<Key>, Problem> {
        match dead_letters::resolve(&shared.database, &id.to_string()).await {
            Ok(key) => Ok(Some(key)),
            Err(ResolveError::Database(error)) => self.fail(id, error.into()).map(|()| None),
            Err(error) => {
                self.total.skipped += 1;
                self.each.push(json!({ "id": id, "outcome": "unknown", "detail": error.to_string() }));
                Ok(None)
            }
        }
    }

    fn add(&mut self, id: Uuid, progress: Progress) {
        self.total.done += progress.done;
        self.total.skipped += progress.skipped;
        self.total.failed += progress.failed;
        self.each.push(match progress {
            Progress { failed: 1.., .. } => {
                json!({ "id": id, "outcome": "failed", "detail": "the broker did not take its message; it is open again" })
            }
            Progress { done: 1.., .. } => json!({ "id": id, "outcome": self.done }),
            _ => json!({ "id": id, "outcome": "skipped", "detail": "its state does not allow it" }),
        });
    }

    /// Before anything was done, the request fails as a whole. Afterwards the client must learn what was done.
    fn fail(&mut self, id: Uuid, problem: Problem) -> Result<(), Problem> {
        if self.total.done == 0 {
            return Err(problem);
        }
        self.total.failed += 1;
        self.each.push(json!({ "id": id, "outcome": "failed", "detail": problem.detail }));
        Ok(())
    }

    fn reply(self) -> Reply {
        let Progress { done, skipped, failed, .. } = self.total;
        Reply(json!({ self.done: done, "skipped": skipped, "failed": failed, "results": self.each }))
    }
}
