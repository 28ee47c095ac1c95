//! What a workload says of itself: declarations, pods, scrapes, events, usage, as a daemon would come to know them.
//!
//! What is lost on the way is lost here: scrapes, events beyond the kubelet's rate limit, fractions of seconds.

use super::chance::Chance;
use super::setup::{Losses, Node, Setup};
use super::slot::Slot;
use crate::observation::{Fact, FailureClass, Observation, Sample, Usage};
use crate::policy::Permission;
use crate::probe::{Handler, ProbeKind, Settings};
use crate::units::{NANOS, Name, Span, Timestamp, Uid};
use crate::workload::{Address, Container, Pod, Probe, ProbeId, Unpatchable, Workload};

/// Burst of the kubelet's event rate limit, a pod.
const BURST: f64 = 25.0;
/// Seconds until it lets one more event pass.
const REFILL: f64 = 300.0;

/// The event rate limit of one pod, and what it holds back.
struct Bucket {
    pod: Uid,
    tokens: f64,
    at: i64,
    /// Failures not told yet: slow, fast.
    held: [u32; 2],
}

impl Bucket {
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
    probe: ProbeId,
    chance: Chance,
    buckets: Vec<Bucket>,
    /// Facts whose moment has not come, or that are not yet in order.
    later: Vec<Observation>,
}

impl Voice {
    pub(super) fn new(setup: &Setup) -> Voice {
        let bucket = |_| Bucket { pod: Uid::from_bits(0), tokens: BURST, at: 0, held: [0; 2] };
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
            probe: ProbeId { container: "app".into(), kind: ProbeKind::Liveness },
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
            let pod = self.describe(slot, true, true);
            facts.push(Observation { at, fact: Fact::Pod(Box::new(pod)) });
        }
    }

    pub(super) fn declare(&self, generation: i64, version: u64, settings: Settings, rolling: bool) -> Workload {
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
            probes: vec![self.probe(settings)],
            permission: self.permission.clone(),
            unpatchable,
        }
    }

    fn probe(&self, settings: Settings) -> Probe {
        Probe { id: self.probe.clone(), handler: self.handler, settings, initial_delay: Span::ZERO }
    }

    fn describe(&self, slot: &Slot, started: bool, ready: bool) -> Pod {
        let whole = |nanos: i64| Timestamp::from_seconds(nanos.div_euclid(NANOS));
        Pod {
            uid: slot.uid,
            name: slot.name.clone(),
            workload: self.uid,
            node: self.nodes.get(slot.node).map(|n| n.name.clone()),
            probes: vec![self.probe(slot.worker.settings)],
            containers: vec![Container {
                name: self.probe.container.clone(),
                running_since: Some(whole(slot.started)),
                ready,
                started,
                restarts: slot.restarts,
                last_end: slot.last_end.clone(),
            }],
            terminating: false,
            created: whole(slot.created),
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

    pub(super) fn pod(&mut self, slot: &Slot, at: i64, started: bool, ready: bool) {
        if self.listen {
            let pod = self.describe(slot, started, ready);
            self.say(at, Fact::Pod(Box::new(pod)));
        }
    }

    /// The container has ended and is not started yet.
    pub(super) fn pod_down(&mut self, slot: &Slot, at: i64) {
        if self.listen {
            let mut pod = self.describe(slot, false, false);
            for container in &mut pod.containers {
                container.running_since = None;
            }
            self.say(at, Fact::Pod(Box::new(pod)));
        }
    }

    pub(super) fn pod_created(&mut self, uid: Uid, name: Name, node: usize, settings: Settings, created: i64) {
        if !self.listen {
            return;
        }
        let at = Timestamp::from_seconds(created.div_euclid(NANOS));
        let pod = Pod {
            uid,
            name,
            workload: self.uid,
            node: self.nodes.get(node).map(|n| n.name.clone()),
            probes: vec![self.probe(settings)],
            containers: vec![Container {
                name: self.probe.container.clone(),
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

    fn bucket(&mut self, slot: &Slot, i: usize) -> &mut Bucket {
        let bucket = &mut self.buckets[i];
        if bucket.pod != slot.uid {
            *bucket = Bucket { pod: slot.uid, tokens: BURST, at: 0, held: [0; 2] };
        }
        bucket
    }

    pub(super) fn unhealthy(&mut self, slot: &Slot, i: usize, timed_out: bool, at: i64) {
        if !self.listen {
            return;
        }
        let lost = self.losses.events > 0.0 && self.chance.unit() < self.losses.events;
        let bucket = self.bucket(slot, i);
        let kind = usize::from(!timed_out);
        bucket.held[kind] += 1;
        if lost || !bucket.take(at) {
            return;
        }
        let count = std::mem::take(&mut bucket.held[kind]);
        let class = if timed_out { FailureClass::Slow } else { FailureClass::Fast };
        let (pod, container) = (slot.uid, self.probe.container.clone());
        self.say(at, Fact::Unhealthy { pod, container, kind: ProbeKind::Liveness, class, count });
    }

    pub(super) fn killing(&mut self, slot: &Slot, i: usize, at: i64) {
        if !self.listen {
            return;
        }
        let lost = self.losses.events > 0.0 && self.chance.unit() < self.losses.events;
        if self.bucket(slot, i).take(at) && !lost {
            let (pod, container) = (slot.uid, self.probe.container.clone());
            self.say(at, Fact::Killing { pod, container, kind: ProbeKind::Liveness });
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
    pub(super) fn scrape(&mut self, slots: &[Slot], probe: &ProbeId, at: i64, facts: &mut Vec<Observation>) {
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
        for slot in slots {
            let counters = slot.counters;
            // The series begins with the first check that counts.
            if counters.successful + counters.failed > 0 && !missed.contains(&slot.node) {
                facts.push(Observation {
                    at,
                    fact: Fact::Sample(Sample { pod: slot.uid, probe: probe.clone(), counters }),
                });
            }
        }
    }

    /// What the pods used over the last minute.
    pub(super) fn usage(&mut self, slots: &[Slot], cores: f64, at: i64, facts: &mut Vec<Observation>) {
        let until = Timestamp::from_nanos(at);
        for slot in slots {
            let usage = Usage { until, cores, working_set: 256 << 20 };
            facts.push(Observation { at: until, fact: Fact::PodUsage { pod: slot.uid, usage } });
        }
    }
}
