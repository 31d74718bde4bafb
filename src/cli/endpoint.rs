//! `endpoint list|show|pause|resume|enable|test`.

mod show;
mod test;

use anyhow::Context as _;
use clap::Subcommand;

use super::{
    confirm::Who,
    exit::Exit,
    output::{self, Output, moment, printable},
    value::variant,
};
use crate::{
    domain::event::Key,
    operator::{
        endpoints::{self, Change, Changed, Endpoint, Filter, shortened},
        lane::LaneState,
        paging::MAX_PAGE,
    },
    postgres::Database,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List endpoints with their state and the deliveries that wait for them
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Show one endpoint in full: its settings, the public keys for its receiver, its last attempts and deliveries
    Show(One),
    /// Stop sending to an endpoint until it is resumed; its deliveries wait
    #[command(after_help = PAUSE_HELP)]
    Pause(Changing),
    /// Resume sending to a paused endpoint
    Resume(Changing),
    /// Trust an endpoint again: clear its 410 (Gone), its Retry-After hold and its failures, and close its breaker
    Enable(Changing),
    /// Send a test event to an endpoint, or to any URL, and show the response
    #[command(after_help = test::HELP)]
    Test(Changing),
}

const LIST_HELP: &str = "\
An endpoint is a company and a URL as the trigger's author wrote it, without its query. The end of a path may be
a secret, so the table omits it; -o json shows the whole URL.

Example: contact-relay endpoint list --company acme --state paused";

const PAUSE_HELP: &str = "\
Requests in flight complete. Pausing twice does no harm.

Example: contact-relay endpoint pause https://hooks.example/sales --company acme --operator ada";

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only endpoints of this company
    #[arg(long)]
    company: Option<String>,
    /// Only endpoints in this state; repeat the option for several
    #[arg(long, value_name = "STATE", value_parser = variant::<LaneState>())]
    state: Vec<LaneState>,
    /// Only endpoints whose host contains this text, or with exactly this URL
    #[arg(long, value_name = "HOST|URL")]
    address: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// URL as `endpoint list -o json` shows it, id, or the first 4 or more digits of the id
    #[arg(value_name = "ID|URL")]
    endpoint: String,
    /// Company (tenant) id, if several companies have the URL
    #[arg(long)]
    company: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl One {
    async fn key(&self, database: &Database) -> anyhow::Result<Key> {
        Ok(endpoints::resolve(database, self.company.as_deref(), &self.endpoint).await?)
    }
}

/// A change of one endpoint.
#[derive(Debug, clap::Args)]
pub(super) struct Changing {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    who: Who,
}

pub(super) async fn run(command: Command, database: &Database, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list(database, &args).await,
        Command::Show(args) => show::run(database, &args, settings).await,
        Command::Test(args) => test::run(database, &args, settings).await,
        Command::Pause(args) => change(database, &args, Change::Pause, settings).await,
        Command::Resume(args) => change(database, &args, Change::Resume, settings).await,
        Command::Enable(args) => change(database, &args, Change::Enable, settings).await,
    }
}

async fn list(database: &Database, args: &List) -> anyhow::Result<Exit> {
    let columns = [
        "id",
        "company",
        "endpoint",
        "state",
        "since",
        "waiting",
        "due",
        "oldest due",
        "failures",
        "last success",
        "last error",
    ];
    let (mut list, mut after) = (output::Rows::new(args.output.format, columns), None);
    let filter =
        Filter { company: args.company.clone(), states: args.state.clone(), address: args.address.clone() };
    loop {
        let (rows, next) = endpoints::page(database, &filter, after.as_ref(), MAX_PAGE).await?;
        list.print(&rows, cells)?;
        after = next;
        if after.is_none() {
            break;
        }
    }
    list.end()?;
    Ok(Exit::Done)
}

fn cells(row: &Endpoint) -> [String; 11] {
    [
        // Eight digits identify one among thousands.
        row.id.to_string().chars().take(8).collect(),
        row.company.clone(),
        shortened(&row.url),
        row.state.to_owned(),
        row.since.map(moment).unwrap_or_default(),
        row.waiting.to_string(),
        row.due.to_string(),
        row.oldest_due_at.map(moment).unwrap_or_default(),
        row.failures.to_string(),
        row.last_success_at.map(moment).unwrap_or_default(),
        row.last_error.clone().unwrap_or_default(),
    ]
}

async fn change(
    database: &Database,
    Changing { one, who }: &Changing,
    change: Change,
    settings: &Settings,
) -> anyhow::Result<Exit> {
    let actor = who.actor()?;
    let key = one.key(database).await?;
    let changed = endpoints::change(database, &settings.amqp, &actor, &key, change).await;
    let changed = changed.context("nothing was changed")?;
    output::report(one.output.format, &changed, |changed| as_text(changed, change))?;
    Ok(Exit::Done)
}

fn as_text(changed: &Changed, change: Change) -> String {
    let Changed { changed, endpoint } = changed;
    let name = name(endpoint);
    let waiting = endpoint.waiting;
    let deliveries = if waiting == 1 { "delivery" } else { "deliveries" };
    let parked = [LaneState::Paused, LaneState::Disabled, LaneState::BreakerOpen, LaneState::Held]
        .map(LaneState::name)
        .contains(&endpoint.state);
    let then = if parked {
        format!("it is {}; {waiting} {deliveries} waiting", endpoint.state.replace('_', " "))
    } else {
        format!("sending {waiting} {deliveries}")
    };
    match (change, changed) {
        (Change::Pause, true) => format!("paused {name}; {waiting} {deliveries} waiting"),
        (Change::Pause, false) => {
            let by = printable(endpoint.paused_by.as_deref().unwrap_or_default());
            let since = endpoint.since.map(moment).unwrap_or_default();
            format!("{name} has been paused since {since} by {by}; nothing was changed")
        }
        (Change::Resume, true) => format!("resumed {name}; {then}"),
        (Change::Resume, false) => format!("{name} was not paused; nothing was changed"),
        (Change::Enable, true) => format!("enabled {name}; {then}"),
        (Change::Enable, false) => format!("{name} was not disabled, held or failing; nothing was changed"),
    }
}

/// How a sentence refers to an endpoint.
fn name(endpoint: &Endpoint) -> String {
    printable(&format!("{} of company {}", shortened(&endpoint.url), endpoint.company))
}
