//! `doctor`.

use serde::Serialize;

use super::{
    exit::Exit,
    output::{self, Format, Output},
};
use crate::{
    operator::doctor::{self, Diagnosis, Finding, Kept, Status},
    settings::Effective,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Looks at the broker, the database and the settings, and says promise by promise whether this deployment keeps it. It
publishes two messages that nobody gets, and changes nothing. A promise may be kept as far as can be seen: `because` then
names what a client of the broker cannot see.

Exit 0: no promise is broken; 1: one is; 69: broker or database cannot be reached; 78: the settings are not valid.

Example: contact-relay doctor -o json")]
pub(super) struct Args {
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: &Args, effective: &Effective) -> anyhow::Result<Exit> {
    let diagnosis = doctor::diagnose(effective).await;
    print(args.output.format, &diagnosis)?;
    Ok(if diagnosis.is_unreachable {
        Exit::Unavailable
    } else if diagnosis.breaks_any() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// A line of NDJSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Promise(&'a Kept),
    Finding(&'a Finding),
}

fn print(format: Format, diagnosis: &Diagnosis) -> anyhow::Result<()> {
    let Diagnosis { promises, findings, .. } = diagnosis;
    match format {
        Format::Table => table(diagnosis),
        Format::Json => output::object(format, diagnosis, |_| String::new()),
        Format::Ndjson => {
            let lines = promises.iter().map(Line::Promise).chain(findings.iter().map(Line::Finding));
            output::listing(format, [], &lines.collect::<Vec<_>>(), |_| [])
        }
    }
}

fn table(Diagnosis { promises, findings, .. }: &Diagnosis) -> anyhow::Result<()> {
    output::listing(Format::Table, ["promise", "verdict", "because", "what it says"], promises, |kept| {
        let because = kept.because.join(", ");
        [kept.promise.to_string(), kept.verdict.to_string(), because, kept.text.to_owned()]
    })?;
    output::line("")?;
    output::listing(Format::Table, ["area", "looked at", "status", "found"], findings, |finding| {
        let found = finding.found.clone();
        [finding.area.to_owned(), finding.name.clone(), finding.status.to_string(), found]
    })?;
    let wrong = findings.iter().filter(|finding| finding.status != Status::Fine);
    for finding in wrong.filter(|finding| finding.remedy.is_some()) {
        let remedy = finding.remedy.as_deref().unwrap_or_default();
        let text = format!("{}, {}: {remedy}", finding.area, finding.name);
        output::line(format_args!("\n{}", output::printable(&text)))?;
    }
    Ok(())
}
