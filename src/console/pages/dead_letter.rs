//! One dead letter: what failed, its message, and what an operator can do about it.

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
    explain,
    parts::{Badge, Id, Moment, Payload, link, object, printable, words},
    plan,
    query::{self, key_text},
    shell::{DONE, Shell, render},
};
use crate::{
    domain::{
        event::Key,
        fault::{Signature, Stage},
    },
    operator::{
        audit::Entry,
        dead_letters::{self, DeadLetter, Seen, Shown, State as Letter},
    },
};

#[derive(Template)]
#[template(path = "dead_letter.html")]
struct Page {
    shell: Shell,
    key: String,
    actions: Vec<(&'static str, &'static str)>,
    id: Id,
    reason: String,
    explanation: &'static str,
    state: Badge,
    message: String,
    stage: String,
    company: String,
    trigger: String,
    event: Option<Id>,
    source: String,
    trace: Option<Id>,
    delivery: Option<(Id, String)>,
    contact: Option<(Id, String)>,
    edited_from: Option<(Id, String)>,
    superseded_by: Option<(Id, String)>,
    first: Moment,
    last: Moment,
    attempts: i32,
    replays: i32,
    settled: Option<Moment>,
    settled_by: String,
    similar: Option<String>,
    note: Option<Noted>,
    changes: Vec<Changed>,
    contents: Option<Contents>,
    edit: Option<Edit>,
}

/// What an operator noted about the cause.
struct Noted {
    text: String,
    by: String,
    at: Moment,
}

/// What an operator did.
struct Changed {
    action: String,
    at: Moment,
    operator: String,
    via: String,
    reason: String,
}

impl Changed {
    fn new(entry: &Entry, now: OffsetDateTime) -> Self {
        Self {
            action: words(entry.action.trim_start_matches("dead_letter.")),
            at: Moment::new(entry.at, now),
            operator: printable(&entry.operator),
            via: words(&entry.via),
            reason: entry.reason.as_deref().map(printable).unwrap_or_default(),
        }
    }
}

struct Contents {
    body: Payload,
    /// Because it is not JSON, and may have an identity document anywhere.
    is_withheld: bool,
    /// Where an admin can reveal hidden parts.
    reveal: Option<String>,
    properties: String,
    difference: Option<String>,
}

struct Edit {
    action: String,
    body: String,
    fault: Option<String>,
}

/// What was typed into the form, and why it was refused.
pub(super) struct Refused {
    pub(super) body: String,
    pub(super) fault: String,
}

/// The dead letter of a path. Some have no company.
pub(super) async fn key(shared: &Shared, id: &str, company: Option<String>) -> Result<Key, Problem> {
    if let (Some(company), Ok(id)) = (&company, Uuid::try_parse(id)) {
        return Ok(Key { company: company.clone(), id });
    }
    Ok(dead_letters::resolve(&shared.database, id).await?)
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
    let shell = Shell::new(&caller, "/dead-letters", "Dead letter").after(done.as_deref());
    respond(&shared, shell, &key, None).await
}

/// The page of a dead letter.
pub(super) async fn respond(
    shared: &Shared,
    shell: Shell,
    key: &Key,
    refused: Option<Refused>,
) -> Result<Response, Problem> {
    let shown = dead_letters::show(&shared.database, key).await?.ok_or_else(gone)?;
    let is_replaying = shown.dead_letter.summary.state == Letter::Replaying.name();
    let seen = dead_letters::seen(&shown.dead_letter);
    render(&page(if is_replaying { shell.live() } else { shell }, key, &shown, (seen, refused)))
}

fn gone() -> Problem {
    Problem::new(Kind::NotFound, "there is no such dead letter; settled ones leave after some time")
}

/// Shows the message as it is, after that was recorded.
pub(super) async fn reveal(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    Form(form): Form,
) -> Result<Response, Problem> {
    let (key, actor) = query::target(&id, params, form, &caller)?;
    let (database, of) = (shared.database.clone(), key.clone());
    let reveal = async move || Ok(dead_letters::reveal(&database, &actor, &of).await?);
    let revealed = on_one_thread(reveal).await?.ok_or_else(gone)?;
    let shown = dead_letters::show(&shared.database, &key).await?.ok_or_else(gone)?;
    let seen = Seen { body: Some(revealed.body), difference: revealed.difference };
    render(&page(Shell::new(&caller, "/dead-letters", "Dead letter"), &key, &shown, (seen, None)))
}

fn page(shell: Shell, key: &Key, shown: &Shown, (seen, refused): (Seen, Option<Refused>)) -> Page {
    let letter = &shown.dead_letter;
    let now = OffsetDateTime::now_utc();
    let row = &letter.summary;
    let of = |kind: &str, id: Uuid| (Id::new(id), object(kind, &key.company, id));
    let signature = Signature::try_from(row.signature.as_slice()).ok().map(|signature| signature.to_string());
    Page {
        key: key_text(key),
        actions: plan::actions(&row.state, letter.is_blank),
        id: Id::new(row.id),
        reason: words(&row.reason),
        explanation: explain::reason(&row.reason),
        state: Badge::dead_letter(&row.state),
        message: printable(&row.message),
        stage: words(&row.stage),
        company: printable(&row.company),
        trigger: row.trigger.as_deref().map(printable).unwrap_or_default(),
        event: row.event_id.as_deref().map(Id::text),
        source: letter.source.as_deref().map(printable).unwrap_or_default(),
        trace: dead_letters::trace_id(letter).as_deref().map(Id::text),
        delivery: letter.delivery_id.map(|id| of("deliveries", id)),
        contact: letter.contact_id.map(|id| of("contacts", id)),
        edited_from: letter.edited_from.map(|id| of("dead-letters", id)),
        superseded_by: letter.superseded_by.map(|id| of("dead-letters", id)),
        first: Moment::new(row.first_seen_at, now),
        last: Moment::new(row.last_seen_at, now),
        attempts: row.attempts,
        replays: row.replays,
        settled: Moment::of(letter.settled_at, now),
        settled_by: letter.settled_by.as_deref().map(printable).unwrap_or_default(),
        similar: signature.map(|signature| link("/dead-letters", [("signature", signature.as_str())])),
        note: shown.note.as_ref().map(|note| Noted {
            text: printable(&note.text),
            by: printable(&note.written_by),
            at: Moment::new(note.written_at, now),
        }),
        changes: shown.changes.iter().map(|entry| Changed::new(entry, now)).collect(),
        contents: shell.is_operator().then(|| Contents {
            reveal: (shell.is_admin() && seen.body.as_ref() != Some(&letter.body))
                .then(|| object("dead-letters", &key.company, row.id).replacen('?', "/reveal?", 1)),
            is_withheld: seen.body.is_none(),
            body: Payload::new(seen.body.as_deref().unwrap_or_default()),
            properties: pretty(&letter.properties),
            difference: seen.difference.as_ref().map(pretty),
        }),
        edit: edit(&shell, key, letter, seen.body.as_deref(), refused),
        shell: shell.titled(format!("Dead letter {}: {}", Id::new(row.id).short(), words(&row.reason))),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    printable(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// The form to edit an open message of stage upsert that is text.
fn edit(
    shell: &Shell,
    key: &Key,
    letter: &DeadLetter,
    seen: Option<&[u8]>,
    refused: Option<Refused>,
) -> Option<Edit> {
    let row = &letter.summary;
    let is_open = row.state == Letter::Open.name() && row.stage == Stage::Upsert.name() && !letter.is_blank;
    if !shell.is_editor() || !is_open {
        return None;
    }
    let action = object("dead-letters", &key.company, row.id).replacen('?', "/edit?", 1);
    if let Some(Refused { body, fault }) = refused {
        return Some(Edit { action, body, fault: Some(fault) });
    }
    // Hidden identity documents in it keep their values.
    let seen = seen?;
    let text = std::str::from_utf8(seen).ok()?;
    // What is edited must be what is shown, so nothing of it is replaced.
    let pretty = Payload::new(seen).pretty.filter(|pretty| !pretty.contains('\u{fffd}'));
    Some(Edit { action, body: pretty.unwrap_or_else(|| text.to_owned()), fault: None })
}
