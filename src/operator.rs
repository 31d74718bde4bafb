//! What operators do and look at, the same for the command line, the API and the console.
//!
//! Nothing here prints, parses a command line or speaks HTTP.

pub mod contacts;
pub mod dead_letters;
pub mod erasure;
pub mod unmerge;
