//! The dead letters in the test's database.

use serde_json::Value;
use sqlx::Row as _;
use uuid::Uuid;

use super::{app::TestApp, eventually};

/// All columns of a dead letter that tests read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dead {
    pub(crate) id: Uuid,
    pub(crate) company: String,
    pub(crate) stage: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) body: Vec<u8>,
    pub(crate) routing_key: String,
    pub(crate) properties: Value,
    pub(crate) source: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) trigger: Option<String>,
    pub(crate) delivery_id: Option<Uuid>,
    pub(crate) attempts: i32,
    pub(crate) replays: i32,
    pub(crate) state: String,
    pub(crate) settled_by: Option<String>,
    /// Whether `last_seen_at` is later than `first_seen_at`.
    pub(crate) seen_again: bool,
}

impl TestApp {
    /// All dead letters, oldest first.
    pub(crate) async fn dead_letters(&self) -> Vec<Dead> {
        let rows = sqlx::query(
            "SELECT *, last_seen_at > first_seen_at AS seen_again FROM dead_letters ORDER BY dead_letter_id",
        );
        let rows = rows.fetch_all(&self.pool).await.expect("dead letters");
        rows.iter()
            .map(|row| Dead {
                id: row.get("dead_letter_id"),
                company: row.get("company_id"),
                stage: row.get("stage"),
                reason: row.get("reason"),
                message: row.get("message"),
                body: row.get("body"),
                routing_key: row.get("routing_key"),
                properties: row.get("properties"),
                source: row.get("source"),
                event_id: row.get("event_id"),
                trigger: row.get("trigger_name"),
                delivery_id: row.get("delivery_id"),
                attempts: row.get("attempts"),
                replays: row.get("replays"),
                state: row.get("state"),
                settled_by: row.get("settled_by"),
                seen_again: row.get("seen_again"),
            })
            .collect()
    }

    pub(crate) async fn wait_for_dead_letter(&self) -> Dead {
        self.the_dead_letter("there", |_| true).await
    }

    /// Waits until the first dead letter fits, and checks that it is the only one.
    pub(crate) async fn the_dead_letter(&self, what: &str, fits: impl Fn(&Dead) -> bool) -> Dead {
        let mut last = Vec::new();
        let what = format!("the dead letter is {what}");
        let found = eventually(&what, async || {
            last = self.dead_letters().await;
            last.first().filter(|dead| fits(dead)).cloned()
        })
        .await;
        assert_eq!(last.len(), 1, "more than one dead letter: {last:?}");
        found
    }
}
