//! The broker adapter. Nothing here knows the database or what a message means.

pub mod properties;
