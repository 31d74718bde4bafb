//! The running processes: each renews its row, and releases what dead processes own.
//!
//! Times are those of the database's clock. Nothing here waits for the disk: a later commit of the process makes its
//! earlier renewals durable, too.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{columns::interval, effects, endpoints};

/// How long a dead process is remembered after its burial. It may only have been suspended, and claim and commit under its old
/// id when it continues: what it owns by then is released as well. If it is suspended for longer, see [`remember`].
const MEMORY: Duration = Duration::from_hours(1);

/// Maximum rows of a table that one transaction releases.
const PORTION: i64 = 500;

/// Registers a process for `term` from now on.
///
/// # Errors
/// When the database fails.
pub async fn register(
    conn: &mut PgConnection,
    process: Uuid,
    sends_webhooks: bool,
    term: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
         INSERT INTO processes (process_id, sends_webhooks, alive_until)
         SELECT $1, $2, now() + $3::interval FROM relaxed",
        process,
        sends_webhooks,
        interval(term),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Renews a process for `term` from now on, even if its row has expired, as after an outage of the database. Notes that it
/// has learned of what was recalled before its renewal at `heard_at`. Returns the time of this renewal; `None` if another
/// process has buried it, so it no longer owns anything.
///
/// # Errors
/// When the database fails.
pub async fn renew(
    conn: &mut PgConnection,
    process: Uuid,
    term: Duration,
    heard_at: Option<OffsetDateTime>,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
         UPDATE processes p SET alive_until = now() + $2::interval, heard_at = coalesce($3, p.heard_at)
         FROM relaxed WHERE p.process_id = $1 AND p.buried_at IS NULL
         RETURNING now() AS "now!""#,
        process,
        interval(term),
        heard_at,
    )
    .fetch_optional(conn)
    .await
}

/// Whether every process that may send webhooks from memory has learned of what was recalled before `recalled_at`. Buries those
/// whose rows have expired: they will continue under a new id, without what they have in memory.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn have_heard(conn: &mut PgConnection, recalled_at: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let unaware = sqlx::query_scalar!(
        "SELECT process_id FROM processes WHERE sends_webhooks AND buried_at IS NULL AND heard_at <= $1",
        recalled_at,
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(bury_expired(conn, &unaware).await?.is_empty())
}

/// Ends a process, so that others take over at once.
///
/// # Errors
/// When the database fails.
pub async fn retire(conn: &mut PgConnection, process: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE processes SET alive_until = now() WHERE process_id = $1 AND alive_until > now()",
        process
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The number of live processes that send webhooks.
///
/// # Errors
/// When the database fails.
pub async fn senders(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM processes WHERE sends_webhooks AND alive_until > now()"#
    )
    .fetch_one(conn)
    .await
}

/// The number of live processes.
///
/// # Errors
/// When the database fails.
pub async fn alive(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM processes WHERE alive_until > now()"#)
        .fetch_one(conn)
        .await
}

/// Remembers, as buried, the processes that own something but have no row any more, so that [`bury`] releases it. Reads
/// one row for each owner.
///
/// # Errors
/// When the database fails.
pub async fn remember(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    // A live owner registered before it became one, so a transaction that sees what it owns also sees its row.
    sqlx::query!(
        "WITH RECURSIVE of_effects AS (
             (SELECT owner FROM effects WHERE owner IS NOT NULL ORDER BY owner LIMIT 1)
             UNION ALL
             SELECT next.owner FROM of_effects o
             CROSS JOIN LATERAL (SELECT owner FROM effects f WHERE f.owner > o.owner ORDER BY f.owner LIMIT 1) next),
         of_lanes AS (
             (SELECT owner FROM webhook_endpoints WHERE owner IS NOT NULL ORDER BY owner LIMIT 1)
             UNION ALL
             SELECT next.owner FROM of_lanes o
             CROSS JOIN LATERAL (
                 SELECT owner FROM webhook_endpoints e WHERE e.owner > o.owner ORDER BY e.owner LIMIT 1) next)
         INSERT INTO processes (process_id, alive_until, sends_webhooks, buried_at)
         SELECT o.owner, now(), false, now() FROM (SELECT owner FROM of_effects UNION SELECT owner FROM of_lanes) o
         WHERE NOT EXISTS (SELECT FROM processes p WHERE p.process_id = o.owner)
         ON CONFLICT DO NOTHING"
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What one call of [`bury`] released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buried {
    /// Rows of `effects`.
    pub effects: u64,
    /// Lanes of endpoints.
    pub lanes: u64,
    /// Whether dead processes may own more.
    pub more: bool,
}

/// Releases a portion of what dead processes own, in one transaction. A process that another one is burying
/// is left to it.
///
/// # Errors
/// When the database fails.
pub async fn bury(conn: &mut PgConnection) -> Result<Buried, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let buried = release(&mut transaction).await?;
    transaction.commit().await?;
    Ok(buried)
}

/// Buries those of these processes whose rows have expired, so that none of them continues under its id, but leaves what they
/// own to [`bury`]. Returns the others, which are alive or about to be renewed or buried. Processes without a row are dead.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn bury_expired(conn: &mut PgConnection, processes: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    if processes.is_empty() {
        return Ok(Vec::new());
    }
    // Skips locked rows, because a transaction that buries processes locks their effects afterwards.
    let dead = sqlx::query_scalar!(
        "SELECT process_id FROM processes WHERE process_id = ANY($1) AND alive_until <= now()
         ORDER BY process_id FOR UPDATE SKIP LOCKED",
        processes,
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE processes SET buried_at = now() WHERE process_id = ANY($1) AND buried_at IS NULL",
        &dead
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        "SELECT process_id FROM processes WHERE process_id = ANY($1) AND process_id <> ALL($2)",
        processes,
        &dead,
    )
    .fetch_all(conn)
    .await
}

async fn release(conn: &mut PgConnection) -> Result<Buried, sqlx::Error> {
    // The lock excludes a renewal that began before the row expired.
    let dead = sqlx::query_scalar!(
        "SELECT process_id FROM processes WHERE alive_until <= now() ORDER BY process_id FOR UPDATE SKIP LOCKED"
    )
    .fetch_all(&mut *conn)
    .await?;
    if dead.is_empty() {
        return Ok(Buried { effects: 0, lanes: 0, more: false });
    }
    sqlx::query!(
        "UPDATE processes SET buried_at = now() WHERE process_id = ANY($1) AND buried_at IS NULL",
        &dead
    )
    .execute(&mut *conn)
    .await?;
    // Everything that a process can own, one table after the other.
    let effects = effects::release_owned(conn, &dead, PORTION).await?;
    let lanes = endpoints::release_owned(conn, &dead, PORTION).await?;
    let more = effects.max(lanes) == PORTION.unsigned_abs();
    if !more {
        sqlx::query!(
            "DELETE FROM processes WHERE process_id = ANY($1) AND buried_at < now() - $2::interval",
            &dead,
            interval(MEMORY),
        )
        .execute(conn)
        .await?;
    }
    Ok(Buried { effects, lanes, more })
}
