//! What a simulated workload is made of, before it lives.

use super::chance::child;
use super::family::{Family, Nature};
use super::numbers::Numbers;
use super::recording::Recording;
use crate::policy::{Bounds, Mode, Permission};
use crate::probe::{ProbeKind, Settings};
use crate::units::{Name, PerPodYear, Timestamp, Uid};
use crate::workload::{Address, Unpatchable, WorkloadKind};

/// Where virtual time begins unless told: Monday, 5 January 2026, 00:00 UTC. Load knows the day of the week.
pub const MONDAY: Timestamp = Timestamp::from_seconds(1_767_571_200);

/// A node. Those who share its seed share its weather.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name.
    pub name: Name,
    /// Seed of what happens on it.
    pub seed: u64,
}

impl Node {
    /// So many nodes of one cluster: `node-0`, `node-1`, …
    pub fn several(seed: u64, nodes: u32) -> Vec<Node> {
        let node = |n| Node { name: format!("node-{n}").into(), seed: child(seed, "node", u64::from(n)) };
        (0..nodes).map(node).collect()
    }
}

/// What is lost between the world and who listens to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Chance that a node's scrape is missed.
    pub scrapes: f64,
    /// Chance that an event is lost, beyond the kubelet's own rate limit (25, then one per 300 s and pod).
    pub events: f64,
    /// Restarts of each node's kubelet a day: counters and counts of failures begin anew, at another phase.
    pub kubelet_restarts: f64,
}

impl Losses {
    /// What a cluster on an ordinary day loses: 2 % of the scrapes, 20 % of the events, each kubelet restarted once a
    /// week.
    pub const USUAL: Losses = Losses { scrapes: 0.02, events: 0.2, kubelet_restarts: 1.0 / 7.0 };
}

/// One workload to be.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Identity.
    pub uid: Uid,
    /// Where it is found.
    pub address: Address,
    /// Seed of all that happens to it alone.
    pub seed: u64,
    /// What kind of workload it is.
    pub nature: Nature,
    /// A recording that gives its latency, in place of the nature's; stalls and refusals come on top.
    pub recording: Option<Recording>,
    /// How many replicas; at least 1.
    pub replicas: u32,
    /// The numbers of its liveness probe that it starts with.
    pub settings: Settings,
    /// The same of its readiness probe; `None`: it has none, and is ready while it serves.
    pub readiness: Option<Settings>,
    /// The same of its startup probe; `None`: it has none, and nothing is asked of it before it serves.
    pub startup: Option<Settings>,
    /// When it starts.
    pub start: Timestamp,
    /// How long the run is: its middle is where [`super::Twist::Shift`] happens.
    pub days: f64,
    /// Replica i runs on node `i mod n`; at least one.
    pub nodes: Vec<Node>,
    /// Loud neighbours a node and day, beyond the nature's own.
    pub loud_a_day: f64,
    /// What its owners allow.
    pub permission: Permission,
    /// What forbids a patch of it throughout.
    pub unpatchable: Vec<Unpatchable>,
    /// What is lost on the way.
    pub losses: Losses,
    /// Whether anybody listens; if not, no fact is made, and quiet stretches are skipped. What happens is the same.
    pub listen: bool,
}

impl Setup {
    /// Five replicas of a family on five nodes, allowed everything for every probe that it has, at the family's own numbers, heard by nobody.
    pub fn new(family: Family, seed: u64, days: f64) -> Setup {
        Setup::of(family.name(), family.nature(seed), seed, days)
    }

    /// Likewise, of any nature.
    pub fn of(name: &str, nature: Nature, seed: u64, days: f64) -> Setup {
        let seed = child(seed, name, 0);
        let mut permission = allow_all();
        let declared = [(ProbeKind::Readiness, nature.readiness), (ProbeKind::Startup, nature.startup)];
        permission.probes.extend(declared.into_iter().filter_map(|(kind, numbers)| numbers.map(|_| kind)));
        Setup {
            uid: Uid::from_bits(u128::from(child(seed, "uid", 0)) << 64),
            address: Address { namespace: "sim".into(), kind: WorkloadKind::Deployment, name: name.into() },
            seed,
            settings: nature.own,
            readiness: nature.readiness,
            startup: nature.startup,
            nature,
            recording: None,
            replicas: 5,
            start: MONDAY,
            days,
            nodes: Node::several(seed, 5),
            loud_a_day: 0.0,
            permission,
            unpatchable: Vec::new(),
            losses: Losses::default(),
            listen: false,
        }
    }

    /// The numbers that it starts with.
    pub(super) fn numbers(&self) -> Numbers {
        Numbers { liveness: self.settings, readiness: self.readiness, startup: self.startup }
    }
}

/// A permission to do everything for liveness probes within the fence, at a budget of one false restart a pod-year and
/// the usual price of a rollout.
pub fn allow_all() -> Permission {
    Permission {
        mode: Mode::Auto,
        skip: None,
        freeze_until: None,
        containers: None,
        probes: vec![ProbeKind::Liveness],
        false_restart_budget: PerPodYear::new(1.0).expect("one is finite and not negative"),
        detect_within: None,
        bounds: Bounds::FENCE,
        window: None,
        rollout_price: super::truth::OWN_ROLLOUT,
        approvals: false,
        protected: false,
        paused: false,
        unreadable: Vec::new(),
    }
}
