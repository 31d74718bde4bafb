//! The connections over which the relay publishes.

use std::{future::pending, time::Duration};

use tracing::info;

use super::{flight::Name, lost::Lost};
use crate::{
    amqp::{Outcomes, Pipeline, PublishError, Publisher, Topology},
    settings,
    workers::component::OUTBOX_RELAY,
};

/// A queue holds up a message if the broker has confirmed one that was sent this much later.
const OVERTAKEN_BY: Duration = Duration::from_secs(1);

/// The current connection's publisher, until the connection is lost.
pub(super) struct Broker {
    pub(super) pipeline: Pipeline<Name>,
    /// The previous one, which sends nothing more, until the outcome of its last messages is known.
    worn: Option<Pipeline<Name>>,
    pub(super) exchange: String,
}

impl Broker {
    pub(super) async fn connect(settings: &settings::Amqp) -> Result<Self, Lost> {
        let publisher = Publisher::connect(settings, OUTBOX_RELAY).await?;
        let topology = Topology::new(&settings.namespace);
        topology.declare_over(publisher.connection(), settings.connect_timeout).await?;
        Ok(Self { pipeline: Pipeline::new(publisher), worn: None, exchange: topology.events() })
    }

    /// Replaces a connection over which nothing more should be sent. Two of them wait for their last messages only if both are
    /// worn within one `amqp.publish_timeout`.
    pub(super) async fn renew(&mut self, settings: &settings::Amqp) -> Result<(), Lost> {
        if self.worn.as_ref().is_some_and(Pipeline::is_empty) {
            self.worn = None;
        }
        if self.pipeline.is_worn() && self.worn.is_none() {
            let Self { pipeline, .. } = Self::connect(settings).await?;
            self.worn = Some(std::mem::replace(&mut self.pipeline, pipeline));
            info!(component = OUTBOX_RELAY, "{OUTBOX_RELAY} replaced a connection with many late messages");
        }
        Ok(())
    }

    /// As [`Pipeline::settled`], of both.
    pub(super) async fn settled(&mut self) -> Result<Outcomes<Name>, PublishError> {
        let Self { pipeline, worn, .. } = self;
        let last = async {
            let Some(worn) = worn else { return pending().await };
            match worn.settled().await {
                Ok(outcomes) => outcomes,
                // Their outcome is unknown, and the other connection need not end for it.
                Err(_) => worn.give_up(tokio::time::Instant::now()),
            }
        };
        tokio::select! {
            outcomes = pipeline.settled() => outcomes,
            outcomes = last => Ok(outcomes),
        }
    }

    /// Counts messages that a queue holds up as late, while others are confirmed. If the whole broker is slow, none is late.
    pub(super) fn give_up_overtaken(&mut self) -> Outcomes<Name> {
        let answered = self.pipeline.answered().max(self.worn.as_ref().and_then(Pipeline::answered));
        let Some(until) = answered.and_then(|answered| answered.checked_sub(OVERTAKEN_BY)) else {
            return Vec::new();
        };
        let mut outcomes = self.worn.as_mut().map(|worn| worn.give_up(until)).unwrap_or_default();
        outcomes.extend(self.pipeline.give_up(until));
        outcomes
    }
}
