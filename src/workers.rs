//! The long-running tasks. Each is a loop that is rebuilt for ever after any failure, stops between
//! units of work, and may be killed anywhere.

pub mod backoff;
mod consumption;
pub mod dead_letter_collector;
pub mod outbox_relay;
pub mod upsert;
pub mod wake_ups;
pub mod webhook;
