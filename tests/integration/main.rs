//! The integration tests: the real binary on a real Postgres and a real RabbitMQ.
//!
//! `#[apply(test)]` marks a test; [`support`] finds and runs all of them. They share the services, and each has a
//! database, a queue namespace, a subscriber and a webhook receiver of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod api;
mod bad_input;
mod cases;
mod chain;
mod clocks;
mod command_line;
mod contacts;
mod contracts;
mod dead_letters;
mod doctor;
mod effects;
mod erasure;
mod faults;
mod harness;
mod identity;
mod in_flight;
mod kept;
mod lanes;
mod locks;
mod memory;
mod metrics;
mod once;
mod one_end;
mod operating;
mod operations;
mod pages;
mod previews;
mod privacy;
mod relay;
mod replays;
mod results;
mod retention;
mod sessions;
mod slack;
mod statements;
mod support;
#[cfg(feature = "otlp")]
mod traces;
mod unmerge;
mod upgrade;
mod upserted;
mod verify;
mod versions;
mod webhook_docs;
mod webhook_outcomes;
mod webhook_requests;

use std::process::ExitCode;

fn main() -> ExitCode {
    support::run()
}
