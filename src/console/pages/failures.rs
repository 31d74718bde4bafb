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
    dead_letters::{fields, filter},
    parts::{Moment, count, object, printable, words},
    query::{Choice, Given, PAGE, back, choices},
    shell::{DONE, Done, Shell, go, render},
};
use crate::{
    domain::fault::{Reason, Stage},
    operator::dead_letters::{self, Group},
};

/// The parameters of a filter. Groups have neither a state nor an event.
const FILTERS: [&str; 8] = ["company", "reason", "stage", "trigger", "endpoint", "text", "since", "until"];

#[derive(Template)]
#[template(path = "failures.html")]
struct Page {
    shell: Shell,
    filter: Fields,
    reasons: Vec<Choice>,
    stages: Vec<Choice>,
    is_filtered: bool,
    has_more_filters: bool,
    fault: Option<String>,
    groups: Vec<Row>,
    here: String,
    /// The filter, for the buttons that act on all of a group.
    matching: Vec<(&'static str, String)>,
    first: Option<String>,
    next: Option<String>,
}

struct Fields {
    company: String,
    trigger: String,
    endpoint: String,
    text: String,
    since: String,
    until: String,
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
    fn new(group: &Group, given: &Given, now: OffsetDateTime) -> Self {
        let signature = group.signature.to_string();
        Self {
            href: given.link("/dead-letters", "signature", &signature),
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
    let given = Given::take(&mut query, &FILTERS)?;
    let at = Given::take(&mut query, &["cursor"])?;
    let done = query.one(DONE)?;
    query.end()?;
    let now = OffsetDateTime::now_utc();
    let cursor = at.parsed("cursor", "a link of this page", |text| text.parse().ok());
    let (found, matching, fault) = match filter(&given, now).and_then(|filter| Ok((filter, cursor?))) {
        Ok((filter, after)) => {
            let found = dead_letters::groups(&shared.database, &filter, after, PAGE).await?;
            (Some(found), fields(&given, &filter), None)
        }
        Err(fault) => (None, Vec::new(), Some(fault)),
    };
    let next = found.as_ref().and_then(|found| found.next);
    let groups = found.iter().flat_map(|found| &found.items);
    let field = |name: &str| given.get(name).to_owned();
    render(&Page {
        shell: Shell::new(&caller, "/failures", "Failures").live().after(done.as_deref()),
        reasons: choices(Reason::VARIANTS.iter().map(|reason| reason.name()), given.get("reason")),
        stages: choices(Stage::VARIANTS.iter().map(|stage| stage.name()), given.get("stage")),
        is_filtered: given.any(&FILTERS),
        has_more_filters: given.any(&["endpoint", "text", "since", "until"]),
        fault,
        groups: groups.map(|group| Row::new(group, &given, now)).collect(),
        here: given.link("/failures", "cursor", at.get("cursor")),
        matching,
        first: at.given("cursor").map(|_| given.link("/failures", "cursor", "")),
        next: next.map(|next| given.link("/failures", "cursor", &next.to_string())),
        filter: Fields {
            company: field("company"),
            trigger: field("trigger"),
            endpoint: field("endpoint"),
            text: field("text"),
            since: field("since"),
            until: field("until"),
        },
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
