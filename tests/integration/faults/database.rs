//! A database that answers but cannot be used: read-only, without rights, without its schema.

use macro_rules_attribute::apply;
use sqlx::AssertSqlSafe;

use super::{all_done, assert_calm, impatient, leads, leads_to, not_ready};
use crate::support::{alone, app::TestApp, process::Process, proxy::Proxy, test};

#[apply(test)]
async fn events_wait_while_the_database_is_read_only(app: &TestApp) {
    let process = app.run(&[]).await;
    let name = app.setting("amqp.namespace");
    // Open sessions keep their setting.
    let mut operator = app.pool.acquire().await.unwrap();
    let mut alter = async |value: &str| {
        let statement = format!(r#"ALTER DATABASE "{name}" SET default_transaction_read_only = {value}"#);
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *operator).await.unwrap();
    };
    alter("on").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'contact-relay%'";
    execute(app, end.to_owned()).await;
    waits(app, &process, "read-only").await;
    alter("off").await;
    resumes(app, &process).await;
}

/// Runs alone, hence on private services: elsewhere the role may be a superuser, which needs no rights.
#[apply(alone)]
async fn events_wait_while_the_role_lacks_rights(app: &TestApp) {
    let process = app.run(&[]).await;
    execute(app, "REVOKE INSERT ON contacts FROM CURRENT_USER".to_owned()).await;
    waits(app, &process, "permission denied").await;
    execute(app, "GRANT INSERT ON contacts TO CURRENT_USER".to_owned()).await;
    resumes(app, &process).await;
}

/// As Postgres answers when it cannot extend a file (`disk_full`).
#[apply(test)]
async fn events_wait_while_the_disk_of_the_database_is_full(app: &TestApp) {
    let process = app.run(&[]).await;
    let full = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
                END $$";
    execute(app, full.to_owned()).await;
    execute(app, "CREATE TRIGGER no_space BEFORE INSERT ON contacts EXECUTE FUNCTION refuse()".to_owned())
        .await;
    waits(app, &process, "No space left on device").await;
    execute(app, "DROP TRIGGER no_space ON contacts".to_owned()).await;
    resumes(app, &process).await;
}

#[apply(test)]
async fn events_wait_until_the_schema_is_migrated(app: &TestApp) {
    execute(app, "DROP SCHEMA public CASCADE".to_owned()).await;
    execute(app, "CREATE SCHEMA public".to_owned()).await;
    let process = app.spawn(&["run"]);
    app.broker.declare().await;
    app.broker.publish_all(&leads(app, 0..100)).await;
    not_ready(&process, "does not exist").await;
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    all_done(app, 100).await;
    process.ready().await;
    assert_calm(&process);
}

/// The worker records its outcomes before it claims deliveries that look due.
#[apply(test)]
async fn outage_beyond_a_lease_sends_nothing_twice(app: &TestApp) {
    impatient(app);
    let database = Proxy::before(&app.setting("postgres.url")).await;
    app.set("postgres.url", database.url());
    let process = app.run(&[]).await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/held"), 0..20)).await;
    app.webhooks(20).await;
    database.close();
    app.receiver.release();
    app.wait_for_rows("processes WHERE alive_until <= now()", 1).await;
    database.open();
    all_done(app, 20).await;
    assert_eq!(app.receiver.requests().len(), 20);
    process.ready().await;
    assert_calm(&process);
}

/// Publishes events and checks that they wait and none becomes a dead letter.
async fn waits(app: &TestApp, process: &Process, why: &str) {
    impatient(app);
    app.broker.publish_all(&leads(app, 0..100)).await;
    not_ready(process, why).await;
    assert_eq!(app.rows("applied_events").await, 0);
    assert_eq!(app.rows("dead_letters").await, 0);
}

async fn resumes(app: &TestApp, process: &Process) {
    all_done(app, 100).await;
    process.ready().await;
    assert_calm(process);
}

async fn execute(app: &TestApp, statement: String) {
    // Statements consist of constants and generated names.
    sqlx::query(AssertSqlSafe(statement)).execute(&app.pool).await.unwrap();
}
