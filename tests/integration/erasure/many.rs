//! Erasure of a person with many events, and of one whose erasure was interrupted.

use contact_relay::domain::event::EventRef;
use macro_rules_attribute::apply;
use serde_json::json;

use super::{EMAIL, assert_no_trace, contact_id, dump, erase, interrupt_erasure};
use crate::support::{app::TestApp, event::Event, test};

/// Gives a contact a history of `count` further events, and a webhook of every thousandth.
async fn fill(app: &TestApp, id: &str, count: i32) {
    let history = "INSERT INTO trigger_events (company_id, contact_id, event_time, source, event_id, step, trigger_name,
            operation, version, fields)
        SELECT 'acme', $1::uuid, '2026-01-01'::timestamptz + (n / 2) * interval '1 s', '/s', 'ada.byron ' || n, 1, 't',
            'unchanged', 1, json_build_object('email', $2::text)
        FROM generate_series(1, $3) n";
    sqlx::query(history).bind(id).bind(EMAIL).bind(count).execute(&app.pool).await.unwrap();
    let ids: Vec<String> = (1..=count).map(|n| format!("ada.byron {n}")).collect();
    let keys: Vec<_> = ids.iter().map(|id| EventRef::new("/s", id).unwrap().key()).collect();
    let proofs = "INSERT INTO applied_events (company_id, event_key, meaning, erased)
        SELECT 'acme', key, '\\x00112233445566778899aabbccddeeff', false FROM UNNEST($1::uuid[]) key";
    sqlx::query(proofs).bind(&keys).execute(&app.pool).await.unwrap();
    // For another contact of the same chain, so that only the event shows whose they are.
    let webhooks = "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
            trigger_name, method, url, headers, body, endpoint_id, newest_only, awaited, digest, state, contact_id, finished_at)
        SELECT 'acme', gen_random_uuid(), now(), key, 2, '/s', 'ada.byron', 't', 'POST', 'https://ada.byron.example', '[]', '',
            gen_random_uuid(), false, false, false, 'delivered', gen_random_uuid(), now()
        FROM UNNEST($1::uuid[]) WITH ORDINALITY AS u(key, n) WHERE n % 1000 = 0";
    sqlx::query(webhooks).bind(&keys).execute(&app.pool).await.unwrap();
}

/// Refuses statements that change more rows than a portion has, and notes their transactions.
const FEW: &str = "CREATE TABLE portions (transaction bigint);
    CREATE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN
            IF (SELECT count(*) FROM old) > 1000 THEN RAISE EXCEPTION ''too many rows''; END IF;
            INSERT INTO portions VALUES (txid_current());
            RETURN NULL;
        END';
    CREATE TRIGGER few AFTER DELETE ON trigger_events REFERENCING OLD TABLE AS old FOR EACH STATEMENT EXECUTE FUNCTION few();
    CREATE TRIGGER few AFTER UPDATE ON applied_events REFERENCING OLD TABLE AS old FOR EACH STATEMENT EXECUTE FUNCTION few()";

#[apply(test)]
async fn person_with_100_000_events_is_erased(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    app.broker.hear(1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    fill(app, &id, 100_000).await;
    sqlx::raw_sql(FEW).execute(&app.pool).await.unwrap();
    let report = erase(app, &id).await;
    assert_eq!(
        (&report["removed"]["ledgerEvents"], &report["removed"]["deliveries"]),
        (&json!(100_001), &json!(100))
    );
    assert_eq!(app.rows("applied_events WHERE erased").await, 100_001);
    let transactions = app.count("SELECT count(DISTINCT transaction) FROM portions").await;
    assert!(transactions >= 100, "{transactions} transactions");
    assert_eq!((app.rows("trigger_events").await, app.rows("erasures").await), (0, 0));
    app.broker.hear(2).await;
    assert_no_trace(&dump(app).await.0);
}

/// Inserts `count` digests of an endpoint that are to be sent, each of 10 deliveries, one of them for the contact.
async fn fill_digests(app: &TestApp, id: &str, count: i32) {
    let digests = "CREATE TEMPORARY TABLE digests ON COMMIT DROP AS
        SELECT gen_random_uuid() AS digest, gen_random_uuid() AS endpoint FROM generate_series(1, $1)";
    let webhooks = "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
            trigger_name, method, url, headers, body, endpoint_id, newest_only, awaited, digest, state, contact_id, digest_id)
        SELECT 'acme', id, now(), gen_random_uuid(), 2, '/s', 'e', 't', 'POST', 'https://x.example', '[]', '', endpoint,
            false, false, member > 0, CASE member WHEN 0 THEN 'pending' ELSE 'digested' END, contact, digest_id
        FROM digests CROSS JOIN generate_series(0, 10) member
        CROSS JOIN LATERAL (SELECT CASE member WHEN 0 THEN digest ELSE gen_random_uuid() END,
            CASE member WHEN 0 THEN NULL WHEN 5 THEN $1::uuid ELSE gen_random_uuid() END,
            CASE WHEN member > 0 THEN digest END) AS one(id, contact, digest_id)";
    let pending =
        "INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts,
            schedule_from, round_started_at)
        SELECT 'acme', digest, now(), endpoint, now(), 0, 0, now() FROM digests";
    let mut transaction = app.pool.begin().await.unwrap();
    sqlx::query(digests).bind(count).execute(&mut *transaction).await.unwrap();
    sqlx::query(webhooks).bind(id).execute(&mut *transaction).await.unwrap();
    sqlx::query(pending).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Refuses statements that make the members of more than twenty digests due again.
const FEW_MEMBERS: &str = "CREATE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF (SELECT count(*) FROM new) > 20 * 9 THEN RAISE EXCEPTION ''too many rows''; END IF; RETURN NULL; END';
    CREATE TRIGGER few AFTER INSERT ON webhook_pending REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION few()";

#[apply(test)]
async fn person_in_many_digests_is_erased(app: &TestApp) {
    let service = app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    app.broker.hear(1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    app.wait_for_unpublished(0).await;
    service.sigterm();
    service.ended().await;
    fill_digests(app, &id, 200).await;
    sqlx::raw_sql(FEW_MEMBERS).execute(&app.pool).await.unwrap();
    assert_eq!(erase(app, &id).await["removed"]["deliveries"], json!(400));
    assert_eq!((app.rows("webhook_pending").await, app.deliveries("pending").await), (1800, 1800));
    assert_eq!((app.deliveries("discarded").await, app.deliveries("digested").await), (200, 200));
    assert_eq!(app.rows("webhook_deliveries WHERE state = 'digested' AND url <> ''").await, 0);
    sqlx::raw_sql("TRUNCATE webhook_pending, webhook_deliveries").execute(&app.pool).await.unwrap();
    app.run(&[]).await;
    app.broker.hear(2).await;
}

/// Interrupts an erasure after the contact is gone, where it deletes the history.
pub(super) async fn interrupted(app: &TestApp) -> String {
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    app.broker.hear(1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    fill(app, &id, 10).await;
    app.wait_for_unpublished(0).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM trigger_events FOR UPDATE").execute(&mut *lock).await.unwrap();
    interrupt_erasure(app, &id).await;
    lock.rollback().await.unwrap();
    assert_eq!((app.rows("contacts").await, app.rows("erasures").await), (0, 1));
    assert_eq!((app.rows("trigger_events").await, app.rows("effects").await), (11, 0));
    id
}

#[apply(test)]
async fn interrupted_erasure_is_continued_by_the_command(app: &TestApp) {
    app.run(&[]).await;
    let id = interrupted(app).await;
    // On a terminal, this decides whether there is something to do.
    let dry_run = ["contact", "erase", "--company", "acme", &id, "--dry-run"];
    let planned = app.json(&dry_run).await;
    assert_eq!((&planned["alreadyErased"], &planned["contactId"]), (&json!(false), &json!(id)));
    let text = app.cli(&dry_run).await.stdout;
    assert!(text.contains("would finish the erasure"), "{text}");
    assert_eq!((app.rows("erasures").await, app.rows("trigger_events").await), (1, 11));
    let report = erase(app, &id).await;
    assert_eq!((&report["alreadyErased"], &report["contactId"]), (&json!(false), &json!(id)));
    assert_no_trace(&dump(app).await.0);
    assert_eq!(app.rows("applied_events WHERE erased").await, 11);
    app.broker.hear(2).await;
    assert_eq!(erase(app, &id).await["alreadyErased"], json!(true));
    app.wait_for_unpublished(0).await;
}

#[apply(test)]
async fn interrupted_erasure_is_finished_by_the_service(app: &TestApp) {
    let service = app.run(&[]).await;
    interrupted(app).await;
    service.sigterm();
    assert!(service.ended().await.success());
    sqlx::query("UPDATE erasures SET erased_at = erased_at - interval '5 minutes'")
        .execute(&app.pool)
        .await
        .unwrap();
    app.run(&[]).await;
    app.broker.hear(2).await;
    assert_eq!(app.rows("applied_events WHERE erased").await, 11);
    assert_no_trace(&dump(app).await.0);
}

/// A round of maintenance may take long, or wait for a lock.
#[apply(test)]
async fn interrupted_erasure_is_finished_while_maintenance_is_held_up(app: &TestApp) {
    let service = app.run(&[]).await;
    interrupted(app).await;
    service.sigterm();
    assert!(service.ended().await.success());
    let before = "UPDATE erasures SET erased_at = erased_at - interval '5 minutes'";
    sqlx::query(before).execute(&app.pool).await.unwrap();
    let lock = app.hold_up("BEFORE DELETE ON crash_suspects FOR EACH STATEMENT").await;
    let service = app.spawn(&["run"]);
    app.wait_for_blocked_sessions(1).await;
    app.broker.hear(2).await;
    assert_eq!(app.rows("erasures").await, 0);
    lock.rollback().await.unwrap();
    service.ready().await;
}
