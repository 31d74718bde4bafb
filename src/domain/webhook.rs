//! Webhooks: what an author writes, the request that is rendered from it, where it may go, and what an answer means.

pub mod action;
pub mod attempt;
pub mod breaker;
pub mod delivery;
pub mod digest;
pub mod egress;
pub mod endpoint;
pub mod request;
pub mod signature;
pub mod slack;
pub mod template;
pub mod terms;
pub mod variables;
