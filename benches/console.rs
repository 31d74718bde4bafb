//! `cargo bench --bench console`: the time that the console takes for each page and each listing of the API, beside a million
//! dead letters, deliveries and contacts. Prints a table; asserts nothing.
//!
//! Times are from outside, over one connection, so each includes what the request and the answer take on loopback. The service
//! is the real binary with the role `console`, on a private Postgres that keeps its data.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

use std::{
    fmt::Write as _,
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser as _;
use contact_relay::dev::services::{Mode, Options, Services};
use reqwest::{Client, RequestBuilder};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::process::{Child, Command};
use url::form_urlencoded;

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
    let options = Options::disposable(env!("CARGO_BIN_EXE_contact-relay").into());
    eprintln!("starting private services");
    let services = Services::start(Options { mode: Mode::Kept, fresh: true, ..options }).await?;
    let measured = measure(&services, arguments).await;
    let state = services.state().to_owned();
    services.stop().await?;
    std::fs::remove_dir_all(state)?;
    measured
}

async fn measure(services: &Services, arguments: &Arguments) -> anyhow::Result<()> {
    let mut console = Console::new(services)?;
    anyhow::ensure!(console.command("migrate").status().await?.success(), "could not migrate");
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
    console.start().await?;
    let mut table =
        String::from("| request | p50, ms | p95, ms | most, ms | status |\n|---|---:|---:|---:|---:|\n");
    let reads = reads(&mut conn, arguments.rows).await?;
    let reads = reads.iter().map(|path| (path.as_str(), None));
    let searches = SEARCHES.iter().map(|(path, body)| (*path, Some(*body)));
    for (path, body) in reads.chain(searches).filter(|(path, _)| path.contains(&arguments.only)) {
        let line = console.time(path, body, arguments.requests).await?;
        eprintln!("{line}");
        writeln!(table, "{line}")?;
    }
    let profile = if cfg!(debug_assertions) { ", without optimization" } else { "" };
    console.stop().await?;
    println!("{} rows of each kind{profile}\n\n{table}", arguments.rows);
    Ok(())
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

/// The service, and a client of it.
struct Console {
    address: String,
    settings: Vec<(&'static str, String)>,
    client: Client,
    process: Option<Child>,
}

impl Console {
    fn new(services: &Services) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let settings = vec![
            ("CONTACT_RELAY__POSTGRES__URL", services.postgres_url().to_owned()),
            ("CONTACT_RELAY__AMQP__URL", services.amqp_url().to_owned()),
            ("CONTACT_RELAY__HTTP__BIND", address.clone()),
            ("CONTACT_RELAY__HTTP__TOKENS", "bench:operator:bench".to_owned()),
            ("CONTACT_RELAY__CONTACTS__DEFAULT_REGION", "BR".to_owned()),
        ];
        Ok(Self { address, settings, client: Client::new(), process: None })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_contact-relay"));
        command.arg(name).envs(self.settings.iter().cloned()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        let mut command = self.command("run");
        self.process = Some(command.args(["--role", "console"]).stderr(Stdio::null()).spawn()?);
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.client.get(format!("http://{}/healthz", self.address)).send().await.is_err() {
            anyhow::ensure!(Instant::now() < deadline, "the console does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process {
            process.kill().await?;
        }
        Ok(())
    }

    fn request(&self, path: &str, body: Option<&'static str>) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        let request = match body {
            None => self.client.get(url),
            Some(json) if json.starts_with('{') => {
                self.client.post(url).header("content-type", "application/json").body(json)
            }
            Some(form) => {
                self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
        };
        request.bearer_auth("bench")
    }

    /// A line of the table.
    async fn time(&self, path: &str, body: Option<&'static str>, requests: usize) -> anyhow::Result<String> {
        let (mut times, mut status) = (Vec::with_capacity(requests), 0);
        for number in 0..requests + 3 {
            let started = Instant::now();
            let response = self.request(path, body).send().await?;
            status = response.status().as_u16();
            response.bytes().await?;
            if number >= 3 {
                times.push(started.elapsed());
            }
        }
        times.sort_unstable();
        let quantile =
            |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        let ms = |share: usize| quantile(share).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        let name = body.map_or_else(|| path.to_owned(), |body| format!("{path} {body}"));
        Ok(format!("| `{name}` | {:.1} | {:.1} | {:.1} | {status} |", ms(50), ms(95), ms(100)))
    }
}
