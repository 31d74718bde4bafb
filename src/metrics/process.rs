//! Figures of the process, from `/proc`, under the names that every Prometheus library uses.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Reads the figures at each scrape. Figures that the system does not report are left out.
#[derive(Debug)]
pub(super) struct Process {
    /// When the process started, in seconds since 1970.
    started_at: Option<f64>,
}

/// Name, type, unit and help, for the documentation.
pub(super) const FIGURES: [(&str, &str, &str); 6] = [
    ("process_cpu_seconds_total", "counter", "CPU time in user and kernel mode"),
    ("process_resident_memory_bytes", "gauge", "Resident memory"),
    ("process_virtual_memory_bytes", "gauge", "Virtual memory"),
    ("process_threads", "gauge", "Threads; the broker's client has one for each connection"),
    ("process_open_fds", "gauge", "Open file descriptors"),
    ("process_start_time_seconds", "gauge", "Start of the process, in seconds since 1970"),
];

/// What `/proc` says.
#[derive(Debug, Default, PartialEq)]
struct Figures {
    cpu_seconds: Option<f64>,
    resident: Option<u64>,
    virtual_: Option<u64>,
    threads: Option<u64>,
    open_fds: Option<u64>,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { started_at: started_at() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Figures { cpu_seconds, resident, virtual_, threads, open_fds } = figures();
        let [cpu, memory, all_memory, tasks, files, start] = FIGURES.map(|(_, _, help)| help);
        if let Some(seconds) = cpu_seconds {
            let metric = encoder.encode_descriptor(
                "process_cpu",
                &sentence(cpu),
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        let mut gauge = |name, help, unit: Option<&Unit>, value: Option<f64>| match value {
            Some(value) => {
                let metric = encoder.encode_descriptor(name, &sentence(help), unit, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)
            }
            None => Ok(()),
        };
        let number = |value: Option<u64>| value.map(as_f64);
        gauge("process_resident_memory", memory, Some(&Unit::Bytes), number(resident))?;
        gauge("process_virtual_memory", all_memory, Some(&Unit::Bytes), number(virtual_))?;
        gauge("process_threads", tasks, None, number(threads))?;
        gauge("process_open_fds", files, None, number(open_fds))?;
        gauge("process_start_time", start, Some(&Unit::Seconds), self.started_at)
    }
}

fn sentence(help: &str) -> String {
    format!("{help}.")
}

#[expect(clippy::cast_precision_loss, reason = "no such figure needs more than 52 bits")]
const fn as_f64(value: u64) -> f64 {
    value as f64
}

fn figures() -> Figures {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fds = fs::read_dir("/proc/self/fd").ok();
    // One of them reads the folder.
    let open_fds = fds.map(|fds| (fds.count() as u64).saturating_sub(1));
    Figures { open_fds, cpu_seconds: cpu_seconds(&stat), ..memory(&status) }
}

fn memory(status: &str) -> Figures {
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let bytes = |name| value(name).map(|kibibytes| kibibytes * 1024);
    Figures {
        resident: bytes("VmRSS"),
        virtual_: bytes("VmSize"),
        threads: value("Threads"),
        ..Figures::default()
    }
}

/// A number of `/proc/self/stat`, as `proc(5)` counts them from 1. The second is a name that may contain anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn seconds(ticks: f64) -> f64 {
    ticks / as_f64(rustix::param::clock_ticks_per_second())
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some(seconds(field(stat, 14)? + field(stat, 15)?))
}

fn started_at() -> Option<f64> {
    let since_boot = seconds(field(&fs::read_to_string("/proc/self/stat").ok()?, 22)?);
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + since_boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 1234 0 0";
        assert_eq!(
            cpu_seconds(stat).map(|cpu| cpu * as_f64(rustix::param::clock_ticks_per_second())),
            Some(300.0)
        );
        assert_eq!(field(stat, 22), Some(1234.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn memory_is_in_kibibytes() {
        let status = "Name:\tx\nVmSize:\t   20 kB\nVmRSS:\t   10 kB\nThreads:\t3\n";
        let expected = Figures {
            resident: Some(10_240),
            virtual_: Some(20_480),
            threads: Some(3),
            ..Figures::default()
        };
        assert_eq!(memory(status), expected);
    }

    #[test]
    fn this_process_has_all_figures() {
        let Figures { cpu_seconds, resident, virtual_, threads, open_fds } = figures();
        assert!(cpu_seconds.is_some() && resident.is_some() && virtual_.is_some());
        assert!(threads.is_some() && open_fds.is_some() && started_at().is_some());
    }
}
