//! Contacts: search, get, history, unmerge, erase, reveal.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::input::{self, Because, InPath};
use crate::{
    console::{
        body::{Json, Params},
        caller::Caller,
        idempotency::Personal,
        problem::{Kind, Problem},
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    domain::{
        contact::{Contact, ContactId},
        event::CompanyId,
    },
    operator::{
        contacts::{
            self, Order, Position,
            names::{
                self,
                Given::{Beginning, Whole},
                NameSearch,
            },
        },
        erasure::{self, Request},
        unmerge, views,
    },
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        // Phones and emails must not be in an address, which proxies log.
        Route::query("/api/v1/contacts/search", Role::Viewer, search),
        Route::read("/api/v1/companies/{company}/contacts/{id}", Role::Viewer, get),
        Route::read("/api/v1/companies/{company}/contacts/{id}/history", Role::Viewer, history),
        Route::change("/api/v1/companies/{company}/contacts/{id}/unmerge", Role::Editor, split),
        Route::change("/api/v1/companies/{company}/contacts/{id}/erase", Role::Admin, erase),
        Route::change("/api/v1/companies/{company}/contacts/{id}/reveal", Role::Admin, reveal),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    company: String,
    phone: Option<String>,
    email: Option<String>,
    name: Option<String>,
    cursor: Option<Uuid>,
    #[serde(default, deserialize_with = "input::whole")]
    limit: Option<u32>,
}

async fn search(
    State(shared): State<Shared>,
    caller: Caller,
    Json(search): Json<Search>,
) -> Result<Reply, Problem> {
    let company = company(&search.company)?;
    let (phone, email) = (search.phone.as_deref(), search.email.as_deref());
    let sight = input::sight(&caller);
    let (found, next) = match &search.name {
        Some(_) if phone.is_some() || email.is_some() => {
            let detail = "give a name, or a phone number and an email address, not both";
            return Err(Problem::new(Kind::Unprocessable, detail));
        }
        Some(name) => {
            let name: NameSearch =
                name.parse().map_err(|error: names::BadName| Problem::invalid("name", error.to_string()))?;
            let limit = input::page(search.limit)?;
            let given = if caller.is(Role::Operator) { Beginning } else { Whole };
            let before = search.cursor.map(ContactId);
            names::search(&shared.database, &company, &name, given, before, limit).await?
        }
        None => {
            let rules = shared.settings.rules();
            (contacts::find(&shared.database, &rules, &company, phone, email).await?, None)
        }
    };
    let items: Vec<Value> = found.iter().map(|contact| views::contacts::contact(contact, sight)).collect();
    Ok(Reply(json!({ "items": items, "next": next.map(|next| next.to_string()) })))
}

/// A contact is found by company and id.
type Place = InPath<(String, Uuid)>;

async fn get(State(shared): State<Shared>, caller: Caller, place: Place) -> Result<Reply, Problem> {
    let (company, id) = contact(place)?;
    let profile = contacts::show(&shared.database, &company, id).await?;
    Ok(Reply(views::contacts::profile(&profile, input::sight(&caller))))
}

async fn history(State(shared): State<Shared>, place: Place, mut query: Params) -> Result<Reply, Problem> {
    let (company, id) = contact(place)?;
    let after: Option<Position> = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let limit = input::limit(&mut query)?;
    query.end()?;
    let (database, order) = (&shared.database, Order::OldestFirst);
    let (entries, next) = contacts::history(database, &company, id, order, after.as_ref(), limit).await?;
    let items: Vec<Value> = entries.iter().map(views::contacts::entry).collect();
    Ok(Reply(json!({ "items": items, "next": next.map(|next| next.to_string()) })))
}

/// A change that can be tried first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Decision {
    #[serde(default)]
    dry_run: bool,
    reason: Option<String>,
}

/// The contacts are named, not shown: an answer may be kept for a day.
async fn split(
    State(shared): State<Shared>,
    caller: Caller,
    place: Place,
    Json(decision): Json<Decision>,
) -> Result<Reply, Problem> {
    let (company, id) = contact(place)?;
    let actor = caller.because(decision.reason.as_deref())?;
    on_one_thread(move || async move {
    let (database, events) = (&shared.for_long_changes, &shared.settings.events);
    let done = unmerge::unmerge(database, events, &company, id, &actor, decision.dry_run).await?;
    let named = |contact: &Contact| {
        json!({ "id": contact.id.to_string(), "companyId": company.as_str(), "version": contact.version })
    };
    Ok(Reply(json!({
        "contactId": done.contact.to_string(),
        "restoredContactId": done.restored.to_string(),
        "contacts": done.contacts.iter().map(named).collect::<Vec<_>>(),
        "events": done.events,
        "movedEvents": done.moved_events,
        "dryRun": decision.dry_run,
    })))
    })
    .await
}

async fn erase(
    State(shared): State<Shared>,
    caller: Caller,
    place: Place,
    Json(decision): Json<Decision>,
) -> Result<Reply, Problem> {
    let (company, id) = contact(place)?;
    let actor = caller.because(decision.reason.as_deref())?;
    on_one_thread(move || async move {
        let settings = &shared.settings;
        let request = Request {
            company: &company,
            id,
            actor: &actor,
            region: settings.contacts.regions().of(&company),
            pepper: settings.contacts.suppression_pepper.expose_secret(),
            source: &settings.events.source,
            dry_run: decision.dry_run,
        };
        Reply::of(&erasure::erase(&shared.for_long_changes, &request).await?)
    })
    .await
}

async fn reveal(
    State(shared): State<Shared>,
    caller: Caller,
    place: Place,
    Json(because): Json<Because>,
) -> Result<Response, Problem> {
    let (company, id) = contact(place)?;
    let actor = caller.because(because.reason.as_deref())?;
    let reveal = async move || Ok(contacts::reveal(&shared.database, &actor, &company, id).await?);
    let identity = on_one_thread(reveal).await?;
    let mut response = Reply(json!({ "identity": identity })).into_response();
    response.extensions_mut().insert(Personal);
    Ok(response)
}

fn contact(InPath((of, id)): Place) -> Result<(CompanyId, ContactId), Problem> {
    let company = CompanyId::new(&of)
        .map_err(|error| Problem::new(Kind::NotFound, format!("there is no such company: its id {error}")))?;
    Ok((company, ContactId(id)))
}

fn company(text: &str) -> Result<CompanyId, Problem> {
    CompanyId::new(text).map_err(|error| Problem::invalid("company", error.to_string()))
}
