//! Which dead letters: the filters of `list`, `replay` and `discard`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{
    super::{
        bulk::{Bulk, Select, Subject, operate::Verb},
        exit::Usage,
        output::{self, Output},
        value::{Since, variant},
    },
    print,
};
use crate::{
    domain::{
        event::Key,
        fault::{Reason, Signature, Stage},
    },
    operator::{
        dead_letters::{self, Filter, SearchText, State, Summary},
        operations::{self, Chosen, ItemFilter, ItemResult, Operation},
        paging::{Cursor, MAX_PAGE, Page},
        selection::Selection,
    },
    postgres::Database,
};

/// The filters of `list`; one that is not given does not narrow.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct Filters {
    /// Only dead letters with this reason
    #[arg(long, value_parser = variant::<Reason>())]
    reason: Option<Reason>,
    /// Only dead letters of this stage
    #[arg(long, value_parser = variant::<Stage>())]
    stage: Option<Stage>,
    /// Only dead letters of this company; '' selects messages that name no company
    #[arg(long)]
    company: Option<String>,
    /// Only dead letters of the trigger with this name
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Only dead letters of deliveries to this endpoint, by its whole id
    #[arg(long, value_name = "ID")]
    endpoint: Option<Uuid>,
    /// Only dead letters of the event with this id
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only dead letters of the group with this signature
    #[arg(long)]
    signature: Option<Signature>,
    /// Only dead letters whose message, trigger or event id has this text, in any case; no character has a special meaning
    #[arg(long)]
    text: Option<SearchText>,
    /// Only dead letters last seen since a time (2026-11-22T10:00:00Z) or within a duration (24h)
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// Only dead letters last seen before a time, or longer ago than a duration
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    until: Option<Since>,
    /// Only dead letters in this state; repeat the option for several [default: open and replaying]
    #[arg(long, value_name = "STATE", value_parser = variant::<State>())]
    state: Vec<State>,
    /// Only the newest N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
}

impl Filters {
    pub(super) fn filter(&self) -> Result<Filter, Usage> {
        Ok(Filter {
            reason: self.reason,
            stage: self.stage,
            company: self.company.clone(),
            trigger: self.trigger.clone(),
            endpoint: self.endpoint,
            event_id: self.event.clone(),
            signature: self.signature,
            text: self.text.clone(),
            since: self.since.map(Since::moment).transpose()?,
            until: self.until.map(Since::moment).transpose()?,
            states: if self.state.is_empty() { State::UNSETTLED.to_vec() } else { self.state.clone() },
            limit: self.limit.map(i64::from),
        })
    }

    /// Whether a filter narrows; `--limit` alone chooses nothing.
    pub(super) fn narrows(&self) -> bool {
        self.reason.is_some()
            || self.stage.is_some()
            || self.company.is_some()
            || self.trigger.is_some()
            || self.endpoint.is_some()
            || self.event.is_some()
            || self.signature.is_some()
            || self.text.is_some()
            || self.since.is_some()
            || self.until.is_some()
            || self.has_states()
    }

    pub(super) fn has_states(&self) -> bool {
        !self.state.is_empty()
    }

    /// The option that makes no sense for groups.
    pub(super) fn refused_by_groups(&self) -> Option<&'static str> {
        match (self.has_states(), &self.event) {
            (true, _) => Some("--state"),
            (false, Some(_)) => Some("--event"),
            (false, None) => None,
        }
    }
}

/// The filters of commands that change dead letters.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct DeadLetters {
    #[command(flatten)]
    filters: Filters,
    /// All open and replaying dead letters; of `restore`, all discarded ones
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// The state without `--state`.
    #[arg(skip)]
    default_state: Option<State>,
}

impl Bulk<DeadLetters> {
    /// The same arguments, with filters that select dead letters in this state unless they name another.
    pub(super) fn selecting(&self, state: State) -> Self {
        let mut other = self.clone();
        if !other.filters.filters.has_states() {
            other.filters.default_state = Some(state);
        }
        other
    }
}

impl Select for DeadLetters {
    type Subject = Self;

    fn excludes_ids(&self) -> bool {
        self.filters.narrows() || self.filters.limit.is_some()
    }

    fn check(&self) -> Result<(), Usage> {
        if self.all || self.filters.narrows() {
            return Ok(());
        }
        Err(Usage("select dead letters by ids, by filters such as --reason, or with --all".to_owned()))
    }

    async fn resolve(&self, database: &Database, id: &str) -> anyhow::Result<Key> {
        Ok(dead_letters::resolve(database, id).await?)
    }

    async fn filter(&self, _database: &Database) -> anyhow::Result<Filter> {
        let mut filter = self.filters.filter()?;
        if let Some(state) = self.default_state {
            filter.states = vec![state];
        }
        Ok(filter)
    }
}

impl Subject for DeadLetters {
    type Filter = Filter;
    type Row = Summary;
    const PLURAL: &'static str = "dead letters";

    fn limit(filter: &Filter) -> Option<i64> {
        filter.limit
    }

    fn chosen(selection: Selection<Filter>) -> Chosen {
        Chosen::DeadLetters(selection)
    }

    async fn page(
        database: &Database,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> anyhow::Result<Page<Summary>> {
        Ok(dead_letters::list(database, filter, after, limit).await?)
    }

    /// Oldest first, as with filters: the ids are in order of time.
    fn order(keys: &mut [Key]) {
        keys.sort_by_key(|key| key.id);
    }

    async fn rows(database: &Database, keys: &[Key]) -> anyhow::Result<Vec<Summary>> {
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.extend(dead_letters::get(database, key).await?.map(|dead_letter| dead_letter.summary));
        }
        Ok(rows)
    }

    fn print(output: Output, rows: &[Summary]) -> anyhow::Result<()> {
        print(output, rows)
    }

    async fn report(
        database: &Database,
        output: Output,
        verb: Verb,
        operation: Option<&Operation>,
    ) -> anyhow::Result<()> {
        let [done, skipped, failed] =
            operation.map_or([0; 3], |operation| [operation.done, operation.skipped, operation.failed]);
        let past = verb.past;
        let value = json!({ past: done, "skipped": skipped, "failed": failed });
        output::report(output.format, &value, |_| {
            format!("{past} {done}, skipped {skipped}, failed {failed}")
        })?;
        if let Some(operation) = operation.filter(|operation| operation.skipped > 0) {
            let reasons = reasons(database, operation).await?;
            let reasons = reasons.iter().map(|(reason, count)| format!("{count} {reason}"));
            output::note(format_args!("skipped: {}", reasons.collect::<Vec<_>>().join(", ")));
        }
        Ok(())
    }
}

/// Why items were skipped, and how many.
async fn reasons(database: &Database, operation: &Operation) -> Result<BTreeMap<String, u64>, sqlx::Error> {
    let filter = ItemFilter { result: Some(ItemResult::Skipped), ..ItemFilter::default() };
    let (mut reasons, mut after) = (BTreeMap::new(), 0);
    loop {
        let found = operations::items(database, operation, filter, after, MAX_PAGE).await?;
        for reason in found.items.into_iter().filter_map(|item| item.detail) {
            *reasons.entry(reason).or_default() += 1;
        }
        let Some(next) = found.next.and_then(|next| u32::try_from(next).ok()) else { return Ok(reasons) };
        after = next;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use time::OffsetDateTime;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        filters: Filters,
    }

    fn filter(arguments: &[&str]) -> Option<Filter> {
        let parsed = Command::try_parse_from([&["x"], arguments].concat()).ok()?;
        Some(parsed.filters.filter().unwrap())
    }

    #[test]
    fn options_become_a_filter() {
        let arguments = [
            "--stage",
            "webhook",
            "--trigger",
            "t",
            "--since",
            "2026-11-22T10:00:00Z",
            "--state",
            "discarded",
            "--limit",
            "7",
        ];
        let given = filter(&arguments).unwrap();
        assert_eq!((given.stage, given.trigger.as_deref()), (Some(Stage::Webhook), Some("t")));
        assert_eq!(given.since.unwrap().unix_timestamp(), 1_795_341_600);
        assert_eq!((given.states, given.limit), (vec![State::Discarded], Some(7)));
        let recent = filter(&["--since", "1h"]).unwrap();
        assert_eq!(recent.states, State::UNSETTLED);
        let ago = OffsetDateTime::now_utc() - recent.since.unwrap();
        assert!((3_599..3_660).contains(&ago.whole_seconds()), "{ago}");
        assert!(filter(&["--since", "yesterday"]).is_none());
    }
}
