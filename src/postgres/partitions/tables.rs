//! The partitioned tables.

use time::{Date, Duration, OffsetDateTime};

use super::{Period, midnight};
use crate::settings::Retention;

/// A table that is partitioned by a time.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The column that decides in which partition a row is.
    pub(super) time: &'static str,
    /// How much time a partition covers.
    pub period: Period,
    /// How many partitions are made ahead. Rows for which there is none go to the default partition.
    pub ahead: usize,
    /// How long its rows are kept; `None` for ever.
    pub retention: fn(&Retention) -> Option<std::time::Duration>,
    /// Which rows stay whatever their age, as an SQL condition on `d`. Such a table has a `delivery_id`.
    pub(super) unfinished: Option<&'static str>,
}

/// All of them.
pub static TABLES: [Table; 3] = [
    Table {
        name: "webhook_deliveries",
        time: "created_at",
        period: Period::Day,
        ahead: 7,
        retention: |retention| Some(retention.deliveries),
        // What will be sent or can be replayed, the members of such digests, and what a result still has to report.
        unfinished: Some(
            "d.state = 'pending'
             OR d.state = 'dead' AND (d.company_id, d.delivery_id) IN (
                 SELECT company_id, delivery_id FROM dead_letters
                 WHERE state IN ('open', 'replaying') AND delivery_id IS NOT NULL)
             OR d.digest_id IS NOT NULL AND EXISTS (
                 SELECT FROM webhook_deliveries g WHERE g.company_id = d.company_id AND g.delivery_id = d.digest_id
                     AND g.state IN ('pending', 'dead'))
             OR (d.company_id, d.event_key) IN (SELECT company_id, event_key FROM chain_results)",
        ),
    },
    Table {
        name: "webhook_attempts",
        time: "started_at",
        period: Period::Day,
        ahead: 7,
        retention: |retention| Some(retention.attempts),
        unfinished: Some(
            "(d.company_id, d.delivery_id) IN (SELECT company_id, delivery_id FROM webhook_pending)
             OR (d.company_id, d.delivery_id) IN (
                 SELECT company_id, delivery_id FROM dead_letters
                 WHERE state IN ('open', 'replaying') AND delivery_id IS NOT NULL)",
        ),
    },
    Table {
        name: "trigger_events",
        time: "applied_at",
        period: Period::Month,
        ahead: 3,
        retention: |retention| retention.history,
        unfinished: None,
    },
];

impl Table {
    /// The name of the partition that begins on `first`.
    pub(super) fn partition(&self, first: Date) -> String {
        format!("{}_{}", self.name, self.period.suffix(first))
    }

    /// The first days of the partitions that must exist: that of `today`, and those made ahead.
    pub fn wanted(&self, today: Date) -> impl Iterator<Item = Date> + '_ {
        let first = self.period.first(today);
        std::iter::successors(Some(first), |day| Some(self.period.next(*day))).take(self.ahead + 1)
    }

    /// Whether all rows of the partition that began on `first` are from before `cutoff`.
    #[must_use]
    pub fn is_before(&self, first: Date, cutoff: OffsetDateTime) -> bool {
        midnight(self.period.next(first)) <= cutoff
    }

    /// The time before which rows leave. `None` if they stay.
    #[must_use]
    pub fn cutoff(&self, retention: &Retention, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let kept = Duration::try_from((self.retention)(retention)?).ok()?;
        now.checked_sub(kept)
    }
}
