//! `--finished`: the chain beside finished deliveries and events, and while retention removes them.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    arguments::Arguments,
    load::Load,
    report::{self, Report},
    stage::{Part, Stage},
    world::World,
};

/// The finished rows are this many days old, the same number for each day.
const AGES: std::ops::Range<usize> = 10..30;

/// Settings under which all of them leave.
const SHORT: [(&str, &str); 3] =
    [("RETENTION__DELIVERIES", "8d"), ("RETENTION__ATTEMPTS", "7d"), ("RETENTION__HISTORY", "8d")];

/// Compares the chain on an empty database with one that has `finished` deliveries and events, and measures it once
/// more while they leave.
pub(crate) async fn measure(
    world: &World,
    arguments: &Arguments,
    finished: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let load = Load::to(&world.receiver().url);
    let mut empty = Stage::new(world, "empty").await?;
    let mut full = Stage::new(world, "finished").await?;
    eprintln!("storing {finished} finished deliveries and events");
    store(&mut full.connect().await?, finished).await?;
    print_sizes(&mut full.connect().await?, finished).await?;
    let (nothing, beside, leaving) =
        ("chain, empty", "chain, beside what is finished", "chain, while it leaves");
    for round in 0..=arguments.rounds(3) {
        let is_last = round == arguments.rounds(3);
        if is_last {
            full.set(&SHORT);
        }
        let mut first = None;
        for (stage, name) in [(&mut empty, nothing), (&mut full, if is_last { leaving } else { beside })] {
            eprintln!("{name}");
            let measured = stage.measure(Part::Chain, &load, arguments.events).await?;
            measured.record(report, name);
            let first = *first.get_or_insert(measured.rate());
            report.add(name, report::OF_FIRST, measured.rate() / first);
        }
    }
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM webhook_deliveries WHERE company_id = 'finished'")
            .fetch_one(&mut full.connect().await?)
            .await?;
    println!("{left} of {finished} deliveries were left when the last part ended.\n");
    report.print("Rates", report::RATES);
    report.print("Processor time of an event", report::CPU);
    report.print("Other costs of an event, and memory", report::COST);
    empty.remove().await?;
    full.remove().await
}

/// Stores rows like those of the benchmark's own events, in partitions like those of maintenance.
async fn store(conn: &mut PgConnection, finished: usize) -> anyhow::Result<()> {
    run(conn, "SET synchronous_commit = off").await?;
    let events = "applied_events (company_id, event_key, meaning, erased)
        SELECT 'finished', gen_random_uuid(), decode(md5(n::text), 'hex'), false FROM generate_series(1, $1) n";
    insert(conn, events, finished).await?;
    for age in AGES {
        let day = format!("(now() AT TIME ZONE 'UTC')::date - {age}");
        let month = format!("date_trunc('month', {day})");
        create(conn, "webhook_deliveries", &day, "YYYYMMDD", "1 day").await?;
        create(conn, "trigger_events", &month, "YYYYMM", "1 month").await?;
        let count = finished / AGES.len();
        let deliveries = format!(
            "webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id, trigger_name,
                contact_id, contact_version, endpoint_id, method, url, headers, body, newest_only, awaited, digest,
                state, attempts, last_status, started_at, duration_ms, answer_ms, finished_at)
             SELECT 'finished', gen_random_uuid(), {day} + interval '1 hour', gen_random_uuid(), 2,
                '/companies/bench/assistants/sales', gen_random_uuid()::text, 'register_qualified_lead',
                gen_random_uuid(), 1, '00000000-0000-0000-0000-000000000001', 'POST', 'http://127.0.0.1:40000/hook',
                '[[\"content-type\",\"application/json\"],[\"Authorization\",\"Bearer my_token\"]]',
                convert_to(repeat('x', 150), 'UTF8'), false, false, false, 'delivered', 1, 200,
                {day} + interval '1 hour', 1, 1, {day} + interval '1 hour'
             FROM generate_series(1, $1)"
        );
        insert(conn, &deliveries, count).await?;
        let entries = format!(
            "trigger_events (company_id, contact_id, event_time, source, event_id, step, trigger_name, operation,
                version, changed, fields, applied_at)
             SELECT 'finished', gen_random_uuid(), {day}, '/companies/bench/assistants/sales',
                gen_random_uuid()::text, 1, 'register_qualified_lead', 'created', 1, 'name,phone,email,company',
                '{{\"name\":\"Lead\",\"phone\":\"+5511900000000\",\"email\":\"lead@customers.example\"}}',
                {day} + interval '1 hour'
             FROM generate_series(1, $1)"
        );
        insert(conn, &entries, count).await?;
    }
    // Neither hint bits nor the vacuum that they would wait for belong to what is measured.
    run(conn, "VACUUM (ANALYZE)").await
}

async fn create(
    conn: &mut PgConnection,
    table: &str,
    first: &str,
    suffix: &str,
    length: &str,
) -> anyhow::Result<()> {
    let statement = format!(
        "DO $$ BEGIN EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF {table} FOR VALUES FROM (%L) TO (%L)',
             '{table}_' || to_char({first}, '{suffix}'), ({first})::timestamp AT TIME ZONE 'UTC',
             (({first}) + interval '{length}')::timestamp AT TIME ZONE 'UTC'); END $$"
    );
    run(conn, &statement).await
}

async fn insert(conn: &mut PgConnection, rows: &str, count: usize) -> anyhow::Result<()> {
    let statement = AssertSqlSafe(format!("INSERT INTO {rows}"));
    sqlx::query(statement).bind(i64::try_from(count)?).execute(conn).await?;
    Ok(())
}

async fn run(conn: &mut PgConnection, statement: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(conn).await?;
    Ok(())
}

/// Bytes for a million events.
async fn print_sizes(conn: &mut PgConnection, finished: usize) -> anyhow::Result<()> {
    println!("| for a million events | table, MB | indexes, MB |\n|---|---:|---:|");
    for table in ["applied_events", "trigger_events", "webhook_deliveries"] {
        let (rows, indexes): (i64, i64) = sqlx::query_as(
            "SELECT sum(pg_table_size(relid))::bigint, sum(pg_indexes_size(relid))::bigint
             FROM (SELECT $1::regclass AS relid UNION SELECT relid FROM pg_partition_tree($1::regclass)) tables",
        )
        .bind(table)
        .fetch_one(&mut *conn)
        .await?;
        let per_million = |bytes: i64| bytes / i64::try_from(finished.max(1)).unwrap_or(i64::MAX);
        println!("| `{table}` | {} | {} |", per_million(rows), per_million(indexes));
    }
    println!();
    Ok(())
}
