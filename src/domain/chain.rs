//! Chains: the steps of a fired trigger, planned, run, and reported.

pub mod completed;
pub mod entry;
pub mod outgoing;
pub mod plan;
pub mod reply;
pub mod rules;
pub mod run;
