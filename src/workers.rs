//! The long-running components. Each is a loop that reconnects after any failure, stops between units of work, and
//! loses nothing if it is killed.

pub mod backoff;
pub mod component;
mod consumption;
mod dead_letter;
pub mod dead_letter_collector;
mod lock_wait;
pub mod maintenance;
pub mod operations;
pub mod outbox_relay;
pub mod presence;
pub mod queue_depths;
pub mod rates;
mod retry;
pub mod room;
pub mod sampler;
mod spans;
pub mod upsert;
pub mod wake_ups;
pub mod webhook;
