//! Reads what `/metrics` answers, as strictly as the two formats are defined:
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/> and
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::process::Process;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The values of one scrape, by series: a name and its labels, sorted.
#[derive(Debug)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Scrapes the service in the format of Prometheus.
    pub(crate) async fn of(process: &Process) -> Option<Self> {
        Self::read(&process.get("/metrics").await?, PROMETHEUS, false)
    }

    /// Scrapes the service in `OpenMetrics`.
    pub(crate) async fn open_metrics_of(process: &Process) -> Option<Self> {
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1";
        Self::read(&process.get_accepting("/metrics", accept).await?, OPEN_METRICS, true)
    }

    fn read(answer: &str, content_type: &str, is_open: bool) -> Option<Self> {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains(&format!("content-type: {content_type}")), "{head}");
        Some(Self(parse(body, is_open)))
    }

    /// The value of a series, written as in a scrape.
    pub(crate) fn value(&self, series: &str) -> f64 {
        let value = self.0.get(series);
        *value.unwrap_or_else(|| panic!("no series {series}"))
    }

    pub(crate) fn series(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// A metric as its first lines describe it.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
}

impl Family<'_> {
    /// What the names of its samples may have in addition.
    fn suffixes(&self, is_open: bool) -> &'static [&'static str] {
        match (self.kind, is_open) {
            ("counter", true) => &["_total"],
            ("info", true) => &["_info"],
            ("counter" | "gauge", _) => &[""],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            (kind, _) => panic!("{} has the type {kind}", self.name),
        }
    }
}

fn parse(text: &str, is_open: bool) -> BTreeMap<String, f64> {
    let body = if is_open { text.strip_suffix("# EOF\n").expect("an end") } else { text };
    let body = body.strip_suffix('\n').expect("a line ends with a line feed");
    let (mut samples, mut names) = (BTreeMap::new(), BTreeSet::new());
    let mut family: Option<Family<'_>> = None;
    let mut helped = None;
    for line in body.split('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(help.ends_with('.') && !help.contains(['\\', '"']), "{line}");
            helped = Some(name);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(helped, Some(name), "{line}");
            assert!(is_name(name) && names.insert(name.to_owned()), "{line}");
            assert!(is_open || kind != "counter" || name.ends_with("_total"), "{line}");
            assert!(!is_open || !name.ends_with("_total"), "{line}");
            family = Some(Family { name, kind });
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect("a unit");
            let family = family.as_ref().expect("a metric");
            assert!(is_open && family.name == name && name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            let family = family.as_ref().expect("a metric");
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().expect("a number");
            assert!(value.is_finite() && value >= 0.0, "{line}");
            let (name, labels) = series.split_once('{').map_or((series, None), |(name, labels)| {
                (name, Some(labels.strip_suffix('}').expect("the end of labels")))
            });
            let suffix =
                name.strip_prefix(family.name).unwrap_or_else(|| panic!("{line} of {}", family.name));
            assert!(family.suffixes(is_open).contains(&suffix), "{line}");
            let labels = labels.map(pairs).unwrap_or_default();
            assert!(!labels.contains_key("le") || suffix == "_bucket", "{line}");
            assert!(samples.insert(written(name, &labels), value).is_none(), "twice: {line}");
        }
    }
    let histograms =
        names.iter().filter(|name| samples.keys().any(|key| key.starts_with(&format!("{name}_bucket"))));
    for name in histograms {
        check_histogram(name, &samples);
    }
    samples
}

fn is_name(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

/// No label has a value that needs an escape.
fn pairs(labels: &str) -> BTreeMap<&str, &str> {
    let mut pairs = BTreeMap::new();
    for label in labels.split(',') {
        let (name, value) = label.split_once('=').expect("a value");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quotes");
        assert!(is_name(name) && !value.contains(['"', '\\', '{', '}']) && !value.is_empty(), "{label}");
        assert!(pairs.insert(name, value).is_none(), "{labels}");
    }
    pairs
}

fn written(name: &str, labels: &BTreeMap<&str, &str>) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// Buckets are cumulative, and the last one has all values.
fn check_histogram(name: &str, samples: &BTreeMap<String, f64>) {
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (series, value) in samples {
        let Some(labels) = series.strip_prefix(&format!("{name}_bucket{{")) else { continue };
        let mut labels = pairs(labels.trim_end_matches('}'));
        let bound = labels.remove("le").expect("a bound").replace("+Inf", "inf");
        let bound = bound.parse().expect("a number");
        buckets.entry(written("", &labels)).or_default().push((bound, *value));
    }
    for (labels, mut buckets) in buckets {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1), "{name}{labels}");
        let count = samples[&format!("{name}_count{labels}")];
        assert!(samples.contains_key(&format!("{name}_sum{labels}")));
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}{labels}");
    }
}
