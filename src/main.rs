//! The `contact-relay` binary. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    contact_relay::cli::main()
}
