//! Which deliveries: the filters of `list`, and ids.

use clap::{Args, builder::PossibleValuesParser, builder::TypedValueParser as _};
use strum::VariantArray as _;
use uuid::Uuid;

use super::super::{exit::Usage, since::Since};
use crate::{
    domain::event::Key,
    operator::{
        deliveries::{self, Filter, State},
        endpoints,
    },
    postgres::Database,
};

/// The filters of `list`; what is not given does not narrow.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filters {
    /// Of this company
    #[arg(long)]
    company: Option<String>,
    /// In this state; may be given several times
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Vec<State>,
    /// To this endpoint: its address as `endpoint list` shows it, its id, or the beginning of that
    #[arg(long, value_name = "ID|URL")]
    endpoint: Option<String>,
    /// Of the trigger event with this id
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// About this contact, as it was called when the delivery was made
    #[arg(long, value_name = "ID")]
    contact: Option<Uuid>,
    /// Of the trigger with this name
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Made since: a time such as 2026-11-22T10:00:00Z, or how long ago [default: 24h; pending: any time]
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
}

impl Filters {
    pub(super) async fn filter(&self, database: &Database) -> anyhow::Result<Filter> {
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
            limit: self.limit.map(i64::from),
        })
    }

    /// What is pending has its own index; all else is found by time.
    fn since(&self) -> Option<Since> {
        self.since.or_else(|| (self.state != [State::Pending]).then_some(Since::DAY))
    }

    /// Whether nothing narrows but the company, which narrows ids as well.
    fn is_empty(&self) -> bool {
        self.state.is_empty()
            && self.endpoint.is_none()
            && self.event.is_none()
            && self.contact.is_none()
            && self.trigger.is_none()
            && self.since.is_none()
            && self.limit.is_none()
    }
}

/// Deliveries by id or by filter.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Selection {
    /// Ids, or the beginnings of ids (8 digits or more)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
}

impl Selection {
    /// # Errors
    /// When it selects nothing, in two ways at once, or what nobody may have meant: without a state, what has
    /// been delivered would be sent once more.
    pub(super) fn check(&self) -> Result<(), Usage> {
        let fault = match (self.ids.is_empty(), self.filters.is_empty()) {
            (false, false) => "give ids or filters, not both",
            (true, true) => "say which: ids, or filters such as --state dead",
            (true, false) if self.filters.state.is_empty() => {
                "with filters, say in which state too: --state dead"
            }
            _ => return Ok(()),
        };
        Err(Usage(fault.to_owned()))
    }

    /// The keys of the deliveries that are meant: as given, or oldest first.
    pub(super) async fn keys(&self, database: &Database) -> anyhow::Result<Vec<Key>> {
        if self.ids.is_empty() {
            return Ok(deliveries::keys(database, &self.filters.filter(database).await?).await?);
        }
        let mut keys: Vec<Key> = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            let key = deliveries::resolve(database, self.filters.company.as_deref(), id).await?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

fn states() -> impl clap::builder::TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::VARIANTS.iter().map(|state| state.name()))
        .try_map(|name| name.parse::<State>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        selection: Selection,
    }

    fn parse(arguments: &[&str]) -> Result<Selection, clap::Error> {
        Command::try_parse_from([&["x"], arguments].concat()).map(|command| command.selection)
    }

    #[test]
    fn a_selection_is_never_everything_by_accident() {
        for (arguments, fine) in [
            (&[][..], false),
            (&["--company", "acme"], false),
            (&["--limit", "5", "--state", "dead"], true),
            (&["--since", "1h"], false),
            (&["--trigger", "t"], false),
            (&["--trigger", "t", "--state", "delivered", "--state", "dead"], true),
            (&["0193f5a0"], true),
            (&["0193f5a0", "--company", "acme"], true),
            (&["0193f5a0", "--limit", "5"], false),
            (&["0193f5a0", "--state", "dead"], false),
        ] {
            assert_eq!(parse(arguments).unwrap().check().is_ok(), fine, "{arguments:?}");
        }
        for arguments in [["--state", "gone"], ["--limit", "0"], ["--contact", "x"], ["--since", "yesterday"]]
        {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn only_what_is_pending_is_listed_whatever_its_age() {
        for (arguments, expected) in [
            (&[][..], Some(Since::DAY)),
            (&["--state", "dead"], Some(Since::DAY)),
            (&["--state", "pending", "--state", "dead"], Some(Since::DAY)),
            (&["--state", "pending"], None),
            (&["--state", "pending", "--since", "24h"], Some(Since::DAY)),
        ] {
            assert_eq!(parse(arguments).unwrap().filters.since(), expected, "{arguments:?}");
        }
    }
}
