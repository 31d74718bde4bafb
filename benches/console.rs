//! `cargo bench --bench console`: the time that the console takes for each page and each listing of the API, beside a million
//! dead letters, deliveries and contacts; with `--replay`, the rate of a replay. Prints a table; asserts nothing.
//!
//! Times are from outside, over one connection, so each includes what the request and the answer take on loopback. The service
//! is the real binary with the role `console`, on a private Postgres that keeps its data.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

#[path = "console/replay.rs"]
mod replay;
#[path = "console/service.rs"]
mod service;

use std::{fmt::Write as _, path::PathBuf, time::Instant};

use anyhow::Context as _;
use clap::Parser as _;
use contact_relay::dev::services::{Mode, Options, Services};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::form_urlencoded;

use service::Service;

const SEED: &str = include_str!("console/seed.sql");

/// What is asked that is not at `GET`: its path and its body.
const SEARCHES: [(&str, &str); 6] = [
    ("/contacts", "company=large&email=lead-200%40customers.example"),
    ("/contacts", "company=large&name=gra"),
    ("/contacts", "company=large&name=nobody"),
    ("/api/v1/contacts/search", r#"{"company": "large", "phone": "+5511900000200"}"#),
    ("/api/v1/contacts/search", r#"{"company": "large", "name": "grace g"}"#),
    ("/api/v1/contacts/search", r#"{"company": "company-7", "name": "í"}"#),
];

/// Filters of groups of dead letters.
const GROUPS: [&str; 5] =
    ["", "company=large", "company=company-7", "reason=trigger_invalid", "trigger=trigger-3"];

/// Filters of the record of changes.
const AUDIT: [&str; 5] =
    ["", "operator=operator-3", "operator=nobody", "company=large", "action=dead_letter.replay"];

/// Measures the console with many rows of each kind.
#[derive(clap::Parser)]
#[command(bin_name = "cargo bench --bench console --")]
struct Arguments {
    /// Dead letters, deliveries, contacts and audit entries, each
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// Requests of each kind that are measured, after a few that are not
    #[arg(long, default_value_t = 100)]
    requests: usize,
    /// Only those whose address contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Instead of the pages: the replay of so many dead letters, without a rate
    #[arg(long)]
    replay: Option<u32>,
    /// The build that is measured, instead of this one
    #[arg(long, default_value = env!("CARGO_BIN_EXE_contact-relay"))]
    binary: PathBuf,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bench(&Arguments::parse()))
}

async fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    let options = Options::disposable(arguments.binary.clone());
    eprintln!("starting private services");
    let services = Services::start(Options { mode: Mode::Kept, fresh: true, ..options }).await?;
    let service = Service::new(&services, &arguments.binary)?;
    let measured = match arguments.replay {
        Some(count) => replay::measure(&services, service, count).await,
        None => measure(&services, service, arguments).await,
    };
    let state = services.state().to_owned();
    services.stop().await?;
    std::fs::remove_dir_all(state)?;
    measured
}

async fn measure(services: &Services, mut console: Service, arguments: &Arguments) -> anyhow::Result<()> {
    console.migrate().await?;
    let mut conn = PgConnection::connect(services.postgres_url()).await?;
    let started = Instant::now();
    eprintln!("storing {} rows of each kind", arguments.rows);
    let seed = SEED.replace("{rows}", &arguments.rows.to_string());
    // One by one: a vacuum cannot run together with others.
    for statement in statements(&seed) {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut conn).await;
        done.with_context(|| statement.chars().take(80).collect::<String>())?;
    }
    eprintln!("stored after {} s", started.elapsed().as_secs());
    console.start(&["--role", "console"], &[]).await?;
    let mut table =
        String::from("| request | p50, ms | p95, ms | most, ms | status |\n|---|---:|---:|---:|---:|\n");
    let reads = reads(&mut conn, arguments.rows).await?;
    let reads = reads.iter().map(|path| (path.as_str(), None));
    let searches = SEARCHES.iter().map(|(path, body)| (*path, Some(*body)));
    for (path, body) in reads.chain(searches).filter(|(path, _)| path.contains(&arguments.only)) {
        let line = time(&console, path, body, arguments.requests).await?;
        eprintln!("{line}");
        writeln!(table, "{line}")?;
    }
    let profile = if cfg!(debug_assertions) { ", without optimization" } else { "" };
    console.stop().await?;
    println!("{} rows of each kind{profile}\n\n{table}", arguments.rows);
    Ok(())
}

/// A line of the table.
async fn time(
    console: &Service,
    path: &str,
    body: Option<&'static str>,
    requests: usize,
) -> anyhow::Result<String> {
    let (mut times, mut status) = (Vec::with_capacity(requests), 0);
    for number in 0..requests + 3 {
        let started = Instant::now();
        let response = console.request(path, body).send().await?;
        status = response.status().as_u16();
        response.bytes().await?;
        if number >= 3 {
            times.push(started.elapsed());
        }
    }
    times.sort_unstable();
    let quantile = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let ms = |share: usize| quantile(share).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    let name = body.map_or_else(|| path.to_owned(), |body| format!("{path} {body}"));
    Ok(format!("| `{name}` | {:.1} | {:.1} | {:.1} | {status} |", ms(50), ms(95), ms(100)))
}

/// The statements of the file. They end with a semicolon at the end of a line; a `DO` block has lines of its own.
fn statements(seed: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), seed);
    while !rest.trim().is_empty() {
        let end = if rest.trim_start().starts_with("DO $$") { "END $$;\n" } else { ";\n" };
        let (statement, after) = rest.split_at(rest.find(end).map_or(rest.len(), |at| at + end.len()));
        found.push(statement);
        rest = after;
    }
    found
}

/// Every page and listing, with the filters that people use, some that match nothing, and pages far down.
async fn reads(conn: &mut PgConnection, rows: u32) -> anyhow::Result<Vec<String>> {
    let of = "SELECT id('dead letter', $1)::text, id('delivery', $1)::text, id('endpoint', 20)::text,
                 id('contact', (($1 - 1) / ($2 / 100)) * ($2 / 100) + 1)::text,
                 company((($1 - 1) / ($2 / 100)) * ($2 / 100) + 1), encode(substring(sha256(int4send(20)) FROM 1 FOR 16), 'hex')";
    let middle = i64::from(rows / 2);
    let (dead_letter, delivery, endpoint, contact, company, signature): (
        String,
        String,
        String,
        String,
        String,
        String,
    ) = sqlx::query_as(of).bind(middle).bind(i64::from(rows)).fetch_one(conn).await?;
    let dead_letters = filters_of_dead_letters(&endpoint, &signature);
    let deliveries = filters_of_deliveries(&endpoint, &contact);
    let mut all = vec!["/".to_owned(), "/playground".to_owned(), "/contacts".to_owned()];
    for (prefix, failures) in [("", "/failures"), ("/api/v1", "/api/v1/dead-letters/groups")] {
        let mut add = |path: &str, query: &str| all.push(format!("{path}?{query}"));
        for query in GROUPS {
            add(failures, query);
        }
        for query in &dead_letters {
            add(&format!("{prefix}/dead-letters"), query);
        }
        for query in &deliveries {
            add(&format!("{prefix}/deliveries"), query);
        }
        for query in AUDIT {
            add(&format!("{prefix}/audit"), query);
        }
        for query in ["", "company=large"] {
            add(&format!("{prefix}/endpoints"), query);
        }
        add(&format!("{prefix}/dead-letters/{dead_letter}"), "");
        add(&format!("{prefix}/deliveries/{delivery}"), "");
        add(&format!("{prefix}/endpoints/{endpoint}"), "");
    }
    let company: String = form_urlencoded::byte_serialize(company.as_bytes()).collect();
    all.push(format!("/contacts/{contact}?company={company}"));
    all.push(format!("/api/v1/companies/{company}/contacts/{contact}"));
    all.push(format!("/api/v1/companies/{company}/contacts/{contact}/history"));
    Ok(all.into_iter().map(|path| path.trim_end_matches('?').to_owned()).collect())
}

fn filters_of_dead_letters(endpoint: &str, signature: &str) -> Vec<String> {
    vec![
        String::new(),
        "company=large".to_owned(),
        "company=company-7&reason=trigger_invalid".to_owned(),
        "reason=webhook_rejected".to_owned(),
        "trigger=trigger-3".to_owned(),
        "trigger=nothing".to_owned(),
        format!("endpoint={endpoint}"),
        format!("signature={signature}"),
        "state=resolved".to_owned(),
        "until=20h".to_owned(),
        "text=cause+3".to_owned(),
        "text=cause+199".to_owned(),
        "text=nothing".to_owned(),
        "text=nothing&company=large".to_owned(),
    ]
}

fn filters_of_deliveries(endpoint: &str, contact: &str) -> Vec<String> {
    vec![
        String::new(),
        "state=pending".to_owned(),
        "state=pending&trigger=nothing".to_owned(),
        "state=dead".to_owned(),
        "state=superseded".to_owned(),
        "company=company-7".to_owned(),
        "company=nobody".to_owned(),
        "trigger=trigger-3".to_owned(),
        "trigger=nothing".to_owned(),
        format!("endpoint={endpoint}"),
        format!("contact={contact}"),
        "event=nothing".to_owned(),
    ]
}
