//! The types that settings are made of.
