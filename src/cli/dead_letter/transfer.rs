//! `dead-letter export` and `import`, one JSON object per line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use super::{
    super::{
        confirm::Who,
        exit::{Exit, Usage},
        input,
        output::{self, Output},
        progress,
    },
    select::Filters,
};
use crate::{
    domain::event::Key,
    operator::{
        audit::Actor,
        dead_letters::{
            self,
            transfer::{Export, Importer, Outcome, Tally, Terms},
        },
        selection::Selection,
    },
    postgres::Database,
    settings::Settings,
};

/// The longest line, in bytes: the largest message that a broker takes by default, 128 MiB, six times as long because each of
/// its characters is escaped, and the rest of the dead letter.
const MAX_LINE: u64 = 1 << 30;

pub(super) const EXPORT_HELP: &str = "\
Exports the dead letters with these ids or that match these filters; without either, all open and replaying ones. Bodies
that are not UTF-8 are in base64. The file has personal data. The export is recorded.

Example: contact-relay dead-letter export --company acme > dead-letters.ndjson";

pub(super) const IMPORT_HELP: &str = "\
Dead letters keep their ids; those that are there already stay as they are, so importing twice does no harm. Replaying ones
come back as open, discarded ones as discarded. What has been resolved, applied or erased since is left out, and so are
dead letters of deliveries that are gone, and lines that are not valid or that the database refuses. Exits 3 when some were
left out.

Example: contact-relay dead-letter import dead-letters.ndjson";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Exporting {
    /// Ids, or the first 8 or more digits of ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Importing {
    /// The exported file; `-` is standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Change nothing: show the outcome of each line
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn export(database: &Database, args: &Exporting) -> anyhow::Result<Exit> {
    let actor = args.who.actor()?;
    let mut keys = Vec::with_capacity(args.ids.len());
    if args.ids.is_empty() {
        keys = dead_letters::keys(database, &args.filters.filter()?).await?;
    } else if args.filters.narrows() || args.filters.limit.is_some() {
        return Err(Usage("give ids or filters, not both".to_owned()).into());
    }
    for id in &args.ids {
        let key = dead_letters::resolve(database, id).await?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let (bar, mut count) = (progress::bar(Some(keys.len() as u64), "exporting"), 0_u64);
    let ended = write(database, &actor, keys, |exported| {
        count = exported;
        bar.set_position(exported);
    })
    .await;
    bar.finish_and_clear();
    ended?;
    output::note(format_args!("exported {count}"));
    Ok(Exit::Done)
}

async fn write(
    database: &Database,
    actor: &Actor,
    keys: Vec<Key>,
    mut progress: impl FnMut(u64),
) -> anyhow::Result<()> {
    let mut export = Export::begin(database, actor, Selection::Keys(keys)).await?;
    let mut count = 0;
    while let Some(records) = export.page().await? {
        for record in &records {
            output::ndjson(record)?;
            count += 1;
            progress(count);
        }
    }
    Ok(())
}

pub(super) async fn import(
    database: &Database,
    args: &Importing,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let actor = args.who.actor()?;
    let regions = settings.contacts.regions();
    let pepper = settings.contacts.suppression_pepper.expose_secret();
    let terms = Terms { pepper, regions: &regions };
    let importer = Importer { database, actor: &actor, terms, is_dry: args.dry_run };
    let mut lines = open(&args.file).with_context(|| format!("could not read {}", args.file.display()))?;
    let (mut tally, mut number) = (Tally::default(), 0_u64);
    let bar = progress::bar(None, "importing");
    let ended = loop {
        number += 1;
        let line = match next(&mut lines) {
            Ok(Some(line)) => line,
            Ok(None) => break Ok(()),
            Err(error) => break Err(anyhow::Error::new(error)),
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let outcome = match importer.import(&line).await {
            Ok(outcome) => outcome,
            Err(error) => break Err(error.into()),
        };
        if tally.add(number, outcome) {
            output::note(format_args!("line {number} is {}", outcome.text()));
        }
        bar.inc(1);
    };
    bar.finish_and_clear();
    let exit = finish(args, &tally)?;
    ended.with_context(|| format!("stopped at line {number}"))?;
    Ok(exit)
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    Ok(if input::is_standard_input(file) {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file)?))
    })
}

/// The next line. One that is too long is cut off, which no parser takes for JSON.
fn next(lines: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = lines.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if read as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        lines.skip_until(b'\n')?;
    }
    Ok((read > 0).then_some(line))
}

fn finish(args: &Importing, tally: &Tally) -> anyhow::Result<Exit> {
    let (imported, present) = (tally.of(Outcome::Imported), tally.of(Outcome::Present));
    let skipped: u64 = tally.left_out().map(|(_, count)| count).sum();
    output::report(args.output.format, &tally.json(), |_| {
        let reasons = tally.left_out().map(|(outcome, count)| format!("\n  {count} {}", outcome.text()));
        let reasons: String = reasons.collect();
        let verb = if args.dry_run { "would import" } else { "imported" };
        format!("{verb} {imported}, already there {present}, skipped {skipped}{reasons}")
    })?;
    if args.dry_run {
        output::note("nothing was changed");
    }
    Ok(match (imported + present, skipped) {
        (_, 0) => Exit::Done,
        (0, _) if tally.of(Outcome::Invalid) + tally.of(Outcome::Refused) == skipped => Exit::Failed,
        _ => Exit::Partly,
    })
}
