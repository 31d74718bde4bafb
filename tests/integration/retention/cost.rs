//! What a round reads, and that nothing else waits if that takes too long.

use contact_relay::postgres::partitions::{self, Change, Deletion, TABLES, Table, Unfinished};
use macro_rules_attribute::apply;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use time::{Date, Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{insert_deliveries, maintenance, moved, partitions as count_partitions, round};
use crate::support::{app::TestApp, event::Event, rows::rows_read, test};

fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

fn deliveries() -> &'static Table {
    TABLES.iter().find(|table| table.name == "webhook_deliveries").unwrap()
}

/// The partition of a day.
fn partition(table: &str, day: Date) -> String {
    format!("{table}_{}", day.to_string().replace('-', ""))
}

/// Ten thousand events of one contact in one day: whether each version must stay costs a look at the next one.
#[apply(test)]
async fn versions_of_a_contact_are_not_compared_with_all_others(app: &TestApp) {
    const VERSIONS: i64 = 300;
    let insert = "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
            trigger_name, endpoint_id, contact_id, contact_version, method, url, headers, newest_only, awaited, digest, state)
         SELECT 'acme', gen_random_uuid(), now(), gen_random_uuid(), 1, 's', 'e', 't', $1, $1, n, 'POST',
            'https://hooks.example/', '[]', true, false, false, 'delivered' FROM generate_series(1, $2) n";
    sqlx::query(insert).bind(Uuid::nil()).bind(VERSIONS).execute(&app.pool).await.unwrap();
    let unit = async |conn: &mut PgConnection| {
        let mut transaction = conn.begin().await?;
        let mut unfinished = Unfinished::begin(&mut transaction, deliveries(), today()).await?;
        // Without the scan of the partition itself.
        let (columns, tables) = ("idx_tup_fetch", "^webhook_deliveries");
        let before = rows_read(&mut transaction, columns, tables).await;
        while !unfinished.is_complete() {
            let done = unfinished.read(&mut transaction, deliveries(), today()).await?;
            assert_eq!(done, Change::Done);
        }
        Ok::<_, sqlx::Error>(rows_read(&mut transaction, columns, tables).await - before)
    };
    let read = maintenance(app).database.unit(unit).await.unwrap();
    assert!((1..=2 * VERSIONS).contains(&read), "{read}");
}

#[apply(test)]
async fn oldest_request_is_found_without_the_others(app: &TestApp) {
    let insert = "INSERT INTO effects (company_id, batch, kind, items, body, created_at)
                  SELECT 'acme', gen_random_uuid(), kind, 1, '\\x90', now() - n * interval '1 hour'
                  FROM generate_series(1, 500) n, (VALUES ('publish'), ('send')) k(kind)";
    app.pool.execute(insert).await.unwrap();
    let now = OffsetDateTime::now_utc();
    let unit = async |conn: &mut PgConnection| {
        let mut transaction = conn.begin().await?;
        let columns = "idx_tup_fetch + seq_tup_read";
        let before = rows_read(&mut transaction, columns, "^effects$").await;
        let settled = partitions::settled_before(&mut transaction, now).await?;
        Ok::<_, sqlx::Error>((settled, rows_read(&mut transaction, columns, "^effects$").await - before))
    };
    let (settled, read) = maintenance(app).database.unit(unit).await.unwrap();
    let age = now - settled;
    assert!(age > Duration::hours(523) && age < Duration::hours(525), "{age}");
    assert!(read <= 1, "{read}");
}

/// Workers may be waiting for a partition, so nothing comes before it.
#[apply(test)]
async fn partitions_are_made_although_nothing_can_leave(app: &TestApp) {
    let name = partition("webhook_attempts", today() + Duration::days(7));
    app.pool.execute(AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}"))).await.unwrap();
    app.pool.execute("ALTER TABLE effects RENAME TO away").await.unwrap();
    let failed = maintenance(app).round(OffsetDateTime::now_utc(), &CancellationToken::new()).await;
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(app.rows(&format!("pg_class WHERE relname = '{name}'")).await, 1);
    app.pool.execute("ALTER TABLE away RENAME TO effects").await.unwrap();
}

/// It is slow in every round. Later days leave all the same.
#[apply(test)]
async fn day_that_takes_too_long_holds_up_no_other_day(app: &TestApp) {
    insert_deliveries(&app.pool, "delivered", 1).await;
    app.pool
        .execute("UPDATE webhook_deliveries SET created_at = created_at + interval '1 day'")
        .await
        .unwrap();
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/status/404"))).await;
    app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
                CREATE TRIGGER slow BEFORE INSERT ON webhook_attempts_default FOR EACH ROW EXECUTE FUNCTION slow()";
    app.pool.execute(slow).await.unwrap();
    round(app, 60).await;
    assert_eq!(count_partitions(app, "webhook_attempts").await, 9, "all but that of today");
    assert_eq!(count_partitions(app, "webhook_deliveries").await, 9);
    assert_eq!((app.deliveries("dead").await, app.deliveries("delivered").await), (1, 0));
    app.pool.execute("DROP TRIGGER slow ON webhook_attempts_default").await.unwrap();
    round(app, 60).await;
    assert_eq!(count_partitions(app, "webhook_deliveries").await, 8);
    assert_eq!((app.deliveries("dead").await, moved(app, "webhook_attempts").await), (1, 1));
}

/// A statement that waits for the lock of the partition takes too long.
#[apply(test)]
async fn portion_that_takes_too_long_is_halved(app: &TestApp) {
    insert_deliveries(&app.pool, "pending", 300).await;
    insert_deliveries(&app.pool, "delivered", 300).await;
    let mut conn = app.pool.acquire().await.unwrap();
    let later = OffsetDateTime::now_utc() + Duration::DAY;
    let mut unfinished = Unfinished::begin(&mut conn, deliveries(), today()).await.unwrap();
    let mut hopeless = Unfinished::begin(&mut conn, deliveries(), today()).await.unwrap();
    let mut deletion = Deletion::begin(&mut conn, deliveries(), Some(today()), later).await.unwrap();

    let mut holder = app.pool.begin().await.unwrap();
    let lock = format!("LOCK TABLE {}", partition("webhook_deliveries", today()));
    holder.execute(AssertSqlSafe(lock)).await.unwrap();
    // Before the wait for the lock ends.
    conn.execute("SET statement_timeout = '180ms'").await.unwrap();
    assert_eq!(unfinished.read(&mut conn, deliveries(), today()).await.unwrap(), Change::Done);
    assert_eq!(deletion.portion(&mut conn, 1000).await.unwrap(), Ok(0));
    let mut reads = 0;
    while hopeless.read(&mut conn, deliveries(), today()).await.unwrap() == Change::Done {
        reads += 1;
    }
    assert!(reads > 1 && !hopeless.is_complete(), "it ends with one page");
    holder.rollback().await.unwrap();

    conn.execute("SET statement_timeout = 0").await.unwrap();
    let mut portions = 0;
    while !unfinished.is_complete() {
        assert_eq!(unfinished.read(&mut conn, deliveries(), today()).await.unwrap(), Change::Done);
        portions += 1;
    }
    assert!(portions > 1, "half of the pages at a time");
    let mut deleted = 0;
    while !deletion.is_complete() {
        deleted += deletion.portion(&mut conn, 1000).await.unwrap().unwrap();
    }
    assert_eq!(deleted, 300);
    let dropped = partitions::drop(&mut conn, deliveries(), today(), &unfinished).await.unwrap();
    assert_eq!((dropped, moved(app, "webhook_deliveries").await), (Change::Done, 300));
}

/// Workers wait while it looks for those that failed again since the reading began.
#[apply(test)]
async fn dropping_a_day_reads_no_dead_letter_from_before(app: &TestApp) {
    let dead = "INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key,
            properties, delivery_id, last_seen_at, state, settled_at, signature)
         SELECT 'acme', gen_random_uuid(), 'webhook', 'webhook_exhausted', 'm', uuid_send(gen_random_uuid()), '', '', '{}',
            gen_random_uuid(), now() - interval '1 hour', state, CASE state WHEN 'open' THEN NULL ELSE now() END, '\\x00'
         FROM generate_series(1, 300), (VALUES ('open'), ('discarded'), ('resolved')) s(state)";
    app.pool.execute(dead).await.unwrap();
    let unit = async |conn: &mut PgConnection| {
        let mut transaction = conn.begin().await?;
        let unfinished = Unfinished::begin(&mut transaction, deliveries(), today()).await?;
        let columns = "idx_tup_fetch + seq_tup_read";
        let before = rows_read(&mut transaction, columns, "^dead_letters$").await;
        let dropped = partitions::drop(&mut transaction, deliveries(), today(), &unfinished).await?;
        Ok::<_, sqlx::Error>((dropped, rows_read(&mut transaction, columns, "^dead_letters$").await - before))
    };
    let dropped = maintenance(app).database.unit(unit).await.unwrap();
    assert_eq!(dropped, (Change::Done, 0));
}
