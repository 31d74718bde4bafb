//! The command line from outside: exit codes, standard output and standard error.

mod backlog;
mod contacts;
mod deliveries;
mod discards;
mod endpoints;
mod exits;
mod inputs;
mod publishing;
mod triggers;

use crate::support::process::Finished;

/// Asserts that a command failed with this code, printed `says` to standard error, and nothing to standard
/// output.
#[track_caller]
fn assert_failed(finished: &Finished, code: i32, says: &str) {
    let Finished { stdout, stderr, .. } = finished;
    assert_eq!(finished.code, Some(code), "{stdout}{stderr}");
    assert_eq!(stdout, "", "a failure prints no data");
    assert!(stderr.contains(says), "expected \"{says}\": {stderr}");
}
