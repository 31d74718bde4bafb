//! Triggers: the definition that an author writes, and the `trigger.fired` event.

pub mod cache;
pub mod definition;
pub mod fired;
pub mod mapping;
mod parameters;
pub mod problem;
pub mod shapes;
mod size;
pub mod spelling;
