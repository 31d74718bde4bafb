//! Changes to a contact: unmerge, erase, reveal its identity.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use secrecy::ExposeSecret as _;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        shared::{Shared, on_one_thread},
    },
    contact::{Extra, Target, ending, respond},
    contacts::sentence,
    parts::{Id, link},
    shell::{DONE, Done, Shell, go, render},
};
use crate::operator::{
    audit::Actor,
    contacts,
    erasure::{self, EraseError},
    unmerge::{self, UnmergeError, Unmerged},
};

/// What the forms of a contact send.
struct Sent {
    target: Target,
    actor: Actor,
    confirmation: Option<String>,
    is_confirmed: bool,
}

impl Sent {
    fn read(id: &str, mut params: Params, mut form: Params, caller: &Caller) -> Result<Self, Problem> {
        let company = params.one("company")?;
        params.one(DONE)?;
        params.end()?;
        let (confirmation, reason) = (form.one("confirmation")?, form.one("reason")?);
        let is_confirmed = form.one("confirmed")?.is_some();
        form.end()?;
        let actor = caller.because(reason.as_deref())?;
        Ok(Self { target: Target::read(id, company)?, actor, confirmation, is_confirmed })
    }
}

#[derive(Template)]
#[template(path = "unmerge.html")]
struct Plan {
    shell: Shell,
    fault: Option<String>,
    contact: Option<Id>,
    restored: Option<Id>,
    events: usize,
    moved: usize,
    action: String,
    back: String,
}

/// Shows what an unmerge would do, and does it once that is confirmed.
pub(super) async fn unmerge(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    let Sent { target, actor, is_confirmed, .. } = Sent::read(&id, params, form, &caller)?;
    let (company, id) = (target.company.clone(), target.id);
    let outcome = on_one_thread(move || async move {
        let (database, events) = (&shared.for_long_changes, &shared.settings.events);
        match unmerge::unmerge(database, events, &company, id, &actor, !is_confirmed).await {
            Err(UnmergeError::Database(error)) => Err(error.into()),
            outcome => Ok(outcome),
        }
    });
    let outcome = outcome.await?;
    if is_confirmed && outcome.is_ok() {
        return Ok(go(&target.page(), Done::Unmerged));
    }
    let shell = Shell::new(&caller, "/contacts", "Unmerge");
    render(&plan(shell, &target, outcome))
}

fn plan(shell: Shell, target: &Target, outcome: Result<Unmerged, UnmergeError>) -> Plan {
    let back = target.page();
    let action = back.replacen('?', "/unmerge?", 1);
    let (planned, fault) = match outcome {
        Ok(planned) => (Some(planned), None),
        Err(error) => (None, Some(sentence(&error))),
    };
    Plan {
        shell,
        fault,
        contact: planned.as_ref().map(|planned| Id::new(planned.contact.0)),
        restored: planned.as_ref().map(|planned| Id::new(planned.restored.0)),
        events: planned.as_ref().map_or(0, |planned| planned.events),
        moved: planned.as_ref().map_or(0, |planned| planned.moved_events),
        action,
        back,
    }
}

/// Erases a person, once the end of the contact's id was typed.
pub(super) async fn erase(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    let Sent { target, actor, confirmation, .. } = Sent::read(&id, params, form, &caller)?;
    let typed = confirmation.unwrap_or_default().trim().to_ascii_lowercase();
    if typed != ending(target.id.0) && typed != target.id.to_string() {
        let fault = Some("Nothing was erased: these are not the last six characters of the id.".to_owned());
        let shell = Shell::new(&caller, "/contacts", "Contact");
        return respond(&shared, shell, &target, Extra { fault, ..Extra::default() }).await;
    }
    let list = link("/contacts", [("company", target.company.as_str())]);
    on_one_thread(move || async move {
        let settings = &shared.settings;
        let request = erasure::Request {
            company: &target.company,
            id: target.id,
            actor: &actor,
            region: settings.contacts.regions().of(&target.company),
            pepper: settings.contacts.suppression_pepper.expose_secret(),
            source: &settings.events.source,
            dry_run: false,
        };
        match erasure::erase(&shared.for_long_changes, &request).await {
            // Any process finishes the rest.
            Ok(_) | Err(EraseError::Unpublished) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    Ok(go(&list, Done::Erased))
}

/// Shows the contact with its identity, after that was recorded.
pub(super) async fn reveal(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    let Sent { target, actor, .. } = Sent::read(&id, params, form, &caller)?;
    let (database, company, id) = (shared.database.clone(), target.company.clone(), target.id);
    on_one_thread(async move || Ok(contacts::reveal(&database, &actor, &company, id).await?)).await?;
    let shell = Shell::new(&caller, "/contacts", "Contact");
    respond(&shared, shell, &target, Extra { is_revealed: true, ..Extra::default() }).await
}
