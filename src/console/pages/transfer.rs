//! Downloads dead letters, and puts back those of a file, after a look at what would come of each.

use askama::Template;
use axum::{body::Body, extract::State, response::Response};
use time::OffsetDateTime;

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        shared::{Shared, on_one_thread},
        transfer::{self, File},
        upload::Upload,
    },
    parts::count,
    plan::{Exported, Sent},
    shell::{Shell, render},
};
use crate::operator::dead_letters::transfer::{Export, Outcome, Tally};

#[derive(Template)]
#[template(path = "import.html")]
struct Page {
    shell: Shell,
    lines: String,
    reason: String,
    /// Whether the lines are those of a file.
    is_file: bool,
    /// What would come of the lines, or what came of them.
    found: Option<Found>,
}

struct Found {
    is_done: bool,
    /// Those that are put back.
    imported: u64,
    /// How many ended so, and how.
    counts: Vec<(String, &'static str)>,
    /// Lines that cannot be imported.
    bad: Vec<(String, &'static str)>,
}

impl Found {
    fn new(tally: &Tally, is_done: bool) -> Self {
        let imported = if is_done { Outcome::Imported.text() } else { "can be imported" };
        let counts = [(Outcome::Imported, imported), (Outcome::Present, Outcome::Present.text())];
        let counts = counts.into_iter().map(|(outcome, text)| (tally.of(outcome), text));
        let left_out = tally.left_out().map(|(outcome, count)| (count, outcome.text()));
        Self {
            is_done,
            imported: tally.of(Outcome::Imported),
            counts: counts
                .filter(|(number, _)| *number > 0)
                .chain(left_out)
                .map(|(number, text)| (count(i64::try_from(number).unwrap_or(i64::MAX)), text))
                .collect(),
            bad: tally.named().iter().map(|(line, outcome)| (line.to_string(), outcome.text())).collect(),
        }
    }
}

pub(super) async fn export(
    State(shared): State<Shared>,
    caller: Caller,
    Form(mut form): Form,
) -> Result<Response, Problem> {
    // `reason` is one of the filters.
    let actor = caller.because(form.one("because")?.as_deref())?;
    let Sent { selection, .. } = Sent::<Exported>::read(form, OffsetDateTime::now_utc())?;
    let begin = move || async move { Ok(Export::begin(&shared.database, &actor, selection).await?) };
    Ok(transfer::download(on_one_thread(begin).await?))
}

/// What was sent, other than a file.
#[derive(Default)]
struct Asked {
    lines: String,
    reason: String,
    is_file: bool,
}

fn page(caller: &Caller, asked: Asked, found: Option<Found>) -> Page {
    let shell = Shell::new(caller, "/dead-letters", "Import dead letters");
    let Asked { lines, reason, is_file } = asked;
    Page { shell, lines, reason, is_file, found }
}

pub(super) async fn show(caller: Caller, query: Params) -> Result<Response, Problem> {
    query.end()?;
    render(&page(&caller, Asked::default(), None))
}

/// The lines of a text field.
pub(super) async fn import(
    State(shared): State<Shared>,
    caller: Caller,
    Form(mut form): Form,
) -> Result<Response, Problem> {
    let lines = form.text("lines")?;
    let reason = form.text("reason")?;
    form.one("preview")?;
    let is_done = form.one("import")?.is_some();
    form.end()?;
    let file = File::new(Body::from(lines.clone()));
    let found = put_back(shared, &caller, &reason, file, is_done).await?;
    let lines = if is_done { String::new() } else { lines };
    render(&page(&caller, Asked { lines, reason, is_file: false }, Some(found)))
}

/// The lines of a file, which has to be sent twice: for the preview and for the import.
pub(super) async fn upload(
    State(shared): State<Shared>,
    caller: Caller,
    mut query: Params,
    Upload { mut fields, file }: Upload,
) -> Result<Response, Problem> {
    let is_done = query.one("preview")?.is_none();
    query.end()?;
    let reason = fields.text("reason")?;
    fields.end()?;
    let found = put_back(shared, &caller, &reason, file, is_done).await?;
    render(&page(&caller, Asked { lines: String::new(), reason, is_file: true }, Some(found)))
}

async fn put_back(
    shared: Shared,
    caller: &Caller,
    reason: &str,
    file: File,
    is_done: bool,
) -> Result<Found, Problem> {
    let actor = caller.because(Some(reason).filter(|reason| !reason.is_empty()))?;
    let import = move || async move { transfer::import(&shared, &actor, file, !is_done).await };
    Ok(Found::new(&on_one_thread(import).await?, is_done))
}
