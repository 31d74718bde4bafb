//! Logging: to standard error, as text or JSON. Data never goes through here: it goes to standard
//! output through `cli::output`.

use std::io::{IsTerminal as _, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::settings::{Log, LogFormat};

/// What libraries may log at most, whatever the filter says, each with all of its modules: below these
/// levels, and in what the broker client says of a returned message, stand payloads, addresses and
/// headers.
const CAPS: [(&str, LevelFilter); 7] = [
    ("lapin", LevelFilter::WARN),
    ("lapin::returned_messages", LevelFilter::OFF),
    ("sqlx", LevelFilter::WARN),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("rlibphonenumber", LevelFilter::OFF),
    ("rustls", LevelFilter::INFO),
];

/// The process has a log subscriber already, or the filter is none.
#[derive(Debug, thiserror::Error)]
#[error("could not start logging")]
pub struct InitError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Starts logging for the whole process. To be called once.
///
/// # Errors
/// When it was called before, or `log.filter` is not a filter (which the settings have checked).
pub fn init(log: &Log) -> Result<(), InitError> {
    let filter = EnvFilter::builder().parse(&log.filter).map_err(|error| InitError(error.into()))?;
    // Not directives of the filter: there, a narrower one of the operator's would win.
    let caps = Targets::new().with_targets(CAPS).with_default(LevelFilter::TRACE);
    let lines = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter.and(caps)));
    subscriber.try_init().map_err(|error| InitError(error.into()))
}

/// Makes a panic a line of the log that says where, and not what: the text of a panic may hold the text
/// that it was about. To be called once logging has started.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a part of the program panicked at {place}; please report it");
    }));
}

/// An error and its causes on one line, for a log line or a health report.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Transparent errors say the same as their cause.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
