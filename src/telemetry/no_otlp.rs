//! Replaces `otlp` in a binary without that feature: no traces.

use std::{convert::Infallible, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::traces::Traces;
use crate::{metrics::Metrics, settings};

/// Never exists.
#[derive(Debug)]
pub struct Exporter(Infallible);

/// Loading the settings has ruled out a collector.
///
/// # Errors
/// Never.
pub fn start(
    _: &settings::Telemetry,
    _: &str,
    _: &Arc<Metrics>,
) -> Result<Option<(Traces, Exporter)>, Infallible> {
    Ok(None)
}

impl Exporter {
    /// Is never called.
    pub async fn run(self, _: CancellationToken) {
        match self.0 {}
    }
}
