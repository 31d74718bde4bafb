//! The `contact-relay` binary. Everything is in the library.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Events are many small allocations that one thread makes and another frees; the system's allocator takes a third of the
/// service's time for them.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    contact_relay::cli::main()
}
