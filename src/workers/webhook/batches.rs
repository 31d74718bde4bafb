//! Takes batches that no process works on: those of processes that have ended or send no webhooks.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tracing::error;
use uuid::Uuid;

use super::{
    claims::{Claims, Found},
    direct::OwnedBatch,
};
use crate::{
    domain::{event::Key, webhook::delivery::Delivery},
    postgres::{
        effects::{
            self, EffectsKey, Kind, Part as _,
            requests::RequestBatch,
            unowned::{self, Wanted},
        },
        endpoints,
    },
    telemetry::chain,
    workers::component::WEBHOOK_WORKER,
};

/// Maximum number of requests that are taken at a time from batches without an owner.
const MAX_REQUESTS: usize = 500;

/// A batch that is older and not in memory never arrived here. Also how often such batches are looked for.
const FORGOTTEN: Duration = Duration::from_secs(15);

/// How long an unreadable batch is left to others.
const UNREADABLE_WAIT: Duration = Duration::from_mins(1);

impl Claims {
    /// Takes batches that no process works on.
    pub(super) async fn take_batches(
        &mut self,
        owner: Uuid,
        stop: &CancellationToken,
    ) -> Result<Found, sqlx::Error> {
        let (free, free_bytes, busy) = {
            let queue = self.direct.sender.queue();
            (queue.free(), queue.free_bytes(), queue.busy_companies())
        };
        let limit = free.min(MAX_REQUESTS);
        self.waits_for_room = limit == 0 || !busy.is_empty();
        if limit == 0 {
            return Ok(Found::Something);
        }
        let unit = async |conn: &mut PgConnection| {
            let skipped: Vec<&str> = busy.iter().map(String::as_str).collect();
            let bytes = unowned::MAX_TAKEN_BYTES.min(free_bytes / 2).max(1);
            let wanted = Wanted { parts: limit, bytes };
            let taken = if skipped.is_empty() {
                unowned::take(conn, owner, Kind::Send, false, wanted).await?
            } else {
                unowned::take_of_others(conn, owner, &skipped, rand::random(), wanted).await?
            };
            Ok::<_, sqlx::Error>((taken, unowned::with_due(conn, Kind::Send, &skipped).await?))
        };
        let read_at = Instant::now();
        let (taken, held_back) = self.direct.database.unit(unit).await?;
        self.held_back = held_back.into_iter().collect();
        let items: usize = taken.iter().map(|batch| batch.items).sum();
        let rows = taken.len();
        let mut batches = Vec::with_capacity(rows);
        for batch in taken {
            match Delivery::unpack(&batch.key.company, &batch.body) {
                Ok(deliveries) => {
                    let requests = RequestBatch::new(batch.key, Some(owner), deliveries, read_at);
                    batches.push(OwnedBatch { requests, items: batch.items });
                }
                Err(error) => self.put_back(owner, batch.key, &error).await?,
            }
        }
        if !batches.is_empty() && !self.direct.leave_out_recorded(&mut batches, stop).await {
            return Ok(Found::Nothing);
        }
        let (open, done): (Vec<_>, Vec<_>) =
            batches.into_iter().partition(|batch| !batch.requests.deliveries.is_empty());
        let done: Vec<_> = done.into_iter().map(|batch| batch.requests.key).collect();
        if !done.is_empty() {
            let unit = async |conn: &mut PgConnection| effects::delete(conn, Kind::Send, owner, &done).await;
            // Those that are locked are released as forgotten, and taken again.
            self.direct.database.unit(unit).await?;
        }
        if !open.is_empty() {
            self.direct.take(open, stop).await;
        }
        Ok(if rows >= unowned::MAX_TAKEN { Found::More } else { Found::of(items, limit) })
    }

    /// Leaves a batch that this version cannot read to others.
    async fn put_back(
        &self,
        owner: Uuid,
        key: EffectsKey,
        unreadable: &sqlx::Error,
    ) -> Result<(), sqlx::Error> {
        error!(
            component = WEBHOOK_WORKER,
            company.id = key.company,
            error = chain(unreadable),
            "could not read batch {} of company {}; trying again in a minute",
            key.batch,
            key.company
        );
        let unit = async |conn: &mut PgConnection| {
            let delay = UNREADABLE_WAIT..=UNREADABLE_WAIT;
            effects::put_back(conn, owner, std::slice::from_ref(&key), &delay).await
        };
        self.direct.database.unit(unit).await
    }

    /// Releases batches and lanes that this process owns without knowing it: the commit succeeded, but its answer was lost.
    /// They are taken again.
    pub(super) async fn release_forgotten(&mut self, owner: Uuid) -> Result<(), sqlx::Error> {
        if self.next_release > Instant::now() {
            return Ok(());
        }
        let known = self.direct.known();
        let unit = async |conn: &mut PgConnection| {
            effects::release_forgotten(conn, Kind::Send, owner, FORGOTTEN, &known).await
        };
        self.direct.database.unit(unit).await?;
        let lanes: Vec<Key> = self.direct.lanes.owned().keys().cloned().collect();
        let unit = async |conn: &mut PgConnection| endpoints::release_forgotten(conn, owner, &lanes).await;
        self.direct.database.unit(unit).await?;
        self.next_release = Instant::now() + FORGOTTEN;
        Ok(())
    }
}
