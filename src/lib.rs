//! contact-relay upserts contacts from fired triggers, publishes the changes and sends the webhooks.
//!
//! `ARCHITECTURE.md` is the map. Imports point down only; `tests/tidy.rs` enforces it.

pub mod amqp;
pub mod app;
pub mod cli;
pub mod console;
pub mod dev;
pub mod domain;
pub mod health;
pub mod http_client;
pub mod metrics;
pub mod operator;
pub mod postgres;
pub mod settings;
pub mod telemetry;
pub mod workers;
