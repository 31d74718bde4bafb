//! The integration tests: the real binary on a real Postgres and a real RabbitMQ.
//!
//! Each module lists its tests in `tests()`; [`support`] runs them. The services are started once and
//! shared; each test has its own database, queue namespace, subscriber and webhook receiver.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic")]

mod faults;
mod harness;
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    support::run([harness::tests(), faults::tests()].concat())
}
