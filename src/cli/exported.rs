//! Traces of a command: exported while it works, to the collector in the settings.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::output;
use crate::{
    metrics::Metrics,
    settings::Settings,
    telemetry::{chain, otlp, traces},
};

/// Records nothing if the settings name no collector.
pub(super) struct Traces {
    recorder: traces::Traces,
    stop: CancellationToken,
    exporting: Option<JoinHandle<()>>,
}

impl Traces {
    /// Begins to export. An unusable collector is worth a note, but fails no command.
    pub(super) fn start(settings: &Settings) -> Self {
        let stop = CancellationToken::new();
        match otlp::start(&settings.telemetry, &settings.amqp.namespace, &Metrics::new()) {
            Ok(Some((traces, exporter))) => {
                Self { recorder: traces, exporting: Some(tokio::spawn(exporter.run(stop.clone()))), stop }
            }
            Ok(None) => Self { recorder: traces::Traces::default(), stop, exporting: None },
            Err(error) => {
                output::note(format_args!("this command has no traces: {}", chain(&error)));
                Self { recorder: traces::Traces::default(), stop, exporting: None }
            }
        }
    }

    /// Where to record spans.
    pub(super) fn traces(&self) -> traces::Traces {
        self.recorder.clone()
    }

    /// Exports the rest, for at most some seconds.
    pub(super) async fn end(self) {
        self.stop.cancel();
        if let Some(exporting) = self.exporting {
            // It logs what it could not export.
            drop(exporting.await);
        }
    }
}
