//! What operators do and look at, the same for the command line, the API and the console.
//!
//! Nothing here prints, parses a command line or speaks HTTP as a server.

pub mod contacts;
pub mod dead_letters;
pub mod deliveries;
pub mod endpoints;
pub mod erasure;
mod ids;
pub mod lane;
mod rate_limit;
pub mod unmerge;
pub mod wake_up;
