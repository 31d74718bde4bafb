//! The integration tests: the real binary on a real Postgres and a real RabbitMQ.
//!
//! Each module lists its tests in `tests()`; [`support`] runs them. The services are started once and
//! shared; each test has its own database, queue namespace, subscriber and webhook receiver.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod bad_input;
mod command_line;
mod dead_letters;
mod harness;
mod kept;
mod privacy;
mod replays;
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    support::run(
        [
            bad_input::tests(),
            command_line::tests(),
            privacy::tests(),
            dead_letters::tests(),
            kept::tests(),
            replays::tests(),
            harness::tests(),
        ]
        .concat(),
    )
}
