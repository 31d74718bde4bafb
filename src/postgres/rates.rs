//! What all processes did in each minute of the last hours, for the charts of the console.

use sqlx::PgConnection;
use uuid::Uuid;

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were applied.
    pub events: u64,
    /// Messages and deliveries that became dead letters, also those that had one already.
    pub dead_letters: u64,
    /// Webhooks that a receiver took.
    pub deliveries: u64,
}

impl Counts {
    /// What has been done since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            events: self.events.saturating_sub(earlier.events),
            dead_letters: self.dead_letters.saturating_sub(earlier.dead_letters),
            deliveries: self.deliveries.saturating_sub(earlier.deliveries),
        }
    }
}

/// What was done in one minute of the last hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    /// Minutes ago, from 0: the minute that has not ended.
    pub ago: i32,
    /// Events that were applied.
    pub events: i64,
    /// Messages and deliveries that became dead letters.
    pub dead_letters: i64,
    /// Webhooks that a receiver took.
    pub deliveries: i64,
}

/// Adds to the counts of this process for this minute, and removes rows too old for any chart.
///
/// # Errors
/// When the database fails.
pub async fn add(conn: &mut PgConnection, process: Uuid, more: Counts) -> Result<(), sqlx::Error> {
    let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
    // Locked rows belong to another process that removes them.
    sqlx::query!(
        "WITH gone AS (
             DELETE FROM rates WHERE (minute, process_id) IN (
                 SELECT minute, process_id FROM rates WHERE minute < now() - interval '2 hours'
                 ORDER BY minute, process_id LIMIT 1000 FOR UPDATE SKIP LOCKED))
         INSERT INTO rates AS r (minute, process_id, events, dead_letters, deliveries)
         VALUES (date_trunc('minute', now()), $1, $2, $3, $4)
         ON CONFLICT (minute, process_id) DO UPDATE SET events = r.events + excluded.events,
             dead_letters = r.dead_letters + excluded.dead_letters, deliveries = r.deliveries + excluded.deliveries",
        process,
        count(more.events),
        count(more.dead_letters),
        count(more.deliveries),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The minutes of the last hour in which something was done.
///
/// # Errors
/// When the database fails.
pub async fn last_hour(conn: &mut PgConnection) -> Result<Vec<Minute>, sqlx::Error> {
    sqlx::query_as!(
        Minute,
        r#"SELECT (extract(epoch FROM date_trunc('minute', now()) - minute) / 60)::integer AS "ago!",
               sum(events)::bigint AS "events!", sum(dead_letters)::bigint AS "dead_letters!",
               sum(deliveries)::bigint AS "deliveries!"
           FROM rates WHERE minute > now() - interval '1 hour' GROUP BY minute ORDER BY 1"#,
    )
    .fetch_all(conn)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_never_go_back() {
        let counts = |events, dead_letters| Counts { events, dead_letters, deliveries: 0 };
        assert_eq!(counts(5, 2).since(counts(3, 2)), counts(2, 0));
        assert_eq!(counts(1, 0).since(counts(3, 2)), Counts::default());
    }
}
