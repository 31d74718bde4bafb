//! `--lanes`: worker 2 with many endpoints, with one that hangs, with deliveries that fall due one after
//! another, and with many finished deliveries.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use contact_relay::{
    dev::services::Services,
    postgres::{
        Database,
        deliveries::{self, Claim},
    },
    settings::Settings,
};
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::{
    floor, own_binary,
    receiver::Receiver,
    stage::{Measured, Stage},
};

/// Endpoints of the parts with many.
const MANY: usize = 50;
/// Deliveries pending for the hanging endpoint.
const BACKLOG: usize = 100_000;
/// The speed of the machine may change during a run, so each part is compared with the floor of its round.
const ROUNDS: usize = 5;
/// Numbers of endpoints, and of deliveries pending for a hanging one.
const PARTS: [(usize, usize); 3] = [(1, 0), (MANY, 0), (MANY, BACKLOG)];
/// Deliveries of the steady parts, and how many become due a second.
const STEADY: (usize, usize) = (10_000, 1_000);

/// Inserts deliveries without worker 1, to `endpoints` addresses below `url`. They are due at once if `rate`
/// is 0; otherwise `rate` of them fall due per second, after one second. Each body contains its due time, so
/// that the receiver can compute the delay.
async fn fill(stage: &Stage, url: &str, endpoints: usize, count: usize, rate: usize) -> anyhow::Result<()> {
    let mut conn = PgConnection::connect(stage.settings().postgres.url.expose_secret()).await?;
    let statement = "
        WITH made AS (
            SELECT n, $2 || '/' || n % $3 AS url,
                now() + CASE WHEN $5 = 0 THEN interval '1 microsecond' * (n - $4) ELSE interval '1 second' * (1 + n::float8 / $5) END AS due
            FROM generate_series(0, $4 - 1) n),
        endpoints AS (
            INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight)
            SELECT DISTINCT 'bench', encode(substring(sha256(convert_to('bench' || E'\\n' || url, 'UTF8')) for 16), 'hex')::uuid,
                url, 64 FROM made ON CONFLICT DO NOTHING)
        INSERT INTO webhook_deliveries (company_id, delivery_id, event_key, step, source, event_id, trigger_name, method, url,
            headers, body, state, next_attempt_at, endpoint_id, attempts)
        SELECT 'bench', gen_random_uuid(), gen_random_uuid(), 1, '/bench', n::text, 'bench', 'POST', url,
            '[[\"content-type\", \"application/json\"], [\"authorization\", \"Bearer my_token\"]]',
            convert_to('{\"sentAt\":' || (extract(epoch FROM due) * 1e6)::bigint || ',\"text\":\"New growth lead\"}', 'UTF8'),
            'pending', due, encode(substring(sha256(convert_to('bench' || E'\\n' || url, 'UTF8')) for 16), 'hex')::uuid, $1
        FROM made";
    sqlx::query(statement)
        .bind(1)
        .bind(url)
        .bind(i32::try_from(endpoints)?)
        .bind(i32::try_from(count)?)
        .bind(i32::try_from(rate)?)
        .execute(&mut conn)
        .await?;
    sqlx::query("ANALYZE webhook_deliveries").execute(&mut conn).await?;
    Ok(())
}

/// Runs and prints all parts.
pub(crate) async fn measure(base: &Settings, services: &Services, events: usize) -> anyhow::Result<()> {
    let receiver = Receiver::start().await?;
    println!(
        "{events} deliveries, worker 2 alone: medians of {ROUNDS} rounds, each beside the floor of its round\n"
    );
    println!("| what | deliveries/s | of the floor | lowest, highest | connections | CPU s per 1,000 |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut rounds: [Vec<Round>; 3] = Default::default();
    let mut floors = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        let floor = floor::post(base, &receiver, events).await?;
        for (place, (endpoints, backlog)) in PARTS.into_iter().enumerate() {
            let stage = Stage::new(base, services, own_binary(), &format!("lanes{round}{place}")).await?;
            if backlog > 0 {
                fill(&stage, &receiver.hanging(), 1, backlog, 0).await?;
            }
            fill(&stage, &receiver.url, endpoints, events, 0).await?;
            let before = receiver.connections().await?;
            let measured = stage.webhook_alone(&receiver, events).await?;
            let connections = receiver.connections().await? - before;
            let ratio = measured.rate() / floor.rate();
            rounds.get_mut(place).context("a part")?.push(Round { measured, ratio, connections });
        }
        floors.push(floor.rate());
    }
    floors.sort_by(f64::total_cmp);
    let floor = floors.get(ROUNDS / 2).copied().unwrap_or_default();
    println!("| floor: consume, POST, ack | {floor:.0} | | | | |");
    for ((endpoints, backlog), rounds) in PARTS.into_iter().zip(rounds) {
        let beside = if backlog > 0 {
            format!(" beside one that hangs with {backlog} waiting")
        } else {
            String::new()
        };
        row(&format!("{endpoints} endpoints{beside}"), rounds)?;
    }
    steady(base, services, &receiver).await?;
    for done in [0, 1_000_000] {
        log(base, services, done).await?;
    }
    Ok(())
}

/// One part of one round.
struct Round {
    measured: Measured,
    /// The rate, relative to the floor of this round.
    ratio: f64,
    connections: usize,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn row(name: &str, mut rounds: Vec<Round>) -> anyhow::Result<()> {
    rounds.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let (Some(lowest), Some(median), Some(highest)) =
        (rounds.first(), rounds.get(rounds.len() / 2), rounds.last())
    else {
        anyhow::bail!("no rounds");
    };
    let Round { measured, ratio, connections } = median;
    let cpu = measured.cpu.unwrap_or_default().as_secs_f64() * 1000.0 / measured.events as f64;
    println!(
        "| {name} | {:.0} | {ratio:.2} | {:.2}, {:.2} | {connections} | {cpu:.3} |",
        measured.rate(),
        lowest.ratio,
        highest.ratio
    );
    Ok(())
}

/// Measures how late deliveries are sent that fall due one after another, with and without a hanging
/// endpoint.
async fn steady(base: &Settings, services: &Services, receiver: &Receiver) -> anyhow::Result<()> {
    let (count, rate) = STEADY;
    println!("\n{count} deliveries to {MANY} endpoints that become due {rate} a second: sent after");
    for hanging in [false, true] {
        let name = if hanging { "beside" } else { "without" };
        eprintln!("steady, {name} a hanging endpoint");
        let stage = Stage::new(base, services, own_binary(), &format!("steady{name}")).await?;
        if hanging {
            fill(&stage, &receiver.hanging(), 1, BACKLOG, 0).await?;
        }
        fill(&stage, &receiver.url, MANY, count, rate).await?;
        stage.webhook_alone(receiver, count).await?;
        let mut delays = receiver.delays().await?;
        delays.sort_unstable();
        let quantile = |percent: usize| delays.get(delays.len() * percent / 100).copied().unwrap_or_default();
        println!("- {name} a hanging endpoint: p50 {:.1?}, p99 {:.1?}", quantile(50), quantile(99));
    }
    Ok(())
}

/// Measures claims beside this many finished deliveries.
async fn log(base: &Settings, services: &Services, done: usize) -> anyhow::Result<()> {
    eprintln!("claims beside {done} finished deliveries");
    let stage = Stage::new(base, services, own_binary(), &format!("log{done}")).await?;
    let url = stage.settings().postgres.url.expose_secret().to_owned();
    let mut conn = PgConnection::connect(&url).await?;
    if done > 0 {
        fill(&stage, "http://127.0.0.1:9/done", MANY, done, 0).await?;
        sqlx::query("UPDATE webhook_deliveries SET state = 'delivered', finished_at = now()")
            .execute(&mut conn)
            .await?;
        sqlx::query("VACUUM ANALYZE webhook_deliveries").execute(&mut conn).await?;
    }
    fill(&stage, "http://127.0.0.1:9/due", MANY, 10_000, 0).await?;
    let database = Database::new(&stage.settings().postgres)?;
    println!("\nclaims of 10,000 due deliveries of {MANY} endpoints beside {done} finished ones:");
    // The first claims of each connection also plan the statement.
    claims(&database, 50, 20).await?;
    for limit in [50, 250] {
        let (mut times, _) = claims(&database, limit, 20).await?;
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        println!(
            "- of {limit}: median {median:.1?}, slowest {:.1?}",
            times.last().copied().unwrap_or_default()
        );
    }
    let (_, empty) = claims(&database, 250, usize::MAX).await?;
    println!("- when nothing is due: {:.1?}", empty.context("an empty claim")?);
    Ok(())
}

/// The times of the claims that found deliveries, and of the one that found none.
async fn claims(
    database: &Database,
    limit: usize,
    most: usize,
) -> anyhow::Result<(Vec<Duration>, Option<Duration>)> {
    let mut times = Vec::new();
    while times.len() < most {
        let claim = Claim {
            limit,
            lease: Duration::from_mins(1),
            token: Uuid::now_v7(),
            busy: &serde_json::json!({}),
            max_age: Duration::from_hours(1),
        };
        let began = Instant::now();
        let claimed = database.unit(async |conn| deliveries::claim(conn, &claim).await).await?;
        if claimed.is_empty() {
            return Ok((times, Some(began.elapsed())));
        }
        times.push(began.elapsed());
    }
    Ok((times, None))
}
