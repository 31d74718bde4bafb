//! Edits the message of a dead letter and sends it as a new event.

use axum::{
    extract::{Path, State},
    response::Response,
};
use secrecy::ExposeSecret as _;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::{Kind, Problem},
        route::CSRF_FIELD,
        shared::{Shared, on_one_thread},
    },
    contacts::sentence,
    dead_letter::{Refused, key, respond},
    parts::object,
    shell::{DONE, Done, Shell, go},
};
use crate::{
    amqp::{Publisher, Topology},
    domain::event::Key,
    operator::{
        audit::Actor,
        dead_letters::edit::{self, Edit, EditError, Edited, Terms},
    },
};

pub(super) async fn edit(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
    Form(mut form): Form,
) -> Result<Response, Problem> {
    let company = params.one("company")?;
    params.one(DONE)?;
    params.end()?;
    form.one(CSRF_FIELD)?;
    let (body, reason, owner) = (form.one("body")?, form.one("reason")?, form.one("owner")?);
    form.end()?;
    let actor = caller.actor.clone().because(reason.as_deref());
    let actor = actor.map_err(|error| Problem::invalid("reason", error.to_string()))?;
    let key = key(&shared, &id, company).await?;
    let body = body.unwrap_or_default();
    let sent = {
        let (shared, key, body) = (shared.clone(), key.clone(), body.clone());
        on_one_thread(move || send(shared, actor, key, body, owner)).await?
    };
    match sent {
        Ok(edited) => Ok(go(&object("dead-letters", &edited.key.company, edited.key.id), Done::Edited)),
        Err(fault) => {
            let shell = Shell::new(&caller, "/dead-letters", "Dead letter");
            respond(&shared, shell, &key, Some(Refused { body, fault })).await
        }
    }
}

/// A connection to publish with.
async fn broker(shared: &Shared) -> Result<(Publisher, Topology), Problem> {
    let amqp = &shared.settings.amqp;
    Ok((Publisher::connect(amqp, "edit").await?, Topology::new(&amqp.namespace)))
}

/// The edited event, or why it was refused.
async fn send(
    shared: Shared,
    actor: Actor,
    key: Key,
    body: String,
    owner: Option<String>,
) -> Result<Result<Edited, String>, Problem> {
    let settings = &shared.settings;
    let (rules, regions) = (settings.rules(), settings.contacts.regions());
    let terms = Terms {
        rules: &rules,
        max_clock_skew: settings.events.max_clock_skew,
        pepper: settings.contacts.suppression_pepper.expose_secret(),
        regions: &regions,
    };
    let wanted = Edit { key: &key, body: body.as_bytes(), company: owner.as_deref() };
    let edited = match edit::draft(&shared.database, &terms, &wanted).await {
        // Only for a message that can be sent.
        Ok(_) => {
            let (mut publisher, topology) = broker(&shared).await?;
            edit::edit(&shared.database, &actor, &mut publisher, &topology, &terms, &wanted).await
        }
        Err(refused) => Err(refused),
    };
    match edited {
        Ok(edited) => Ok(Ok(edited)),
        Err(EditError::Database(error)) => Err(error.into()),
        Err(EditError::Unknown) => Err(Problem::new(Kind::NotFound, EditError::Unknown.to_string())),
        Err(other) => Ok(Err(sentence(&other))),
    }
}
