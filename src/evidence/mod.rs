//! All that was seen of one workload: from facts to extents, clusters, exposure, restarts and start times.
//!
//! **Takes** facts in the order in which they became known. **Gives** per probe what `model` fits a tail to
//! ([`Seen`]), the restarts with their causes ([`RestartRecord`]), what `verify` compares ([`Tally`]), and all of it as
//! bytes that a later version can read. **Never** reads a clock, judges, or takes what was not seen for nothing: a
//! missed scrape, a counter that went back and a pod that is shutting down add neither failures nor exposure.
//!
//! A check's latency is only known by bucket, only up to the timeout, and only if it succeeded; so everything is kept
//! as intervals (`run`), per latency edge (`table`). What the inputs really are: the kubelet's `prober_probe_total` and
//! `prober_probe_duration_seconds`, pod statuses, and events that lie by omission.
//!
//! What several observers saw of one workload becomes one by [`Evidence::merge`], in any order.
//!
//! Beside them stand the levels of the last weeks' hours (`season`) and the load that was seen (`load`), which explain and
//! warn and move no number.
//!
//! Bounds: [`MAX_PROBES`] probes, [`MAX_PODS`] pods, [`RESTARTS`] restarts, [`EXTENTS`] intervals and [`CLUSTERS`]
//! cluster sizes an edge and epoch; what does not fit is counted in [`Dropped`]. Read `watch` next.

mod calendar;
mod checkpoint;
mod face;
mod habits;
mod life;
mod load;
mod merge;
mod pods;
mod restart;
mod run;
mod season;
mod seen;
mod shadow;
mod start;
mod table;
mod throttle;
mod watch;

pub use calendar::Tally;
pub use checkpoint::DecodeError;
pub use habits::Habits;
pub use load::{Covered, LOAD_BINS, Load, LoadThen, NODE_EDGES, POD_EDGES};
pub use pods::Coverage;
pub use restart::{
    COMPANY, CRASHES, Cause, Company, Failing, HANGS, KNOWN_YEARS, NeighboursThen, RELAPSE, RESTARTS, RestartRecord,
    SICK_RESTARTS, SICK_WITHIN, chance_of_another,
};
pub use season::{Basis, EPISODE, Foretold, JUDGED, Judged, Record, Season, WEEK, WEEKS};
pub use seen::{Older, PRIOR_FALL, PRIOR_RATE, Seen, YEAR_SECONDS};
pub use shadow::{Agreement, COMPARED_FROM, LONGEST, Long, Shadow};
pub use start::{STARTS, Start, Starts};
pub use table::{CLUSTERS, Cluster, EXTENTS, Edge, Epoch, Extent, HALF_LIFE, OUTAGE_SECONDS, Table, worth_after};
pub use throttle::{Hour, THROTTLED, THROTTLED_HOURS, Throttled};
pub use watch::TOGETHER_SECONDS;

use crate::probe::Settings;
use crate::units::{Name, Span, Timestamp};
use crate::workload::ProbeId;
use pods::PodState;

/// Most probes of a workload: containers times three; more than ten containers are rare.
pub const MAX_PROBES: usize = 32;
/// Most pods of a workload that are watched at once; Kubernetes itself is tested up to 5,000 nodes.
pub const MAX_PODS: usize = 5_000;
/// Most nodes whose load is remembered for a workload.
const MAX_NODES: usize = 256;
/// A node is full above this share of its cores.
const FULL: f64 = 0.9;

/// What had no room, since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Pods beyond [`MAX_PODS`].
    pub pods: u32,
    /// Probes beyond [`MAX_PROBES`].
    pub probes: u32,
    /// Facts about pods or probes that nobody announced.
    pub strangers: u32,
    /// What was told of how often containers beyond the tenth were throttled.
    pub throttling: u32,
}

impl Dropped {
    /// All that a bound had no room for: strangers are beyond none.
    pub fn beyond_bounds(&self) -> u64 {
        [self.pods, self.probes, self.throttling].map(u64::from).iter().sum()
    }
}

/// How full a node is.
#[derive(Clone, Debug, PartialEq)]
struct NodeHeat {
    name: Name,
    at: Timestamp,
    full_since: Option<Timestamp>,
    /// Its load, as share of its cores.
    load: f32,
}

/// All that was seen of one workload.
///
/// Facts must come in the order in which they became known; one that is older than what is known already is ignored.
/// Costs about 0.3 µs a sample and allocates nothing once every probe's tables have filled.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    version: Option<u64>,
    declared: Vec<(ProbeId, Settings)>,
    /// Pods created later are of the present version.
    version_since: Option<Timestamp>,
    /// The present version began under our eyes.
    begun: bool,
    first: Option<Timestamp>,
    rollouts: u32,
    last_rollout: Option<Timestamp>,
    last_change: Option<Timestamp>,
    last_fact: Option<Timestamp>,
    replicas: u32,
    probes: Vec<Seen>,
    pods: Vec<PodState>,
    /// Pods that are there and not being deleted, and those of them that are not ready.
    levels: (u32, u32),
    restarts: Vec<RestartRecord>,
    calendar: calendar::Calendar,
    nodes: Vec<NodeHeat>,
    load: Load,
    dropped: Dropped,
    /// What the last fact said that concerns the workloads beside it.
    notes: Notes,
}

/// See [`Evidence::take_notes`].
#[derive(Clone, Copy, Debug, Default)]
struct Notes {
    slow: bool,
    killed: Option<Timestamp>,
}

impl Evidence {
    /// Of a workload that nobody has seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was seen of a probe.
    pub fn seen(&self, id: &ProbeId) -> Option<&Seen> {
        self.probes.iter().find(|s| s.id == *id)
    }

    /// All that was seen, probe by probe.
    pub fn probes(&self) -> &[Seen] {
        &self.probes
    }

    /// Writes down a forecast for a probe; one that is under way stands.
    pub fn foretell(&mut self, id: &ProbeId, foretold: Foretold) {
        if let Some(seen) = self.probes.iter_mut().find(|s| s.id == *id) {
            seen.season.foretell(foretold);
        }
    }

    /// Forgets the restarts: where it is not sure that there were any.
    pub fn forget_restarts(&mut self) {
        self.restarts.clear();
    }

    /// The last restarts, oldest first, at most [`RESTARTS`].
    pub fn restarts(&self) -> &[RestartRecord] {
        &self.restarts
    }

    /// Whether the restart at `index` of [`Evidence::restarts`] is one of a sick replica: three restarts of one pod by
    /// probes in an hour, while the others were well.
    pub fn sick(&self, index: usize) -> bool {
        restart::sick(&self.restarts, index)
    }

    /// What happened from `from` until `to`; hours older than two days are forgotten, and so are missing in it.
    pub fn tally(&self, from: Timestamp, to: Timestamp) -> Tally {
        self.calendar.tally(from, to, &self.restarts)
    }

    /// When the workload was first seen.
    pub fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// Rollouts of the owner (changes of version) that were seen, and when the last one was.
    pub fn rollouts(&self) -> (u32, Option<Timestamp>) {
        (self.rollouts, self.last_rollout)
    }

    /// When this version of the program began, where a rollout of the owner was seen.
    pub fn version_since(&self) -> Option<Timestamp> {
        self.version_since
    }

    /// When any of its numbers last changed.
    pub fn last_change(&self) -> Option<Timestamp> {
        self.last_change
    }

    /// Changes of version in a row that made nothing worse for this probe.
    pub fn calm_changes(&self, seen: &Seen) -> u32 {
        seen.calm_changes(self.begun)
    }

    /// Replicas as declared.
    pub fn replicas(&self) -> u32 {
        self.replicas
    }

    /// The load that it was seen at.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// Since when the fullest of the nodes that its pods run on has been more than 90 % busy; `None` when none is, or
    /// when nobody has told for ten minutes.
    pub fn starved_since(&self, now: Timestamp) -> Option<(&Name, Timestamp)> {
        self.nodes
            .iter()
            .filter(|n| now.since(n.at) <= Span::MINUTE * 10)
            .filter(|n| self.pods.iter().any(|p| p.node.as_ref() == Some(&n.name)))
            .filter_map(|n| n.full_since.map(|since| (&n.name, since)))
            .min_by_key(|(_, since)| *since)
    }

    /// Since when a container was throttled in more than [`THROTTLED`] of its CPU periods on most of its pods, by whole
    /// hours and up to now; `None` where it is not, or where nobody knows.
    pub fn throttled_since(&self, container: &Name, now: Timestamp) -> Option<Timestamp> {
        self.load.throttled.iter().find(|t| t.container == *container)?.since(now, self.replicas)
    }

    /// What had no room.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Bytes held, heap included (shared names are not counted).
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.declared.capacity() * size_of::<(ProbeId, Settings)>()
            + self.probes.capacity() * size_of::<Seen>()
            + self.probes.iter().map(Seen::heap).sum::<usize>()
            + self.pods.capacity() * size_of::<PodState>()
            + self.pods.iter().map(PodState::heap).sum::<usize>()
            + self.restarts.capacity() * size_of::<RestartRecord>()
            + self.calendar.heap()
            + self.nodes.capacity() * size_of::<NodeHeat>()
            + self.load.heap()
    }
}
