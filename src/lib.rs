//! contact-relay: a trigger fires, a contact is upserted, the world is told.
//!
//! `ARCHITECTURE.md` is the map. Imports point down only; `tests/tidy.rs` enforces it.

pub mod amqp;
pub mod cli;
pub mod domain;
pub mod operator;
pub mod postgres;
pub mod settings;
pub mod telemetry;
