//! Settles rows on behalf of their owner. Nothing waits for a locked row.

use std::{ops::RangeInclusive, time::Duration};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{EffectsKey, Keys, Kind};
use crate::{
    domain::event::Key,
    postgres::{columns::interval, free::query_free},
};

/// Deletes rows of `owner` of one kind, of which every part is done. Returns those that are locked; they stay. It does not
/// wait for the disk: if a crash of the database loses the deletion, the parts are done once more, with the same ids.
///
/// # Errors
/// When the database fails.
pub async fn delete(
    conn: &mut PgConnection,
    kind: Kind,
    owner: Uuid,
    keys: &[EffectsKey],
) -> Result<Vec<EffectsKey>, sqlx::Error> {
    let keys = Keys::of(keys);
    let locked = query_free!(
        "batch",
        "",
        "UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
         JOIN effects r ON r.company_id = u.company_id AND r.batch = u.batch AND r.kind = $3 WHERE r.owner = $4",
        ", relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
         deleted AS (
             DELETE FROM effects f USING free, relaxed
             WHERE f.company_id = free.company_id AND f.batch = free.batch AND f.kind = $3)",
        &keys.companies as &[&str],
        &keys.batches,
        kind.name(),
        owner,
    )
    .fetch_all(conn)
    .await?;
    Ok(effects(kind, locked))
}

/// Locks rows of `owner` of one kind. Returns those that others have locked.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn lock(
    conn: &mut PgConnection,
    kind: Kind,
    owner: Uuid,
    keys: &[EffectsKey],
) -> Result<Vec<EffectsKey>, sqlx::Error> {
    let keys = Keys::of(keys);
    let locked = query_free!(
        "batch",
        "",
        "UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
         JOIN effects r ON r.company_id = u.company_id AND r.batch = u.batch AND r.kind = $3 WHERE r.owner = $4",
        "",
        &keys.companies as &[&str],
        &keys.batches,
        kind.name(),
        owner,
    )
    .fetch_all(conn)
    .await?;
    Ok(effects(kind, locked))
}

fn effects(kind: Kind, keys: Vec<Key>) -> Vec<EffectsKey> {
    keys.into_iter().map(|Key { company, id }| EffectsKey { company, batch: id, kind }).collect()
}

/// Releases rows of `owner`. They are due after half of their age, within the limits of `delay`, for any process. Call
/// [`super::retain`] before if some of their parts are done.
///
/// # Errors
/// When the database fails.
pub async fn put_back(
    conn: &mut PgConnection,
    owner: Uuid,
    keys: &[EffectsKey],
    delay: &RangeInclusive<Duration>,
) -> Result<(), sqlx::Error> {
    let keys = Keys::of(keys);
    sqlx::query!(
        "UPDATE effects f
         SET owner = NULL, due_at = now() + least(greatest($5::interval, (now() - f.created_at) / 2), $6::interval)
         FROM UNNEST($1::text[], $2::uuid[], $3::text[]) AS u(company_id, batch, kind)
         WHERE f.company_id = u.company_id AND f.batch = u.batch AND f.kind = u.kind AND f.owner = $4",
        &keys.companies as &[&str],
        &keys.batches,
        &keys.kinds as &[&str],
        owner,
        interval(*delay.start()),
        interval(*delay.end()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases rows of `owner` like [`put_back`], after half of their age, but at least `least` and at most an hour, so that
/// what keeps failing is retried less and less often. They are postponed from then on.
///
/// # Errors
/// When the database fails.
pub async fn postpone(
    conn: &mut PgConnection,
    owner: Uuid,
    keys: &[EffectsKey],
    least: Duration,
) -> Result<(), sqlx::Error> {
    let keys = Keys::of(keys);
    sqlx::query!(
        "UPDATE effects f
         SET owner = NULL, postponed = true, due_at = now() + greatest($5::interval, least((now() - f.created_at) / 2, interval '1 hour'))
         FROM UNNEST($1::text[], $2::uuid[], $3::text[]) AS u(company_id, batch, kind)
         WHERE f.company_id = u.company_id AND f.batch = u.batch AND f.kind = u.kind AND f.owner = $4",
        &keys.companies as &[&str],
        &keys.batches,
        &keys.kinds as &[&str],
        owner,
        interval(least),
    )
    .execute(conn)
    .await?;
    Ok(())
}
