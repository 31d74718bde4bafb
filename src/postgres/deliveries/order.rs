//! "Newest only": an endpoint that asked for it never gets an older version of a contact after a newer one.
//!
//! Whoever claims first says so (the lease is committed) and looks then: of two that claim two versions at
//! once at least one sees the other. The older one gives way for good, the newer one for a moment.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{Claim, ClaimedDelivery, DeliveryKey, record};
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
    let rows = sqlx::query_file!("src/postgres/deliveries/order.sql", &companies, &ids, claim.token,)
        .fetch_all(&mut *transaction)
        .await?;
    let awaited = rows.iter().filter(|row| row.is_old && row.awaited);
    let awaited = awaited.map(|row| DeliveryKey { company: row.company_id.clone(), id: row.delivery_id });
    let awaited: Vec<DeliveryKey> = awaited.collect();
    let ended: BTreeMap<DeliveryKey, bool> = rows
        .into_iter()
        .map(|row| (DeliveryKey { company: row.company_id, id: row.delivery_id }, row.is_old))
        .collect();
    let superseded: Vec<&ClaimedDelivery> =
        claimed.iter().filter(|delivery| ended.get(&delivery.key) == Some(&true)).collect();
    record::resolve(&mut transaction, &superseded).await?;
    // Left to the sweep of a relay: nobody is in a hurry for what a newer one made needless.
    let terms = Terms { source: claim.source.to_owned(), lease: Duration::ZERO };
    chain_results::ended(&mut transaction, &awaited, &terms, claim.now).await?;
    let probes = claimed.iter().filter(|delivery| ended.contains_key(&delivery.key));
    endpoints::release_probes(&mut transaction, probes).await?;
    transaction.commit().await?;
    claimed.retain(|delivery| !ended.contains_key(&delivery.key));
    Ok(())
}
