//! Asks the broker how much waits in each queue, for the overview of the console.
//!
//! It reports no health: a failure only makes the depths unknown, and the components that consume say whether the broker is
//! reachable.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::component::QUEUE_DEPTHS;
use crate::{
    amqp::{ConnectError, Connection, QueueDepth, Topology, connect},
    settings::Settings,
    telemetry::chain,
};

/// Time between two questions.
const INTERVAL: Duration = Duration::from_secs(5);

/// The names of the queues, and their depths if the broker said them.
pub type Depths = Vec<(String, Option<QueueDepth>)>;

/// The task.
pub struct QueueDepths {
    settings: Arc<Settings>,
    depths: watch::Sender<Depths>,
}

/// Why no depth is known.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the broker did not answer within {} ms", .0.as_millis())]
    Silent(Duration),
}

impl QueueDepths {
    /// The task, and where it shows the latest depths.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> (Self, watch::Receiver<Depths>) {
        let (depths, latest) = watch::channel(unknown(&settings.amqp.namespace));
        (Self { settings, depths }, latest)
    }

    /// Asks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let limit = self.settings.amqp.connect_timeout;
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let asking = timeout(limit, self.ask(connection.take()));
            let Some(asked) = stop.run_until_cancelled(asking).await else { return };
            let depths = match asked.map_err(|_| Unknown::Silent(limit)).and_then(|asked| Ok(asked?)) {
                Ok((open, depths)) => {
                    connection = Some(open);
                    depths
                }
                Err(error) => {
                    let error = chain(&error);
                    debug!(
                        component = QUEUE_DEPTHS,
                        error, "could not ask for the depths of the queues: {error}"
                    );
                    unknown(&self.settings.amqp.namespace)
                }
            };
            self.depths.send_replace(depths);
        }
    }

    /// Asks over the former connection, if it is still open. A queue that the broker says nothing about costs only its own depth.
    async fn ask(&self, former: Option<Connection>) -> Result<(Connection, Depths), ConnectError> {
        let connection = match former.filter(|former| former.status().connected()) {
            Some(former) => former,
            None => connect(&self.settings.amqp, QUEUE_DEPTHS).await?,
        };
        let mut depths = unknown(&self.settings.amqp.namespace);
        for (queue, depth) in &mut depths {
            *depth = QueueDepth::ask(&connection, queue).await.ok();
        }
        Ok((connection, depths))
    }
}

fn unknown(namespace: &str) -> Depths {
    let topology = Topology::new(namespace);
    [topology.trigger_fired(), topology.webhook(), topology.dead_letters()].map(|queue| (queue, None)).into()
}
