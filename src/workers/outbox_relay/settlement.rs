//! What the relay still has to store about its rows. It survives an outage of the database: otherwise the rows would
//! stay with this process, which does not publish them again.
//!
//! It is written in portions. When the broker is lost, every row in flight has to be put back, and one transaction
//! could not rewrite all of their bodies in time.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::{
    domain::chain::outgoing::OutgoingEvent,
    postgres::effects::{self, EffectsKey, Kind},
};

/// Maximum number of rows that one transaction deletes.
const MAX_DELETED: usize = 500;

/// Maximum number of rows that one transaction puts back.
const MAX_PUT_BACK: usize = 20;

/// Once the bodies are larger, in bytes, a transaction rewrites no further one.
const MAX_BYTES: usize = 4 << 20;

/// The rows that have been worked on.
#[derive(Default)]
pub(super) struct Settlement {
    /// By the change that they need. No list is empty.
    open: BTreeMap<Change, Vec<Row>>,
    /// Locked ones.
    locked: Vec<(Change, Row)>,
}

/// What a row needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// Every event is published.
    Delete,
    /// Events were refused or not confirmed.
    Postpone,
    /// The outcome of events is unknown, or they were not sent: they are due now.
    PutBack,
}

struct Row {
    key: EffectsKey,
    /// The events that stay in it, if others are removed.
    kept: Option<HashSet<Uuid>>,
    /// The bytes to read for that.
    size: usize,
}

/// The events of a row, out of `all`, that are not published.
pub(super) struct Leftover {
    pub(super) key: EffectsKey,
    pub(super) events: HashSet<Uuid>,
    pub(super) all: usize,
    /// The size of its body, in bytes.
    pub(super) size: usize,
}

impl Settlement {
    pub(super) fn published(&mut self, key: EffectsKey) {
        self.add(Change::Delete, Row::whole(key));
    }

    /// Nothing of the row was sent.
    pub(super) fn unsent(&mut self, key: EffectsKey) {
        self.add(Change::PutBack, Row::whole(key));
    }

    /// The row cannot be read by this process.
    pub(super) fn unreadable(&mut self, key: EffectsKey) {
        self.add(Change::Postpone, Row::whole(key));
    }

    /// These events are published again after a wait.
    pub(super) fn postpone(&mut self, leftover: Leftover) {
        self.add(Change::Postpone, leftover.into());
    }

    /// These events are published again as soon as possible.
    pub(super) fn put_back(&mut self, leftover: Leftover) {
        self.add(Change::PutBack, leftover.into());
    }

    fn add(&mut self, change: Change, row: Row) {
        self.open.entry(change).or_default().push(row);
    }

    /// All rows that are not settled.
    pub(super) fn keys(&self) -> impl Iterator<Item = EffectsKey> + '_ {
        self.open.values().flatten().chain(self.locked.iter().map(|(_, row)| row)).map(|row| row.key.clone())
    }

    /// What the next transaction writes; `None` if nothing is left.
    pub(super) fn portion(&self) -> Option<Portion<'_>> {
        let (change, rows) = self.open.first_key_value()?;
        let limit = if *change == Change::Delete { MAX_DELETED } else { MAX_PUT_BACK };
        let mut size = 0;
        let fits = |row: &&Row| {
            let fits = size < MAX_BYTES;
            size += row.size;
            fits
        };
        let count = rows.iter().take(limit).take_while(fits).count();
        Some(Portion { change: *change, rows: rows.get(..count)? })
    }

    /// Removes a written portion of `rows`, apart from those that are `locked`.
    pub(super) fn written(&mut self, rows: usize, locked: &[EffectsKey]) {
        if let Some(mut list) = self.open.first_entry() {
            let change = *list.key();
            let rest = list.get_mut().drain(..rows).filter(|row| locked.contains(&row.key));
            self.locked.extend(rest.map(|row| (change, row)));
            if list.get().is_empty() {
                list.remove();
            }
        }
    }

    /// Retries those that were locked.
    pub(super) fn try_locked_again(&mut self) {
        for (change, row) in std::mem::take(&mut self.locked) {
            self.add(change, row);
        }
    }
}

impl Row {
    fn whole(key: EffectsKey) -> Self {
        Self { key, kept: None, size: 0 }
    }
}

impl From<Leftover> for Row {
    fn from(Leftover { key, events, all, size }: Leftover) -> Self {
        if events.len() < all { Self { key, kept: Some(events), size } } else { Self::whole(key) }
    }
}

/// Some of the rows that need the same change.
pub(super) struct Portion<'a> {
    change: Change,
    rows: &'a [Row],
}

impl Portion<'_> {
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether its rows are put back without a wait.
    #[cfg(test)]
    pub(super) fn is_due_now(&self) -> bool {
        self.change == Change::PutBack
    }

    /// Writes it, and returns the rows that are locked and stay as they are. It may be written again: what was published
    /// stays out of its row, and a row that has left `owner` is not put back.
    pub(super) async fn write(
        &self,
        conn: &mut PgConnection,
        owner: Uuid,
        retry_interval: Duration,
    ) -> Result<Vec<EffectsKey>, sqlx::Error> {
        let mut keys: Vec<EffectsKey> = self.rows.iter().map(|row| row.key.clone()).collect();
        if self.change == Change::Delete {
            return effects::delete(conn, Kind::Publish, owner, &keys).await;
        }
        let mut transaction = conn.begin().await?;
        let locked = effects::lock(&mut transaction, Kind::Publish, owner, &keys).await?;
        keys.retain(|key| !locked.contains(key));
        let partial = self.rows.iter().filter_map(|row| Some((&row.key, row.kept.as_ref()?)));
        let partial: BTreeMap<&EffectsKey, &HashSet<Uuid>> =
            partial.filter(|(key, _)| !locked.contains(key)).collect();
        if !partial.is_empty() {
            let keys: Vec<EffectsKey> = partial.keys().map(|key| (*key).clone()).collect();
            let retain = effects::retain(&mut transaction, &keys, |key, event: &OutgoingEvent| {
                partial.get(key).is_none_or(|events| events.contains(&event.id))
            });
            // Unreadable ones are put back whole, and reported when a process takes them.
            retain.await?;
        }
        if self.change == Change::Postpone {
            effects::postpone(&mut transaction, owner, &keys, retry_interval).await?;
        } else {
            effects::put_back(&mut transaction, owner, &keys, &(Duration::ZERO..=Duration::ZERO)).await?;
        }
        transaction.commit().await?;
        Ok(locked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> EffectsKey {
        EffectsKey { company: "acme".to_owned(), batch: Uuid::now_v7(), kind: Kind::Publish }
    }

    /// A row of which `open` of two events are unpublished.
    fn row(open: usize, size: usize) -> Leftover {
        let events = std::iter::repeat_with(Uuid::now_v7).take(open).collect();
        Leftover { key: key(), events, all: 2, size }
    }

    /// The sizes of its portions.
    fn portions(mut settlement: Settlement) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Some(portion) = settlement.portion() {
            sizes.push(portion.rows());
            let rows = portion.rows();
            settlement.written(rows, &[]);
        }
        sizes
    }

    #[test]
    fn locked_rows_hold_up_no_others_and_are_not_lost() {
        let mut settlement = Settlement::default();
        let (first, second) = (key(), key());
        settlement.published(first.clone());
        settlement.published(second);
        settlement.written(2, std::slice::from_ref(&first));
        assert!(settlement.portion().is_none());
        assert_eq!(settlement.keys().collect::<Vec<_>>(), [first]);
        settlement.try_locked_again();
        assert_eq!(portions(settlement), [1]);
    }

    #[test]
    fn portions_are_bounded_by_number_and_by_what_has_to_be_read() {
        let mut settlement = Settlement::default();
        for _ in 0..501 {
            settlement.published(key());
        }
        for _ in 0..9 {
            settlement.postpone(row(1, 2 << 20));
        }
        for _ in 0..21 {
            settlement.put_back(row(2, 2 << 20));
        }
        assert_eq!(settlement.keys().count(), 531);
        assert_eq!(portions(settlement), [500, 1, 2, 2, 2, 2, 1, 20, 1]);
        let mut huge = Settlement::default();
        huge.put_back(row(1, usize::MAX / 2));
        huge.put_back(row(1, 1));
        assert_eq!(portions(huge), [1, 1]);
    }
}
