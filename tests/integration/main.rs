//! The integration tests: the real binary on a real Postgres and a real RabbitMQ.
//!
//! Each module lists its tests in `tests()`; [`support`] runs them. The services are started once and
//! shared; each test has its own database, queue namespace, subscriber and webhook receiver.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod chain;
mod contacts;
mod harness;
mod once;
mod support;
mod upserted;
mod webhook_outcomes;
mod webhook_requests;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tests = [
        harness::tests(),
        chain::tests(),
        upserted::tests(),
        contacts::tests(),
        once::tests(),
        webhook_requests::tests(),
        webhook_outcomes::tests(),
    ];
    support::run(tests.concat())
}
