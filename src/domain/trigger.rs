//! Triggers: the definition that an author writes, and the event that fires one.

pub mod cache;
pub mod definition;
pub mod fired;
mod json;
pub mod mapping;
mod parameters;
pub mod problem;
