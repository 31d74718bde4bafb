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
    /// How many partitions are created ahead. Rows without one go to the default partition.
    pub ahead: usize,
    /// How long its rows are kept; `None` means forever.
    pub retention: fn(&Retention) -> Option<std::time::Duration>,
    /// Which rows stay at any age, as an SQL condition on `d`. The table then has a `delivery_id`. `OFFSET 0` makes
    /// Postgres look up each row in an index; otherwise it would hash a whole table that it believes to be small.
    pub(super) unfinished: Option<&'static str>,
    /// How the primary key finds the rows `d` of a delivery `k`.
    pub(super) lookup: &'static str,
}

/// The delivery `$id` is pending.
macro_rules! pending {
    ($id:literal) => {
        concat!(
            "EXISTS (SELECT FROM webhook_pending p WHERE p.company_id = d.company_id AND p.delivery_id = ",
            $id,
            " OFFSET 0)"
        )
    };
}

/// The delivery `$id` has a dead letter that can be replayed, or restored and then replayed.
macro_rules! dead {
    ($id:literal) => {
        concat!(
            "EXISTS (SELECT FROM dead_letters l WHERE l.company_id = d.company_id AND l.delivery_id = ",
            $id,
            " AND l.state IN ('open', 'replaying', 'discarded') OFFSET 0)"
        )
    };
}

/// All of them. Attempts come before the deliveries, which stay as long as they have attempts: an erasure finds the
/// attempts of a person through the deliveries.
pub static TABLES: [Table; 3] = [
    Table {
        name: "webhook_attempts",
        lookup: "d.created_at = k.created_at AND d.delivery_id = k.delivery_id",
        time: "created_at",
        period: Period::Day,
        ahead: 7,
        retention: |retention| Some(retention.attempts),
        // The answers that a result still has to report are found by the time of their chain.
        unfinished: Some(concat!(
            pending!("d.delivery_id"),
            " OR ",
            dead!("d.delivery_id"),
            " OR EXISTS (SELECT FROM chain_results c WHERE c.company_id = d.company_id AND c.created_at = d.created_at
                 OFFSET 0)",
        )),
    },
    Table {
        name: "webhook_deliveries",
        lookup: "d.delivery_id = k.delivery_id",
        time: "created_at",
        period: Period::Day,
        ahead: 7,
        retention: |retention| Some(retention.deliveries),
        // What will be sent or can be replayed; the members of such digests; what a result still has to report; what has
        // attempts; and the newest version that an endpoint got, while an older one must not follow it. Whether it is the
        // newest comes first: one of a thousand versions is, and only for that one all others are read.
        unfinished: Some(concat!(
            "d.state = 'pending' OR d.state IN ('dead', 'discarded') AND ",
            dead!("d.delivery_id"),
            " OR d.digest_id IS NOT NULL AND (",
            pending!("d.digest_id"),
            " OR ",
            dead!("d.digest_id"),
            ") OR EXISTS (SELECT FROM chain_results c WHERE c.company_id = d.company_id AND c.event_key = d.event_key
                 OFFSET 0)
              OR d.started_at IS NULL AND EXISTS (
                 SELECT FROM webhook_attempts a WHERE a.company_id = d.company_id AND a.created_at = d.created_at
                     AND a.delivery_id = d.delivery_id OFFSET 0)
              OR d.newest_only AND d.state = 'delivered'
              AND NOT EXISTS (SELECT FROM webhook_deliveries n WHERE n.company_id = d.company_id
                     AND n.contact_id = d.contact_id AND n.endpoint_id = d.endpoint_id AND n.newest_only
                     AND n.contact_version > d.contact_version AND n.state = 'delivered'
                     AND n.created_at > d.created_at - interval '1 day' OFFSET 0)
              AND (
                 EXISTS (SELECT FROM webhook_pending p WHERE p.company_id = d.company_id AND p.contact_id = d.contact_id
                     AND p.endpoint_id = d.endpoint_id AND p.contact_version < d.contact_version OFFSET 0)
                 OR EXISTS (SELECT FROM webhook_deliveries o WHERE o.company_id = d.company_id
                     AND o.contact_id = d.contact_id AND o.endpoint_id = d.endpoint_id AND o.newest_only
                     AND o.contact_version < d.contact_version AND o.state IN ('dead', 'discarded')
                     AND o.created_at < d.created_at + interval '1 day' OFFSET 0))",
        )),
    },
    Table {
        name: "trigger_events",
        lookup: "false",
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

    /// The time before which rows are removed. `None` if they stay.
    #[must_use]
    pub fn cutoff(&self, retention: &Retention, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let kept = Duration::try_from((self.retention)(retention)?).ok()?;
        now.checked_sub(kept)
    }
}
