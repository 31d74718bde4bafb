//! Edits the message of a dead letter and sends it as a new event.

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        shared::{Shared, on_one_thread},
    },
    contacts::sentence,
    dead_letter::{Refused, key, respond},
    parts::object,
    shell::{DONE, Done, Shell, go},
};
use crate::{
    domain::event::Key,
    operator::{
        audit::Actor,
        dead_letters::edit::{self, Edit, EditError, Edited},
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
    let (body, reason, owner) = (form.one("body")?, form.one("reason")?, form.one("owner")?);
    form.end()?;
    let actor = caller.because(reason.as_deref())?;
    let key = key(&shared, &id, company).await?;
    let body = body.unwrap_or_default();
    let sent = {
        let (shared, key, body) = (shared.clone(), key.clone(), body.clone());
        on_one_thread(move || send(shared, actor, key, body, owner)).await?
    };
    match sent {
        Ok(edited) => {
            let done = if edited.is_sent { Done::Edited } else { Done::NotSent };
            Ok(go(&object("dead-letters", &edited.key.company, edited.key.id), done))
        }
        Err(fault) => {
            let shell = Shell::new(&caller, "/dead-letters", "Dead letter");
            respond(&shared, shell, &key, Some(Refused { body, fault })).await
        }
    }
}

/// The edited event, or why it was refused.
async fn send(
    shared: Shared,
    actor: Actor,
    key: Key,
    body: String,
    owner: Option<String>,
) -> Result<Result<Edited, String>, Problem> {
    let wanted = Edit { key: &key, body: body.as_bytes(), company: owner.as_deref() };
    match edit::edit(&shared.database, &shared.settings, &actor, &wanted).await {
        Ok(edited) => Ok(Ok(edited)),
        Err(error @ (EditError::Broker(_) | EditError::Database(_) | EditError::Unknown)) => {
            Err(error.into())
        }
        Err(other) => Ok(Err(sentence(&other))),
    }
}
