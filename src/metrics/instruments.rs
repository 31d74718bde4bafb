//! Counters, gauges and histograms for closed sets of labels. All series exist from the start, so a rate exists
//! before the first event. Recording is a few atomic operations; only a scrape takes a lock.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::sets::Labels;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter, gauge},
};

/// Only grows.
pub type Counter = counter::Counter<u64, AtomicU64>;

/// Set to the latest measurement.
pub type Gauge = gauge::Gauge<f64, AtomicU64>;

/// Maximum number of buckets of a histogram, the last one included.
const MAX_BUCKETS: usize = 32;

/// One metric for each combination of labels. Clones share them.
pub struct Family<L, M> {
    members: Arc<[M]>,
    labels: PhantomData<fn() -> L>,
}

impl<L: Labels, M> Family<L, M> {
    pub(super) fn new(member: impl Fn() -> M) -> Self {
        Self { members: L::all().iter().map(|_| member()).collect(), labels: PhantomData }
    }

    fn with(&self, labels: L, record: impl FnOnce(&M)) {
        // Always there: the labels are a closed set.
        if let Some(member) = self.members.get(labels.place()) {
            record(member);
        }
    }
}

impl<L: Labels> Family<L, Counter> {
    /// Adds to the count.
    pub fn add(&self, labels: L, count: usize) {
        if count > 0 {
            self.with(labels, |counter| {
                counter.inc_by(count as u64);
            });
        }
    }

    /// The count of one.
    #[must_use]
    pub fn value(&self, labels: L) -> u64 {
        self.members.get(labels.place()).map_or(0, counter::Counter::get)
    }

    /// The count of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.members.iter().map(counter::Counter::get).sum()
    }
}

impl<L: Labels> Family<L, Gauge> {
    /// Sets one.
    pub fn set(&self, labels: L, value: f64) {
        self.with(labels, |gauge| {
            gauge.set(value);
        });
    }

    /// Sets all of them, those that are not given to zero.
    pub fn set_all(&self, values: impl IntoIterator<Item = (L, f64)>) {
        let mut all = vec![0.0; self.members.len()];
        for (labels, value) in values {
            if let Some(place) = all.get_mut(labels.place()) {
                *place += value;
            }
        }
        for (gauge, value) in self.members.iter().zip(all) {
            gauge.set(value);
        }
    }
}

impl<L: Labels> Family<L, Histogram> {
    /// Counts one value.
    pub fn observe(&self, labels: L, value: f64) {
        self.with(labels, |histogram| histogram.observe(value));
    }

    /// Counts the values of a batch.
    pub fn observe_all(&self, labels: L, values: impl IntoIterator<Item = f64>) {
        self.with(labels, |histogram| histogram.observe_all(values));
    }
}

impl<L, M> Clone for Family<L, M> {
    fn clone(&self) -> Self {
        Self { members: Arc::clone(&self.members), labels: PhantomData }
    }
}

impl<L, M> fmt::Debug for Family<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

impl<L: Labels, M: EncodeMetric> EncodeMetric for Family<L, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, member) in L::all().into_iter().zip(self.members.iter()) {
            let pairs = labels.pairs();
            if pairs.is_empty() {
                return member.encode(encoder);
            }
            member.encode(encoder.encode_family(&pairs)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.members.first().map_or(MetricType::Unknown, EncodeMetric::metric_type)
    }
}

/// How values are distributed. Sums and counts are atomic numbers, so a scrape may see the count of a value whose sum it
/// does not have yet.
#[derive(Debug)]
pub struct Histogram {
    /// Upper limits of the buckets, without that of the last one.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    sum: counter::Counter<f64, AtomicU64>,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: counter::Counter::default(),
        }
    }

    fn bucket(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    fn observe(&self, value: f64) {
        self.observe_all([value]);
    }

    fn observe_all(&self, values: impl IntoIterator<Item = f64>) {
        let (mut counts, mut sum) = ([0_u64; MAX_BUCKETS], 0.0);
        for value in values {
            // Clocks of two machines may differ, and no event takes less than no time.
            let value = value.max(0.0);
            sum += value;
            if let Some(count) = counts.get_mut(self.bucket(value)) {
                *count += 1;
            }
        }
        for (total, count) in self.counts.iter().zip(counts).filter(|(_, count)| *count > 0) {
            total.fetch_add(count, Ordering::Relaxed);
        }
        self.sum.inc_by(sum);
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum.get(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Reports a figure of a component; `None` once that is gone.
type Probe = Box<dyn Fn() -> Option<f64> + Send + Sync>;

/// Gauges that read their value when they are asked: the memory of components, which costs nothing until then.
pub struct Probes<L> {
    members: Arc<[Mutex<Vec<Probe>>]>,
    fold: fn(f64, f64) -> f64,
    labels: PhantomData<fn() -> L>,
}

impl<L: Labels> Probes<L> {
    /// Several components of one label are folded, starting from 0.
    pub(super) fn new(fold: fn(f64, f64) -> f64) -> Self {
        Self { members: L::all().iter().map(|_| Mutex::default()).collect(), fold, labels: PhantomData }
    }

    /// Asks a component from now on, until it answers `None`. The answer must not wait for anything.
    pub fn watch(&self, labels: L, probe: impl Fn() -> Option<f64> + Send + Sync + 'static) {
        if let Some(member) = self.members.get(labels.place()) {
            let mut probes = member.lock().unwrap_or_else(PoisonError::into_inner);
            // Or the components of many connections would pile up while nobody asks.
            probes.retain(|probe| probe().is_some());
            probes.push(Box::new(probe));
        }
    }

    /// The value now.
    #[must_use]
    pub fn value(&self, labels: L) -> f64 {
        self.members.get(labels.place()).map_or(0.0, |member| self.ask(member))
    }

    fn ask(&self, member: &Mutex<Vec<Probe>>) -> f64 {
        let mut value = 0.0;
        let mut probes = member.lock().unwrap_or_else(PoisonError::into_inner);
        probes.retain(|probe| match probe() {
            Some(one) => {
                value = (self.fold)(value, one);
                true
            }
            None => false,
        });
        value
    }
}

impl<L> Clone for Probes<L> {
    fn clone(&self) -> Self {
        Self { members: Arc::clone(&self.members), fold: self.fold, labels: PhantomData }
    }
}

impl<L> fmt::Debug for Probes<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

impl<L: Labels> EncodeMetric for Probes<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, member) in L::all().into_iter().zip(self.members.iter()) {
            let gauge = Gauge::default();
            gauge.set(self.ask(member));
            let pairs = labels.pairs();
            if pairs.is_empty() {
                return gauge.encode(encoder);
            }
            gauge.encode(encoder.encode_family(&pairs)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// Since when something waits, if anything does.
#[derive(Debug)]
pub struct Since {
    base: Instant,
    /// Nanoseconds from `base`, plus one; 0 if nothing waits.
    nanos: AtomicU64,
}

impl Default for Since {
    fn default() -> Self {
        Self { base: Instant::now(), nanos: AtomicU64::new(0) }
    }
}

impl Since {
    /// Notes it.
    pub fn set(&self, since: Option<Instant>) {
        let nanos = since.map_or(0, |since| {
            u64::try_from(since.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX - 1) + 1
        });
        self.nanos.store(nanos, Ordering::Relaxed);
    }

    /// How long it has waited, in seconds.
    #[must_use]
    pub fn age(&self) -> f64 {
        match self.nanos.load(Ordering::Relaxed).checked_sub(1) {
            Some(nanos) => (self.base.elapsed().saturating_sub(Duration::from_nanos(nanos))).as_secs_f64(),
            None => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_counts_in_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        histogram.observe_all([0.5, 1.0, 1.5, 2.0, 3.0, -1.0]);
        let counts: Vec<u64> = histogram.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!((counts, histogram.sum.get()), (vec![3, 2, 1], 8.0));
    }

    #[test]
    fn probe_of_a_component_that_is_gone_is_dropped() {
        let probes = Probes::<()>::new(|a, b| a + b);
        let component = Arc::new(2.0);
        let weak = Arc::downgrade(&component);
        probes.watch((), move || weak.upgrade().map(|value| *value));
        probes.watch((), || Some(1.0));
        let member = &probes.members[0];
        assert!((probes.ask(member) - 3.0).abs() < f64::EPSILON);
        drop(component);
        assert!((probes.ask(member) - 1.0).abs() < f64::EPSILON);
        assert_eq!(member.lock().unwrap().len(), 1);
    }

    #[test]
    fn nothing_that_waits_has_no_age() {
        let since = Since::default();
        assert!(since.age() == 0.0);
        since.set(Some(Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now)));
        std::thread::yield_now();
        assert!(since.age() > 0.0);
        since.set(None);
        assert!(since.age() == 0.0);
    }
}
