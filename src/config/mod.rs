//! Configuration: four layers of text become one typed [`Config`].
//!
//! **Takes** the embedded defaults (`config/default.toml`, which is also the documentation), a file, the environment and
//! flags, each outranking those before it. **Gives** a [`Config`] in which every field is set, or **all** mistakes at
//! once, each with its file, line, key, value found and value wanted. **Never** permits a write: it only narrows what
//! annotations allow; and never reads the environment later than at start.
//!
//! The layers are merged by figment, which remembers where each value came from; `read` checks every value against what
//! is wanted of it. A key that nobody knows is a mistake, with the nearest known key as hint.

mod layers;
mod mistake;
mod read;

pub use layers::{File, Flag, Sources};
pub use mistake::{Mistake, Mistakes, Place};
pub use read::wanted;

use crate::policy::{Bounds, Mode};
use crate::units::{Name, PerPodYear, Span};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The embedded file: every key, its meaning, unit, range, default, and why that default.
pub const DEFAULT: &str = include_str!("../../config/default.toml");

/// The prefix of the environment's variables.
pub const PREFIX: &str = "PROBE_TUNER_";

/// The longest file that is read, in bytes: the embedded one has 8 KiB.
pub const FILE_LIMIT: u64 = 1 << 20;

/// All that can be configured. Units and ranges stand in [`DEFAULT`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The cluster and our place in it.
    pub cluster: Cluster,
    /// Reading the world.
    pub observe: Observe,
    /// A Prometheus as a source of history.
    pub prometheus: Prometheus,
    /// What holds for workloads whose owners have not said otherwise.
    pub defaults: Defaults,
    /// Choosing numbers.
    pub decide: Decide,
    /// Pacing changes.
    pub plan: Plan,
    /// Watching changes.
    pub verify: Verify,
    /// Keeping evidence.
    pub store: Store,
    /// Answering HTTP.
    pub http: Http,
    /// Log lines.
    pub log: Log,
}

/// The cluster and our place in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The namespace in which the daemon lives.
    pub namespace: Name,
    /// Namespaces that are never watched nor written, sorted. The daemon's own is always among them.
    pub excluded_namespaces: Vec<Name>,
    /// How far the daemon may go anywhere.
    pub mode: Mode,
}

/// Reading the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Observe {
    /// How often a kubelet is read.
    pub scrape_interval: Span,
    /// How long one may take to answer; less than the interval.
    pub scrape_timeout: Span,
    /// Kubelets read at the same time.
    pub scrape_concurrency: usize,
    /// The longest page, in bytes.
    pub page_limit: u64,
    /// How often usage is asked for.
    pub usage_interval: Span,
    /// How often each kubelet's cAdvisor page is read; `None`: never.
    pub throttling_interval: Option<Span>,
    /// Shadow checks a second over the whole cluster; 0: none.
    pub shadow_check_rate: f64,
    /// Whether pods on loopback addresses are asked.
    pub shadow_loopback: bool,
    /// Who signed the kubelets' certificates; `None`: the cluster's own authority.
    pub kubelet_ca_file: Option<PathBuf>,
    /// Whether a kubelet's certificate goes unchecked.
    pub kubelet_insecure: bool,
}

/// A Prometheus as a source of history.
#[derive(Clone, Debug, PartialEq)]
pub struct Prometheus {
    /// Its address; `None`: there is none.
    pub url: Option<String>,
    /// A file that holds a bearer token.
    pub token_file: Option<PathBuf>,
    /// Who signed its certificate; `None`: one of the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// How far back a workload's past is asked for.
    pub history: Span,
    /// Whether its samples take the place of our own scrapes.
    pub instead_of_kubelets: bool,
}

/// What holds for workloads whose owners have not said otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// Most false liveness restarts.
    pub false_restart_budget: PerPodYear,
    /// Longest time from a hang to the verdict; `None`: no bound.
    pub detect_within: Option<Span>,
    /// What an own rollout costs, in pod-seconds a pod.
    pub rollout_price: f64,
}

/// Choosing numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Decide {
    /// True faults a pod-year.
    pub faults_per_pod_year: f64,
    /// What a false restart costs, in pod-seconds.
    pub false_restart_price: f64,
    /// What a check costs times its period, in square seconds.
    pub check_price: f64,
    /// The same for exec.
    pub exec_check_price: f64,
    /// The least and the most of each number; within [`Bounds::FENCE`].
    pub bounds: Bounds,
}

/// Pacing changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How long the daemon only watches after its start.
    pub warm_up: Span,
    /// Own rollouts under way in the cluster.
    pub rollouts_in_flight: u32,
    /// Own rollouts in the cluster within an hour.
    pub rollouts_per_hour: u32,
    /// Own rollouts in the cluster within a day.
    pub rollouts_per_day: u32,
    /// Own rollouts of one workload within a week.
    pub rollouts_per_workload_week: u32,
    /// Rest of a workload after a change.
    pub cooldown: Span,
    /// The same in a storm.
    pub storm_cooldown: Span,
}

/// Watching changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Verify {
    /// How long a change is watched after its rollout.
    pub watch: Span,
    /// How long a rollout may take.
    pub rollout_timeout: Span,
}

/// Keeping evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// How often changed evidence is written.
    pub evidence_interval: Span,
}

/// Answering HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// The address.
    pub listen: SocketAddr,
}

/// Log lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The least important lines that are written.
    pub level: Level,
    /// How they are written.
    pub format: Format,
}

/// How important a log line is, falling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed and somebody must look.
    Error,
    /// Something is not as it should be; the daemon goes on.
    Warn,
    /// Each decision once.
    Info,
    /// Each scrape.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads the configuration: the file if there is one, the process's environment, and `flags`.
///
/// # Errors
/// All mistakes at once; among them a file that cannot be opened.
pub fn load(file: Option<&Path>, flags: Vec<Flag>) -> Result<Config, Mistakes> {
    let mut unreadable = Mistakes::default();
    let file = file.and_then(|path| read_file(path).map_err(|mistakes| unreadable = mistakes).ok());
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|n| n.starts_with(PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        })
        .collect();
    match parse(&Sources { file, environment, flags }) {
        Ok(config) if unreadable.0.is_empty() => Ok(config),
        Ok(_) => Err(unreadable),
        Err(others) => {
            unreadable.0.extend(others.0);
            Err(unreadable)
        }
    }
}

/// As [`load`], from texts: reads no file and no environment.
///
/// # Errors
/// All mistakes at once, those of the file first, by line.
pub fn parse(sources: &Sources) -> Result<Config, Mistakes> {
    read::config(layers::Layers::new(sources))
}

fn read_file(path: &Path) -> Result<File, Mistakes> {
    use std::io::Read;
    let name = path.display().to_string();
    let failed = |source| Mistakes(vec![Mistake::File { path: name.clone(), source }]);
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(FILE_LIMIT + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(Mistakes(vec![Mistake::Long { path: name }]));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File { name, text }),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|b| **b == b'\n').count();
            Err(Mistakes(vec![Mistake::Encoding { path: name, line }]))
        }
    }
}
