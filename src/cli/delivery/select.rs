//! Which deliveries: the filters of `list`, `resend` and `discard`.

use clap::Args;
use uuid::Uuid;

use super::{
    super::{
        bulk::{Select, Subject, operate::Verb},
        exit::Usage,
        output::Output,
        value::{Since, variant},
    },
    outcome, print,
};
use crate::{
    domain::event::Key,
    operator::{
        deliveries::{self, Filter, Listed, State},
        endpoints,
        operations::{Chosen, Operation},
        paging::{Cursor, Page},
        selection::Selection,
    },
    postgres::Database,
};

/// The filters of `list`; one that is not given does not narrow.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct Filters {
    /// Only deliveries of this company
    #[arg(long)]
    company: Option<String>,
    /// Only deliveries in this state; repeat the option for several
    #[arg(long, value_name = "STATE", value_parser = variant::<State>())]
    state: Vec<State>,
    /// Only deliveries to this endpoint: its URL as `endpoint list` shows it, its id, or the first digits of its id
    #[arg(long, value_name = "ID|URL")]
    endpoint: Option<String>,
    /// Only deliveries of the trigger-fired event with this id
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only deliveries about this contact, by the id it had when the delivery was created
    #[arg(long, value_name = "ID")]
    contact: Option<Uuid>,
    /// Only deliveries of the trigger with this name
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Only deliveries created since a time (2026-11-22T10:00:00Z) or within a duration (24h) [default: 24h; pending, discarded:
    /// any time]
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// Only the newest N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
}

impl Filters {
    fn since(&self) -> Option<Since> {
        self.since.or_else(|| (!deliveries::at_any_age(&self.state)).then_some(Since::DAY))
    }

    /// Whether a filter narrows; `--limit` alone chooses nothing.
    pub(super) fn narrows(&self) -> bool {
        let without_limit = Self { limit: None, ..self.clone() };
        self.company.is_some() || without_limit.excludes_ids()
    }

    /// Whether it selects deliveries that are not pending.
    pub(super) fn has_other_states(&self) -> bool {
        self.state.iter().any(|state| *state != State::Pending)
    }

    /// The pending deliveries that they select, of one endpoint at most: a receiver may be gone for one of the companies that share
    /// its address.
    ///
    /// # Errors
    /// When the endpoint is unknown or ambiguous, or the database fails.
    pub(super) async fn waiting(&self, database: &Database) -> anyhow::Result<Filter> {
        if let Some(endpoint) = &self.endpoint {
            endpoints::resolve(database, self.company.as_deref(), endpoint).await?;
        }
        Self { state: vec![State::Pending], ..self.clone() }.filter(database).await
    }
}

impl Select for Filters {
    type Subject = Self;

    /// The company narrows ids as well.
    fn excludes_ids(&self) -> bool {
        !self.state.is_empty()
            || self.endpoint.is_some()
            || self.event.is_some()
            || self.contact.is_some()
            || self.trigger.is_some()
            || self.since.is_some()
            || self.limit.is_some()
    }

    /// Without a state, successful deliveries would be sent again.
    fn check(&self) -> Result<(), Usage> {
        if !self.excludes_ids() {
            return Err(Usage("select deliveries by ids, or by filters such as --state dead".to_owned()));
        }
        if self.state.is_empty() {
            return Err(Usage("filters need a state as well, such as --state dead".to_owned()));
        }
        Ok(())
    }

    async fn resolve(&self, database: &Database, id: &str) -> anyhow::Result<Key> {
        Ok(deliveries::resolve(database, self.company.as_deref(), id).await?)
    }

    async fn filter(&self, database: &Database) -> anyhow::Result<Filter> {
        let since = self.since().map(Since::moment).transpose()?;
        let endpoints = match &self.endpoint {
            None => None,
            Some(text) => {
                let found = endpoints::find(database, self.company.as_deref(), text).await?;
                Some(found.into_iter().map(|key| key.id).collect())
            }
        };
        Ok(Filter {
            company: self.company.clone(),
            states: Some(self.state.clone()).filter(|states| !states.is_empty()),
            endpoints,
            event_id: self.event.clone(),
            contact: self.contact,
            trigger: self.trigger.clone(),
            since,
            before: None,
            limit: self.limit.map(i64::from),
        })
    }
}

impl Subject for Filters {
    type Filter = Filter;
    type Row = Listed;
    const PLURAL: &'static str = "deliveries";

    fn limit(filter: &Filter) -> Option<i64> {
        filter.limit
    }

    fn chosen(selection: Selection<Filter>) -> Chosen {
        Chosen::Deliveries(selection)
    }

    async fn page(
        database: &Database,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> anyhow::Result<Page<Listed>> {
        let before = after.map(Cursor::position).or(filter.before);
        let filter = Filter { before, ..filter.clone() };
        Ok(deliveries::page(database, &filter, limit).await?.page)
    }

    async fn rows(database: &Database, keys: &[Key]) -> anyhow::Result<Vec<Listed>> {
        Ok(deliveries::summaries(database, keys).await?)
    }

    fn print(output: Output, rows: &[Listed]) -> anyhow::Result<()> {
        print(output, rows)
    }

    async fn report(
        database: &Database,
        output: Output,
        verb: Verb,
        operation: Option<&Operation>,
    ) -> anyhow::Result<()> {
        outcome::report(database, output, verb, operation).await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        filters: Filters,
    }

    #[test]
    fn pending_and_discarded_deliveries_are_listed_at_any_age() {
        for (arguments, expected) in [
            (&[][..], Some(Since::DAY)),
            (&["--state", "dead"], Some(Since::DAY)),
            (&["--state", "pending", "--state", "dead"], Some(Since::DAY)),
            (&["--state", "discarded", "--state", "delivered"], Some(Since::DAY)),
            (&["--state", "pending"], None),
            (&["--state", "discarded"], None),
            (&["--state", "discarded", "--state", "pending"], None),
            (&["--state", "pending", "--since", "24h"], Some(Since::DAY)),
        ] {
            let parsed = Command::try_parse_from([&["x"], arguments].concat()).unwrap();
            assert_eq!(parsed.filters.since(), expected, "{arguments:?}");
        }
    }
}
