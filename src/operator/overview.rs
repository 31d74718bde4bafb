//! What is wrong and what waits, at a glance. Counts stop at [`MAX_COUNTED`], so the query costs the same on the
//! worst day.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::lane::LaneState;
use crate::postgres::{Database, clock, overview as store, rates};
pub use crate::postgres::{
    overview::{Failed, Troubled, Waiting},
    rates::Minute,
};

/// The maximum count of each kind; more is shown as this number and a plus sign.
pub const MAX_COUNTED: i64 = 10_000;

/// Endpoints that are listed.
const MAX_ENDPOINTS: i64 = 100;

/// A glance at the service.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The database's clock.
    pub now: OffsetDateTime,
    /// Unsettled dead letters by reason and stage, most frequent first.
    pub failed: Vec<Failed>,
    /// What was done in each minute of the last hour.
    pub minutes: Vec<Minute>,
    /// Deliveries that wait for an attempt.
    pub deliveries: Waiting,
    /// Events that wait to be published.
    pub events: Waiting,
    /// Endpoints that are not open, with their state; at most a hundred, the first ones by company.
    pub endpoints: Vec<(LaneState, Troubled)>,
}

impl Overview {
    /// The number of unsettled dead letters.
    #[must_use]
    pub fn unsettled(&self) -> i64 {
        self.failed.iter().map(|failed| failed.count).sum()
    }

    /// Whether there may be more endpoints than are listed.
    #[must_use]
    pub fn has_more_endpoints(&self) -> bool {
        i64::try_from(self.endpoints.len()).is_ok_and(|count| count >= MAX_ENDPOINTS)
    }
}

/// Looks at everything once.
///
/// # Errors
/// When the database fails.
pub async fn read(database: &Database) -> Result<Overview, sqlx::Error> {
    let read = async |conn: &mut PgConnection| {
        let now = clock::now(conn).await?;
        let troubled = store::troubled(conn, MAX_ENDPOINTS).await?;
        let states = troubled.into_iter().map(|one| (LaneState::of(&one.lane, now), one));
        Ok(Overview {
            now,
            failed: store::failed(conn, MAX_COUNTED).await?,
            minutes: rates::last_hour(conn).await?,
            deliveries: store::deliveries(conn, MAX_COUNTED).await?,
            events: store::events(conn, MAX_COUNTED).await?,
            endpoints: states.filter(|(state, _)| *state != LaneState::Open).collect(),
        })
    };
    database.unit(read).await
}
