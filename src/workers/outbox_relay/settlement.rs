//! What the relay still has to store about its rows. It survives an outage of the database: otherwise the
//! rows would stay with this process, which does not publish them again.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::{
    domain::chain::outgoing::OutgoingEvent,
    postgres::effects::{self, EffectsKey},
};

/// The rows that have been worked on, by what has to be done with them.
#[derive(Default)]
pub(super) struct Settlement {
    /// Every event is published: delete.
    published: Vec<EffectsKey>,
    /// Events were refused or not confirmed: put back for later.
    later: Vec<EffectsKey>,
    /// The outcome of events is unknown: put back for now.
    now: Vec<EffectsKey>,
    /// The unpublished events of rows of which others are published.
    unpublished: HashMap<EffectsKey, HashSet<Uuid>>,
}

impl Settlement {
    pub(super) fn published(&mut self, key: EffectsKey) {
        self.published.push(key);
    }

    /// The row cannot be read by this process.
    pub(super) fn unreadable(&mut self, key: EffectsKey) {
        self.later.push(key);
    }

    /// These events of the row, out of `all`, are published again after a wait.
    pub(super) fn later(&mut self, key: EffectsKey, events: HashSet<Uuid>, all: usize) {
        self.later.push(key.clone());
        self.keep(key, events, all);
    }

    /// These events of the row, out of `all`, are published again as soon as possible.
    pub(super) fn now(&mut self, key: EffectsKey, events: HashSet<Uuid>, all: usize) {
        self.now.push(key.clone());
        self.keep(key, events, all);
    }

    fn keep(&mut self, key: EffectsKey, events: HashSet<Uuid>, all: usize) {
        if events.len() < all {
            self.unpublished.insert(key, events);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.published.is_empty() && self.later.is_empty() && self.now.is_empty()
    }

    /// All rows that are not settled.
    pub(super) fn keys(&self) -> impl Iterator<Item = EffectsKey> + '_ {
        [&self.published, &self.later, &self.now].into_iter().flatten().cloned()
    }

    /// Writes all of it. It may be written again: a row that has left `owner` stays as it is.
    pub(super) async fn write(
        &self,
        conn: &mut PgConnection,
        owner: Uuid,
        retry_interval: Duration,
    ) -> Result<(), sqlx::Error> {
        if !self.published.is_empty() {
            effects::delete(conn, owner, &self.published).await?;
        }
        if self.later.is_empty() && self.now.is_empty() {
            return Ok(());
        }
        let mut transaction = conn.begin().await?;
        if !self.unpublished.is_empty() {
            let keys: Vec<EffectsKey> = self.unpublished.keys().cloned().collect();
            let retained = effects::retain(&mut transaction, &keys, |key, event: &OutgoingEvent| {
                self.unpublished.get(key).is_none_or(|events| events.contains(&event.id))
            });
            // They are put back whole, and reported when somebody takes them.
            let _ = retained.await?.unreadable;
        }
        if !self.later.is_empty() {
            effects::postpone(&mut transaction, owner, &self.later, retry_interval).await?;
        }
        if !self.now.is_empty() {
            effects::put_back(&mut transaction, owner, &self.now, Duration::ZERO).await?;
        }
        transaction.commit().await
    }
}
