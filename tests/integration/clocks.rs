//! Times: how far ahead an event may be, which of two events is later, and whose clock counts.

use macro_rules_attribute::apply;
use serde_json::Value;
use sqlx::Executor as _;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{app::TestApp, event::Event, eventually, only, test};

const PHONE: &str = "+5511987654321";

fn ahead(name: &str, by: Duration) -> Event {
    let time = (OffsetDateTime::now_utc() + by).format(&Rfc3339).unwrap();
    Event::lead(name).email(&format!("{}@x.example", name.to_lowercase())).time(&time)
}

#[apply(test)]
async fn event_from_far_in_the_future_is_refused(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish_all(&[ahead("Soon", Duration::hours(23)), ahead("Far", Duration::hours(25))]).await;
    app.wait_for_rows("dead_letters", 1).await;
    app.wait_for_rows("contacts WHERE name = 'Soon'", 1).await;
    let dead = only(app.dead_letters().await);
    assert_eq!((dead.reason.as_str(), dead.company.as_str()), ("event_invalid", "acme"));
    assert!(dead.message.contains("events.max_clock_skew"), "{}", dead.message);
    // Once its time has come, a replay applies it. The setting stands in for the wait.
    app.stop().await;
    app.set("events.max_clock_skew", "2d");
    app.run(&[]).await;
    let replayed = app.cli(&["dead-letter", "replay", "--reason", "event_invalid", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    app.wait_for_rows("contacts WHERE name = 'Far'", 1).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", 1).await;
}

#[apply(test)]
async fn max_clock_skew_can_be_set(app: &TestApp) {
    app.set("events.max_clock_skew", "1m");
    app.run(&[]).await;
    app.broker.publish(&ahead("Far", Duration::minutes(10))).await;
    app.wait_for_dead_letters_because("event_invalid", 1).await;
    assert_eq!(app.rows("contacts").await, 0);
}

/// An event of one person, `nanos` into a microsecond before 2000, where cutting toward zero would be wrong.
fn within_a_microsecond(nanos: u32, id: &str) -> Event {
    let time = format!("1999-12-31T23:59:59.000001{nanos:03}Z");
    Event::lead(&format!("at {nanos}")).email("ada@x.example").id(id).time(&time)
}

async fn name(app: &TestApp) -> String {
    sqlx::query_scalar("SELECT name FROM contacts WHERE email = 'ada@x.example'")
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

/// The later event has the smaller id, so that only the nanoseconds can decide.
#[apply(test)]
async fn nanoseconds_decide_which_event_is_later(app: &TestApp) {
    let (early, late) = (within_a_microsecond(7, "z"), within_a_microsecond(900, "a"));
    app.run(&[]).await;
    app.broker.publish_in_turn(&[late, early]).await;
    assert_eq!(name(app).await, "at 900");
    app.stop().await;
    app.run(&[]).await;
    app.broker.publish_in_turn(&[within_a_microsecond(899, "zz"), within_a_microsecond(901, "0")]).await;
    assert_eq!(name(app).await, "at 901", "stored times keep their nanoseconds");
}

/// The history has the nanoseconds as well, or it would not give the contact as it is.
#[apply(test)]
async fn unmerge_reads_the_nanoseconds(app: &TestApp) {
    app.run(&[]).await;
    let older = Event::lead("Eve").phone(PHONE).time("1990-01-01T00:00:00Z");
    let link = Event::lead("Eve").phone(PHONE).email("ada@x.example").time("1990-01-02T00:00:00Z");
    let ids = app
        .broker
        .publish_in_turn(&[within_a_microsecond(900, "a"), within_a_microsecond(7, "z"), older, link])
        .await;
    assert_eq!(app.rows("contacts").await, 1);
    assert_eq!(name(app).await, "at 900");
    app.json(&["contact", "unmerge", "--company", "acme", &ids[0], "--operator", "grace"]).await;
    assert_eq!(app.rows("contacts").await, 2);
    assert_eq!(name(app).await, "at 900");
}

/// The clock of this process, five minutes later.
fn soon() -> i64 {
    (OffsetDateTime::now_utc() + Duration::minutes(5)).unix_timestamp()
}

/// The database's clock is five minutes ahead of everybody else's.
#[apply(test)]
async fn the_databases_clock_counts(app: &TestApp) {
    app.pool
        .execute(
            "CREATE SCHEMA skew;
             CREATE FUNCTION skew.clock_timestamp() RETURNS timestamptz LANGUAGE sql
                 AS 'SELECT pg_catalog.clock_timestamp() + interval ''5 min''';",
        )
        .await
        .unwrap();
    let url = app.setting("postgres.url");
    app.set("postgres.url", &format!("{url}?options[search_path]=public,skew,pg_catalog"));
    let process = app.spawn(&["run"]);
    let began = soon();
    let receiver = app.receiver.url("/");
    app.broker.declare().await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&receiver)).await;
    let request = only(app.webhooks(1).await);
    let tested = app.json(&["endpoint", "test", &receiver, "--company", "acme"]).await;
    let published = only(app.broker.hear(1).await).at("/time").as_str().unwrap().to_owned();
    let published = OffsetDateTime::parse(&published, &Rfc3339).unwrap().unix_timestamp();
    let sent: i64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
    let headers = tested["request"]["headers"].to_string();
    let tested: i64 =
        app.receiver.requests().last().unwrap().header("webhook-timestamp").unwrap().parse().unwrap();
    assert!(headers.contains(&tested.to_string()), "{headers}");
    // The clocks are compared to within a second, the greatest error of a slow answer.
    for time in [sent, published, tested] {
        assert!((began - 1..=soon() + 1).contains(&time), "{began} <= {time} <= {}", soon());
    }
    eventually("/readyz reports the clock", async || {
        let answer = process.get("/readyz").await?;
        let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok()?;
        body["parts"]["clock"].as_str()?.contains("s behind the database's").then_some(())
    })
    .await;
    app.pool.execute("DROP SCHEMA skew CASCADE").await.unwrap();
    process.ready().await;
    assert_eq!(process.log().matches("behind the database's").count(), 1, "it is logged once");
    app.set("postgres.url", &url);
}
