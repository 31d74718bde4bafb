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
