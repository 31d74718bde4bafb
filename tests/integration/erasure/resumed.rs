//! Erasures that are finished later, or by several processes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use contact_relay::{
    domain::{contact::ContactId, event::CompanyId, value::phone::Region},
    postgres::{
        Database,
        effects::events,
        erasure::{self, Counts, Unfinished},
    },
    settings,
};
use macro_rules_attribute::apply;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    EMAIL, erase, insert_dead_letter,
    many::interrupted,
    unpublished::{insert, unpublished},
};
use crate::support::{app::TestApp, event::Event, test};

/// What a process knows that is about to finish the erasure of this contact.
pub(super) async fn claimed(app: &TestApp, id: &str) -> (Database, Unfinished) {
    let pairs = app.environment_of_processes().into_iter().map(|(name, value)| (name.into(), value.into()));
    let database = Database::new(&settings::load(None, pairs).unwrap().settings.postgres, "test").unwrap();
    let (company, contact) = (CompanyId::new("acme").unwrap(), ContactId(id.parse().unwrap()));
    let found = database.unit(async |conn| erasure::unfinished(conn, &company, contact).await).await;
    (database, found.unwrap().unwrap())
}

/// Finishes an erasure without waiting for what other processes publish.
pub(super) async fn complete((database, unfinished): &(Database, Unfinished)) -> Option<Counts> {
    let region = Region::new("BR").unwrap();
    erasure::complete(database, unfinished, region, "/x", Duration::ZERO, || true).await.unwrap()
}

/// The second one goes on after the first one has queued `contact.erased`.
#[apply(test)]
async fn second_process_that_finishes_an_erasure_leaves_the_event_of_the_first(app: &TestApp) {
    app.run(&[]).await;
    let id = interrupted(app).await;
    app.stop().await;
    let claimed = claimed(app, &id).await;
    erase(app, &id).await;
    assert_eq!((app.rows("erasures").await, app.unpublished().await), (0, 1));
    assert_eq!(complete(&claimed).await.unwrap().outbox_messages, 0);
    app.run(&[]).await;
    let heard = app.broker.hear(2).await;
    assert_eq!((heard.len(), heard[1].routing_key.as_str()), (2, "contact.erased"));
}

/// A live process has an event about the person, which is not removed. When it has gone, so much else is to be published that
/// the search for such events takes longer than the command may wait.
#[expect(clippy::disallowed_methods, reason = "a long search, not a wait")]
#[apply(test)]
async fn last_search_of_an_erasure_keeps_to_its_time(app: &TestApp) {
    app.run(&[]).await;
    let id = interrupted(app).await;
    app.stop().await;
    let (database, unfinished) = claimed(app, &id).await;
    let (mut conn, owner) = (app.pool.acquire().await.unwrap(), Uuid::now_v7());
    let live = "INSERT INTO processes VALUES ($1, now() + interval '1 hour', false)";
    sqlx::query(live).bind(owner).execute(&mut *conn).await.unwrap();
    for subject in std::iter::once(&id).chain(std::iter::repeat_n(&Uuid::now_v7().to_string(), 200)) {
        let event = unpublished("contact.upserted", Some(subject), "{}");
        events::insert(&mut conn, Uuid::now_v7(), Some(owner), vec![event]).await.unwrap();
    }
    let mentioned = Event::lead("Ada").email(EMAIL).time("2026-01-01T00:00:00Z").bytes();
    insert_dead_letter(app, "", &mentioned).await;
    let is_slow = AtomicBool::new(false);
    // It is asked before each page.
    let goes_on = || {
        if is_slow.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(1));
        }
        true
    };
    let region = Region::new("BR").unwrap();
    let search = erasure::complete(&database, &unfinished, region, "/x", Duration::from_secs(5), goes_on);
    let end_of_process = async {
        // It has looked at everything once.
        app.wait_for_rows("dead_letters", 0).await;
        is_slow.store(true, Ordering::Relaxed);
        let gone = "UPDATE processes SET alive_until = now() - interval '1 hour'";
        sqlx::query(gone).execute(&app.pool).await.unwrap();
    };
    let (searched, ()) = tokio::join!(search, end_of_process);
    assert!(searched.unwrap().is_none(), "it has searched for ten seconds");
    assert_eq!((app.rows("erasures").await, app.rows("trigger_events").await), (1, 11));
    assert!(complete(&(database, unfinished)).await.is_some());
    assert_eq!(app.rows("erasures").await, 0);
    sqlx::query("DELETE FROM effects WHERE owner IS NOT NULL").execute(&app.pool).await.unwrap();
    app.run(&[]).await;
    app.broker.hear(2).await;
}

/// Each try searches all tables of the company.
#[apply(test)]
async fn unfinished_erasure_is_tried_by_one_process_at_a_time_and_ever_more_rarely(app: &TestApp) {
    app.run(&[]).await;
    let id = interrupted(app).await;
    app.stop().await;
    let (database, _) = claimed(app, &id).await;
    let start = OffsetDateTime::now_utc() + time::Duration::HOUR;
    let is_due = async |minutes| {
        let now = start + time::Duration::minutes(minutes);
        database.unit(async |conn| erasure::claim_unfinished(conn, start, now).await).await.unwrap().is_some()
    };
    for (minutes, expected) in
        [(0, true), (0, false), (4, false), (5, true), (14, false), (15, true), (34, false), (35, true)]
    {
        assert_eq!(is_due(minutes).await, expected, "after {minutes} minutes");
    }
    assert!(is_due(75).await && !is_due(114).await && is_due(115).await);
    erase(app, &id).await;
    app.run(&[]).await;
    app.broker.hear(2).await;
}

/// Between the two, the person has come back.
#[apply(test)]
async fn resumed_erasure_leaves_what_the_person_has_done_since(app: &TestApp) {
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let id = interrupted(app).await;
    let before = "UPDATE erasures SET erased_at = erased_at - interval '1 minute'";
    sqlx::query(before).execute(&app.pool).await.unwrap();
    let busy = app.receiver.url("/status/503?email=$email");
    let bare = || Event::bare().email(EMAIL).with("/data/session/id", EMAIL.into()).webhook(&busy);
    let refused = Event::lead("Ada").email(EMAIL).argument("interest", 7);
    let awaited = bare().with("/data/trigger/interpretResponse", true.into());
    app.broker.publish_all(&[refused.clone(), bare(), awaited]).await;
    let kept = [
        ("dead_letters WHERE state = 'open'", 1),
        ("webhook_deliveries WHERE state = 'pending'", 2),
        ("chain_results", 1),
    ];
    for (rows, count) in kept {
        app.wait_for_rows(rows, count).await;
    }
    app.wait_for_unpublished(0).await;
    insert(app, &[unpublished("trigger.completed", None, &format!(r#"{{"email": "{EMAIL}"}}"#))]).await;
    // One that the first search has missed.
    let missed = refused.id("missed").time("2026-01-01T00:00:00Z").bytes();
    insert_dead_letter(app, "acme", &missed).await;
    let report = erase(app, &id).await;
    assert_eq!(
        (&report["removed"]["deadLetters"], &report["removed"]["outboxMessages"]),
        (&1.into(), &0.into())
    );
    for (rows, count) in kept {
        assert_eq!(app.rows(rows).await, count, "{rows}");
    }
    // The result belongs to a process that does not exist.
    sqlx::query("UPDATE effects SET owner = NULL").execute(&app.pool).await.unwrap();
    app.wait_for_unpublished(0).await;
}
