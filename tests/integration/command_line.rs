//! The command line from outside: exit codes, what goes to standard output and what to standard error.

mod contacts;
mod deliveries;
mod endpoints;
mod exits;
mod publishing;
mod triggers;

use crate::support::process::Finished;

/// Asserts that a command failed with this code, told why on standard error, and printed no data.
#[track_caller]
fn assert_failed(finished: &Finished, code: i32, says: &str) {
    let Finished { stdout, stderr, .. } = finished;
    assert_eq!(finished.code, Some(code), "{stdout}{stderr}");
    assert_eq!(stdout, "", "data of a failure");
    assert!(stderr.contains(says), "expected \"{says}\": {stderr}");
}
