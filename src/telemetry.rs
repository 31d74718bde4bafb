//! Logging: to standard error, as text or JSON. Data never goes through here: it goes to standard
//! output through `cli::output`.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

use crate::settings::{Log, LogFormat};

/// What libraries may log at most, whatever the filter says: below these levels, and in what the
/// broker client says of a returned message, stand payloads, addresses and headers.
const CAPS: [&str; 8] = [
    "lapin=warn",
    "lapin::returned_messages=off",
    "sqlx=warn",
    "hyper=info",
    "hyper_util=info",
    "reqwest=info",
    "rlibphonenumber=off",
    "rustls=info",
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
    let mut filter = EnvFilter::builder().parse(&log.filter).map_err(|error| InitError(error.into()))?;
    for cap in CAPS {
        filter = filter.add_directive(cap.parse().map_err(|error: ParseError| InitError(error.into()))?);
    }
    let lines = fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
    match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(InitError)
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
