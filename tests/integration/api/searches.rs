//! Searches that have to read more than one answer may take: they end early, say so by a cursor, and miss nothing.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{get, kind, post, served};
use crate::support::{app::TestApp, event::Event, only, process::Process, test};

async fn store(app: &TestApp, rows: &str) {
    sqlx::query(sqlx::AssertSqlSafe(rows)).execute(&app.pool).await.unwrap();
}

/// Every page of a listing: how many items each has, and all of them.
async fn every_page(process: &Process, path: &str) -> (Vec<usize>, Vec<Value>) {
    let (mut counts, mut all, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = get(process, "tok-o", &format!("{path}{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        counts.push(items.len());
        all.extend(items.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (counts, all),
        }
    }
}

#[apply(test)]
async fn rare_text_is_found_among_many_dead_letters(app: &TestApp) {
    let process = served(app).await;
    store(
        app,
        "INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key, properties,
             signature, first_seen_at, last_seen_at, state, settled_at)
         SELECT 'acme', gen_random_uuid(), 'upsert', 'event_invalid', CASE WHEN n % 21000 = 0 THEN 'a Needle' ELSE 'hay' END,
             int8send(n), '', '', '{}', decode(md5(''), 'hex'), now(), now() - n * interval '1 second',
             CASE WHEN n > 44000 THEN 'discarded' ELSE 'open' END, CASE WHEN n > 44000 THEN now() END
         FROM generate_series(1, 66000) n",
    )
    .await;
    let (counts, found) = every_page(&process, "/api/v1/dead-letters?text=needle").await;
    assert_eq!((found.len(), counts.len()), (2, 5), "{counts:?}");
    // Two indexes are searched, each as far.
    let every = "/api/v1/dead-letters?text=needle&state=open&state=discarded&limit=2";
    let (_, found) = every_page(&process, every).await;
    let times: Vec<&str> = found.iter().map(|one| one["lastSeenAt"].as_str().unwrap()).collect();
    assert!(times.len() == 3 && times.is_sorted_by(|one, next| one > next), "{times:?}");
    let (counts, found) = every_page(&process, "/api/v1/dead-letters?text=nothing&reason=broker").await;
    assert_eq!((counts, found.len()), (vec![0], 0));
}

#[apply(test)]
async fn rare_delivery_is_found_among_many(app: &TestApp) {
    let process = served(app).await;
    // Every 100th has a time of its own; 30,000 of one transaction have the same.
    store(
        app,
        "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id, trigger_name,
             endpoint_id, method, url, headers, newest_only, awaited, digest, state, attempts, finished_at)
         SELECT 'acme', gen_random_uuid(),
             now() - CASE WHEN n BETWEEN 20001 AND 50000 THEN interval '2 hours' ELSE n / 100 * interval '40 seconds' END,
             gen_random_uuid(), 1, '/s', 'e' || n, CASE WHEN n % 35000 = 0 THEN 'rare' ELSE 'common' END,
             '00000000-0000-0000-0000-000000000001', 'POST', 'https://a.example/', '[]', false, false, false, 'dead', 1, now()
         FROM generate_series(1, 70000) n",
    )
    .await;
    let (counts, found) = every_page(&process, "/api/v1/deliveries?trigger=rare").await;
    assert!(found.len() == 2 && counts.len() > 1, "{counts:?}");
    let (counts, all) = every_page(&process, "/api/v1/deliveries?state=dead&limit=500").await;
    let mut ids: Vec<&str> = all.iter().map(|one| one["id"].as_str().unwrap()).collect();
    let times: Vec<&str> = all.iter().map(|one| one["createdAt"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|one, next| one >= next));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 70_000, "{counts:?}");
}

/// Those of one event wait since the same moment.
#[apply(test)]
async fn rare_delivery_that_waits_is_found_among_many(app: &TestApp) {
    let process = served(app).await;
    store(
        app,
        "WITH waiting AS (
             INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id, trigger_name,
                 endpoint_id, method, url, headers, newest_only, awaited, digest, state, attempts)
             SELECT 'acme', lpad(to_hex(n * 7919 % 10000), 32, '0')::uuid, now() - n / 9500 * interval '1 hour', gen_random_uuid(), 1,
                 '/s', 'e' || n, CASE WHEN n % 2500 = 0 THEN 'rare' ELSE 'common' END, '00000000-0000-0000-0000-000000000001',
                 'POST', 'https://a.example/', '[]', false, false, false, 'pending', 0
             FROM generate_series(1, 9999) n RETURNING *)
         INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
             round_started_at)
         SELECT company_id, delivery_id, created_at, endpoint_id, now() + interval '1 day', 0, 0, created_at FROM waiting",
    )
    .await;
    let (counts, found) = every_page(&process, "/api/v1/deliveries?state=pending&trigger=rare").await;
    let mut events: Vec<&str> = found.iter().map(|one| one["eventId"].as_str().unwrap()).collect();
    events.sort_unstable();
    assert_eq!((events, counts.len()), (vec!["e2500", "e5000", "e7500"], 3), "{counts:?}");
    let (_, all) = every_page(&process, "/api/v1/deliveries?state=pending&trigger=common&limit=500").await;
    let order = |one: &Value| (one["createdAt"].as_str().unwrap().to_owned(), one["id"].to_string());
    let order: Vec<_> = all.iter().map(order).collect();
    assert!(order.is_sorted_by(|one, next| one > next) && order.len() == 9_996, "{}", order.len());
}

#[apply(test)]
async fn contacts_are_found_by_the_beginning_of_their_name(app: &TestApp) {
    let process = served(app).await;
    let names = ["Ada Lovelace", "ÁDA LIMA", "Adão Silva", "Bob 100%", "Bob 100x", "Éva", "阿达", "ИВАН"];
    for (number, name) in names.into_iter().enumerate() {
        app.broker.publish(&Event::lead(name).email(&format!("p{number}@lovelace.dev"))).await;
    }
    app.broker.publish(&Event::lead("Ada Other").email("p@lovelace.dev").company("other")).await;
    app.wait_for_rows("contacts", 9).await;
    let search = async |token: &str, search: Value| {
        let mut search = search;
        search["company"] = json!("acme");
        let answer = post(&process, token, "/api/v1/contacts/search", &search).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let shown = |found: &Value| {
        let items = found["items"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (name, expected) in [
        ("  ada ", &["ÁDA LIMA", "Ada Lovelace", "Adão Silva"][..]),
        ("ADÃO", &["Adão Silva"]),
        ("ada  LÓV", &["Ada Lovelace"]),
        ("lovelace", &[]),
        ("bob 100%", &["Bob 100%"]),
        ("b_b", &[]),
        ("eva", &["Éva"]),
        ("阿", &["阿达"]),
        ("иван", &["ИВАН"]),
    ] {
        let mut found = shown(&search("tok-o", json!({ "name": name })).await);
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
    let first = search("tok-o", json!({ "name": "ad", "limit": 2 })).await;
    let rest = search("tok-o", json!({ "name": "ad", "limit": 2, "cursor": first["next"] })).await;
    let (mut both, of_first) = (shown(&first), shown(&first).len());
    both.extend(shown(&rest));
    both.sort();
    assert_eq!((of_first, &rest["next"]), (2, &Value::Null));
    assert_eq!(both, ["Ada Lovelace", "Adão Silva", "ÁDA LIMA"]);
    // A viewer cannot find out a name letter by letter.
    assert_eq!(shown(&search("tok-v", json!({ "name": "ada" })).await), Vec::<String>::new());
    let seen = search("tok-v", json!({ "name": "ada lovelace" })).await;
    assert!(!only(shown(&seen)).contains("Ada") && !seen.to_string().contains("lovelace"), "{seen}");
}

/// Four of many contacts have the name, and a search looks at twenty thousand at a time.
#[apply(test)]
async fn rare_name_is_found_among_many(app: &TestApp) {
    let process = served(app).await;
    store(
        app,
        "INSERT INTO contacts (company_id, contact_id, version, name, provenance, created_at, updated_at)
         SELECT 'acme', lpad(to_hex(n), 32, '0')::uuid, 1,
             CASE WHEN n % 11000 = 0 THEN 'Íris ' || n WHEN n % 3 > 0 THEN 'João' END,
             '{\"events\":[{\"time\":1700000000000000,\"id\":\"e\",\"source\":\"/s\",\"step\":1}],\"fields\":{\"name\":0}}', now(), now()
         FROM generate_series(1, 45000) n",
    )
    .await;
    let (mut counts, mut found, mut next) = (Vec::new(), Vec::new(), Value::Null);
    loop {
        let search = json!({ "company": "acme", "name": "iris", "cursor": next });
        let page = post(&process, "tok-o", "/api/v1/contacts/search", &search).await.json();
        let items = page["items"].as_array().unwrap();
        counts.push(items.len());
        found.extend(items.iter().map(|one| one["name"].as_str().unwrap().to_owned()));
        next = page["next"].clone();
        if next.is_null() {
            break;
        }
    }
    assert_eq!(counts, [2, 2, 0]);
    assert_eq!(found, ["Íris 44000", "Íris 33000", "Íris 22000", "Íris 11000"]);
}

#[apply(test)]
async fn unusable_search_for_contacts_is_refused(app: &TestApp) {
    let process = served(app).await;
    for bad in [
        json!({ "company": "acme", "name": "" }),
        json!({ "company": "acme", "name": "a\u{0}" }),
        json!({ "company": "acme", "name": "x".repeat(10_000) }),
        json!({ "company": "acme", "name": "ada", "limit": 1_000_000_000 }),
    ] {
        let refused = post(&process, "tok-o", "/api/v1/contacts/search", &bad).await;
        assert_eq!((refused.status, kind(&refused).as_str()), (400, "invalid-request"), "{refused:?}");
    }
    let both = json!({ "company": "acme", "name": "ada", "phone": "+5511987654321" });
    let refused = post(&process, "tok-o", "/api/v1/contacts/search", &both).await;
    assert_eq!((refused.status, kind(&refused).as_str()), (422, "unprocessable"), "{refused:?}");
}
