//! Who changes something, and through which surface.

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of a token, the value of `--operator`, or the user of the system.
    pub name: String,
    /// The surface.
    pub via: Via,
}

/// The surface through which somebody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Via {
    /// A command.
    CommandLine,
    /// The HTTP API.
    Api,
    /// The console's pages.
    Console,
}
