//! The pure core: what an event means, what a contact is, what happens next.
//!
//! Nothing here is async, does I/O, reads a clock, draws a random number or logs. Time and chance
//! are arguments. Nothing here imports a layer above.

mod arguments;
pub mod attempt;
pub mod birthday;
pub mod breaker;
pub mod contact;
pub mod country;
pub mod digest;
pub mod directory;
pub mod egress;
pub mod email;
pub mod endpoint;
pub mod erasure;
pub mod event;
pub mod fault;
pub mod field;
pub mod identity;
mod json;
pub mod mapping;
pub mod outgoing;
pub mod phone;
pub mod placeholder;
pub mod plan;
pub mod problem;
pub mod quality;
pub mod rebuild;
pub mod signature;
pub mod slack;
pub mod template;
mod text;
pub mod trace_context;
pub mod trigger;
pub mod trigger_cache;
pub mod trigger_fired;
pub mod variables;
pub mod webhook_action;
pub mod webhook_request;
pub mod zip_code;

#[cfg(test)]
mod samples;
