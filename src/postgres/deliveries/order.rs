//! "Newest only": an endpoint that asked for it never gets an older version of a contact after a newer one.
//!
//! Whoever claims first says so (the lease is committed) and looks then: of two that claim two versions at
//! once at least one sees the other. The older one gives way for good, the newer one for a moment.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{Claim, ClaimedDelivery, DeliveryKey, message::message, record};
use crate::postgres::{
    chain_results::{self, Terms},
    endpoints,
};

/// Leaves in `claimed` what may be sent. What a newer version makes needless is closed as `superseded`, and
/// with it what waits of older versions; what comes while an older version is on its way is given back, to be
/// looked at again soon. All were claimed with `claim`.
///
/// # Errors
/// When the database refuses or is away. What was claimed then becomes due again with its lease.
pub(super) async fn keep(
    conn: &mut PgConnection,
    claim: &Claim<'_>,
    claimed: &mut Vec<ClaimedDelivery>,
) -> Result<(), sqlx::Error> {
    let ordered = claimed.iter().filter(|delivery| delivery.newest_only);
    let (companies, ids): (Vec<String>, Vec<Uuid>) =
        ordered.map(|delivery| (delivery.key.company.clone(), delivery.key.id)).unzip();
    let mut transaction = conn.begin().await?;
    let rows = sqlx::query_file_as!(Row, "src/postgres/deliveries/order.sql", &companies, &ids, claim.token,)
        .fetch_all(&mut *transaction)
        .await?;
    let replayed = rows.iter().filter(|row| row.is_old && row.is_replayed);
    let replayed = replayed.map(|row| (row.company_id.clone(), row.message())).collect();
    record::resolve(&mut transaction, replayed).await?;
    let awaited = rows.iter().filter(|row| row.is_old && row.awaited);
    let awaited: Vec<DeliveryKey> = awaited.map(Row::key).collect();
    // Left to the sweep of a relay: nobody is in a hurry for what a newer one made needless.
    let terms = Terms { source: claim.source.to_owned(), lease: Duration::ZERO };
    chain_results::ended(&mut transaction, &awaited, &terms, claim.now).await?;
    let ended: BTreeSet<DeliveryKey> = rows.iter().map(Row::key).collect();
    let probes = claimed.iter().filter(|delivery| ended.contains(&delivery.key));
    endpoints::release_probes(&mut transaction, probes).await?;
    transaction.commit().await?;
    claimed.retain(|delivery| !ended.contains(&delivery.key));
    Ok(())
}

/// A delivery that is closed (`is_old`) or given back.
struct Row {
    company_id: String,
    delivery_id: Uuid,
    is_old: bool,
    awaited: bool,
    is_replayed: bool,
    trigger_name: String,
    event_id: String,
    source: String,
}

impl Row {
    fn key(&self) -> DeliveryKey {
        DeliveryKey { company: self.company_id.clone(), id: self.delivery_id }
    }

    /// What its dead letter is found by.
    fn message(&self) -> Vec<u8> {
        message(&self.key(), &self.trigger_name, &self.event_id, &self.source)
    }
}
