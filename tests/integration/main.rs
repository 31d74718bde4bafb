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
mod chain;
mod command_line;
mod contacts;
mod dead_letters;
mod erasure;
mod faults;
mod harness;
mod identity;
mod kept;
mod lanes;
mod once;
mod previews;
mod privacy;
mod replays;
mod results;
mod slack;
mod support;
mod unmerge;
mod upserted;
mod webhook_docs;
mod webhook_outcomes;
mod webhook_requests;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tests = [
        bad_input::tests(),
        chain::tests(),
        command_line::tests(),
        contacts::tests(),
        dead_letters::tests(),
        erasure::tests(),
        faults::tests(),
        harness::tests(),
        identity::tests(),
        kept::tests(),
        lanes::tests(),
        once::tests(),
        previews::tests(),
        privacy::tests(),
        replays::tests(),
        results::tests(),
        slack::tests(),
        unmerge::tests(),
        upserted::tests(),
        webhook_docs::tests(),
        webhook_outcomes::tests(),
        webhook_requests::tests(),
    ];
    support::run(tests.concat())
}
