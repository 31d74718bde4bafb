//! Committed effects are settled one by one, and no row stays with a process that has ended or forgotten it.

use contact_relay::{
    domain::{chain::outgoing::OutgoingEvent, trace_context::TraceContext},
    postgres::{
        effects::events,
        processes::{Buried, bury, remember},
    },
};
use macro_rules_attribute::apply;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::{WAIT_TIMEOUT, app::TestApp, event::Event, eventually, only, process::Process, test};

/// An event that names itself in its body.
pub(crate) fn event(routing_key: &str) -> OutgoingEvent {
    let id = Uuid::now_v7();
    OutgoingEvent {
        company: "acme".to_owned(),
        id,
        kind: "contact.upserted".to_owned(),
        routing_key: routing_key.to_owned(),
        source: "/test".to_owned(),
        subject: None,
        time: OffsetDateTime::now_utc(),
        correlation_id: id.to_string(),
        trace: TraceContext::default(),
        reply_to: None,
        body: json!({ "id": id }).to_string().into_bytes(),
    }
}

/// Commits events as one batch of this owner.
async fn commit(app: &TestApp, owner: Option<Uuid>, events: &[OutgoingEvent]) {
    let mut conn = app.pool.acquire().await.unwrap();
    events::insert(&mut conn, Uuid::now_v7(), owner, events.to_vec()).await.unwrap();
}

/// The live processes.
async fn alive(app: &TestApp) -> Vec<Uuid> {
    let query = "SELECT process_id FROM processes WHERE alive_until > now()";
    sqlx::query_scalar(query).fetch_all(&app.pool).await.unwrap()
}

/// How often the relay could not publish an event.
fn refusals(process: &Process) -> usize {
    process.log().matches("the broker did not take 1 events").count()
}

#[apply(test)]
async fn event_that_cannot_be_routed_is_retried_alone(app: &TestApp) {
    app.set("outbox.retry_interval", "1s");
    app.set("outbox.sweep_interval", "100ms");
    let process = app.run(&[]).await;
    let lost = event("nobody.listens");
    let events = [event("contact.upserted.created"), lost.clone(), event("contact.upserted.updated")];
    commit(app, None, &events).await;
    eventually("it is tried three times", async || (refusals(&process) >= 3).then_some(())).await;
    assert_eq!(app.broker.hear(2).await.len(), 2, "the others are published once");
    assert_eq!((app.rows("effects").await, app.unpublished().await), (1, 1));

    // Others pass it.
    app.broker.publish(&Event::lead("Ada").email("ada@x.example")).await;
    app.broker.hear(3).await;
    app.broker.subscribe("nobody.listens").await;
    let heard = app.broker.hear(4).await;
    let of_lost = heard.iter().filter(|heard| heard.routing_key == "nobody.listens");
    assert_eq!(only(of_lost).at("/id"), &json!(lost.id));
    app.wait_for_unpublished(0).await;
}

/// The answer to its commit was lost, so the row belongs to a process that does not know it.
#[apply(test)]
async fn row_that_its_owner_does_not_know_is_published(app: &TestApp) {
    app.set("outbox.lease", "1s");
    app.run(&[]).await;
    let owner = only(alive(app).await);
    commit(app, Some(owner), &[event("contact.upserted.created")]).await;
    app.broker.hear(1).await;
    app.wait_for_unpublished(0).await;
}

/// As after the freeze of a machine. What it committed under its old id is not lost.
#[apply(test)]
async fn buried_process_goes_on_under_a_new_id(app: &TestApp) {
    let process = app.run(&[]).await;
    let before = eventually("it is alive", async || alive(app).await.pop()).await;
    let bury_it = "UPDATE processes SET alive_until = now() - interval '1 second', buried_at = now()";
    sqlx::query(bury_it).execute(&app.pool).await.unwrap();
    let after = eventually("it has a new id", async || alive(app).await.pop()).await;
    assert_ne!(after, before);
    commit(app, Some(before), &[event("contact.upserted.created")]).await;
    app.broker.hear(1).await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example")).await;
    app.broker.hear(2).await;
    app.wait_for_unpublished(0).await;
    assert!(process.log().contains("expired"), "{}", process.log());
    process.ready().await;
}

/// As after an outage of the database: nobody else was there to take over.
#[apply(test)]
async fn expired_process_that_nobody_buried_keeps_its_id(app: &TestApp) {
    let process = app.run(&[]).await;
    let before = eventually("it is alive", async || alive(app).await.pop()).await;
    let expire = "UPDATE processes SET alive_until = now() - interval '1 second'";
    sqlx::query(expire).execute(&app.pool).await.unwrap();
    let after = eventually("it is alive again", async || alive(app).await.pop()).await;
    assert_eq!(after, before);
    process.ready().await;
}

#[apply(test)]
async fn stopped_process_takes_leave(app: &TestApp) {
    let process = app.run(&[]).await;
    assert_eq!(app.rows("processes WHERE sends_webhooks").await, 1);
    process.sigterm();
    assert!(process.ended().await.success());
    assert!(alive(app).await.is_empty(), "it has not taken leave");
    let process = app.run(&["upsert"]).await;
    assert_eq!(app.rows("processes WHERE NOT sends_webhooks").await, 1);
    process.ready().await;
}

/// Keeps those who insert contacts or take effects at it, while there is a row in `held`.
const HOLD: &str = "CREATE TABLE held AS SELECT 1;
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        WHILE EXISTS (SELECT FROM held) LOOP PERFORM pg_sleep(0.05); END LOOP; RETURN NULL; END $$;
    CREATE TRIGGER hold BEFORE INSERT ON contacts FOR EACH STATEMENT EXECUTE FUNCTION hold();
    CREATE TRIGGER hold BEFORE UPDATE ON effects FOR EACH STATEMENT EXECUTE FUNCTION hold()";

/// Every connection that workers can have is in use.
#[apply(test)]
async fn busy_process_stays_registered(app: &TestApp) {
    app.set("postgres.max_connections", "5");
    // Longer than the test takes.
    app.set("postgres.acquire_timeout", "10m");
    app.set("postgres.statement_timeout", "10m");
    app.set("upsert.batch_size", "1");
    app.run(&[]).await;
    sqlx::raw_sql(HOLD).execute(&app.pool).await.unwrap();
    let lead = |name: &str| Event::lead(name).email(&format!("{name}@x.example"));
    app.broker.publish_all(&[lead("ada"), lead("grace")]).await;
    let busy =
        "pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'contact-relay%'
        AND state = 'active' AND query_start < now() - interval '1 second'";
    app.wait_for_at_least(4, busy).await;
    let until = "SELECT extract(epoch FROM alive_until)::bigint FROM processes";
    let before = app.count(until).await;
    eventually("it has been renewed", async || (app.count(until).await >= before + 5).then_some(())).await;
    assert!(app.rows(busy).await >= 4, "they are still in use");
    sqlx::query("DELETE FROM held").execute(&app.pool).await.unwrap();
    app.broker.hear(2).await;
}

const BATCHES: u64 = 1_200;

/// Registers a process that is `seconds` from its end, with `BATCHES` rows.
async fn register(app: &TestApp, seconds: i32) -> Uuid {
    let process = Uuid::now_v7();
    let insert = "INSERT INTO processes VALUES ($1, now() + $2 * interval '1 second', false)";
    sqlx::query(insert).bind(process).bind(seconds).execute(&app.pool).await.unwrap();
    let insert = "INSERT INTO effects (company_id, batch, kind, owner, items, body)
                  SELECT 'acme', gen_random_uuid(), 'publish', $1, 1, '\\x90' FROM generate_series(1, $2)";
    sqlx::query(insert).bind(process).bind(BATCHES.cast_signed()).execute(&app.pool).await.unwrap();
    process
}

async fn bury_all(conn: &mut PgConnection) -> u64 {
    let mut released = 0;
    loop {
        let buried = timeout(WAIT_TIMEOUT, bury(conn)).await.expect("nobody is waited for").unwrap();
        released += buried.effects;
        if !buried.more {
            return released;
        }
    }
}

#[apply(test)]
async fn processes_that_bury_do_not_wait_for_each_other(app: &TestApp) {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let dead = register(app, -1).await;
    register(app, 3_600).await;
    let (mut one, mut other) = (app.pool.acquire().await.unwrap(), app.pool.acquire().await.unwrap());

    // One of them is burying it.
    let mut burying = one.begin().await.unwrap();
    sqlx::query("SELECT FROM processes WHERE process_id = $1 FOR UPDATE")
        .bind(dead)
        .execute(&mut *burying)
        .await
        .unwrap();
    let nothing = Buried { effects: 0, lanes: 0, more: false };
    assert_eq!(timeout(WAIT_TIMEOUT, bury(&mut other)).await.expect("it does not wait").unwrap(), nothing);
    burying.rollback().await.unwrap();

    // The dead process settles one of its rows.
    let mut settling = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM effects WHERE owner = $1 LIMIT 1 FOR UPDATE")
        .bind(dead)
        .execute(&mut *settling)
        .await
        .unwrap();
    let (first, second) = tokio::join!(bury_all(&mut one), bury_all(&mut other));
    assert_eq!(first + second, BATCHES - 1);
    settling.rollback().await.unwrap();
    assert_eq!(bury_all(&mut one).await, 1, "it is remembered");
    let live = i64::try_from(BATCHES).unwrap();
    assert_eq!(app.rows("effects WHERE owner IS NOT NULL").await, live, "those of the live process");

    outlive_memory(app, dead).await;
    assert_eq!(bury_all(&mut one).await, 0);
    assert_eq!(app.rows("processes").await, 1, "not forever");
}

/// As if this process had been buried two hours ago.
async fn outlive_memory(app: &TestApp, process: Uuid) {
    let earlier = "UPDATE processes SET buried_at = buried_at - interval '2 hours' WHERE process_id = $1";
    sqlx::query(earlier).bind(process).execute(&app.pool).await.unwrap();
}

/// A batch and a lane become this process's.
async fn own(app: &TestApp, process: Uuid) {
    commit(app, Some(process), &[event("contact.upserted.created")]).await;
    let claim = "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, owner)
                 VALUES ('acme', gen_random_uuid(), 'https://a.example/', 1, $1)";
    sqlx::query(claim).bind(process).execute(&app.pool).await.unwrap();
}

/// Its machine was suspended for hours. When it goes on, it commits and claims under its old id before it notices.
#[apply(test)]
async fn what_a_process_takes_after_its_burial_is_released(app: &TestApp) {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let dead = register(app, -7_200).await;
    let mut conn = app.pool.acquire().await.unwrap();
    assert_eq!(bury_all(&mut conn).await, BATCHES);
    let both = Buried { effects: 1, lanes: 1, more: false };
    own(app, dead).await;
    assert_eq!(bury(&mut conn).await.unwrap(), both);
    outlive_memory(app, dead).await;
    assert_eq!(bury_all(&mut conn).await, 0);
    assert_eq!(app.rows("processes").await, 0);
    own(app, dead).await;
    register(app, 3_600).await;
    remember(&mut conn).await.unwrap();
    assert_eq!(bury(&mut conn).await.unwrap(), both);
    let live = i64::try_from(BATCHES).unwrap();
    assert_eq!(app.rows("effects WHERE owner IS NOT NULL").await, live, "those of the live process");
    assert_eq!(app.rows("processes WHERE buried_at IS NULL").await, 1);
}

#[apply(test)]
async fn batch_of_a_process_that_nobody_remembers_is_published(app: &TestApp) {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    commit(app, Some(Uuid::now_v7()), &[event("contact.upserted.created")]).await;
    app.run(&[]).await;
    app.broker.hear(1).await;
    app.wait_for_unpublished(0).await;
}
