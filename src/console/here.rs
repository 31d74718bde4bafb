//! Runs work of `operator` within a handler.
//!
//! The compiler cannot see that the futures of async closures with borrowed arguments may move between threads
//! (rust-lang/rust#110338), and a server's handlers must. So this thread runs them to their end, and another one takes over
//! its other tasks meanwhile. Few run at once, see `Shared::places`, because they take threads that workers need as well.

use tokio::{runtime::Handle, task::block_in_place};

/// How many requests may be answered at once. Others wait.
pub(super) const PLACES: usize = 16;

/// Runs `work` to its end.
pub(super) fn here<T>(work: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(work))
}
