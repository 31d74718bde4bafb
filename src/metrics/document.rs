//! The texts of `docs/metrics.md` between its tables.

pub(super) const INTRODUCTION: &str = "\
# Metrics

`GET /metrics` on `http.bind` answers without a token: in OpenMetrics 1.0 if the `Accept` header names
`application/openmetrics-text`, else in the text format of Prometheus 0.0.4. A process needs the role `console` to serve it.

Every series exists from the start, with the value 0, and none is ever added: labels are closed lists. No company, contact,
trigger, endpoint, host or address is one. A scrape reads the memory of the process and `/proc`, never the database or the broker.

This page is generated from `src/metrics.rs`. A test compares them; `REWRITE_DOCS=1 cargo test --lib metrics` rewrites the page.
";

pub(super) const OF_PROCESS: &str =
    "Counters and gauges of one process; sums over all processes mean something.";

pub(super) const OF_DATABASE: &str = "\
Each process with the role `console` samples the database every 5 s, over a connection of its own, in at most 2 s for each
statement. All processes see the same, so take the maximum over them, not the sum. After a failed sample the values stay;
`contact_relay_sampled_at_seconds` tells how old they are.";
