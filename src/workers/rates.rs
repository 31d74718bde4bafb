//! Stores how much this process did in each minute, for the charts of the console.
//!
//! The counts are those of the metrics, so they cost the workers nothing. Every process adds one narrow row for a
//! minute in which it did something. What a process did in its last seconds may be missing.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::component::RATES;
use crate::{
    metrics::{Ending, Metrics},
    postgres::{
        Database,
        rates::{self, Counts},
    },
    telemetry::chain,
};

/// Time between two writes.
const INTERVAL: Duration = Duration::from_secs(5);

/// The task.
pub struct Rates {
    /// Where they are stored.
    pub database: Database,
    /// The counts since the process began.
    pub metrics: Arc<Metrics>,
}

impl Rates {
    /// Stores them until `stop`, and once more then.
    pub async fn run(self, stop: CancellationToken) {
        let process = Uuid::now_v7();
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stored = Counts::default();
        loop {
            let is_stopped = stop.run_until_cancelled(tick.tick()).await.is_none();
            let counted = self.counted();
            let more = counted.since(stored);
            if more != Counts::default() {
                match self.database.unit(async |conn| rates::add(conn, process, more).await).await {
                    Ok(()) => stored = counted,
                    // The next write includes them.
                    Err(error) => {
                        let error = chain(&error);
                        debug!(component = RATES, error, "could not store the rates: {error}");
                    }
                }
            }
            if is_stopped {
                return;
            }
        }
    }

    fn counted(&self) -> Counts {
        let of = |ending| self.metrics.events.value(ending);
        Counts {
            events: of(Ending::Applied),
            dead_letters: self.metrics.dead_letters.total(),
            deliveries: of(Ending::Delivered),
        }
    }
}
