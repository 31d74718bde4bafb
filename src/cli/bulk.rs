//! Commands that change many things: the selection, the dry run, the confirmation, and the rate.

pub(super) mod operate;

use std::{fmt::Debug, io::IsTerminal as _, num::NonZeroU32};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{
    confirm::{self, Who},
    exit::Usage,
    output::{self, Format, Output},
};
use crate::{
    domain::event::Key,
    operator::{
        audit::Actor,
        operations::{Chosen, Operation},
        paging::{Cursor, Page},
        selection::Selection,
    },
    postgres::Database,
};
use operate::Verb;

/// Rows that a dry run shows.
pub(super) const SAMPLE: usize = 10;

/// What a command changes many of.
pub(super) trait Subject {
    /// Chooses some of them.
    type Filter;
    /// A row of the listing.
    type Row: Serialize;
    /// The noun in messages, such as `dead letters`.
    const PLURAL: &'static str;

    /// The maximum number of a filter.
    fn limit(filter: &Self::Filter) -> Option<i64>;

    /// What an operation is about.
    fn chosen(selection: Selection<Self::Filter>) -> Chosen;

    /// A page of the listing, newest first.
    async fn page(
        database: &Database,
        filter: &Self::Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> anyhow::Result<Page<Self::Row>>;

    /// The rows of these keys.
    async fn rows(database: &Database, keys: &[Key]) -> anyhow::Result<Vec<Self::Row>>;

    /// Prints rows as the listing does.
    fn print(output: Output, rows: &[Self::Row]) -> anyhow::Result<()>;

    /// Orders keys that were given as ids. By default they stay as given.
    fn order(_keys: &mut [Key]) {}

    /// Prints what an operation has done; `None` if there was nothing to do.
    async fn report(
        database: &Database,
        output: Output,
        verb: Verb,
        operation: Option<&Operation>,
    ) -> anyhow::Result<()>;
}

/// The filters of such a command.
pub(super) trait Select: Args + Debug {
    /// What they select.
    type Subject: Subject;

    /// Whether a filter is given that cannot be combined with ids.
    fn excludes_ids(&self) -> bool;

    /// # Errors
    /// When the filters, without ids, would select more than anyone is likely to mean.
    fn check(&self) -> Result<(), Usage>;

    /// The key whose id is `id` or begins with it.
    async fn resolve(&self, database: &Database, id: &str) -> anyhow::Result<Key>;

    /// What the filters select now.
    async fn filter(&self, database: &Database) -> anyhow::Result<<Self::Subject as Subject>::Filter>;
}

/// The arguments of such a command.
#[derive(Clone, Debug, Args)]
pub(super) struct Bulk<S: Select> {
    /// Ids, or the first 8 or more digits of ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    pub(super) filters: S,
    /// Change nothing: show how many would change, and a sample
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask; required when standard input is not a terminal
    #[arg(long)]
    yes: bool,
    /// Maximum per second
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<NonZeroU32>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    pub(super) output: Output,
}

impl<S: Select> Bulk<S> {
    /// Who decides.
    pub(super) fn actor(&self) -> Result<Actor, Usage> {
        self.who.actor()
    }

    /// # Errors
    /// When the selection is invalid, or confirmation is impossible.
    pub(super) fn check_before(&self, verb: &str) -> Result<(), Usage> {
        self.check()?;
        if !self.dry_run && !self.yes && !std::io::stdin().is_terminal() {
            return Err(Usage(format!("--yes is required to {verb} when standard input is not a terminal")));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Usage> {
        match (self.ids.is_empty(), self.filters.excludes_ids()) {
            (true, _) => self.filters.check(),
            (false, true) => Err(Usage("give ids or filters, not both".to_owned())),
            (false, false) => Ok(()),
        }
    }

    /// The keys that are given as ids; `None` if filters are given.
    ///
    /// # Errors
    /// When an id is unknown.
    pub(super) async fn by_ids(&self, database: &Database) -> anyhow::Result<Option<Vec<Key>>> {
        if self.ids.is_empty() {
            return Ok(None);
        }
        let mut keys = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            let key = self.filters.resolve(database, id).await?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        S::Subject::order(&mut keys);
        Ok(Some(keys))
    }

    /// Asks for confirmation of the count, unless it was given.
    ///
    /// # Errors
    /// When the answer is not yes.
    pub(super) fn ask(&self, verb: &str, count: i64) -> anyhow::Result<()> {
        if self.yes || count == 0 {
            return Ok(());
        }
        confirm::ask(&format!("{verb} {count} {}?", S::Subject::PLURAL))
    }

    /// Prints what would be done.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(super) fn print_plan(
        &self,
        verb: &str,
        count: i64,
        sample: &[<S::Subject as Subject>::Row],
    ) -> anyhow::Result<()> {
        if self.output.format == Format::Table {
            S::Subject::print(self.output, sample)?;
            let plural = S::Subject::PLURAL;
            return output::line(format_args!("would {verb} {count} {plural}; nothing was changed"));
        }
        let plan = json!({ "count": count, "sample": sample });
        output::object(self.output.format, &plan, |_| String::new())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::{
            dead_letter::select::DeadLetters,
            delivery::{Waiting, select::Filters},
        },
        *,
    };

    #[derive(Debug, Parser)]
    struct Command<S: Select> {
        #[command(flatten)]
        bulk: Bulk<S>,
    }

    /// Whether the parser takes the arguments, and whether they select anything sensible.
    fn checked<S: Select>(arguments: &[&str]) -> Option<bool> {
        let parsed = Command::<S>::try_parse_from([&["x"], arguments].concat()).ok()?;
        Some(parsed.bulk.check().is_ok())
    }

    #[test]
    fn dead_letters_are_never_all_selected_by_accident() {
        for (arguments, fine) in [
            (&[][..], Some(false)),
            (&["--limit", "5"], Some(false)),
            (&["0193f5a0"], Some(true)),
            (&["0193f5a0", "--limit", "5"], Some(false)),
            (&["0193f5a0", "--reason", "broker"], Some(false)),
            (&["--reason", "broker"], Some(true)),
            (&["--company", ""], Some(true)),
            (&["--state", "open"], Some(true)),
            (&["--all"], Some(true)),
            (&["--all", "--limit", "5"], Some(true)),
            (&["--all", "0193f5a0"], None),
            (&["--reason", "nope"], None),
            (&["--limit", "0"], None),
        ] {
            assert_eq!(checked::<DeadLetters>(arguments), fine, "{arguments:?}");
        }
    }

    #[test]
    fn deliveries_are_never_all_selected_by_accident() {
        for (arguments, fine) in [
            (&[][..], Some(false)),
            (&["--company", "acme"], Some(false)),
            (&["--limit", "5", "--state", "dead"], Some(true)),
            (&["--since", "1h"], Some(false)),
            (&["--trigger", "t"], Some(false)),
            (&["--trigger", "t", "--state", "delivered", "--state", "dead"], Some(true)),
            (&["0193f5a0"], Some(true)),
            (&["0193f5a0", "--company", "acme"], Some(true)),
            (&["0193f5a0", "--limit", "5"], Some(false)),
            (&["0193f5a0", "--state", "dead"], Some(false)),
            (&["--state", "gone"], None),
            (&["--limit", "0"], None),
            (&["--contact", "x"], None),
            (&["--since", "yesterday"], None),
        ] {
            assert_eq!(checked::<Filters>(arguments), fine, "{arguments:?}");
        }
    }

    #[test]
    fn deliveries_that_wait_are_never_all_selected_by_accident() {
        for (arguments, fine) in [
            (&[][..], false),
            (&["--limit", "5"], false),
            (&["--company", "acme"], true),
            (&["--endpoint", "https://hooks.example/gone", "--since", "1h"], true),
            (&["--state", "pending"], true),
            (&["--state", "dead"], false),
            (&["--state", "pending", "--state", "dead", "--company", "acme"], false),
            (&["0193f5a0", "--company", "acme"], true),
            (&["0193f5a0", "--state", "pending"], false),
        ] {
            assert_eq!(checked::<Waiting>(arguments), Some(fine), "{arguments:?}");
        }
    }
}
