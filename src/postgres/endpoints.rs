//! Webhook endpoints: the row of each, made with its first delivery, and what operators see and change of it.

mod control;
mod read;

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

pub use control::{enable, pause, resume};
pub use read::{EndpointKey, EndpointRow, Lane, attempts, get, list, matching, states};

use super::deliveries::microseconds;
use crate::domain::endpoint::{Endpoint, Terms};

/// Makes the rows of endpoints that have none. One that is there stays as it is. In the order of their ids,
/// so that two transactions that make the same ones wait and do not lock each other out.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
pub async fn register(conn: &mut PgConnection, endpoints: &[(&Endpoint, Terms)]) -> Result<(), sqlx::Error> {
    if endpoints.is_empty() {
        return Ok(());
    }
    let companies: Vec<&str> = endpoints.iter().map(|(endpoint, _)| endpoint.company().as_str()).collect();
    let ids: Vec<Uuid> = endpoints.iter().map(|(endpoint, _)| endpoint.id()).collect();
    let urls: Vec<&str> = endpoints.iter().map(|(endpoint, _)| endpoint.url()).collect();
    let limits: Vec<i32> =
        endpoints.iter().map(|(_, terms)| i32::try_from(terms.max_in_flight).unwrap_or(i32::MAX)).collect();
    let intervals: Vec<i64> = endpoints.iter().map(|(_, terms)| interval(terms.send_interval)).collect();
    sqlx::query!(
        "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, send_interval_us)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::integer[], $5::bigint[])
             AS u(company_id, endpoint_id, url, max_in_flight, send_interval_us)
         ORDER BY u.company_id, u.endpoint_id
         ON CONFLICT DO NOTHING",
        &companies as &[&str],
        &ids,
        &urls as &[&str],
        &limits,
        &intervals,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whole microseconds; 0 where there is no limit.
fn interval(interval: Option<Duration>) -> i64 {
    interval.map_or(0, microseconds)
}
