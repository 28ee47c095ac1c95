//! Restarts: what ended a container's life, and in which company.

use super::load::LoadThen;
use super::seen::YEAR_SECONDS;
use crate::probe::{ProbeKind, Settings};
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Ended, ProbeId};

/// What ended a container's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its liveness probe failed often enough.
    LivenessKill,
    /// Its startup probe did.
    StartupKill,
    /// The out-of-memory killer.
    Oom,
    /// It exited with an error by itself.
    Crash,
    /// It exited with success by itself.
    Exit,
    /// Its node lost it (reboot, runtime restart).
    Node,
    /// Nothing tells.
    Unknown,
}

impl Cause {
    /// As our objects name it.
    pub const fn word(self) -> &'static str {
        match self {
            Cause::LivenessKill => "LivenessKill",
            Cause::StartupKill => "StartupKill",
            Cause::Oom => "OOMKilled",
            Cause::Crash => "Crash",
            Cause::Exit => "Exit",
            Cause::Node => "Node",
            Cause::Unknown => "Unknown",
        }
    }

    /// Whether a probe did it.
    pub const fn by_probe(self) -> bool {
        matches!(self, Cause::LivenessKill | Cause::StartupKill)
    }

    pub(super) const ALL: [Cause; 7] =
        [Cause::LivenessKill, Cause::StartupKill, Cause::Oom, Cause::Crash, Cause::Exit, Cause::Node, Cause::Unknown];
}

/// How the checks failed that led to a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failing {
    /// Events say: timeouts.
    Slow,
    /// Events say: refused, or a bad status at once.
    Fast,
    /// No event tells, or both kinds were told: it counts as both, and never makes a storm.
    Untold,
}

impl Failing {
    /// Whether it counts as timeouts.
    pub const fn slow(self) -> bool {
        matches!(self, Failing::Slow | Failing::Untold)
    }

    /// Whether it counts as refusals.
    pub const fn fast(self) -> bool {
        matches!(self, Failing::Fast | Failing::Untold)
    }
}

/// What the other replicas did within five minutes of a restart. A hang is lonely; a stall of the node or of a
/// dependency is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Company {
    /// Nothing was slow anywhere else.
    Alone,
    /// Some other replica answered slower than a second.
    Beside,
    /// Some other replica was restarted by a probe too, or failed for at least half the tolerance.
    Shared,
}

/// What other workloads on the node of a restart did within five minutes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeighboursThen {
    /// Some answered slower than a second, or failed.
    pub slow: bool,
    /// The chance of that by accident, `(0, 1]`.
    pub chance: f32,
}

/// One restart.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartRecord {
    /// When it became known.
    pub at: Timestamp,
    /// The pod.
    pub pod: Uid,
    /// Its name.
    pub pod_name: Name,
    /// Its node, where known.
    pub node: Option<Name>,
    /// The container.
    pub container: Name,
    /// What ended its life.
    pub cause: Cause,
    /// How sure that is, `[0, 1]`.
    pub confidence: f64,
    /// The settings of the probe that did it.
    pub settings: Option<Settings>,
    /// How its checks had failed.
    pub failing: Failing,
    /// What the other replicas did then.
    pub company: Company,
    /// It was slow again within [`RELAPSE`] of the restart: the restart cured nothing.
    pub relapsed: bool,
    /// It had been slow far more often than the others in the hours before.
    pub ailed: bool,
    /// What other workloads on its node did then; `None` where none are watched there, or nothing is known.
    pub neighbours: Option<NeighboursThen>,
    /// How long the life was that ended; `None` where unknown.
    pub lived: Option<Span>,
    /// How busy the node and the pod were then.
    pub load: LoadThen,
    /// What the rollouts since left of it as evidence of stalls, `[0, 1]`, as they did of all that was seen before them.
    pub kept: f32,
    /// Evidence's own first guess at the probability that it was false, `[0, 1]`: 1 in shared company, 0 for a sick
    /// replica, another cause or a startup kill, one half beside a slow replica, else 0.06. `model` refines it with the
    /// tail.
    pub weight: f64,
}

impl RestartRecord {
    /// What is the surer word about one death; the same for whoever compares.
    fn word(&self) -> impl Ord + use<> {
        let numbers = self.settings.map(|s| (s.period(), s.timeout(), s.threshold()));
        let load = [self.load.node, self.load.pod].map(|l| l.map(f32::to_bits));
        (self.confidence.to_bits(), self.cause, self.failing, numbers, self.lived, load)
    }

    /// Takes in what another record of the same death says of what happened around it.
    pub(super) fn around(&mut self, other: &RestartRecord) {
        self.relapsed |= other.relapsed;
        self.ailed |= other.ailed;
        self.company = self.company.max(other.company);
        self.kept = self.kept.min(other.kept);
        // That some were slow outweighs that others were well, and of two chances the smaller was counted longer.
        let says = |n: Option<NeighboursThen>| n.map(|n| (n.slow, std::cmp::Reverse(n.chance.to_bits())));
        if says(other.neighbours) > says(self.neighbours) {
            self.neighbours = other.neighbours;
        }
    }

    /// Joins two records of the same death: the surer word, and all that happened around it. In whichever order.
    pub(super) fn join(&mut self, mut other: RestartRecord) {
        if other.word() > self.word() {
            std::mem::swap(self, &mut other);
        }
        self.around(&other);
    }
}

/// Most restarts that are kept.
pub const RESTARTS: usize = 20;
/// Company is looked for this long before and after.
pub const COMPANY: Span = Span::from_nanos(300 * 1_000_000_000);
/// What a restart cured stays well for this long: a hang does, a node that stalls does not.
pub const RELAPSE: Span = Span::from_nanos(600 * 1_000_000_000);
/// This many restarts of one pod within [`SICK_WITHIN`], while the others are well, make it sick.
pub const SICK_RESTARTS: usize = 3;
/// See [`SICK_RESTARTS`].
pub const SICK_WITHIN: Span = Span::HOUR;

/// The probability that a lonely restart was false when nothing else is known: worked example 8 of the policy.
const LONELY: f64 = 0.06;

/// Whether the restart at `index` is one of a sick replica: three probe restarts of its pod within an hour around it,
/// and in that hour no restart of another pod and no shared company.
pub(super) fn sick(records: &[RestartRecord], index: usize) -> bool {
    let me = &records[index];
    let near = |r: &RestartRecord| r.cause.by_probe() && distance(r.at, me.at) <= SICK_WITHIN;
    if !me.cause.by_probe() || records.iter().any(|r| near(r) && (r.pod != me.pod || r.company == Company::Shared)) {
        return false;
    }
    // Records stand in order of time: some three in a row of this pod, this one among them or in their hour.
    (0..records.len()).any(|i| {
        let mut three = records[i..].iter().filter(|r| near(r)).take(SICK_RESTARTS);
        let first = three.next();
        let last = three.nth(SICK_RESTARTS - 2);
        matches!((first, last), (Some(first), Some(last)) if last.at.since(first.at) <= SICK_WITHIN)
    })
}

pub(super) fn distance(a: Timestamp, b: Timestamp) -> Span {
    a.since(b).max(b.since(a))
}

/// See [`RestartRecord::weight`].
pub(super) fn first_guess(records: &[RestartRecord], index: usize) -> f64 {
    let r = &records[index];
    match (r.cause, r.company) {
        (Cause::LivenessKill, _) if sick(records, index) => 0.0,
        (Cause::LivenessKill, Company::Shared) => 1.0,
        (Cause::LivenessKill, Company::Beside) => 0.5,
        (Cause::LivenessKill, Company::Alone) => LONELY,
        _ => 0.0,
    }
}

/// True faults of a pod a year that end in a restart by timeouts, where nothing is known yet.
pub const HANGS: f64 = 8.0;
/// The same by refusals.
pub const CRASHES: f64 = 4.0;
/// Pod-years after which a workload's own rate of true faults weighs as much as the usual one.
pub const KNOWN_YEARS: f64 = 0.25;
/// How much likelier a replica that had been ill alone for hours truly hung, where restarts cure that.
const AILED: f64 = 0.1;
/// The share of false restarts of which other workloads on the node feel the cause.
const NODES: f64 = 0.3;

impl RestartRecord {
    /// True faults of a pod a year that end as this one did, where nothing is known yet.
    pub(super) fn usual_faults(&self) -> f64 {
        if self.failing == Failing::Fast { CRASHES } else { HANGS }
    }

    /// How much likelier a false restart is to have come after such hours, and amid such neighbours, than a true one.
    /// `cured` says whether replicas that fall ill alone are cured by their restart.
    pub fn circumstances(&self, cured: bool) -> f64 {
        // It had been ill for hours, alone, and as with all before it the restart helped.
        let ailed = if cured && self.ailed && !self.relapsed { AILED } else { 1.0 };
        // What slowed other workloads on its node, too, was the node's.
        let neighbours = self.neighbours.map_or(1.0, |n| match (n.slow, f64::from(n.chance)) {
            (true, c) => (NODES + (1.0 - NODES) * c) / c,
            (false, _) => 1.0 - NODES,
        });
        ailed * neighbours
    }
}

/// The kills by a liveness probe.
pub(super) fn of_probe<'a>(
    restarts: &'a mut [RestartRecord],
    probe: &'a ProbeId,
) -> impl Iterator<Item = &'a mut RestartRecord> {
    let ours = |r: &&mut RestartRecord| r.cause == Cause::LivenessKill && r.container == probe.container;
    restarts.iter_mut().filter(move |r| probe.kind == ProbeKind::Liveness && ours(r))
}

/// The chance that another of so many pods truly breaks within [`COMPANY`] of one, at so many true faults a pod-year.
pub fn chance_of_another(pods: u32, faults: f64) -> f64 {
    -(-2.0 * COMPANY.as_secs_f64() * f64::from(pods.max(1)) * faults / YEAR_SECONDS).exp_m1()
}

/// Among whom a restart happened: so many pods, at so many true faults a pod-year that end as it did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Others {
    pub(super) pods: u32,
    pub(super) faults: f64,
}

/// The last word on a record that leaves the list: the first guess and all that became known since. `slow_start` is the
/// chance that a life begins slowly anyway.
pub(super) fn last_guess(record: &RestartRecord, cured: bool, slow_start: f64, others: Others) -> f64 {
    if record.weight <= 0.0 {
        return 0.0;
    }
    if record.company == Company::Shared {
        // Unless two truly broke at once.
        let c = chance_of_another(others.pods, others.faults);
        let odds = (0.5 + 0.5 * c) / c / others.faults;
        return odds / (1.0 + odds);
    }
    // One that another replica was slow beside is what it was first taken for: slowness of others and slowness that goes on
    // are the same thing seen twice.
    let relapse = match (record.company, record.relapsed) {
        (Company::Alone, true) => (0.5 + 0.5 * slow_start) / slow_start,
        (Company::Alone, false) => 0.5,
        _ => 1.0,
    };
    let first = record.weight.min(0.99);
    let circumstances = record.circumstances(cured) * record.usual_faults() / others.faults;
    let odds = first / (1.0 - first) * relapse * circumstances;
    odds / (1.0 + odds)
}

/// What the counters and statuses say of a container's end when no event named a probe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    /// Liveness checks that failed in a row at most just before, and the threshold, if it has such a probe.
    pub(super) liveness: Option<(u32, u32)>,
    /// It had not started, and lived at least as long as its startup probe allows.
    pub(super) overdue: bool,
}

/// The likeliest cause, and how sure it is. Sources: `containerStatuses.lastState` and `restartCount`; no status field
/// says "killed by a probe", so without the event the cause is a likelihood.
pub(super) fn infer(end: Option<&Ended>, signs: Signs) -> (Cause, f64) {
    let Some(end) = end else {
        return match signs.liveness {
            Some((failed, threshold)) if failed >= threshold => (Cause::LivenessKill, 0.7),
            _ => (Cause::Unknown, 0.0),
        };
    };
    // The runtime's counter of OOM kills is cumulative: with 143 or 0 an earlier kill of a child marks a later exit.
    let killed = matches!(end.code, 143 | 137 | 0);
    if &*end.reason == "OOMKilled" && end.code == 137 {
        return (Cause::Oom, 0.95);
    }
    if &*end.reason == "ContainerStatusUnknown" || end.code == 255 {
        return (Cause::Node, 0.9);
    }
    match signs {
        Signs { overdue: true, .. } if killed => (Cause::StartupKill, 0.8),
        Signs { liveness: Some((failed, threshold)), .. } if failed >= threshold => {
            (Cause::LivenessKill, if killed { 0.9 } else { 0.6 })
        }
        // The last check before the kill is often later than the last scrape.
        Signs { liveness: Some((failed, threshold)), .. } if killed && failed > 0 && failed + 1 >= threshold => {
            (Cause::LivenessKill, 0.7)
        }
        _ if end.code == 0 => (Cause::Exit, 0.8),
        _ if killed => (Cause::Unknown, 0.0),
        _ => (Cause::Crash, 0.9),
    }
}

/// Which probe kind's kill a cause is.
pub(super) const fn kill(kind: ProbeKind) -> Option<Cause> {
    match kind {
        ProbeKind::Liveness => Some(Cause::LivenessKill),
        ProbeKind::Startup => Some(Cause::StartupKill),
        ProbeKind::Readiness => None,
    }
}
