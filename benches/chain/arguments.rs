//! The options of the command line.

use std::path::PathBuf;

/// Measures the service against the floor: the same broker, rows and requests without the service.
#[derive(clap::Parser)]
#[command(bin_name = "cargo bench --bench chain --")]
pub(crate) struct Arguments {
    /// Events of each part of each round
    #[arg(long, default_value_t = 20_000)]
    pub(crate) events: usize,
    /// Rounds: by default 5 of the main run and of --lanes, and 3 of everything else
    #[arg(long)]
    rounds: Option<usize>,
    /// Events per second of the latency parts
    #[arg(long, default_value_t = 50)]
    pub(crate) rate: u32,
    /// Length of each latency part
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u32,
    /// Also write every figure to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) instead: Instead,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured instead of the main run.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(crate) struct Instead {
    /// The chain beside a transaction that stays open and pins a snapshot, each for at least this many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    pub(crate) snapshot: Option<u32>,
    /// The chain beside this many endpoints of another company that fail and are closed by their breakers
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "100000")]
    pub(crate) closed_lanes: Option<usize>,
    /// The chain with the events of this many companies, such as 1,200
    #[arg(long, value_name = "N,M", value_delimiter = ',')]
    pub(crate) companies: Vec<usize>,
    /// Worker 1 on databases that already hold this many contacts, such as 100000,5000000
    #[arg(long, value_name = "N,M", value_delimiter = ',')]
    pub(crate) contacts: Vec<usize>,
    /// The chain with this many processes of the service, such as 1,2,4
    #[arg(long, value_name = "N,M", value_delimiter = ',')]
    pub(crate) processes: Vec<usize>,
    /// The chain with a receiver that fails one request in a thousand
    #[arg(long)]
    pub(crate) failing: bool,
    /// The chain without traces, with traces of all events and of a tenth of them to a collector that takes everything, and
    /// with traces to a collector that cannot be reached
    #[arg(long)]
    pub(crate) traces: bool,
    /// Memory and rate of a service that starts with this many events waiting
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000000")]
    pub(crate) waiting: Option<usize>,
    /// The chain beside this many finished deliveries and events, and while retention removes them
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10000000")]
    pub(crate) finished: Option<usize>,
    /// Worker 2 with many endpoints, and beside one that hangs
    #[arg(long)]
    pub(crate) lanes: bool,
    /// Webhooks of one company beside another one with this many addresses that refuse connections, and beside
    /// one whose hosts hang
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20000")]
    pub(crate) noisy: Option<usize>,
    /// Webhooks of one company while another one has this many that are due
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000000")]
    pub(crate) backlog: Option<usize>,
    /// Requests that are made twice because the service is killed (SIGKILL) under full load, this many times
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "5")]
    pub(crate) kills: Option<usize>,
    /// Each worker and the chain of another build, in turn with this one
    #[arg(long, value_name = "BINARY")]
    pub(crate) compare: Option<PathBuf>,
}

impl Arguments {
    /// Rounds, if the user gave no number and `default` suits what is measured.
    pub(crate) fn rounds(&self, default: usize) -> usize {
        self.rounds.unwrap_or(default).max(1)
    }
}
