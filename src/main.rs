//! The binary: runs the command line, on stacks that no message can exhaust.

use std::{
    env,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

/// What the standard library reads when it starts the first thread: the size of the stacks of all
/// threads, in bytes.
const STACK_SIZE_VARIABLE: &str = "RUST_MIN_STACK";

/// The broker client reads nested headers by recursion, on threads whose stack it does not size
/// itself. The headers of one message fill at most one frame (128 KiB), which is 26,000 levels; this
/// is more than they need in any build. It is address space: what is not touched costs no memory.
const STACK_SIZE: &str = "67108864";

fn main() -> ExitCode {
    if env::var_os(STACK_SIZE_VARIABLE).is_none() {
        // Returns only where it fails; then the process goes on with the stacks that it has.
        if let Ok(binary) = env::current_exe() {
            let mut arguments = env::args_os();
            let name = arguments.next().unwrap_or_else(|| binary.clone().into());
            drop(Command::new(binary).arg0(name).args(arguments).env(STACK_SIZE_VARIABLE, STACK_SIZE).exec());
        }
    }
    contact_relay::cli::main()
}
