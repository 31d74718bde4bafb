//! Logs to standard error, as text or JSON. Command output is not logging: it goes to standard output through
//! `cli::output`. `traces` records spans, which `otlp` exports.

#[cfg_attr(not(feature = "otlp"), path = "telemetry/no_otlp.rs")]
pub mod otlp;
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nothing exports spans"))]
pub mod traces;

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

/// The most verbose level of each library with all of its modules, regardless of the filter. Beyond these levels
/// libraries log payloads, addresses and headers; the broker client does so for each returned message.
const CAPS: [(&str, LevelFilter); 7] = [
    ("lapin", LevelFilter::WARN),
    ("lapin::returned_messages", LevelFilter::OFF),
    ("sqlx", LevelFilter::WARN),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("rlibphonenumber", LevelFilter::OFF),
    ("rustls", LevelFilter::INFO),
];

/// Logging could not start: it has started before, or the filter is not valid.
#[derive(Debug, thiserror::Error)]
#[error("could not start logging")]
pub struct InitError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Starts logging for the whole process.
///
/// # Errors
/// When it was called before, or `log.filter` is not valid, which loading the settings rules out.
pub fn init(log: &Log) -> Result<(), InitError> {
    let filter = EnvFilter::builder().parse(&log.filter).map_err(|error| InitError(error.into()))?;
    // A second filter: as directives of the first they would yield to more specific ones from the operator.
    let caps = Targets::new().with_targets(CAPS).with_default(LevelFilter::TRACE);
    let is_terminal = stderr().is_terminal();
    let lines = fmt::layer().with_writer(stderr).with_ansi(is_terminal);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Auto if is_terminal => lines.boxed(),
        LogFormat::Auto | LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter.and(caps)));
    subscriber.try_init().map_err(|error| InitError(error.into()))
}

/// Logs the location of each panic, without its message, which may contain personal data. Call it after
/// [`init`].
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panicked at {location}; please report this");
    }));
}

/// Joins an error and its causes with colons, for a log line or a health report.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent error has the text of its cause.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
