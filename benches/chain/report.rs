//! The figures of a run: collected by part and name, printed as tables, written as JSON.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use crate::arguments::Arguments;

/// The name of a figure and its unit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(&'static str, &'static str);

pub(crate) const EVENTS: Name = Name("events", "count");
pub(crate) const RATE: Name = Name("rate", "events/s");
pub(crate) const OF_BARE: Name = Name("of the bare floor", "ratio");
pub(crate) const OF_PROMISES: Name = Name("of the floor with promises", "ratio");
pub(crate) const OF_FIRST: Name = Name("of the first", "ratio");
pub(crate) const CPU_SERVICE: Name = Name("service", "µs/event");
pub(crate) const CPU_POSTGRES: Name = Name("Postgres", "µs/event");
pub(crate) const CPU_BROKER: Name = Name("RabbitMQ", "µs/event");
pub(crate) const CPU_RECEIVER: Name = Name("receiver", "µs/event");
pub(crate) const CPU_BENCH: Name = Name("benchmark", "µs/event");
pub(crate) const CPU_MACHINE: Name = Name("machine", "µs/event");
pub(crate) const WAL: Name = Name("WAL", "bytes/event");
pub(crate) const COMMITS: Name = Name("commits", "per 1,000 events");
pub(crate) const FSYNCS: Name = Name("fsyncs", "per 1,000 events");
pub(crate) const ROLLBACKS: Name = Name("rolled back", "per 1,000 events");
pub(crate) const PEAK_RSS: Name = Name("peak RSS", "MB");
pub(crate) const IDLE_RSS: Name = Name("idle RSS", "MB");
pub(crate) const P50: Name = Name("p50", "ms");
pub(crate) const P95: Name = Name("p95", "ms");
pub(crate) const P99: Name = Name("p99", "ms");
pub(crate) const MAX: Name = Name("max", "ms");
pub(crate) const TIME: Name = Name("time", "s");
pub(crate) const RECEIVED: Name = Name("received", "events");
pub(crate) const TO_CLOSED: Name = Name("requests to closed lanes", "count");
pub(crate) const BEFORE_KILL: Name = Name("received before", "requests");
pub(crate) const TWICE: Name = Name("sent twice", "requests");
pub(crate) const SPANS: Name = Name("spans", "per event");
pub(crate) const CONNECTIONS: Name = Name("connections", "count");

/// The rate and its ratios.
pub(crate) const RATES: &[Name] = &[RATE, OF_BARE, OF_PROMISES, OF_FIRST, CONNECTIONS, TO_CLOSED, SPANS];
/// Processor time of an event.
pub(crate) const CPU: &[Name] =
    &[CPU_SERVICE, CPU_POSTGRES, CPU_BROKER, CPU_RECEIVER, CPU_BENCH, CPU_MACHINE];
/// What else an event costs, and memory.
pub(crate) const COST: &[Name] = &[WAL, COMMITS, FSYNCS, ROLLBACKS, IDLE_RSS, PEAK_RSS];
/// Latencies.
pub(crate) const LATENCY: &[Name] = &[P50, P99, MAX];

struct Figure {
    part: String,
    name: Name,
    /// One for each round.
    values: Vec<f64>,
}

impl Figure {
    /// Median, lowest and highest.
    fn spread(&self) -> (f64, f64, f64) {
        let mut values = self.values.clone();
        values.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        // Of an even number, the mean of the two in the middle.
        (f64::midpoint(at(last / 2), at(values.len() / 2)), at(0), at(last))
    }

    fn cell(&self) -> String {
        let (median, lowest, highest) = self.spread();
        if self.values.len() == 1 {
            return number(median);
        }
        format!("{} ({}, {})", number(median), number(lowest), number(highest))
    }
}

/// All figures, in the order in which they were first added.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Adds the value of one round.
    pub(crate) fn add(&mut self, part: &str, name: Name, value: f64) {
        match self.figures.iter_mut().find(|figure| figure.part == part && figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.figures.push(Figure { part: part.to_owned(), name, values: vec![value] }),
        }
    }

    /// Adds quantiles of latencies, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn add_latencies(&mut self, part: &str, names: &[Name], mut micros: Vec<u64>) {
        micros.sort_unstable();
        for name in names {
            let percent = if *name == P50 {
                50
            } else if *name == P95 {
                95
            } else if *name == P99 {
                99
            } else {
                100
            };
            // The nearest rank.
            let rank = (micros.len() * percent).div_ceil(100).max(1);
            if let Some(value) = micros.get(rank - 1) {
                self.add(part, *name, *value as f64 / 1000.0);
            }
        }
    }

    /// The median of a figure.
    pub(crate) fn median(&self, part: &str, name: Name) -> Option<f64> {
        let found = self.figures.iter().find(|figure| figure.part == part && figure.name == name);
        found.map(|figure| figure.spread().0)
    }

    /// The value of the newest round.
    pub(crate) fn last(&self, part: &str, name: Name) -> Option<f64> {
        let found = self.figures.iter().find(|figure| figure.part == part && figure.name == name);
        found?.values.last().copied()
    }

    /// Prints the parts that have one of these figures. A figure of several rounds is printed as median
    /// (lowest, highest).
    pub(crate) fn print(&self, title: &str, names: &[Name]) {
        let wanted = || self.figures.iter().filter(|figure| names.contains(&figure.name));
        let used: Vec<Name> =
            names.iter().copied().filter(|name| wanted().any(|figure| figure.name == *name)).collect();
        let mut parts: Vec<&str> = Vec::new();
        for figure in wanted() {
            if !parts.contains(&figure.part.as_str()) {
                parts.push(&figure.part);
            }
        }
        if parts.is_empty() {
            return;
        }
        let mut text = format!("{title}\n\n| |");
        for Name(name, unit) in &used {
            let _ = match *unit {
                "ratio" | "count" => write!(text, " {name} |"),
                unit => write!(text, " {name}, {unit} |"),
            };
        }
        let _ = write!(text, "\n|---|{}", "---:|".repeat(used.len()));
        for part in parts {
            let _ = write!(text, "\n| {part} |");
            for name in &used {
                let figure = wanted().find(|figure| figure.part == part && figure.name == *name);
                let _ = write!(text, " {} |", figure.map(Figure::cell).unwrap_or_default());
            }
        }
        println!("{text}\n");
    }

    /// Writes every value with its unit.
    pub(crate) fn write(&self, path: &Path, arguments: &Arguments, versions: &str) -> anyhow::Result<()> {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let (median, lowest, highest) = figure.spread();
                let Name(name, unit) = figure.name;
                json!({"part": figure.part, "figure": name, "unit": unit, "median": median,
                       "lowest": lowest, "highest": highest, "values": figure.values})
            })
            .collect();
        let text = serde_json::to_string_pretty(
            &json!({"machine": versions, "events": arguments.events, "figures": figures}),
        )?;
        Ok(std::fs::write(path, text + "\n")?)
    }
}

/// Three significant digits, but every digit before the point.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
