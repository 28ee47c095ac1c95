//! What a workload says of itself: declarations, pods, scrapes, events, usage, as a daemon would come to know them.
//!
//! What is lost on the way is lost here: scrapes, events beyond the kubelet's rate limit, fractions of seconds.

use super::chance::Chance;
use super::numbers::Numbers;
use super::pod::{Asker, Pod};
use super::setup::{Losses, Node, Setup};
use super::slot::{Place, Slot};
use crate::observation::{Fact, FailureClass, Observation, Sample, Usage};
use crate::policy::Permission;
use crate::probe::{Handler, ProbeKind, Settings};
use crate::units::{NANOS, Name, Span, Timestamp, Uid};
use crate::workload::{Address, Container, Pod as Described, Probe, ProbeId, Unpatchable, Workload};

/// Burst of the kubelet's event rate limit, a pod.
const BURST: f64 = 25.0;
/// Seconds until it lets one more event pass.
const REFILL: f64 = 300.0;

/// The event rate limit of one pod, and what it holds back.
struct Bucket {
    pod: Uid,
    tokens: f64,
    at: i64,
    /// Failures not told yet, by kind: slow, fast.
    held: [[u32; 2]; 3],
}

impl Bucket {
    fn of(pod: Uid) -> Bucket {
        Bucket { pod, tokens: BURST, at: 0, held: [[0; 2]; 3] }
    }

    fn take(&mut self, at: i64) -> bool {
        let passed = (at - self.at) as f64 / 1e9;
        self.tokens = (self.tokens + passed / REFILL).min(BURST);
        self.at = at;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return true;
        }
        false
    }
}

/// Where facts are made.
pub(super) struct Voice {
    listen: bool,
    introduced: bool,
    uid: Uid,
    address: Address,
    replicas: u32,
    handler: Handler,
    permission: Permission,
    unpatchable: Vec<Unpatchable>,
    nodes: Vec<Node>,
    losses: Losses,
    container: Name,
    chance: Chance,
    /// Of the pod in each slot, and of the one that is to take over.
    buckets: Vec<[Bucket; 2]>,
    /// Facts whose moment has not come, or that are not yet in order.
    later: Vec<Observation>,
}

impl Voice {
    pub(super) fn new(setup: &Setup) -> Voice {
        let bucket = |_| [0, 1].map(|_| Bucket::of(Uid::from_bits(0)));
        Voice {
            listen: setup.listen,
            introduced: false,
            uid: setup.uid,
            address: setup.address.clone(),
            replicas: setup.replicas,
            handler: setup.nature.handler,
            permission: setup.permission.clone(),
            unpatchable: setup.unpatchable.clone(),
            nodes: setup.nodes.clone(),
            losses: setup.losses,
            container: "app".into(),
            chance: Chance::new(setup.seed, "losses", 0),
            buckets: (0..setup.replicas).map(bucket).collect(),
            later: Vec::new(),
        }
    }

    pub(super) fn introduced(&self) -> bool {
        self.introduced
    }

    /// The workload and its pods, as a daemon finds them at its start.
    pub(super) fn introduce(&mut self, workload: &Workload, slots: &[Slot], at: i64, facts: &mut Vec<Observation>) {
        self.introduced = true;
        let at = Timestamp::from_nanos(at);
        facts.push(Observation { at, fact: Fact::Workload(Box::new(workload.clone())) });
        for slot in slots {
            let pod = self.describe(&slot.pod, slot.node, true, true);
            facts.push(Observation { at, fact: Fact::Pod(Box::new(pod)) });
        }
    }

    pub(super) fn declare(&self, generation: i64, version: u64, numbers: Numbers, rolling: bool) -> Workload {
        let mut unpatchable = self.unpatchable.clone();
        if rolling {
            unpatchable.push(Unpatchable::Progressing);
        }
        Workload {
            sidecars: Vec::new(),
            uid: self.uid,
            address: self.address.clone(),
            generation,
            replicas: self.replicas,
            version,
            probes: self.probes(numbers.declared()),
            permission: self.permission.clone(),
            unpatchable,
        }
    }

    fn probes(&self, declared: impl Iterator<Item = (ProbeKind, Settings)>) -> Vec<Probe> {
        let id = |kind| ProbeId { container: self.container.clone(), kind };
        declared
            .map(|(kind, settings)| Probe { id: id(kind), handler: self.handler, settings, initial_delay: Span::ZERO })
            .collect()
    }

    fn describe(&self, pod: &Pod, node: usize, started: bool, ready: bool) -> Described {
        let whole = |nanos: i64| Timestamp::from_seconds(nanos.div_euclid(NANOS));
        Described {
            uid: pod.uid,
            name: pod.name.clone(),
            workload: self.uid,
            node: self.nodes.get(node).map(|n| n.name.clone()),
            probes: self.probes(pod.askers().map(|a| (a.kind, a.worker.settings))),
            containers: vec![Container {
                name: self.container.clone(),
                running_since: Some(whole(pod.running)),
                ready,
                started,
                restarts: pod.restarts,
                last_end: pod.last_end.clone(),
            }],
            terminating: false,
            created: whole(pod.created),
            ready,
        }
    }

    fn say(&mut self, at: i64, fact: Fact) {
        self.later.push(Observation { at: Timestamp::from_nanos(at), fact });
    }

    pub(super) fn workload(&mut self, workload: Workload, at: i64) {
        if self.listen {
            self.say(at, Fact::Workload(Box::new(workload)));
        }
    }

    pub(super) fn pod(&mut self, pod: &Pod, node: usize, at: i64, started: bool, ready: bool) {
        if self.listen {
            let pod = self.describe(pod, node, started, ready);
            self.say(at, Fact::Pod(Box::new(pod)));
        }
    }

    /// The container has ended and is not started yet.
    pub(super) fn pod_down(&mut self, pod: &Pod, node: usize, at: i64) {
        if self.listen {
            let mut pod = self.describe(pod, node, false, false);
            for container in &mut pod.containers {
                container.running_since = None;
            }
            self.say(at, Fact::Pod(Box::new(pod)));
        }
    }

    pub(super) fn pod_created(&mut self, (uid, name): (Uid, Name), node: usize, numbers: Numbers, created: i64) {
        if !self.listen {
            return;
        }
        let at = Timestamp::from_seconds(created.div_euclid(NANOS));
        let pod = Described {
            uid,
            name,
            workload: self.uid,
            node: self.nodes.get(node).map(|n| n.name.clone()),
            probes: self.probes(numbers.declared()),
            containers: vec![Container {
                name: self.container.clone(),
                running_since: None,
                ready: false,
                started: false,
                restarts: 0,
                last_end: None,
            }],
            terminating: false,
            created: at,
            ready: false,
        };
        self.say(created, Fact::Pod(Box::new(pod)));
    }

    /// The pod that was to take a slot over has done so.
    pub(super) fn taken_over(&mut self, i: usize) {
        self.buckets[i].swap(0, 1);
    }

    pub(super) fn pod_gone(&mut self, pod: Uid, at: i64) {
        if self.listen {
            // What was foreseen of a pod that is gone does not happen.
            let moment = Timestamp::from_nanos(at);
            self.later.retain(|o| !(o.at >= moment && matches!(&o.fact, Fact::Pod(p) if p.uid == pod)));
            self.say(at, Fact::PodGone(pod));
        }
    }

    pub(super) fn missed(&mut self, node: usize, at: i64) {
        if let Some(node) = self.nodes.get(node).filter(|_| self.listen) {
            let name = node.name.clone();
            self.say(at, Fact::ScrapeMissed(name));
        }
    }

    fn bucket(&mut self, pod: Uid, i: usize, place: Place) -> &mut Bucket {
        let bucket = &mut self.buckets[i][usize::from(place == Place::Next)];
        if bucket.pod != pod {
            *bucket = Bucket::of(pod);
        }
        bucket
    }

    /// A check of the pod in a place of a slot has failed.
    pub(super) fn unhealthy(
        &mut self,
        (pod, i, place): (Uid, usize, Place),
        kind: ProbeKind,
        timed_out: bool,
        at: i64,
    ) {
        if !self.listen {
            return;
        }
        let lost = self.losses.events > 0.0 && self.chance.unit() < self.losses.events;
        let bucket = self.bucket(pod, i, place);
        let (probe, how) = (kind as usize, usize::from(!timed_out));
        bucket.held[probe][how] += 1;
        if lost || !bucket.take(at) {
            return;
        }
        let count = std::mem::take(&mut bucket.held[probe][how]);
        let class = if timed_out { FailureClass::Slow } else { FailureClass::Fast };
        let container = self.container.clone();
        self.say(at, Fact::Unhealthy { pod, container, kind, class, count });
    }

    pub(super) fn killing(&mut self, (pod, i, place): (Uid, usize, Place), kind: ProbeKind, at: i64) {
        if !self.listen {
            return;
        }
        let lost = self.losses.events > 0.0 && self.chance.unit() < self.losses.events;
        if self.bucket(pod, i, place).take(at) && !lost {
            let container = self.container.clone();
            self.say(at, Fact::Killing { pod, container, kind });
        }
    }

    /// Hands over what has become known by `until`, in the order of time.
    pub(super) fn flush(&mut self, until: i64, facts: &mut Vec<Observation>) {
        if self.later.is_empty() {
            return;
        }
        let until = Timestamp::from_nanos(until);
        self.later.sort_by_key(|o| o.at);
        let known = self.later.partition_point(|o| o.at <= until);
        facts.extend(self.later.drain(..known));
    }

    /// Every node's kubelet is read.
    pub(super) fn scrape(&mut self, slots: &[Slot], at: i64, facts: &mut Vec<Observation>) {
        let at = Timestamp::from_nanos(at);
        let mut missed = Vec::new();
        if self.losses.scrapes > 0.0 {
            for (node, i) in self.nodes.iter().zip(0..) {
                if self.chance.unit() < self.losses.scrapes {
                    missed.push(i);
                    facts.push(Observation { at, fact: Fact::ScrapeMissed(node.name.clone()) });
                }
            }
        }
        for slot in slots.iter().filter(|s| !missed.contains(&s.node)) {
            for (_, pod) in slot.pods() {
                for Asker { kind, counters, .. } in pod.askers() {
                    // The series begins with the first check that counts.
                    if counters.successful + counters.failed > 0 {
                        let probe = ProbeId { container: self.container.clone(), kind: *kind };
                        let sample = Sample { pod: pod.uid, probe, counters: *counters };
                        facts.push(Observation { at, fact: Fact::Sample(sample) });
                    }
                }
            }
        }
    }

    /// What the pods used over the last minute.
    pub(super) fn usage(&mut self, slots: &[Slot], cores: f64, at: i64, facts: &mut Vec<Observation>) {
        let until = Timestamp::from_nanos(at);
        for slot in slots {
            let usage = Usage { until, cores, working_set: 256 << 20 };
            facts.push(Observation { at: until, fact: Fact::PodUsage { pod: slot.pod.uid, usage } });
        }
    }
}
