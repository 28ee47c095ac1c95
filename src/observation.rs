//! The closed list of facts: all that the core ever learns about the world, each with its moment.
//!
//! The daemon's watches and scrapes, a replayed trace, the simulator and a stranger's own program all speak this list;
//! what `act` did comes back through it too, so that a record of observations is complete.

use crate::change::Outcome;
use crate::probe::ProbeKind;
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Pod, ProbeId, Workload};

/// A fact and when it became known (not: when it happened, which the fact itself says where it matters).
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When.
    pub at: Timestamp,
    /// What.
    pub fact: Fact,
}

/// The upper edges, in seconds, of the kubelet's latency histogram, without +Inf.
pub const EDGES: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What a kubelet's counters say of one probe of one pod at one scrape. All are cumulative since the probe's worker
/// began; a smaller value than before is a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// `prober_probe_total{result="successful"}`.
    pub successful: u64,
    /// `prober_probe_total{result="failed"}`.
    pub failed: u64,
    /// `prober_probe_duration_seconds_bucket`, cumulative, at each of [`EDGES`]: **successes only**, so nothing beyond
    /// the timeout is ever in it.
    pub buckets: [u64; 11],
    /// `prober_probe_duration_seconds_count`: all successes with a duration.
    pub count: u64,
}

/// One probe's counters at a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The pod, by `pod_uid`.
    pub pod: Uid,
    /// The probe.
    pub probe: ProbeId,
    /// The counters.
    pub counters: Counters,
}

/// How a check failed, by the text of its `Unhealthy` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// It ran into its timeout.
    Slow,
    /// It was refused, reset or answered with a bad status at once.
    Fast,
    /// The "errored" form: the kubelet threw the result away, nothing was counted.
    Dropped,
    /// A text that nobody knows.
    Other,
}

/// Usage over a window that ended at `until`, as `metrics.k8s.io` reports it. What is absent is unknown, never zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// End of the window.
    pub until: Timestamp,
    /// Mean CPU over the window, in cores.
    pub cores: f64,
    /// Working set at the end of the window, in bytes.
    pub working_set: u64,
}

/// How often a container with a CPU limit was throttled, as its kubelet's cAdvisor counts it. Cumulative since the
/// container began; a smaller value than before is a new start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttling {
    /// The pod.
    pub pod: Uid,
    /// The container.
    pub container: Name,
    /// `container_cpu_cfs_periods_total`: periods of CFS bandwidth control in which it ran at all.
    pub periods: u64,
    /// `container_cpu_cfs_throttled_periods_total`: those in which it had to stand still.
    pub throttled: u64,
}

/// Something that became known.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A workload as it is declared now: at start, and after each change of it or of what its owners allow.
    Workload(Box<Workload>),
    /// It is gone, or no longer opted in.
    WorkloadGone(Uid),
    /// A pod of a watched workload as it is now.
    Pod(Box<Pod>),
    /// It is gone.
    PodGone(Uid),
    /// A probe's counters at a scrape.
    Sample(Sample),
    /// A node's kubelet could not be read at this moment: its pods' checks are unknown for this interval.
    ScrapeMissed(Name),
    /// The daemon asked a probe's endpoint itself, because its owner allows it, and waited 30 s.
    ShadowCheck {
        /// The pod.
        pod: Uid,
        /// The probe.
        probe: ProbeId,
        /// How long until the answer, whatever it was; `None`: none came.
        latency: Option<Span>,
        /// The answer was healthy.
        healthy: bool,
    },
    /// An event said that checks failed: `count` more than the last event about it.
    Unhealthy {
        /// The pod.
        pod: Uid,
        /// The container, out of the event's `fieldPath`.
        container: Name,
        /// Which probe, out of the event's text.
        kind: ProbeKind,
        /// How.
        class: FailureClass,
        /// How many more.
        count: u32,
    },
    /// An event said that a container is killed for a failed probe (liveness or startup).
    Killing {
        /// The pod.
        pod: Uid,
        /// The container.
        container: Name,
        /// Which probe.
        kind: ProbeKind,
    },
    /// A pod's usage, containers summed.
    PodUsage {
        /// The pod.
        pod: Uid,
        /// Its usage.
        usage: Usage,
    },
    /// A node's usage against what it has.
    NodeUsage {
        /// The node.
        node: Name,
        /// Its usage.
        usage: Usage,
        /// `status.allocatable.cpu`, in cores; `None` where unknown.
        allocatable_cores: Option<f64>,
    },
    /// How often a container was throttled so far.
    Throttling(Throttling),
    /// What became of a change that the last plan asked for.
    Outcome {
        /// The workload.
        workload: Uid,
        /// `Change::id`.
        change: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// The fence was tried: whether the API server refuses what it must. Until told, it does not.
    Fence {
        /// It refuses.
        holds: bool,
    },
    /// Whether all that an earlier life wrote down has been read. A daemon says `false` first: a change may be under
    /// way that only those records know of. Who has no earlier life need not say anything.
    Records {
        /// All were read.
        read: bool,
    },
    /// What an earlier life of the daemon wrote down for this workload.
    Remembered {
        /// The workload.
        workload: Uid,
        /// The record.
        memory: Box<crate::memory::Memory>,
    },
    /// An earlier life wrote something down for this workload that cannot be read: a change may be under way that nobody
    /// understands any more, so the workload is left alone as it stands.
    Illegible {
        /// The workload.
        workload: Uid,
    },
    /// Evidence that an earlier life wrote down, in the format of `evidence`.
    RememberedEvidence {
        /// The workload.
        workload: Uid,
        /// The bytes.
        bytes: Vec<u8>,
    },
}
