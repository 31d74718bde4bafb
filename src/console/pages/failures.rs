//! Groups of dead letters with the same cause.

use askama::Template;
use axum::{extract::State, response::Response};
use strum::VariantArray as _;
use time::OffsetDateTime;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        shared::{Shared, on_one_thread},
    },
    parts::{Moment, count, link, object, printable, words},
    query::{Choice, Given, PAGE, back, choices},
    shell::{DONE, Done, Shell, go, render},
};
use crate::{
    domain::fault::{Reason, Stage},
    operator::dead_letters::{self, Filter, Group},
};

const NAMES: [&str; 5] = ["company", "reason", "stage", "trigger", "cursor"];

#[derive(Template)]
#[template(path = "failures.html")]
struct Page {
    shell: Shell,
    filter: Fields,
    reasons: Vec<Choice>,
    stages: Vec<Choice>,
    is_filtered: bool,
    fault: Option<String>,
    groups: Vec<Row>,
    here: String,
    company: String,
    first: Option<String>,
    next: Option<String>,
}

struct Fields {
    company: String,
    trigger: String,
}

struct Row {
    href: String,
    reason: String,
    message: String,
    note: Option<String>,
    /// The note as it was written.
    written: String,
    signature: String,
    stage: String,
    trigger: String,
    endpoint: Option<String>,
    count: String,
    first: Moment,
    last: Moment,
}

impl Row {
    fn new(group: &Group, company: &str, now: OffsetDateTime) -> Self {
        let signature = group.signature.to_string();
        Self {
            href: link("/dead-letters", [("signature", signature.as_str()), ("company", company)]),
            signature,
            reason: words(&group.reason),
            message: printable(&group.message),
            note: group.note.as_ref().map(|note| printable(&format!("{} ({})", note.text, note.written_by))),
            written: group.note.as_ref().map(|note| note.text.clone()).unwrap_or_default(),
            stage: words(&group.stage),
            trigger: group.trigger.as_deref().map(printable).unwrap_or_default(),
            endpoint: group.endpoint_id.map(|id| object("endpoints", &group.company, id)),
            count: count(group.count),
            first: Moment::new(group.first_seen_at, now),
            last: Moment::new(group.last_seen_at, now),
        }
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    mut query: Params,
) -> Result<Response, Problem> {
    let given = Given::take(&mut query, &NAMES)?;
    let done = query.one(DONE)?;
    query.end()?;
    let now = OffsetDateTime::now_utc();
    let cursor = given.parsed("cursor", "a link of this page", |text| text.parse().ok());
    let (found, fault) = match filter(&given).and_then(|filter| Ok((filter, cursor?))) {
        Ok((filter, after)) => {
            (Some(dead_letters::groups(&shared.database, &filter, after, PAGE).await?), None)
        }
        Err(fault) => (None, Some(fault)),
    };
    let next = found.as_ref().and_then(|found| found.next);
    let groups = found.iter().flat_map(|found| &found.items);
    render(&Page {
        shell: Shell::new(&caller, "/failures", "Failures").live().after(done.as_deref()),
        reasons: choices(Reason::VARIANTS.iter().map(|reason| reason.name()), given.get("reason")),
        stages: choices(Stage::VARIANTS.iter().map(|stage| stage.name()), given.get("stage")),
        is_filtered: given.any(&["company", "reason", "stage", "trigger"]),
        fault,
        groups: groups.map(|group| Row::new(group, given.get("company"), now)).collect(),
        here: given.link("/failures", "cursor", given.get("cursor")),
        company: given.get("company").to_owned(),
        first: given.given("cursor").map(|_| given.link("/failures", "cursor", "")),
        next: next.map(|next| given.link("/failures", "cursor", &next.to_string())),
        filter: Fields { company: given.get("company").to_owned(), trigger: given.get("trigger").to_owned() },
    })
}

fn filter(given: &Given) -> Result<Filter, String> {
    Ok(Filter {
        reason: given.parsed("reason", "one of the list", |text| text.parse().ok())?,
        stage: given.parsed("stage", "one of the list", |text| text.parse().ok())?,
        company: given.given("company"),
        trigger: given.given("trigger"),
        ..Filter::default()
    })
}

/// Writes the note on a group.
pub(super) async fn note(
    State(shared): State<Shared>,
    caller: Caller,
    Form(mut form): Form,
) -> Result<Response, Problem> {
    let signature = form.parsed("signature", |text| text.parse().ok(), "the one of the page")?;
    let signature = signature.ok_or_else(|| Problem::invalid("signature", "load the page again"))?;
    let back = back(form.one("back")?, "/failures");
    // Browsers send line breaks of two characters.
    let text =
        form.one("text")?.map(|text| text.replace("\r\n", "\n")).filter(|text| !text.trim().is_empty());
    form.end()?;
    on_one_thread(move || async move {
        let text = text.as_deref();
        Ok(dead_letters::write_note(&shared.database, &caller.actor, signature, text).await?)
    })
    .await?;
    Ok(go(&back, Done::Noted))
}
