//! Why a publisher must be rebuilt.

use crate::amqp::{ConnectError, PublishError, TopologyError};

#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Lost {
    /// Whether the broker closed the connection because of a message, and would do so again.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Publish(error) => error.is_refusal(),
            Self::Connect(_) | Self::Topology(_) => false,
        }
    }
}
