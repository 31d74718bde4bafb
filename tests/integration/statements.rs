//! No statement of the service reads more than it returns or changes, whatever else the tables hold.
//!
//! The texts come from `.sqlx`, which has every statement but those that name a table as they run (of partitions, of retention
//! and of the pages of an erasure; see `retention/cost.rs`). So a new one fails this test until it has an entry in
//! `statements/arguments.txt`. `statements/data.sql` fills the tables.

mod listings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use macro_rules_attribute::apply;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::support::{app::TestApp, test};

const ARGUMENTS: &str = include_str!("statements/arguments.txt");

const DATA: &str = include_str!("statements/data.sql");

/// The service's planner settings.
const SETTINGS: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";

/// Rows that a statement may read for each row that it returns or changes.
const FACTOR: f64 = 4.0;

/// Pages that a scan may read for each row and for each start. Their number shows what it passes over within an index.
const PAGES: f64 = 8.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Workers,
    Operators,
    Executor,
}

/// An entry of `arguments.txt`.
struct Entry {
    section: Section,
    beginning: String,
    arguments: String,
    at_most: Option<f64>,
    is_run: bool,
}

fn entries() -> Vec<Entry> {
    let mut section = Section::Workers;
    let mut entries: Vec<Entry> = Vec::new();
    for line in ARGUMENTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(line) = line.strip_prefix("    ") else {
            match line {
                "[workers]" => section = Section::Workers,
                "[operators]" => section = Section::Operators,
                "[executor]" => section = Section::Executor,
                _ => entries.push(Entry {
                    section,
                    beginning: line.to_owned(),
                    arguments: String::new(),
                    at_most: None,
                    is_run: true,
                }),
            }
            continue;
        };
        let entry = entries.last_mut().expect("a statement comes first");
        if let Some(limit) = line.strip_prefix("at most ") {
            let (number, _why) = limit.split_once(": ").expect("a reason");
            entry.at_most = Some(number.parse().expect("a number"));
        } else if line.starts_with("not run: ") {
            entry.is_run = false;
        } else {
            entry.arguments.push_str(line);
        }
    }
    entries
}

struct Statement {
    text: String,
    /// Without comments and line breaks.
    line: String,
    parameters: usize,
}

/// Every statement of the service.
fn statements() -> Vec<Statement> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = fs::read_dir(folder).expect("the folder .sqlx").map(|file| file.expect("a file").path());
    let mut statements: Vec<Statement> = files
        .map(|path| {
            let description: Value = serde_json::from_slice(&fs::read(path).unwrap()).expect("JSON");
            let text = description["query"].as_str().expect("a query").to_owned();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
            let line = lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
            let parameters = description["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len);
            Statement { text, line, parameters }
        })
        .collect();
    statements.sort_by(|one, other| one.line.cmp(&other.line));
    statements
}

/// The nodes of a plan that have read a table of the service.
fn scans(plan: &Value) -> Vec<&Value> {
    nodes(plan)
        .into_iter()
        .filter(|node| node["Node Type"].as_str().is_some_and(|kind| kind.ends_with("Scan")))
        .filter(|node| node["Relation Name"].as_str().is_some_and(|name| !name.starts_with("pg_")))
        .filter(|node| node["Actual Loops"] != 0)
        .collect()
}

fn nodes(plan: &Value) -> Vec<&Value> {
    let children = plan["Plans"].as_array().into_iter().flatten();
    std::iter::once(plan).chain(children.flat_map(nodes)).collect()
}

fn number(node: &Value, name: &str) -> f64 {
    node[name].as_f64().unwrap_or_default()
}

/// In all loops.
fn rows(node: &Value) -> f64 {
    number(node, "Actual Rows") * number(node, "Actual Loops")
}

fn rows_read(scan: &Value) -> f64 {
    let removed = number(scan, "Rows Removed by Filter") + number(scan, "Rows Removed by Index Recheck");
    rows(scan) + removed * number(scan, "Actual Loops")
}

/// Rows that the statement returns or changes.
fn effect(plan: &Value) -> f64 {
    let writes = nodes(plan).into_iter().filter(|node| node["Node Type"] == "ModifyTable");
    let written = writes.flat_map(|node| node["Plans"].as_array().into_iter().flatten());
    let written = written.filter(|node| node["Parent Relationship"] == "Outer").map(rows).sum::<f64>();
    if plan["Node Type"] == "ModifyTable" { written } else { written + rows(plan) }
}

/// What is wrong with the plan of a statement that was run.
fn faults(plan: &Value, entry: &Entry) -> Vec<String> {
    let mut faults = Vec::new();
    let mut partitions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let scans = scans(plan);
    for scan in &scans {
        let name = scan["Relation Name"].as_str().unwrap_or_default();
        if scan["Node Type"] == "Seq Scan" {
            faults.push(format!("reads all of {name}"));
        }
        let (read, loops) = (rows_read(scan), number(scan, "Actual Loops"));
        let pages = number(scan, "Shared Hit Blocks") + number(scan, "Shared Read Blocks");
        if pages > PAGES * (loops + read + 1.0) {
            faults.push(format!("reads {pages} pages of {name} for {read} rows"));
        }
        if let Some((table, _)) = name.rsplit_once('_').filter(|(_, end)| end.parse::<u32>().is_ok()) {
            partitions.entry(table).or_default().insert(name);
        }
    }
    let effect = effect(plan);
    let (read, most) =
        (scans.iter().map(|scan| rows_read(scan)).sum::<f64>(), entry.at_most.unwrap_or(FACTOR * effect));
    if effect < 1.0 {
        faults.push("does nothing with these arguments".to_owned());
    } else if read > most {
        faults.push(format!("reads {read} rows to return or change {effect}, at most {most} expected"));
    }
    for (table, searched) in partitions.iter().filter(|_| entry.section == Section::Workers) {
        let searched = u32::try_from(searched.len()).unwrap();
        if f64::from(searched) > effect.max(2.0) {
            faults.push(format!("searches {searched} partitions of {table}"));
        }
    }
    faults
}

/// The plan of a statement, and what it did, if it was run. What it changed is undone.
async fn explain(
    conn: &mut PgConnection,
    statement: &Statement,
    entry: Option<&Entry>,
) -> Result<Value, sqlx::Error> {
    let (options, mode, arguments) = match entry {
        Some(Entry { section: Section::Workers | Section::Executor, arguments, .. }) => {
            ("ANALYZE, BUFFERS", "force_generic_plan", arguments.clone())
        }
        Some(Entry { arguments, .. }) => ("ANALYZE, BUFFERS", "force_custom_plan", arguments.clone()),
        None => ("COSTS", "force_generic_plan", vec!["NULL"; statement.parameters].join(", ")),
    };
    let arguments = if arguments.is_empty() { arguments } else { format!("({arguments})") };
    let mut transaction = conn.begin().await?;
    for preparation in
        [format!("SET LOCAL plan_cache_mode = {mode}"), format!("PREPARE checked AS {}", statement.text)]
    {
        sqlx::raw_sql(AssertSqlSafe(preparation)).execute(&mut *transaction).await?;
    }
    let explain = format!("EXPLAIN ({options}, FORMAT JSON) EXECUTE checked{arguments}");
    let explained = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *transaction).await;
    transaction.rollback().await?;
    sqlx::raw_sql("DEALLOCATE checked").execute(conn).await?;
    Ok(explained?.get::<Value, _>(0)[0]["Plan"].clone())
}

/// What is wrong with a statement.
async fn check(
    conn: &mut PgConnection,
    statement: &Statement,
    entries: &[Entry],
    has_statistics: bool,
) -> Vec<String> {
    let mut entries = entries.iter().filter(|entry| statement.line.starts_with(&entry.beginning));
    let (entry, other) = (entries.next(), entries.next());
    if other.is_some() {
        return vec!["has several entries".to_owned()];
    }
    if entry.is_some_and(|entry| !entry.is_run || (!has_statistics && entry.section == Section::Operators)) {
        return Vec::new();
    }
    match (explain(conn, statement, entry).await, entry) {
        (Err(error), _) => vec![error.to_string()],
        (Ok(plan), Some(entry)) => faults(&plan, entry),
        (Ok(plan), None) if scans(&plan).is_empty() => Vec::new(),
        (Ok(_), None) => vec!["has no entry in statements/arguments.txt".to_owned()],
    }
}

#[apply(test)]
async fn statements_read_only_what_they_return_or_change(app: &TestApp) {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let mut conn = PgConnection::connect(&app.setting("postgres.url")).await.unwrap();
    for preparation in [DATA, SETTINGS] {
        sqlx::raw_sql(preparation).execute(&mut conn).await.unwrap();
    }
    let (statements, entries) = (statements(), entries());
    let mut faults = Vec::new();
    for has_statistics in [false, true] {
        if has_statistics {
            sqlx::raw_sql("ANALYZE").execute(&mut conn).await.unwrap();
        }
        for statement in &statements {
            for fault in check(&mut conn, statement, &entries, has_statistics).await {
                let line: String = statement.line.chars().take(160).collect();
                faults.push(format!("{fault} (statistics: {has_statistics}): {line}"));
            }
        }
    }
    for entry in &entries {
        if !statements.iter().any(|statement| statement.line.starts_with(&entry.beginning)) {
            faults.push(format!("no statement begins like this: {}", entry.beginning));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
