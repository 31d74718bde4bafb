//! The adapter to RabbitMQ: connections, topology, consuming in batches, publishing with confirms.
//! Nothing here uses Postgres or interprets a message.

mod connection;
mod consumer;
mod dial;
pub mod headers;
mod inbox;
pub mod inspection;
pub mod management;
mod pipeline;
pub mod properties;
mod publisher;
mod queue_depth;
mod repair;
mod subscriber;
mod topology;
mod transport;

pub use connection::{ConnectError, Connection, connect, connect_consumer};
pub use consumer::{Batch, BatchLimits, ConsumeError, Consumer, Receipt, Received};
pub use pipeline::{Outcomes, Pipeline};
pub use publisher::{Message, PublishError, Publisher, Unpublished};
pub use queue_depth::QueueDepth;
pub use subscriber::{SubscribeError, Subscriber, has_exchange};
pub use topology::{Topology, TopologyError};
