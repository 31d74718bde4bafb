//! What is committed is done, even if the process that committed it never learns of it, or dies before it goes on.

use macro_rules_attribute::apply;

use super::{all_done, impatient, leads, leads_to, not_ready};
use crate::support::{app::TestApp, event::Event, gate::Gate, process::Process, proxy::Proxy, test};

const COUNT: usize = 20;

/// What a process commits without being told.
#[derive(Clone, Copy)]
struct Commit<'a> {
    events: &'a [Event],
    /// What writes the rows, as the event of a trigger, and its condition.
    write: (&'a str, &'a str),
    rows: &'a str,
}

/// Starts a service that commits rows and is not told so: the proxy holds the answer back.
async fn untold(app: &TestApp, database: &Proxy, commit: Commit<'_>) -> Process {
    let url = app.setting("postgres.url");
    app.set("postgres.url", database.url());
    app.set("postgres.statement_timeout", "1m");
    let process = app.run(&[]).await;
    app.set("postgres.url", &url);
    let gate = Gate::before_commit(app, commit.write.0, commit.write.1).await;
    app.broker.publish_all(commit.events).await;
    gate.is_reached_by(1).await;
    database.freeze();
    assert_eq!(app.rows(commit.rows).await, 0, "it is not committed yet");
    gate.open().await;
    app.wait_for_at_least(1, commit.rows).await;
    process
}

/// Cuts the connections on which answers are held back.
async fn lose_the_answer(process: &Process, database: &Proxy) {
    database.close();
    not_ready(process, "database").await;
}

/// Webhooks that the process has committed as its own, and that it is not told of.
async fn untold_webhooks(app: &TestApp, database: &Proxy) -> Process {
    impatient(app);
    let commit = Commit {
        events: &leads(app, 0..COUNT),
        write: ("INSERT ON effects", "NEW.kind = 'send'"),
        rows: "effects WHERE kind = 'send' AND owner IS NOT NULL",
    };
    let process = untold(app, database, commit).await;
    assert!(app.receiver.requests().is_empty(), "it knows nothing to send");
    process
}

#[apply(test)]
async fn kill_between_commit_and_hand_over_loses_no_webhook(app: &TestApp) {
    let database = Proxy::before(&app.setting("postgres.url")).await;
    let process = untold_webhooks(app, &database).await;
    process.kill9().await;
    // Postgres notices the end of the connections.
    database.open();
    app.run(&[]).await;
    all_done(app, COUNT).await;
    assert_eq!(app.receiver.requests().len(), COUNT, "nothing is sent twice");
}

#[apply(test)]
async fn webhooks_are_sent_although_the_answer_to_their_commit_was_lost(app: &TestApp) {
    let database = Proxy::before(&app.setting("postgres.url")).await;
    let process = untold_webhooks(app, &database).await;
    lose_the_answer(&process, &database).await;
    // It waits some seconds before it takes its own rows for forgotten.
    let age = "UPDATE effects SET created_at = now() - interval '1 minute' WHERE kind = 'send'";
    sqlx::query(age).execute(&app.pool).await.unwrap();
    database.open();
    all_done(app, COUNT).await;
    assert_eq!(app.receiver.requests().len(), COUNT, "nothing is sent twice");
    process.ready().await;
}

/// The process owns a lane, and only the database knows.
#[apply(test)]
async fn lane_is_served_although_the_answer_to_its_claim_was_lost(app: &TestApp) {
    let database = Proxy::before(&app.setting("postgres.url")).await;
    impatient(app);
    let url = app.receiver.url("/limited");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", rate = "1000/s" }}]"#));
    let commit = Commit {
        events: &leads_to(&url, 0..COUNT),
        write: ("UPDATE ON webhook_endpoints", "NEW.owner IS NOT NULL"),
        rows: "webhook_endpoints WHERE owner IS NOT NULL",
    };
    let process = untold(app, &database, commit).await;
    lose_the_answer(&process, &database).await;
    database.open();
    all_done(app, COUNT).await;
    assert_eq!(app.receiver.requests().len(), COUNT, "nothing is sent twice");
    process.ready().await;
}

/// A batch of two requests: the row of the first is final, and the second is in flight.
#[apply(test)]
async fn kill_after_a_part_of_a_batch_was_recorded_repeats_only_the_rest(app: &TestApp) {
    impatient(app);
    app.set("webhook.timeout", "1m");
    let (sent, held) = (app.receiver.url("/ok"), app.receiver.url("/held"));
    let process = app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&sent).webhook(&held)).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.webhooks(2).await;
    assert_eq!(app.rows("effects WHERE kind = 'send' AND items = 2").await, 1, "the batch is not finished");
    process.kill9().await;
    app.receiver.release();
    app.run(&[]).await;
    app.wait_for_deliveries("delivered", 2).await;
    app.wait_for_rows("effects", 0).await;
    let requests = app.receiver.requests();
    let times = |path: &str| requests.iter().filter(|request| request.path == path).count();
    assert_eq!((times("/ok"), times("/held")), (1, 2));
    assert_eq!(app.rows("all_webhook_attempts").await, 2);
    assert_eq!(app.rows("dead_letters").await, 0);
}
