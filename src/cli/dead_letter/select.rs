//! Which dead letters: the filters of `list`, and ids.

use clap::{Args, ValueEnum, builder::PossibleValuesParser, builder::TypedValueParser as _};

use super::super::{exit::Usage, since::Since};
use crate::{
    domain::{
        event::Key,
        fault::{Reason, Stage},
    },
    operator::dead_letters,
    postgres::{
        Database,
        dead_letters::{Filter, State},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateArg {
    Open,
    Replaying,
    Resolved,
    Discarded,
}

impl From<StateArg> for State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Open => Self::Open,
            StateArg::Replaying => Self::Replaying,
            StateArg::Resolved => Self::Resolved,
            StateArg::Discarded => Self::Discarded,
        }
    }
}

/// The filters of `list`; what is not given does not narrow.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filters {
    /// With this reason
    #[arg(long, value_parser = reasons())]
    reason: Option<Reason>,
    /// Of this stage
    #[arg(long, value_parser = stages())]
    stage: Option<Stage>,
    /// Of this company; '' means those whose message does not tell
    #[arg(long)]
    company: Option<String>,
    /// Of the trigger with this name
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Last seen since: a time such as 2026-11-22T10:00:00Z, or how long ago, such as 24h
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// In this state; may be given several times [default: open and replaying]
    #[arg(long, value_enum, value_name = "STATE")]
    state: Vec<StateArg>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
}

impl Filters {
    pub(super) fn filter(&self) -> Result<Filter, Usage> {
        let since = self.since.map(Since::moment).transpose()?;
        let given = !self.state.is_empty();
        let states = if given {
            self.state.iter().map(|state| (*state).into()).collect()
        } else {
            State::UNSETTLED.to_vec()
        };
        Ok(Filter {
            reason: self.reason,
            stage: self.stage,
            company: self.company.clone(),
            trigger: self.trigger.clone(),
            since,
            states,
            limit: self.limit.map(i64::from),
        })
    }

    /// Whether nothing narrows; `--limit` alone is no choice.
    fn is_empty(&self) -> bool {
        self.reason.is_none()
            && self.stage.is_none()
            && self.company.is_none()
            && self.trigger.is_none()
            && self.since.is_none()
            && self.state.is_empty()
    }
}

/// Dead letters by id, by filter, or all of them.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Selection {
    /// Ids, or the beginnings of ids (8 digits or more)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// All that wait
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

impl Selection {
    /// # Errors
    /// When it selects nothing, or in two ways at once.
    pub(super) fn check(&self) -> Result<(), Usage> {
        let filtered = !self.filters.is_empty();
        match (self.ids.is_empty(), filtered || self.filters.limit.is_some()) {
            (false, true) => Err(Usage("give ids or filters, not both".to_owned())),
            (true, _) if !filtered && !self.all => {
                Err(Usage("say which: ids, filters such as --reason, or --all".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The keys of the dead letters that are meant, oldest first.
    pub(super) async fn keys(&self, database: &Database) -> anyhow::Result<Vec<Key>> {
        if self.ids.is_empty() {
            return Ok(dead_letters::keys(database, &self.filters.filter()?).await?);
        }
        let mut keys: Vec<Key> = Vec::with_capacity(self.ids.len());
        for id in &self.ids {
            keys.push(dead_letters::resolve(database, id).await?);
        }
        keys.sort_by_key(|key| key.id);
        keys.dedup();
        Ok(keys)
    }
}

fn reasons() -> impl clap::builder::TypedValueParser<Value = Reason> {
    PossibleValuesParser::new(Reason::ALL.map(Reason::name))
        .try_map(|name| Reason::from_name(&name).ok_or("no such reason"))
}

fn stages() -> impl clap::builder::TypedValueParser<Value = Stage> {
    PossibleValuesParser::new([Stage::Upsert, Stage::Webhook].map(Stage::name))
        .try_map(|name| Stage::from_name(&name).ok_or("no such stage"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use time::OffsetDateTime;

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
            (&["--limit", "5"], false),
            (&["0193f5a0"], true),
            (&["0193f5a0", "--limit", "5"], false),
            (&["0193f5a0", "--reason", "broker"], false),
            (&["--reason", "broker"], true),
            (&["--company", ""], true),
            (&["--state", "open"], true),
            (&["--all"], true),
            (&["--all", "--limit", "5"], true),
        ] {
            assert_eq!(parse(arguments).unwrap().check().is_ok(), fine, "{arguments:?}");
        }
        assert!(parse(&["--all", "0193f5a0"]).is_err());
        assert!(parse(&["--reason", "nope"]).is_err());
        assert!(parse(&["--limit", "0"]).is_err());
    }

    #[test]
    fn filters_become_a_filter() {
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
        let filter = parse(&arguments).unwrap().filters.filter().unwrap();
        assert_eq!((filter.stage, filter.trigger.as_deref()), (Some(Stage::Webhook), Some("t")));
        assert_eq!(filter.since.unwrap().unix_timestamp(), 1_795_341_600);
        assert_eq!((filter.states, filter.limit), (vec![State::Discarded], Some(7)));
        let filter = parse(&["--since", "1h"]).unwrap().filters.filter().unwrap();
        assert_eq!(filter.states, State::UNSETTLED);
        let ago = OffsetDateTime::now_utc() - filter.since.unwrap();
        assert!((3_599..3_660).contains(&ago.whole_seconds()), "{ago}");
        assert!(parse(&["--since", "yesterday"]).is_err());
    }
}
