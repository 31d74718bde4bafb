//! Webhooks: the action that an author writes, the request rendered from it, where the request may go, and
//! what happens after an attempt.

pub mod action;
pub mod attempt;
pub mod breaker;
pub mod delivery;
pub mod digest;
pub mod egress;
pub mod endpoint;
pub mod lane;
pub mod own_headers;
pub mod request;
pub mod requested;
pub mod signature;
pub mod slack;
pub mod template;
pub mod terms;
pub mod variables;
