//! Measures one part from outside, the same way for the floors and for the service.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::{
    cost::Counters,
    processes::Cpu,
    report::{self, Report},
    world::World,
};

/// A part that makes no progress for this long has failed.
const STALL: Duration = Duration::from_mins(2);

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// One part.
pub(crate) struct Probe<'a> {
    world: &'a World,
    database: String,
    before: Counters,
}

/// The part of the work that was watched: from the first progress to the end, without the start of processes.
pub(crate) struct Watched {
    /// All events of the part.
    events: usize,
    /// The events between the first progress and the end.
    counted: usize,
    elapsed: Duration,
    cpu: Cpu,
}

/// The measurements of a part.
pub(crate) struct Measured {
    watched: Watched,
    counters: Counters,
    /// Peak resident memory of the service's largest process, in bytes.
    pub(crate) peak_rss: Option<u64>,
}

impl<'a> Probe<'a> {
    /// Reads the counters before a part that uses `database`.
    pub(crate) async fn begin(world: &'a World, database: &str) -> anyhow::Result<Self> {
        let before = Counters::read(world.postgres_url(), database).await?;
        Ok(Self { world, database: database.to_owned(), before })
    }

    /// Waits until `progress` reaches `events`, or `limit` is over. `service` are the processes to measure.
    pub(crate) async fn watch(
        &self,
        service: &[u32],
        events: usize,
        limit: Option<Duration>,
        mut progress: impl AsyncFnMut() -> anyhow::Result<usize>,
    ) -> anyhow::Result<Watched> {
        let cpu = || Cpu::read(self.world.receiver().pid()?, service);
        let start = (0, Instant::now(), cpu()?);
        let mut first = None;
        let mut last = (0, Instant::now());
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            let done = progress().await?;
            let now = Instant::now();
            if done > 0 && first.is_none() {
                first = Some((done, now, cpu()?));
            }
            if done > last.0 {
                last = (done, now);
            }
            anyhow::ensure!(now - last.1 < STALL, "{done} of {events} events, and no progress for {STALL:?}");
            if done >= events || limit.is_some_and(|limit| now - start.1 >= limit) {
                let done = done.min(events);
                // With few events the first look may find most of them done.
                let (before, since, earlier) = first.filter(|first| first.0 * 4 <= done).unwrap_or(start);
                let cpu = cpu()?.since(&earlier);
                return Ok(Watched { events: done, counted: done - before, elapsed: now - since, cpu });
            }
        }
    }

    /// Reads the counters after the part's processes have ended.
    pub(crate) async fn end(self, watched: Watched) -> anyhow::Result<Measured> {
        let after = Counters::read(self.world.postgres_url(), &self.database)
            .await
            .with_context(|| format!("counters of {}", self.database))?;
        Ok(Measured { watched, counters: after.since(&self.before), peak_rss: None })
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
impl Measured {
    /// Events per second.
    pub(crate) fn rate(&self) -> f64 {
        self.watched.counted as f64 / self.watched.elapsed.as_secs_f64()
    }

    /// Adds the rate and the cost of an event to the figures of `part`.
    pub(crate) fn record(&self, report: &mut Report, part: &str) {
        let Watched { events, counted, cpu, .. } = &self.watched;
        report.add(part, report::EVENTS, *events as f64);
        report.add(part, report::RATE, self.rate());
        for (name, time) in [
            (report::CPU_SERVICE, cpu.service),
            (report::CPU_POSTGRES, cpu.postgres),
            (report::CPU_BROKER, cpu.broker),
            (report::CPU_RECEIVER, cpu.receiver),
            (report::CPU_BENCH, cpu.bench),
            (report::CPU_MACHINE, cpu.machine),
        ] {
            report.add(part, name, time.as_secs_f64() * 1e6 / *counted as f64);
        }
        let Counters { wal_bytes, fsyncs, commits, rollbacks } = self.counters;
        report.add(part, report::WAL, wal_bytes as f64 / *events as f64);
        for (name, count) in
            [(report::COMMITS, commits), (report::FSYNCS, fsyncs), (report::ROLLBACKS, rollbacks)]
        {
            report.add(part, name, count as f64 * 1000.0 / *events as f64);
        }
        if let Some(bytes) = self.peak_rss {
            report.add(part, report::PEAK_RSS, bytes as f64 / 1e6);
        }
    }
}
