//! The two text formats of a scrape. The library writes `OpenMetrics`; the older format of Prometheus follows from it.

/// The `Content-Type` of each format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus 0.0.4.
    Prometheus,
}

impl Format {
    /// The format that a client asks for with `Accept`.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let wants = |part: &str| {
            let mut words = part.split(';').map(str::trim);
            let is_it =
                words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            let refuses = |word: &str| {
                let weight = word.strip_prefix("q=").or_else(|| word.strip_prefix("Q="));
                weight
                    .and_then(|weight| weight.trim().parse::<f64>().ok())
                    .is_some_and(|weight| weight <= 0.0)
            };
            is_it && !words.any(refuses)
        };
        if accept.split(',').any(wants) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Prometheus => PROMETHEUS,
        }
    }

    /// Converts the library's output to this format.
    pub(super) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus(&open_metrics),
        }
    }
}

/// The differences: counters and infos are named like their samples, and there are no units and no end.
fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // Of the metric that begins, until its type is known.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(helped, _)| *helped == name) {
                text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_header_decides() {
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5",
            "text/html, Application/OpenMetrics-Text ; q=0.2",
        ] {
            assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in ["", "*/*", "text/plain;version=0.0.4", "application/openmetrics-text;q=0", "text/html"]
        {
            assert_eq!(Format::accepted(accept), Format::Prometheus, "{accept}");
        }
    }

    #[test]
    fn older_format_names_counters_like_their_samples() {
        let open_metrics = "# HELP a_b Help.\n# TYPE a_b counter\na_b_total 1\n# HELP i What.\n# TYPE i info\n\
             i_info{version=\"1\"} 1\n# HELP g_bytes Size.\n# TYPE g_bytes gauge\n# UNIT g_bytes bytes\ng_bytes 2\n# EOF\n";
        let expected = "# HELP a_b_total Help.\n# TYPE a_b_total counter\na_b_total 1\n# HELP i_info What.\n\
             # TYPE i_info gauge\ni_info{version=\"1\"} 1\n# HELP g_bytes Size.\n# TYPE g_bytes gauge\ng_bytes 2\n";
        assert_eq!(prometheus(open_metrics), expected);
    }
}
