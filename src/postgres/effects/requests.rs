//! Webhooks to send: how they are packed, and the rows of one transaction.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use tracing::error;
use uuid::Uuid;

use super::{EffectsKey, Group, Keys, Kind, Part, by_company, packed, unpacked};
use crate::{
    domain::{
        contact::ContactId,
        event::Key,
        trace_context::TraceContext,
        webhook::{
            delivery::Delivery,
            request::{Method, WebhookRequest},
        },
    },
    postgres::{columns::column, endpoints::LaneRow},
};

/// Once a row's requests are larger, in bytes, it gets no further one. A reader holds one row in memory.
const MAX_BODY: usize = 4 << 20;

/// The webhooks that one transaction committed for one company: one row, or several if they are large.
pub struct RequestBatch {
    /// The row.
    pub key: EffectsKey,
    /// The process that is to send them.
    pub owner: Option<Uuid>,
    /// Its deliveries. None of them has its own row.
    pub deliveries: Vec<Delivery>,
    /// The transaction that wrote or took it began after that, so its row is not older.
    pub since: Instant,
    /// The state that lanes of its deliveries had then, as far as it was read.
    pub lanes: Arc<HashMap<Key, LaneRow>>,
}

impl RequestBatch {
    /// A row that is written or taken after `since`.
    #[must_use]
    pub fn new(key: EffectsKey, owner: Option<Uuid>, deliveries: Vec<Delivery>, since: Instant) -> Self {
        Self { key, owner, deliveries, since, lanes: Arc::default() }
    }
}

/// The deliveries of one transaction, which began after `since`, by company, in portions that a process can hold in memory.
#[must_use]
pub fn group(
    batch: Uuid,
    owner: Option<Uuid>,
    deliveries: Vec<Delivery>,
    since: Instant,
) -> Vec<RequestBatch> {
    let requests = |company: &str, batch, deliveries| {
        let key = EffectsKey { company: company.to_owned(), batch, kind: Kind::Send };
        RequestBatch::new(key, owner, deliveries, since)
    };
    let mut batches = Vec::new();
    for (company, deliveries) in by_company(deliveries, |delivery| &delivery.key.company) {
        let (mut portion, mut size, mut batch) = (Vec::new(), 0, batch);
        for delivery in deliveries {
            let more = delivery.request.size();
            if size + more > MAX_BODY && !portion.is_empty() {
                batches.push(requests(&company, batch, std::mem::take(&mut portion)));
                (size, batch) = (0, Uuid::now_v7());
            }
            size += more;
            portion.push(delivery);
        }
        batches.push(requests(&company, batch, portion));
    }
    batches
}

impl Group for RequestBatch {
    type Part = Delivery;

    fn key(&self) -> &EffectsKey {
        &self.key
    }

    fn parts(&self) -> &[Delivery] {
        &self.deliveries
    }
}

/// What a process knows of a row that it has taken.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    /// The row.
    pub key: &'a EffectsKey,
    /// The id under which the process took it.
    pub owner: Uuid,
    /// Number of deliveries that it had then.
    pub items: usize,
}

/// Which deliveries of these rows must not be recorded any more: an erasure has removed them, or another process has taken
/// or finished the row. Locks the rows against both.
///
/// # Errors
/// When the database fails, or has a body in another format.
pub async fn revoked(
    conn: &mut PgConnection,
    rows: &[Held<'_>],
    deliveries: impl Iterator<Item = (&EffectsKey, Uuid)>,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let keys: Vec<EffectsKey> = rows.iter().map(|row| row.key.clone()).collect();
    let columns = Keys::of(&keys);
    let found = sqlx::query!(
        "SELECT f.company_id, f.batch, f.items, f.owner FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
         JOIN effects f ON f.company_id = u.company_id AND f.batch = u.batch AND f.kind = 'send'
         ORDER BY f.company_id, f.batch FOR KEY SHARE OF f",
        &columns.companies as &[&str],
        &columns.batches,
    )
    .fetch_all(&mut *conn)
    .await?;
    // Taking rows, or releasing those of dead processes, skips a locked one. Its owner may release it, but it is taken
    // only after this commit, and then without the deliveries that have a row.
    let still_has = |row: &Held<'_>| {
        let same = found.iter().find(|one| one.batch == row.key.batch && one.company_id == row.key.company);
        same.filter(|one| one.owner == Some(row.owner)).and_then(|one| usize::try_from(one.items).ok())
    };
    let changed: Vec<&Held<'_>> = rows.iter().filter(|row| still_has(row) != Some(row.items)).collect();
    if changed.is_empty() {
        return Ok(HashSet::new());
    }
    let shrunk: Vec<&EffectsKey> =
        changed.iter().filter(|row| still_has(row).is_some()).map(|row| row.key).collect();
    let kept = kept(conn, &shrunk).await?;
    let is_revoked =
        |key: &EffectsKey, id: &Uuid| changed.iter().any(|row| row.key == key) && !kept.has(key, id);
    Ok(deliveries.filter(|(key, id)| is_revoked(key, id)).map(|(_, id)| id).collect())
}

/// What rows still have.
#[derive(Default)]
struct Kept {
    deliveries: HashSet<Uuid>,
    /// Rows that cannot be read. All that was sent of them is recorded: an error would repeat with every retry, and no
    /// outcome of any webhook could be recorded.
    unreadable: HashSet<EffectsKey>,
}

impl Kept {
    fn has(&self, key: &EffectsKey, id: &Uuid) -> bool {
        self.deliveries.contains(id) || self.unreadable.contains(key)
    }
}

async fn kept(conn: &mut PgConnection, keys: &[&EffectsKey]) -> Result<Kept, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT f.company_id, f.batch, f.body FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, batch)
         JOIN effects f ON f.company_id = u.company_id AND f.batch = u.batch AND f.kind = 'send'",
        &column(keys, |key| key.company.as_str()) as &[&str],
        &column(keys, |key| key.batch),
    )
    .fetch_all(conn)
    .await?;
    let mut kept = Kept::default();
    for row in rows {
        if let Ok(deliveries) = Delivery::unpack(&row.company_id, &row.body) {
            kept.deliveries.extend(deliveries.iter().map(Part::id));
        } else {
            let batch = row.batch;
            error!(
                %batch,
                company.id = row.company_id,
                "could not read batch {batch}; what was sent of it is recorded"
            );
            kept.unreadable.insert(EffectsKey { company: row.company_id, batch, kind: Kind::Send });
        }
    }
    Ok(kept)
}

impl Part for Delivery {
    const KIND: Kind = Kind::Send;

    fn id(&self) -> Uuid {
        self.key.id
    }

    fn pack(parts: &[Self]) -> Result<Vec<u8>, sqlx::Error> {
        packed(parts.iter().map(Packed::of))
    }

    fn unpack(company: &str, body: &[u8]) -> Result<Vec<Self>, sqlx::Error> {
        unpacked(body, |delivery: Packed<'_>| delivery.unpacked(company))
    }
}

/// A delivery as it is stored. The row has the company. It has neither a fault nor terms: a delivery with these is not sent
/// straight from memory.
#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    id: Uuid,
    /// Nanoseconds since 1970.
    created_at: i64,
    event_key: Uuid,
    step: u16,
    source: &'a str,
    event_id: &'a str,
    trigger: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<(Uuid, i64)>,
    endpoint_id: Uuid,
    endpoint_url: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    method: &'a str,
    url: &'a str,
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a str)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<&'a serde_bytes::Bytes>,
}

impl<'a> Packed<'a> {
    fn of(delivery: &'a Delivery) -> Self {
        let request = &delivery.request;
        Self {
            id: delivery.key.id,
            // Fits until the year 2262.
            created_at: i64::try_from(delivery.created_at.unix_timestamp_nanos()).unwrap_or_default(),
            event_key: delivery.event_key,
            step: delivery.step,
            source: &delivery.source,
            event_id: &delivery.event_id,
            trigger: &delivery.trigger,
            contact: delivery.contact.map(|(contact, version)| (contact.0, version)),
            endpoint_id: delivery.endpoint_id,
            endpoint_url: &delivery.endpoint_url,
            traceparent: delivery.trace.traceparent(),
            tracestate: delivery.trace.tracestate(),
            method: request.method.name(),
            url: &request.url,
            headers: request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            body: request.body.as_deref().map(serde_bytes::Bytes::new),
        }
    }

    fn unpacked(self, company: &str) -> Delivery {
        let created_at = OffsetDateTime::from_unix_timestamp_nanos(self.created_at.into());
        let method = self.method.parse().ok();
        Delivery {
            key: Key { company: company.to_owned(), id: self.id },
            // Every number of nanoseconds in 64 bits is a valid time.
            created_at: created_at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            event_key: self.event_key,
            step: self.step,
            source: self.source.to_owned(),
            event_id: self.event_id.to_owned(),
            trigger: self.trigger.to_owned(),
            contact: self.contact.map(|(contact, version)| (ContactId(contact), version)),
            endpoint_id: self.endpoint_id,
            endpoint_url: self.endpoint_url.to_owned(),
            newest_only: false,
            digest_window: None,
            awaited: false,
            limited: false,
            trace: TraceContext::new(self.traceparent, self.tracestate),
            fault: method.is_none().then(|| "the stored request is unreadable".to_owned()),
            request: WebhookRequest {
                method: method.unwrap_or(Method::Post),
                url: self.url.to_owned(),
                headers: self
                    .headers
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                body: self.body.map(|body| body.to_vec()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(company: &str, id: u128, size: usize) -> Delivery {
        Delivery {
            key: Key { company: company.to_owned(), id: Uuid::from_u128(id) },
            created_at: OffsetDateTime::UNIX_EPOCH + time::Duration::nanoseconds(1_700_000_000_123_456_789),
            event_key: Uuid::from_u128(2),
            step: 2,
            source: "/s".to_owned(),
            event_id: "e".to_owned(),
            trigger: "t".to_owned(),
            contact: Some((ContactId(Uuid::from_u128(3)), 7)),
            endpoint_id: Uuid::from_u128(4),
            endpoint_url: "https://hooks.example/".to_owned(),
            newest_only: false,
            digest_window: None,
            awaited: false,
            limited: false,
            trace: TraceContext::new(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None),
            request: WebhookRequest {
                method: Method::Put,
                url: "https://hooks.example/?a".to_owned(),
                headers: vec![("a".to_owned(), "1".to_owned())],
                body: Some([0, 159, 255].into_iter().cycle().take(size).collect()),
            },
            fault: None,
        }
    }

    #[test]
    fn large_batches_are_split() {
        let mib = 1 << 20;
        let sizes = [("b", 3), ("a", 3), ("b", 2), ("a", 1), ("b", 1), ("b", 9), ("b", 1)];
        // Without fields that are not part of the body.
        let small = |size: usize| size * mib - 100;
        let deliveries = (1..).zip(sizes).map(|(id, (company, size))| delivery(company, id, small(size)));
        let batch = Uuid::now_v7();
        let batches = group(batch, None, deliveries.collect(), Instant::now());
        let ids =
            |one: &RequestBatch| one.deliveries.iter().map(|one| one.key.id.as_u128()).collect::<Vec<_>>();
        let found: Vec<_> = batches.iter().map(|one| (one.key.company.as_str(), ids(one))).collect();
        let expected = [("a", vec![2, 4]), ("b", vec![1]), ("b", vec![3, 5]), ("b", vec![6]), ("b", vec![7])];
        assert_eq!(found, expected);
        let keys: HashSet<&EffectsKey> = batches.iter().map(|one| &one.key).collect();
        assert_eq!(keys.len(), 5);
        assert_eq!(batches.iter().filter(|one| one.key.batch == batch).count(), 2, "one of each company");
    }

    #[test]
    fn packed_delivery_is_the_same_after_unpacking() {
        let delivery = delivery("acme", 1, 3);
        let packed = Delivery::pack(std::slice::from_ref(&delivery)).unwrap();
        let unpacked = Delivery::unpack("acme", &packed).unwrap().pop().unwrap();
        assert!(unpacked.request == delivery.request && unpacked.fault.is_none());
        assert_eq!(
            (unpacked.key, unpacked.created_at, unpacked.event_key, unpacked.step, unpacked.contact),
            (delivery.key, delivery.created_at, delivery.event_key, delivery.step, delivery.contact)
        );
        assert_eq!(
            (
                unpacked.source,
                unpacked.event_id,
                unpacked.trigger,
                unpacked.endpoint_id,
                unpacked.endpoint_url
            ),
            (
                delivery.source,
                delivery.event_id,
                delivery.trigger,
                delivery.endpoint_id,
                delivery.endpoint_url
            )
        );
        assert_eq!(unpacked.trace.traceparent(), delivery.trace.traceparent());
    }
}
