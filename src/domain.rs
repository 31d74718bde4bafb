//! The pure core: what an event means, what a contact is, what happens next.
//!
//! Nothing here is async, does I/O, reads a clock, draws a random number or logs. Time and chance are arguments.
//! Nothing here imports a layer above.
//!
//! The modules build on each other in this order: `event`, `fault`, `json` and `trace_context`; `value`; `contact`;
//! `webhook`; `trigger`; `chain`.

pub mod chain;
pub mod contact;
pub mod event;
pub mod fault;
pub mod json;
pub mod trace_context;
pub mod trigger;
pub mod value;
pub mod webhook;

#[cfg(test)]
mod samples;
