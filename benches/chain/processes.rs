//! Processor time and memory of processes, from `/proc`.

use std::time::Duration;

use anyhow::Context as _;

/// Length of a clock tick in `/proc`: Linux shows 100 a second on every platform.
const TICK: Duration = Duration::from_millis(10);

/// A line of `/proc/PID/stat`.
struct Stat {
    pid: u32,
    parent: u32,
    name: String,
    /// User and system time of the process.
    own: Duration,
    /// The same of its children that have ended.
    ended: Duration,
}

/// Processor time since each process, or the machine, has started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) service: Duration,
    pub(crate) postgres: Duration,
    pub(crate) broker: Duration,
    pub(crate) receiver: Duration,
    /// This process: the load and, while a floor is measured, the floor.
    pub(crate) bench: Duration,
    /// Everything that the processors did, including kernel threads and strangers.
    pub(crate) machine: Duration,
}

impl Cpu {
    /// Reads the times of the private services, which descend from this process, of the receiver, and of the
    /// processes of the service.
    pub(crate) fn read(receiver: u32, service: &[u32]) -> anyhow::Result<Self> {
        let all = stats()?;
        let own = std::process::id();
        let mut cpu = Self { machine: machine()?, ..Self::default() };
        for stat in &all {
            match stat.name.as_str() {
                _ if stat.pid == own => cpu.bench += stat.own,
                _ if stat.pid == receiver => cpu.receiver += stat.own,
                _ if service.contains(&stat.pid) => cpu.service += stat.own,
                // A session that has ended is among the ended children of the server.
                "postgres" if descends(&all, stat, own) => cpu.postgres += stat.own + stat.ended,
                "beam.smp" | "erl_child_setup" | "inet_gethost" if descends(&all, stat, own) => {
                    cpu.broker += stat.own + stat.ended;
                }
                _ => {}
            }
        }
        Ok(cpu)
    }

    /// The time since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            service: self.service.saturating_sub(earlier.service),
            postgres: self.postgres.saturating_sub(earlier.postgres),
            broker: self.broker.saturating_sub(earlier.broker),
            receiver: self.receiver.saturating_sub(earlier.receiver),
            bench: self.bench.saturating_sub(earlier.bench),
            machine: self.machine.saturating_sub(earlier.machine),
        }
    }
}

fn stats() -> anyhow::Result<Vec<Stat>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end between the listing and this line.
        let Ok(line) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        all.push(stat(pid, &line).with_context(|| format!("/proc/{pid}/stat is not as proc(5) says"))?);
    }
    Ok(all)
}

/// Fields 2 (name), 4 (parent) and 14 to 17 (times) of proc(5).
fn stat(pid: u32, line: &str) -> Option<Stat> {
    let (start, rest) = line.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = |place: usize| Some(TICK * fields.get(place)?.parse::<u32>().ok()?);
    let (own, ended) = (ticks(11)? + ticks(12)?, ticks(13)? + ticks(14)?);
    Some(Stat { pid, parent, name: name.to_owned(), own, ended })
}

fn descends(all: &[Stat], stat: &Stat, ancestor: u32) -> bool {
    let mut parent = stat.parent;
    while parent > 1 && parent != ancestor {
        parent = all.iter().find(|other| other.pid == parent).map_or(0, |other| other.parent);
    }
    parent == ancestor
}

/// User, nice, system, irq and softirq time of all processors, from `/proc/stat`.
fn machine() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u32> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|place| fields.get(*place)).sum::<u32>();
    Ok(TICK * busy)
}

/// Resident memory of a process, in bytes: `VmRSS` now, `VmHWM` at its peak.
pub(crate) fn memory(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = line.with_context(|| format!("no {name}"))?.trim().trim_end_matches(" kB");
    Ok(kibibytes.parse::<u64>()? * 1024)
}
