//! The kinds of value in a contact: how each is cleaned, parsed and written.

pub mod birthday;
mod check_digits;
pub mod country;
pub(in crate::domain) mod damaged;
pub mod email;
pub(in crate::domain) mod entities;
pub(in crate::domain) mod hyphens;
pub mod identity;
mod joiners;
pub(in crate::domain) mod label;
pub(in crate::domain) mod lookup;
pub(in crate::domain) mod mojibake;
pub mod phone;
pub(in crate::domain) mod relatives;
pub mod text;
pub mod wrapping;
pub mod zip_code;
