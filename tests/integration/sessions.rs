//! The service's sessions in Postgres, and how it uses its tables.

use contact_relay::{postgres::Database, settings};
use macro_rules_attribute::apply;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::{app::TestApp, event::Event, eventually, process::Process, proxy::Proxy, test};

#[apply(test)]
async fn sessions_are_named_after_roles_and_commands(app: &TestApp) {
    app.run(&[]).await;
    app.run(&["webhook", "upsert"]).await;
    let named = "SELECT count(DISTINCT application_name) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name IN
            ('contact-relay upsert+webhook+dead-letter+console', 'contact-relay upsert+webhook+console')";
    app.count_becomes(named, 2).await;
    // A command has ended before its session can be read, so a lock keeps it waiting.
    let mut lock = app.pool.begin().await.unwrap();
    lock.execute("LOCK TABLE dead_letters").await.unwrap();
    let (listed, ()) = tokio::join!(app.cli(&["dead-letter", "list"]), async {
        app.wait_for_rows("pg_stat_activity WHERE application_name = 'contact-relay dead-letter'", 1).await;
        lock.rollback().await.unwrap();
    });
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
}

/// Somebody may have switched it off for the whole database.
#[apply(test)]
async fn commits_wait_for_the_disk_whatever_the_default_is(app: &TestApp) {
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&app.pool).await.unwrap();
    let off = format!("ALTER DATABASE \"{name}\" SET synchronous_commit = off");
    app.pool.execute(AssertSqlSafe(off)).await.unwrap();
    app.pool
        .execute(
            "CREATE TABLE seen (value text);
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
             CREATE TRIGGER see AFTER INSERT ON applied_events FOR EACH STATEMENT EXECUTE FUNCTION see()",
        )
        .await
        .unwrap();
    app.run(&[]).await;
    app.broker.publish_in_turn(&[Event::lead("Ada").email("ada@x.example")]).await;
    assert_eq!((app.rows("seen").await, app.rows("seen WHERE value = 'on'").await), (1, 1));
    app.stop().await;
    app.set("postgres.synchronous_commit", "local");
    app.run(&[]).await;
    app.broker.publish_in_turn(&[Event::lead("Bob").email("bob@x.example")]).await;
    assert_eq!(app.rows("seen WHERE value = 'local'").await, 1);
}

/// Updates of contacts touch no index. Otherwise each would write one more index entry, and leave one to be cleaned up.
#[apply(test)]
async fn updates_of_contacts_are_hot(app: &TestApp) {
    // All versions of the one row fit on its page, even if a transaction elsewhere keeps the old ones from being cleaned up.
    const UPDATES: i64 = 6;
    app.run(&["upsert"]).await;
    for round in 0..=UPDATES {
        let event = Event::lead(&format!("round {round}"))
            .time(&format!("2026-01-01T00:00:0{round}Z"))
            .email("ada@x.example")
            .argument("city", format!("city {round}"));
        app.broker.publish(&event).await;
        app.wait_for_rows(&format!("contacts WHERE name = 'round {round}'"), 1).await;
    }
    app.stop().await;
    // A session reports its statistics before it disappears.
    let statistics = "FROM pg_stat_user_tables WHERE relname = 'contacts'";
    app.count_becomes(&format!("SELECT n_tup_upd {statistics}"), UPDATES).await;
    assert_eq!(app.count(&format!("SELECT n_tup_hot_upd {statistics}")).await, UPDATES);
    // A page of many contacts has room for new versions, and is cleaned before it is full.
    let options = "pg_class WHERE oid = 'contacts'::regclass
        AND reloptions @> '{fillfactor=75,autovacuum_vacuum_scale_factor=0.02}'";
    assert_eq!(app.rows(options).await, 1);
    app.run(&[]).await;
}

/// Waits until `/readyz` reports a fault of the database that contains `what`.
async fn not_ready(process: &Process, what: &str) {
    eventually(&format!("/readyz reports `{what}`"), async || {
        let answer = process.get("/readyz").await?;
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok()?;
        body["parts"]["postgres"].as_str()?.contains(what).then_some(())
    })
    .await;
}

#[apply(test)]
async fn pooler_that_drops_the_settings_is_refused(app: &TestApp) {
    let url = app.setting("postgres.url");
    let pooler = Proxy::without_options(&url).await;
    app.set("postgres.url", pooler.url());
    let service = app.spawn(&["run"]);
    let status = service.ended().await;
    assert_eq!(status.code(), Some(1));
    let log = service.log();
    let error = log.lines().find(|line| line.starts_with("error: ")).expect("an error");
    for part in ["statement_timeout", "enable_seqscan", "pooler"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let listed = app.cli(&["dead-letter", "list"]).await;
    assert_eq!(listed.code, Some(1));
    assert!(listed.stderr.contains("pooler"), "{}", listed.stderr);
    app.set("postgres.url", &url);
}

/// The pooler comes while the service runs. New connections are checked as well.
#[apply(test)]
async fn new_connections_are_checked(app: &TestApp) {
    let url = app.setting("postgres.url");
    let pooler = Proxy::without_options(&url).await;
    app.set("postgres.url", pooler.url());
    app.set("postgres.acquire_timeout", "5s");
    let pairs = app.environment_of_processes().into_iter().map(|(name, value)| (name.into(), value.into()));
    let settings = settings::load(None, pairs).unwrap().settings;
    let database = Database::new(&settings.postgres, "test").unwrap();
    let work = database.unit(async |conn| sqlx::query("SELECT 1").execute(conn).await).await;
    let error = work.unwrap_err().to_string();
    assert!(error.contains("pooler"), "{error}");
    app.set("postgres.url", &url);
}

#[apply(test)]
async fn running_service_says_that_a_pooler_drops_the_settings(app: &TestApp) {
    let url = app.setting("postgres.url");
    let pooler = Proxy::before(&url).await;
    app.set("postgres.url", pooler.url());
    let service = app.run(&[]).await;
    pooler.reconnect(true);
    let is_said = async || service.log().contains("let the pooler pass on").then_some(());
    eventually("it says so", is_said).await;
    pooler.reconnect(false);
    service.ready().await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example")).await;
    app.wait_for_rows("contacts", 1).await;
    app.set("postgres.url", &url);
}

#[apply(test)]
async fn database_in_another_encoding_is_refused(app: &TestApp) {
    let url = app.setting("postgres.url");
    let (server, name) = url.rsplit_once('/').unwrap();
    let ascii = format!("{name}_ascii");
    let create = format!("CREATE DATABASE \"{ascii}\" TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
    app.pool.execute(AssertSqlSafe(create)).await.unwrap();
    app.set("postgres.url", &format!("{server}/{ascii}"));
    let service = app.spawn(&["run"]);
    let status = service.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(service.log().contains("encoding is SQL_ASCII"), "{}", service.log());
    app.pool.execute(AssertSqlSafe(format!("DROP DATABASE \"{ascii}\""))).await.unwrap();
    app.set("postgres.url", &url);
}

#[apply(test)]
async fn service_waits_for_migrations(app: &TestApp) {
    app.pool.execute("CREATE SCHEMA fresh").await.unwrap();
    let url = app.setting("postgres.url");
    app.set("postgres.url", &format!("{url}?options[search_path]=fresh"));
    let service = app.spawn(&["run"]);
    not_ready(&service, "run `contact-relay migrate`").await;
    let listed = app.cli(&["dead-letter", "list"]).await;
    assert_eq!(listed.code, Some(1));
    assert!(listed.stderr.contains("0001 schema"), "{}", listed.stderr);
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    service.ready().await;
    app.set("postgres.url", &url);
}
