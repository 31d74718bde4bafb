//! What committed transactions still have to do: one row for each company, transaction and kind, with all of its
//! parts packed into one value.
//!
//! A row with an owner belongs to that process, which works on it from memory. Any process may take a row without an
//! owner once it is due. Only the owner deletes a row or puts it back, so a process that lost a row cannot disturb
//! its next owner. Anybody may remove parts that are done.
//!
//! Parts are packed as `MessagePack` with field names, so that during an upgrade older and newer processes can read each
//! other's rows: unknown fields are ignored, and a new field must be optional.

pub mod events;
pub mod requests;
pub mod search;
mod settle;
pub mod unowned;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
pub use settle::{delete, lock, postpone, put_back};
use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::{column, interval};

/// What to do with the parts of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Publish events.
    Publish,
    /// Send webhooks.
    Send,
}

impl Kind {
    /// The name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Send => "send",
        }
    }
}

/// Names a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EffectsKey {
    /// The company's id.
    pub company: String,
    /// One for each transaction.
    pub batch: Uuid,
    /// What to do.
    pub kind: Kind,
}

/// One part of a row's body: an event to publish, or a request to send.
pub trait Part: Sized {
    /// The kind of row that has such parts.
    const KIND: Kind;

    /// Names the part within its row.
    fn id(&self) -> Uuid;

    /// The body of a row with these parts.
    ///
    /// # Errors
    /// Never in practice: every part can be packed.
    fn pack(parts: &[Self]) -> Result<Vec<u8>, sqlx::Error>;

    /// The parts of a row of `company`.
    ///
    /// # Errors
    /// When the body has another format.
    fn unpack(company: &str, body: &[u8]) -> Result<Vec<Self>, sqlx::Error>;
}

/// The parts that one transaction committed for one company, as a process works on them: one row.
pub trait Group {
    /// What they are.
    type Part: Part;

    /// The key of the row.
    fn key(&self) -> &EffectsKey;

    /// The parts.
    fn parts(&self) -> &[Self::Part];
}

/// A row to insert.
pub struct NewEffects {
    /// Its key.
    pub key: EffectsKey,
    /// The process that works on it; `None` lets any process take it at once.
    pub owner: Option<Uuid>,
    /// Number of parts.
    pub items: usize,
    /// The packed parts.
    pub body: Vec<u8>,
}

impl NewEffects {
    /// The row of `parts`.
    ///
    /// # Errors
    /// Those of [`Part::pack`].
    pub fn of<P: Part>(key: EffectsKey, owner: Option<Uuid>, parts: &[P]) -> Result<Self, sqlx::Error> {
        Ok(Self { key, owner, items: parts.len(), body: P::pack(parts)? })
    }

    /// The rows of `groups`.
    ///
    /// # Errors
    /// Those of [`Part::pack`].
    pub fn of_groups<'a, G: Group + 'a>(
        groups: impl IntoIterator<Item = &'a G>,
        owner: Option<Uuid>,
    ) -> Result<Vec<Self>, sqlx::Error> {
        groups.into_iter().map(|group| Self::of(group.key().clone(), owner, group.parts())).collect()
    }
}

/// Inserts rows.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn insert(conn: &mut PgConnection, effects: &[NewEffects]) -> Result<(), sqlx::Error> {
    if effects.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO effects (company_id, batch, kind, owner, items, body)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::uuid[], $5::integer[], $6::bytea[])",
        &column(effects, |row| row.key.company.as_str()) as &[&str],
        &column(effects, |row| row.key.batch),
        &column(effects, |row| row.key.kind.name()) as &[&str],
        &column(effects, |row| row.owner) as &[Option<Uuid>],
        &column(effects, |row| count(row.items)),
        &column(effects, |row| row.body.as_slice()) as &[&[u8]],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes rows of which every part is done, in a transaction that recorded the last of them. Each is given with the id
/// under which it was taken.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn delete_recorded(
    conn: &mut PgConnection,
    rows: &[(&EffectsKey, Uuid)],
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    sqlx::query!(
        "DELETE FROM effects f USING UNNEST($1::text[], $2::uuid[], $3::text[], $4::uuid[])
             AS u(company_id, batch, kind, owner)
         WHERE f.company_id = u.company_id AND f.batch = u.batch AND f.kind = u.kind AND f.owner = u.owner",
        &column(&rows, |(key, _)| key.company.as_str()) as &[&str],
        &column(&rows, |(key, _)| key.batch),
        &column(&rows, |(key, _)| key.kind.name()) as &[&str],
        &column(&rows, |(_, owner)| *owner),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What [`retain`] did.
#[derive(Debug, Default)]
pub struct Retained {
    /// How many parts were removed.
    pub removed: u64,
    /// Rows that cannot be read and stay as they are.
    pub unreadable: Vec<EffectsKey>,
}

/// Removes the parts that `keep` refuses, and rows without a part. It locks the rows until the caller's transaction ends,
/// and decides by what they have then: an erasure may have removed parts in the meantime, and they must not come
/// back. An unreadable row does not keep others from being settled.
///
/// # Errors
/// When the database fails.
pub async fn retain<P: Part>(
    conn: &mut PgConnection,
    keys: &[EffectsKey],
    keep: impl Fn(&EffectsKey, &P) -> bool,
) -> Result<Retained, sqlx::Error> {
    let columns = Keys::of(keys);
    let rows = sqlx::query!(
        "SELECT f.company_id, f.batch, f.body
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
         JOIN effects f ON f.company_id = u.company_id AND f.batch = u.batch AND f.kind = $3
         ORDER BY f.company_id, f.batch FOR UPDATE OF f",
        &columns.companies as &[&str],
        &columns.batches,
        P::KIND.name(),
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut retained = Retained::default();
    let mut changed = Vec::new();
    for row in rows {
        let key = EffectsKey { company: row.company_id, batch: row.batch, kind: P::KIND };
        let Ok(mut parts) = P::unpack(&key.company, &row.body) else {
            retained.unreadable.push(key);
            continue;
        };
        let before = parts.len();
        parts.retain(|part| keep(&key, part));
        if parts.len() < before {
            retained.removed += (before - parts.len()) as u64;
            changed.push(NewEffects::of(key, None, &parts)?);
        }
    }
    rewrite(conn, &changed).await?;
    Ok(retained)
}

/// Gives locked rows these bodies, and deletes those without a part.
async fn rewrite(conn: &mut PgConnection, changed: &[NewEffects]) -> Result<(), sqlx::Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let (companies, batches) =
        (column(changed, |row| row.key.company.as_str()), column(changed, |row| row.key.batch));
    let kinds = column(changed, |row| row.key.kind.name());
    sqlx::query!(
        "UPDATE effects f SET items = u.items, body = u.body
         FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::bytea[])
             AS u(company_id, batch, kind, items, body)
         WHERE f.company_id = u.company_id AND f.batch = u.batch AND f.kind = u.kind AND u.items > 0",
        &companies as &[&str],
        &batches,
        &kinds as &[&str],
        &column(changed, |row| count(row.items)),
        &column(changed, |row| row.body.as_slice()) as &[&[u8]],
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM effects f
         USING UNNEST($1::text[], $2::uuid[], $3::text[], $4::integer[]) AS u(company_id, batch, kind, items)
         WHERE f.company_id = u.company_id AND f.batch = u.batch AND f.kind = u.kind AND u.items = 0",
        &companies as &[&str],
        &batches,
        &kinds as &[&str],
        &column(changed, |row| count(row.items)),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases rows that `owner` committed more than `age` ago without knowing it: it did not learn that the commit
/// succeeded, or failed to hand them over. `known` are the rows that it still has to settle. Skips those that are locked.
/// Returns their number.
///
/// # Errors
/// When the database fails.
pub async fn release_forgotten(
    conn: &mut PgConnection,
    kind: Kind,
    owner: Uuid,
    age: Duration,
    known: &[EffectsKey],
) -> Result<u64, sqlx::Error> {
    let known = Keys::of(known);
    let released = sqlx::query!(
        "WITH forgotten AS MATERIALIZED (
             SELECT f.company_id, f.batch FROM effects f
             WHERE f.owner = $2 AND f.kind = $1 AND f.created_at < now() - $3::interval
               AND (f.company_id, f.batch) NOT IN (
                   SELECT company_id, batch FROM UNNEST($4::text[], $5::uuid[]) AS u(company_id, batch))
             FOR UPDATE SKIP LOCKED)
         UPDATE effects f SET owner = NULL, due_at = now()
         FROM forgotten o WHERE f.company_id = o.company_id AND f.batch = o.batch AND f.kind = $1",
        kind.name(),
        owner,
        interval(age),
        &known.companies as &[&str],
        &known.batches,
    )
    .execute(conn)
    .await?;
    Ok(released.rows_affected())
}

/// Releases up to `limit` rows of these dead processes, and returns their number. Skips rows that are locked.
///
/// # Errors
/// When the database fails.
pub(super) async fn release_owned(
    conn: &mut PgConnection,
    dead: &[Uuid],
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let released = sqlx::query!(
        "WITH owned AS MATERIALIZED (
             SELECT company_id, batch, kind FROM effects WHERE owner = ANY($1) LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE effects f SET owner = NULL, due_at = now()
         FROM owned o WHERE f.company_id = o.company_id AND f.batch = o.batch AND f.kind = o.kind",
        dead,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(released.rows_affected())
}

/// The columns of keys, in the order of the keys, so that all transactions lock rows in the same order.
struct Keys<'a> {
    companies: Vec<&'a str>,
    batches: Vec<Uuid>,
    kinds: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    fn of(keys: &'a [EffectsKey]) -> Self {
        let mut keys: Vec<&EffectsKey> = keys.iter().collect();
        keys.sort_unstable();
        Self {
            companies: keys.iter().map(|key| key.company.as_str()).collect(),
            batches: keys.iter().map(|key| key.batch).collect(),
            kinds: keys.iter().map(|key| key.kind.name()).collect(),
        }
    }
}

/// The parts of one transaction by company.
fn by_company<P>(parts: Vec<P>, company: impl Fn(&P) -> &str) -> BTreeMap<String, Vec<P>> {
    let mut grouped: BTreeMap<String, Vec<P>> = BTreeMap::new();
    for part in parts {
        match grouped.get_mut(company(&part)) {
            Some(parts) => parts.push(part),
            None => {
                grouped.insert(company(&part).to_owned(), vec![part]);
            }
        }
    }
    grouped
}

/// The body of a row with these parts, each as it is stored.
fn packed(parts: impl Iterator<Item = impl Serialize>) -> Result<Vec<u8>, sqlx::Error> {
    let parts: Vec<_> = parts.collect();
    rmp_serde::to_vec_named(&parts).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// The parts of a row with this body, each made by `part` from what is stored of it.
fn unpacked<'a, S: Deserialize<'a>, P>(body: &'a [u8], part: impl Fn(S) -> P) -> Result<Vec<P>, sqlx::Error> {
    let stored: Vec<S> = rmp_serde::from_slice(body).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(stored.into_iter().map(part).collect())
}

pub(super) fn count(items: usize) -> i32 {
    i32::try_from(items).unwrap_or(i32::MAX)
}
