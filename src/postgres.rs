//! The database adapter: every SQL statement of the service is in this folder.
//!
//! Functions take a connection, so that the caller owns the transaction. Nothing here talks to the
//! broker or decides what happens next.

pub mod chain_results;
mod columns;
mod contact_row;
pub mod contacts;
pub mod dead_letters;
pub mod deliveries;
pub mod directory;
pub mod endpoints;
pub mod erasure;
mod failure;
pub mod ledger;
pub mod links;
pub mod outbox;
mod pool;
mod provenance;
pub mod schema;
pub mod suppressions;
pub mod suspects;
pub mod unmerge;

pub use failure::{Failure, classify};
pub use pool::{Database, MIGRATIONS};
