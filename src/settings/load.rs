//! Reads, layers and checks the settings.
