//! Deliveries that no process sends. There may be more of them than a command should read.

use contact_relay::{
    domain::{
        event::Key,
        trace_context::TraceContext,
        webhook::{
            delivery::Delivery,
            request::{Method, WebhookRequest},
        },
    },
    postgres::{
        deliveries::{self, Filter},
        effects::{self, EffectsKey, Kind, NewEffects},
    },
};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::{Acquire as _, Executor as _};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::{app::TestApp, process::Finished, rows::rows_read, test};

/// Commits a batch with one delivery, whose body has this size, and returns the id of that.
async fn commit(app: &TestApp, company: &str, size: usize) -> Uuid {
    let id = Uuid::now_v7();
    let delivery = Delivery {
        key: Key { company: company.to_owned(), id },
        created_at: OffsetDateTime::now_utc(),
        event_key: Uuid::now_v7(),
        step: 1,
        source: "/s".to_owned(),
        event_id: "e".to_owned(),
        trigger: "t".to_owned(),
        contact: None,
        endpoint_id: Uuid::now_v7(),
        endpoint_url: "https://hooks.example/".to_owned(),
        newest_only: false,
        digest_window: None,
        awaited: false,
        limited: false,
        trace: TraceContext::default(),
        request: WebhookRequest {
            method: Method::Post,
            url: "https://hooks.example/".to_owned(),
            headers: Vec::new(),
            body: Some(vec![b' '; size]),
        },
        fault: None,
    };
    let key = EffectsKey { company: company.to_owned(), batch: Uuid::now_v7(), kind: Kind::Send };
    let row = NewEffects::of(key, None, &[delivery]).unwrap();
    effects::insert(&mut app.pool.acquire().await.unwrap(), &[row]).await.unwrap();
    id
}

/// The rows and the remarks of a listing.
async fn list(app: &TestApp, filters: &[&str]) -> (Vec<Value>, String) {
    let Finished { code, stdout, stderr } =
        app.cli(&[&["delivery", "list", "-o", "json"], filters].concat()).await;
    assert_eq!(code, Some(0), "{stderr}");
    (serde_json::from_str(&stdout).unwrap(), stderr)
}

#[apply(test)]
async fn a_command_reads_a_part_of_a_large_backlog_and_says_so(app: &TestApp) {
    const TOO_MANY: &str = "too many deliveries wait for their first attempt";
    let oldest = commit(app, "other", 100).await;
    let (rows, remarks) = list(app, &[]).await;
    assert_eq!((rows.len(), &rows[0]["waitsFor"], remarks.as_str()), (1, &json!("worker"), ""));
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(commit(app, "acme", 1 << 20).await);
    }
    let (rows, remarks) = list(app, &[]).await;
    let newest: Vec<Value> = ids.iter().rev().take(16).map(|id| json!(id)).collect();
    assert_eq!(rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>(), newest, "16 MiB");
    assert!(remarks.contains(TOO_MANY), "{remarks}");
    let (rows, remarks) = list(app, &["--company", "other"]).await;
    assert_eq!((rows.len(), remarks.as_str()), (1, ""));

    let show = async |id: Uuid, more: &[&str]| {
        let id = id.to_string();
        app.cli(&[&["delivery", "show", &id], more].concat()).await
    };
    assert_eq!(show(ids[19], &[]).await.code, Some(0));
    assert_eq!(show(oldest, &["--company", "other"]).await.code, Some(0));
    let hidden = show(oldest, &[]).await;
    assert!(hidden.code == Some(1) && hidden.stderr.contains(TOO_MANY), "{hidden:?}");
    let unknown = show(Uuid::nil(), &["--company", "other"]).await;
    assert!(unknown.code == Some(1) && unknown.stderr.contains("there is no delivery"), "{unknown:?}");
    let refused = app.cli(&["delivery", "resend", &ids[19].to_string(), "--yes", "-o", "json"]).await;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    let printed: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(printed["reasons"], json!({"in_flight": 1}));
    sqlx::query("DELETE FROM effects").execute(&app.pool).await.unwrap();
}

/// Whatever waits besides, of other companies or older.
#[apply(test)]
async fn a_listing_reads_what_it_can_list(app: &TestApp) {
    let insert = "INSERT INTO effects (company_id, batch, kind, items, body, created_at)
                  SELECT company_id, gen_random_uuid(), kind, 0, '\\x90', now() - n * interval '1 second'
                  FROM (VALUES ('acme', 20000), ('other', 3)) c(company_id, rows),
                      (VALUES ('publish'), ('send')) k(kind), generate_series(1, rows) n";
    app.pool.execute(insert).await.unwrap();
    app.pool.execute("ANALYZE effects").await.unwrap();
    let mut conn = app.pool.acquire().await.unwrap();
    conn.execute("SET enable_seqscan = off").await.unwrap();
    let mut transaction = conn.begin().await.unwrap();
    let mut before = 0;
    for (company, expected) in [(Some("other"), 3), (None, 1000)] {
        let filter = Filter { company: company.map(str::to_owned), limit: Some(50), ..Filter::default() };
        let now = OffsetDateTime::now_utc();
        deliveries::search(&mut transaction, &filter, now, now - time::Duration::DAY, 51).await.unwrap();
        let read = rows_read(&mut transaction, "idx_tup_fetch + seq_tup_read", "^effects$").await;
        assert_eq!(read - before, expected, "{company:?}");
        before = read;
    }
    transaction.rollback().await.unwrap();
    app.pool.execute("DELETE FROM effects").await.unwrap();
}
