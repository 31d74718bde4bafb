//! Partitions are made and dropped without holding anybody up, and the default partition replaces those that are missing.

use contact_relay::{
    postgres::partitions::{self, Change, TABLES, Unfinished},
    workers::maintenance::Report,
};
use macro_rules_attribute::apply;
use sqlx::{Acquire as _, AssertSqlSafe, Executor as _};
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use super::{
    begin_today, insert_deliveries, maintenance, moved, one_round, partitions as count_partitions, round,
};
use crate::support::{app::TestApp, event::Event, eventually, only, test};

#[apply(test)]
async fn processes_share_the_work(app: &TestApp) {
    let tasks = [maintenance(app), maintenance(app), maintenance(app)];
    let now = OffsetDateTime::now_utc() + Duration::days(60);
    let stop = CancellationToken::new();
    let reports = futures_util::future::join_all(tasks.iter().map(|task| task.round(now, &stop))).await;
    assert_eq!(reports.iter().filter(|report| report.is_err()).count(), 0, "{reports:?}");
    // What one of them left to another that was busy is done by the next round.
    round(app, 60).await;
    assert_eq!(count_partitions(app, "webhook_deliveries").await, 8);
    assert_eq!(count_partitions(app, "webhook_attempts").await, 8);
}

/// A transaction that reads an old partition keeps the table locked. The task gives up; workers do not wait for it.
#[apply(test)]
async fn partition_that_is_in_use_is_dropped_later(app: &TestApp) {
    app.run(&[]).await;
    let mut holder = app.pool.acquire().await.unwrap();
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("LOCK TABLE webhook_deliveries IN ACCESS SHARE MODE").await.unwrap();
    let report = one_round(app, 60).await;
    assert!(report.postponed >= 2, "{report:?}");
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    transaction.rollback().await.unwrap();
    app.wait_for_unsent(0).await;
    round(app, 60).await;
    assert_eq!(count_partitions(app, "webhook_deliveries").await, 8);
    assert_eq!(app.deliveries("delivered").await, 0);
}

/// The connection ends in the middle of the drop, as when the process is killed: the partition is detached, and its
/// unfinished rows are about to move.
#[apply(test)]
async fn drop_that_is_cut_off_changes_nothing(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/status/404"))).await;
    app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    let cut = "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
                   'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
               CREATE TRIGGER cut BEFORE INSERT ON webhook_deliveries_default FOR EACH ROW EXECUTE FUNCTION cut()";
    app.pool.execute(cut).await.unwrap();
    let now = OffsetDateTime::now_utc() + Duration::days(60);
    let stop = CancellationToken::new();
    assert!(maintenance(app).round(now, &stop).await.is_err(), "it was cut off");
    assert_eq!((app.deliveries("dead").await, moved(app, "webhook_deliveries").await), (1, 0));
    app.pool.execute("DROP TRIGGER cut ON webhook_deliveries_default").await.unwrap();
    round(app, 60).await;
    let dead = only(app.dead_letters().await);
    assert_eq!((app.deliveries("dead").await, moved(app, "webhook_deliveries").await), (1, 1));
    assert_eq!((dead.state.as_str(), count_partitions(app, "webhook_deliveries").await), ("open", 8));
}

#[apply(test)]
async fn partition_with_many_unfinished_rows_stays(app: &TestApp) {
    insert_deliveries(&app.pool, "pending", 5001).await;
    insert_deliveries(&app.pool, "delivered", 1500).await;
    let report = round(app, 60).await;
    assert_eq!((app.deliveries("pending").await, moved(app, "webhook_deliveries").await), (5001, 0));
    assert_eq!(count_partitions(app, "webhook_deliveries").await, 9);
    assert_eq!(
        (report.deleted, app.deliveries("delivered").await),
        (1500, 0),
        "finished ones leave all the same"
    );
    app.pool
        .execute("UPDATE webhook_deliveries SET state = 'delivered' WHERE delivery_id > '20000000-0000-0000-0000-000000000000'")
        .await
        .unwrap();
    round(app, 60).await;
    let left = app.deliveries("pending").await;
    assert_eq!((moved(app, "webhook_deliveries").await, left > 0), (left, true));
    assert_eq!(count_partitions(app, "webhook_deliveries").await, 8);
}

/// After an outage of the task, today's rows are in the default partition.
#[apply(test)]
async fn rows_without_a_partition_are_kept_and_leave_by_age(app: &TestApp) {
    begin_today(app).await;
    let day = OffsetDateTime::now_utc().date().to_string().replace('-', "");
    for table in ["webhook_deliveries", "webhook_attempts"] {
        let drop = format!("DROP TABLE {table}_{day}");
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&app.pool).await.unwrap();
    }
    let service = app.run(&["upsert"]).await;
    eventually("the task has repaired it", async || {
        (count_partitions(app, "webhook_deliveries").await == 8).then_some(())
    })
    .await;
    service.kill9().await;
    let drop = format!("DROP TABLE webhook_deliveries_{day}");
    sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&app.pool).await.unwrap();
    insert_deliveries(&app.pool, "delivered", 2500).await;
    assert_eq!(moved(app, "webhook_deliveries").await, 2500);
    assert_eq!(
        round(app, 0).await,
        Report::default(),
        "it has rows of today, so there is no partition of today"
    );
    assert_eq!(round(app, 29).await.deleted, 0);
    assert_eq!(round(app, 31).await.deleted, 2500);
    app.run(&["upsert"]).await;
}

/// The day so many days from now, as at the end of the name of its partition.
fn day(days: i64) -> String {
    (OffsetDateTime::now_utc() + Duration::days(days)).date().to_string().replace('-', "")
}

/// Workers insert and read while a partition is made: their transaction is not over.
#[apply(test)]
async fn partition_is_made_while_workers_use_the_table(app: &TestApp) {
    let mut writer = app.pool.begin().await.unwrap();
    insert_deliveries(&mut *writer, "pending", 1).await;
    writer
        .execute("LOCK TABLE ONLY webhook_attempts, ONLY trigger_events IN ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    let report = round(app, 3).await;
    assert!(report.made >= 6, "{report:?}");
    writer.rollback().await.unwrap();
}

/// The attempts of a day are in use, so the deliveries of that day wait for them.
#[apply(test)]
async fn deliveries_wait_for_their_attempts(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/flaky/1"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_unsent(0).await;
    let mut reader = app.pool.begin().await.unwrap();
    reader.execute("LOCK TABLE webhook_attempts IN ACCESS SHARE MODE").await.unwrap();
    assert!(one_round(app, 60).await.postponed > 0);
    assert_eq!((app.rows("webhook_attempts").await, app.deliveries("delivered").await), (2, 1));
    reader.rollback().await.unwrap();
    round(app, 60).await;
    assert_eq!((app.rows("webhook_attempts").await, app.deliveries("delivered").await), (0, 0));
}

/// Drops all partitions of deliveries, and makes the default one large, as after weeks without the task.
async fn crowd_the_default(app: &TestApp) {
    begin_today(app).await;
    for ahead in 0..8 {
        let drop = format!("DROP TABLE webhook_deliveries_{}", day(ahead));
        sqlx::query(AssertSqlSafe(drop)).execute(&app.pool).await.unwrap();
    }
    // A page for each row.
    app.pool.execute("ALTER TABLE webhook_deliveries_default SET (fillfactor = 10)").await.unwrap();
    let fill = "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
            trigger_name, endpoint_id, method, url, headers, newest_only, awaited, digest, state)
         SELECT 'acme', gen_random_uuid(), now(), gen_random_uuid(), 1, 's', 'e', 't', gen_random_uuid(), 'POST',
            'https://hooks.example/', repeat('x', 700), false, false, false, 'delivered' FROM generate_series(1, 8100)";
    app.pool.execute(fill).await.unwrap();
}

/// Constraints that keep rows out of the default partition.
const FORBIDDEN: &str = "pg_constraint WHERE conname LIKE 'awaits_partition%'";

#[apply(test)]
async fn large_default_partition_gives_way_to_new_partitions(app: &TestApp) {
    crowd_the_default(app).await;
    assert_eq!(round(app, 0).await.made, 5, "not today and the next two days");
    for (ahead, count) in [(0, 0), (2, 0), (3, 1), (7, 1)] {
        let name = format!("pg_class WHERE relname = 'webhook_deliveries_{}'", day(ahead));
        assert_eq!(app.rows(&name).await, count, "in {ahead} days");
    }
    assert_eq!((app.rows(FORBIDDEN).await, moved(app, "webhook_deliveries").await), (0, 8100));
    assert_eq!(round(app, 0).await, Report::default());
    // Three days later, everything goes to partitions again, and a month later the old rows have left.
    round(app, 3).await;
    assert_eq!(count_partitions(app, "webhook_deliveries").await, 8);
    assert_eq!(round(app, 31).await.deleted, 8100);
}

/// The process was killed while it made a partition: until the next round no row of that day could be inserted.
#[apply(test)]
async fn rows_are_admitted_again_after_a_kill(app: &TestApp) {
    crowd_the_default(app).await;
    let forbid = format!(
        "ALTER TABLE webhook_deliveries_default ADD CONSTRAINT awaits_partition_{} CHECK (created_at < now()) NOT VALID",
        day(5)
    );
    app.pool.execute(AssertSqlSafe(forbid)).await.unwrap();
    let mut reader = app.pool.begin().await.unwrap();
    reader.execute("LOCK TABLE webhook_deliveries_default IN ACCESS SHARE MODE").await.unwrap();
    let report = one_round(app, 0).await;
    assert!((report.made, app.rows(FORBIDDEN).await) == (0, 1) && report.postponed > 0, "{report:?}");
    reader.rollback().await.unwrap();
    assert_eq!((round(app, 0).await.made, app.rows(FORBIDDEN).await), (5, 0));
}

/// It had ended when the rows of its partition were read, and is pending when the partition is dropped.
#[apply(test)]
async fn delivery_that_is_resent_meanwhile_is_kept(app: &TestApp) {
    insert_deliveries(&app.pool, "delivered", 2).await;
    let table = TABLES.iter().find(|table| table.name == "webhook_deliveries").unwrap();
    let today = OffsetDateTime::now_utc().date();
    let mut conn = app.pool.acquire().await.unwrap();
    let mut unfinished = Unfinished::begin(&mut conn, table, today).await.unwrap();
    while !unfinished.is_complete() {
        assert_eq!(unfinished.read(&mut conn, table, today).await.unwrap(), Change::Done);
    }
    // As a resend does it, a day after the delivery was created.
    let resend = "WITH resent AS (
             UPDATE webhook_deliveries SET state = 'pending'
             WHERE delivery_id = (SELECT delivery_id FROM webhook_deliveries LIMIT 1) RETURNING *)
         INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
             round_started_at)
         SELECT company_id, delivery_id, created_at, endpoint_id, now(), 0, 0, now() + interval '1 day' FROM resent";
    app.pool.execute(resend).await.unwrap();
    let dropped = partitions::drop(&mut conn, table, today, &unfinished).await.unwrap();
    assert_eq!((dropped, app.deliveries("pending").await), (Change::Done, 1));
    assert_eq!((moved(app, "webhook_deliveries").await, app.deliveries("delivered").await), (1, 0));
}

/// Drops the partition of this month's history, so that its rows go to the default one. Returns its first day.
async fn drop_this_month(app: &TestApp) -> String {
    let month = day(0)[..6].to_owned();
    app.pool.execute(AssertSqlSafe(format!("DROP TABLE trigger_events_{month}"))).await.unwrap();
    month + "01"
}

/// A process was killed while it made a partition, and none has run since. The first event finds that no row of today may
/// be inserted.
#[apply(test)]
async fn event_waits_for_its_partition(app: &TestApp) {
    let first = drop_this_month(app).await;
    let forbid =
        "ALTER TABLE trigger_events_default ADD CONSTRAINT awaits_partition_x CHECK (applied_at < 'epoch')";
    app.pool.execute(forbid).await.unwrap();
    let mut reader = app.pool.begin().await.unwrap();
    reader.execute("LOCK TABLE trigger_events_default IN ACCESS SHARE MODE").await.unwrap();
    let service = app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example")).await;
    eventually("the worker waits", async || {
        service.get("/readyz").await.filter(|answer| answer.contains("awaits_partition_x"))
    })
    .await;
    reader.rollback().await.unwrap();
    // The process may make it first.
    round(app, 0).await;
    app.wait_for_rows(&format!("trigger_events_{}", &first[..6]), 1).await;
    assert_eq!(app.rows("dead_letters").await, 0);
    service.ready().await;
}

/// Its row was routed to the default partition, and waited for the lock of that.
#[apply(test)]
async fn event_that_waits_while_its_partition_is_made_is_applied(app: &TestApp) {
    app.run(&[]).await;
    let first = drop_this_month(app).await;
    let mut making = app.pool.begin().await.unwrap();
    let attach = format!(
        "SET LOCAL TimeZone = 'UTC';
         CREATE TABLE trigger_events_late (LIKE trigger_events INCLUDING ALL);
         ALTER TABLE trigger_events ATTACH PARTITION trigger_events_late
             FOR VALUES FROM ('{first}') TO ('{first}'::timestamptz + interval '1 month')"
    );
    making.execute(AssertSqlSafe(attach)).await.unwrap();
    app.broker.publish(&Event::lead("Ada").email("ada@x.example")).await;
    app.wait_for_blocked_sessions(1).await;
    making.commit().await.unwrap();
    app.wait_for_rows("trigger_events_late", 1).await;
    assert_eq!(app.rows("dead_letters").await, 0);
}
