//! `delivery discard`: gives up deliveries that wait.

use clap::Args;

use super::{
    super::{
        bulk::{Bulk, Select, operate::Verb},
        exit::{Exit, Usage},
    },
    select::Filters,
};
use crate::{
    domain::event::Key,
    operator::{deliveries::Filter, operations::Action},
    postgres::Database,
    settings::Settings,
};

pub(super) const HELP: &str = "\
A pending delivery ends without another attempt, and the results of chains that waited only for it are published. One that is
in flight, or was attempted since it was chosen, is left alone. Filters select pending deliveries of any age; if several
companies have the address of --endpoint, give --company as well. A discard is an operation: if it is interrupted, a running
service goes on with it, and `operation` lists, pauses, resumes and cancels it. Exits 3 when some could not be discarded.
`delivery resend --state discarded` with the same filters sends them after all; a result that was published stays. To give up a
delivery that is dead, discard its dead letter.

Examples:
  contact-relay delivery discard --company acme --endpoint https://hooks.example/gone --dry-run
  contact-relay delivery discard 4e4f86f0-3309 --operator ada --because 'the receiver is gone'";

/// Pending deliveries, by the filters of `list`.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct Waiting {
    #[command(flatten)]
    filters: Filters,
}

impl Select for Waiting {
    type Subject = Filters;

    fn excludes_ids(&self) -> bool {
        self.filters.excludes_ids()
    }

    fn check(&self) -> Result<(), Usage> {
        if self.filters.has_other_states() {
            return Err(Usage(
                "only pending deliveries can be discarded; to give up a dead one, discard its dead letter"
                    .to_owned(),
            ));
        }
        if self.filters.narrows() {
            return Ok(());
        }
        Err(Usage(
            "select deliveries by ids, by filters such as --endpoint, or with --state pending".to_owned(),
        ))
    }

    async fn resolve(&self, database: &Database, id: &str) -> anyhow::Result<Key> {
        self.filters.resolve(database, id).await
    }

    async fn filter(&self, database: &Database) -> anyhow::Result<Filter> {
        self.filters.waiting(database).await
    }
}

pub(super) async fn run(
    database: &Database,
    args: &Bulk<Waiting>,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let verb = Verb { action: Action::DiscardDeliveries, name: "discard", past: "discarded" };
    args.operate(database, settings, verb, false).await
}
