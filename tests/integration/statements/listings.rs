//! The listings of dead letters and of the record read by index, whichever filter is given.

use macro_rules_attribute::apply;
use sqlx::{Connection as _, PgConnection};

use super::{Entry, SETTINGS, Section, Statement, explain, faults, nodes, statements};
use crate::support::{app::TestApp, test};

/// 30,000 dead letters, a tenth of them settled, in 30 groups, and as many records.
const ROWS: &str = "
INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key, properties,
        trigger_name, event_id, endpoint_id, signature, first_seen_at, last_seen_at, state)
    SELECT 'c' || n % 20, lpad(to_hex(n), 32, '0')::uuid, CASE WHEN n % 30 = 0 THEN 'webhook' ELSE 'upsert' END,
        'reason' || n % 30, 'm', int8send(n), repeat('x', 1000)::bytea, '', '{}', 'trigger' || n % 30, 'event' || n,
        CASE WHEN n % 30 = 0 THEN lpad('1', 32, '0')::uuid END, int8send(n % 30), now() - n * interval '1 second',
        now() - n * interval '1 second', CASE WHEN n % 10 = 0 THEN 'resolved' ELSE 'open' END
    FROM generate_series(1, 30000) n;
INSERT INTO audit_log (company_id, audit_id, happened_at, operator, via, action, object)
    SELECT 'c' || n % 20, lpad(to_hex(n), 32, '0')::uuid, now() - n * interval '1 second', 'operator' || n % 30, 'api',
        'action' || n % 30, 'object' || n % 3000
    FROM generate_series(1, 30000) n";

/// The arguments of a statement with these instead of null.
fn arguments(count: usize, given: &[(usize, &str)]) -> String {
    let of = |number| given.iter().find(|(place, _)| *place == number).map_or("NULL", |(_, value)| *value);
    (1..=count).map(of).collect::<Vec<_>>().join(", ")
}

fn entry(arguments: String, at_most: f64) -> Entry {
    Entry {
        section: Section::Operators,
        beginning: String::new(),
        arguments,
        at_most: Some(at_most),
        is_run: true,
    }
}

fn the_statement(beginning: &str) -> Statement {
    let mut found = statements().into_iter().filter(|statement| statement.line.starts_with(beginning));
    let statement = found.next().expect("a statement");
    assert!(found.next().is_none(), "several statements: {beginning}");
    statement
}

async fn database(app: &TestApp) -> PgConnection {
    assert_eq!(app.cli(&["migrate"]).await.code, Some(0));
    let mut conn = PgConnection::connect(&app.setting("postgres.url")).await.unwrap();
    for preparation in [ROWS, "VACUUM ANALYZE dead_letters", "VACUUM ANALYZE audit_log", SETTINGS] {
        sqlx::raw_sql(preparation).execute(&mut conn).await.unwrap();
    }
    conn
}

#[apply(test)]
async fn listing_of_dead_letters_reads_no_more_than_a_page(app: &TestApp) {
    let mut conn = database(app).await;
    let listing = the_statement("SELECT dead_letter_id AS id, reason, stage");
    let open = [(6, "ARRAY['open', 'replaying']"), (11, "true"), (14, "51")];
    let later = [(12, "now() - interval '1 hour'"), (13, "'00000000-0000-0000-0000-000000000000'")];
    for filter in [
        vec![],
        later.to_vec(),
        vec![(1, "'reason3'")],
        vec![(1, "'nothing'")],
        vec![(3, "'c3'")],
        vec![(3, "'nobody'")],
        vec![(3, "'c3'"), later[0], later[1]],
        vec![(4, "'trigger3'")],
        vec![(4, "'%'")],
        vec![(5, "now() - interval '5 minutes'")],
        vec![(7, "now() - interval '8 hours'")],
        vec![(8, "'00000000-0000-0000-0000-000000000001'")],
        vec![(8, "'00000000-0000-0000-0000-000000000002'")],
        vec![(9, "'event7'")],
        vec![(9, "'nothing'")],
        vec![(10, "int8send(7)")],
        vec![(10, "int8send(7)"), later[0], later[1]],
        vec![(6, "ARRAY['resolved']"), (11, "false")],
        vec![(6, "ARRAY['discarded']"), (11, "false"), (3, "'nobody'")],
    ] {
        let given = [filter.as_slice(), &open].concat();
        let entry = entry(arguments(14, &given), 200.0);
        let plan = explain(&mut conn, &listing, Some(&entry)).await.unwrap();
        let mut found = faults(&plan, &entry);
        found.retain(|fault| !fault.starts_with("does nothing"));
        assert!(found.is_empty(), "{filter:?}: {found:?}\n{plan:#}");
    }
}

#[apply(test)]
async fn groups_are_counted_from_an_index_alone(app: &TestApp) {
    let mut conn = database(app).await;
    let groups = the_statement("WITH g AS MATERIALIZED");
    for filter in
        [vec![], vec![(1, "'c3'")], vec![(2, "now() - interval '1 hour'")], vec![(10, "'trigger3'")]]
    {
        let given = [filter.as_slice(), &[(7, "51"), (13, "51")]].concat();
        let entry = entry(arguments(13, &given), 30_000.0);
        let plan = explain(&mut conn, &groups, Some(&entry)).await.unwrap();
        let all = nodes(&plan);
        let reads = |kind: &str| {
            let of_kind = |node: &&&serde_json::Value| {
                node["Node Type"] == kind && node["Relation Name"] == "dead_letters"
            };
            all.iter().filter(of_kind).map(|node| node["Actual Loops"].as_f64().unwrap()).sum::<f64>()
        };
        // The latest of each group is read from the table.
        assert!(reads("Index Only Scan") >= 1.0 && reads("Seq Scan") < 1.0, "{filter:?}: {plan:#}");
        assert!(reads("Index Scan") <= 51.0, "{filter:?}: {plan:#}");
    }
}

#[apply(test)]
async fn listing_of_the_record_reads_no_more_than_a_page(app: &TestApp) {
    let mut conn = database(app).await;
    let listing = the_statement("SELECT audit_id AS id, happened_at AS at");
    for filter in [
        vec![],
        vec![(1, "'operator3'")],
        vec![(1, "'nobody'")],
        vec![(2, "'action3'")],
        vec![(3, "'c3'")],
        vec![(3, "''")],
        vec![(4, "'object7'")],
        vec![(5, "now() - interval '5 minutes'")],
        vec![(6, "now() - interval '8 hours'")],
        vec![(7, "now() - interval '1 hour'"), (8, "'00000000-0000-0000-0000-000000000000'")],
    ] {
        let given = [filter.as_slice(), &[(9, "51")]].concat();
        let entry = entry(arguments(9, &given), 200.0);
        let plan = explain(&mut conn, &listing, Some(&entry)).await.unwrap();
        let mut found = faults(&plan, &entry);
        found.retain(|fault| !fault.starts_with("does nothing"));
        assert!(found.is_empty(), "{filter:?}: {found:?}\n{plan:#}");
    }
}
