//! The database adapter, with every SQL statement of the service.
//!
//! Functions take a connection, so the caller owns the transaction. Nothing here talks to the broker or decides what
//! happens next.
//!
//! A statement is inline, or in a `.sql` file if it needs comments of its own. Keywords are upper case, functions
//! lower case. A table usually has the same alias: `a` for `webhook_attempts` and `contact_aliases`, `ae` for
//! `applied_events`, `c` for
//! `contacts` and `chain_results`, `d` for `webhook_deliveries`, `dl` for `dead_letters`, `e` for
//! `webhook_endpoints`, `f` for `effects`, `i` for `contact_identifiers`, `k` for `suppression_keys`, `l` for
//! `contact_links`, `p` for `processes`, `s` for `suppressions`, `t` for `trigger_events`, `u` for the columns of
//! `UNNEST`, and `r` for the rows of `query_free`.

pub mod attempts;
pub mod audit;
pub mod batch;
pub mod chain_results;
pub mod clock;
mod columns;
mod contact_row;
pub mod contacts;
pub mod dead_letters;
pub mod deliveries;
pub mod directory;
pub mod effects;
pub mod endpoints;
pub mod erasure;
mod failure;
mod free;
pub mod idempotency;
pub mod inspection;
pub mod ledger;
pub mod links;
pub mod living;
mod migrations;
pub mod operations;
pub mod overview;
pub mod partitions;
mod planning;
mod pool;
pub mod processes;
mod provenance;
pub mod rates;
pub mod samples;
pub mod schema;
mod session;
pub mod suppressions;
pub mod suspects;
pub mod table_locks;
pub mod unmerge;
pub mod verify;

pub use failure::{Failure, ROW_LOCKED, classify, refusal};
pub use migrations::{MIGRATIONS, pending};
pub use pool::{CONSOLE_CONNECTIONS, ConnectError, Database};
pub use session::Unfit;
