//! Registers metrics, and remembers what it registered for the documentation.

use std::{collections::BTreeMap, fmt::Write as _};

use prometheus_client::{
    encoding::EncodeMetric,
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{
    instruments::{Counter, Family, Gauge, Histogram, Probes},
    sets::Labels,
};

/// The beginning of the names of all metrics but those of the process.
const PREFIX: &str = "contact_relay";

/// What a figure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One process; the sum over all processes means something.
    Process,
    /// The whole database, which every process with the role console sees alike.
    Database,
}

/// Name and meaning of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    name: &'static str,
    help: &'static str,
    unit: Option<MetricUnit>,
    scope: Scope,
}

#[derive(Clone, Copy, Debug)]
enum MetricUnit {
    Seconds,
    Bytes,
}

impl About {
    /// A metric of one process.
    pub(super) const fn process(name: &'static str, help: &'static str) -> Self {
        Self { name, help, unit: None, scope: Scope::Process }
    }

    /// A metric of the whole database.
    pub(super) const fn database(name: &'static str, help: &'static str) -> Self {
        Self { name, help, unit: None, scope: Scope::Database }
    }

    /// In seconds.
    pub(super) const fn seconds(self) -> Self {
        Self { unit: Some(MetricUnit::Seconds), ..self }
    }

    /// In bytes.
    pub(super) const fn bytes(self) -> Self {
        Self { unit: Some(MetricUnit::Bytes), ..self }
    }
}

/// A registered metric.
#[derive(Debug)]
struct Entry {
    name: String,
    kind: String,
    about: About,
    /// Values by the name of their label.
    labels: BTreeMap<&'static str, Vec<&'static str>>,
    combinations: usize,
}

/// Everything that is registered.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) registry: Registry,
    entries: Vec<Entry>,
}

impl Catalog {
    pub(super) fn new() -> Self {
        Self { registry: Registry::with_prefix(PREFIX), entries: Vec::new() }
    }

    pub(super) fn counters<L: Labels>(&mut self, about: About) -> Family<L, Counter> {
        self.family(about, Counter::default)
    }

    pub(super) fn gauges<L: Labels>(&mut self, about: About) -> Family<L, Gauge> {
        self.family(about, Gauge::default)
    }

    /// `bounds` are the upper limits of the buckets, without the last one.
    pub(super) fn histograms<L: Labels>(
        &mut self,
        about: About,
        bounds: &'static [f64],
    ) -> Family<L, Histogram> {
        self.family(about, || Histogram::new(bounds))
    }

    /// Gauges that ask components. Several of one label are folded.
    pub(super) fn probes<L: Labels>(&mut self, about: About, fold: fn(f64, f64) -> f64) -> Probes<L> {
        let probes = Probes::new(fold);
        self.register::<L>(about, &probes);
        probes
    }

    fn family<L: Labels, M>(&mut self, about: About, member: impl Fn() -> M) -> Family<L, M>
    where
        M: EncodeMetric + Send + Sync + 'static,
    {
        let family = Family::new(member);
        self.register::<L>(about, &family);
        family
    }

    fn register<L: Labels>(
        &mut self,
        about: About,
        metric: &(impl EncodeMetric + Clone + std::fmt::Debug + Send + Sync + 'static),
    ) {
        let unit = about.unit.map(|unit| match unit {
            MetricUnit::Seconds => Unit::Seconds,
            MetricUnit::Bytes => Unit::Bytes,
        });
        let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let all = L::all();
        for (name, value) in all.iter().flat_map(|labels| labels.pairs()) {
            let values = labels.entry(name).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        let kind = metric.metric_type();
        let mut name = format!("{PREFIX}_{}", about.name);
        if let Some(unit) = &unit {
            name = format!("{name}_{}", unit.as_str());
        }
        if matches!(kind, MetricType::Counter) {
            name.push_str("_total");
        }
        self.entries.push(Entry {
            name,
            kind: kind.as_str().to_owned(),
            about,
            labels,
            combinations: all.len(),
        });
        match unit {
            Some(unit) => self.registry.register_with_unit(about.name, about.help, unit, metric.clone()),
            None => self.registry.register(about.name, about.help, metric.clone()),
        }
    }

    /// The tables of the documentation: the metrics of a process, and those of the database.
    pub(super) fn tables(&self) -> [String; 2] {
        [Scope::Process, Scope::Database].map(|scope| {
            let mut table = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n".to_owned();
            for Entry { name, kind, about, labels, combinations } in
                self.entries.iter().filter(|entry| entry.about.scope == scope)
            {
                let product: usize = labels.values().map(Vec::len).product();
                let note = if product > *combinations { " (not every combination)" } else { "" };
                let labels = labels.iter().map(|(name, values)| format!("`{name}`: {}", values.join(", ")));
                let labels = labels.collect::<Vec<_>>().join("; ") + note;
                // Cannot fail: it is a string.
                let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {}. |", about.help);
            }
            table
        })
    }
}
