//! What operators can do, for every surface.
//!
//! Nothing here prints, parses a command line or serves HTTP.

pub mod audit;
pub mod check;
pub mod contacts;
pub mod dead_letters;
pub mod deliveries;
pub mod doctor;
mod documents;
pub mod endpoints;
pub mod erasure;
mod ids;
pub mod lane;
pub mod operations;
pub mod overview;
pub mod paging;
pub mod preview;
mod rate_limit;
pub mod selection;
pub mod unmerge;
pub mod verify;
pub mod views;
pub mod wake_worker;
