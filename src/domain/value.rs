//! The kinds of value that a contact holds: how each is cleaned, read and written.

pub mod birthday;
pub mod country;
pub mod email;
pub mod identity;
pub mod phone;
pub mod text;
pub mod zip_code;
