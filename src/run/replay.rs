//! The daemon's engine on a recorded trace: what each scrape tells of the replicas becomes facts, and what the engine
//! decides becomes the replay's next numbers.
//!
//! It is told no more than a daemon would be: counters, events that part timeouts from refusals, restarts, load. A trace
//! has no owner who rolls out, so numbers that wait for the owner's next rollout are taken as soon as they stand; in a
//! replay neither costs anything but a count. The warm-up after a daemon's own start is no part of a trace.

use crate::change::Outcome;
use crate::engine::{Engine, Rules};
use crate::observation::{Fact, FailureClass, Observation, Sample, Usage};
use crate::plan::Limits;
use crate::policy::Permission;
use crate::probe::{Handler, ProbeKind, Settings};
use crate::replay::{Kind, Options, Replica, Scrape};
use crate::sim::{MONDAY, allow_all};
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Address, Container, Ended, Pod, Probe, ProbeId, Workload, WorkloadKind};

/// An engine that watches the replicas of a trace.
#[derive(Debug)]
pub struct OnTrace {
    engine: Engine,
    kind: ProbeKind,
    permission: Permission,
    settings: Settings,
    generation: i64,
    /// Since when the present numbers run: what the kubelets' counters count from.
    last: Vec<Replica>,
    /// Of each replica.
    pods: Vec<Uid>,
    next_pod: u128,
    /// The trace's beginning: a history that came before moves it on.
    origin: Timestamp,
    now: Timestamp,
    history: bool,
}

const WORKLOAD: Uid = Uid::from_bits(1);

impl OnTrace {
    /// An engine for one trace (and the history before it) as it is played with these options.
    pub fn new(options: &Options) -> Self {
        let kind = match options.kind {
            Kind::Liveness => ProbeKind::Liveness,
            Kind::Readiness => ProbeKind::Readiness,
        };
        let rules = Rules { limits: Limits { warm_up: Span::ZERO, ..Limits::default() }, ..Rules::default() };
        let mut engine = Engine::new(rules, MONDAY);
        engine.observe(Observation { at: MONDAY, fact: Fact::Fence { holds: true } });
        let permission = Permission { probes: vec![kind], false_restart_budget: options.budget, ..allow_all() };
        OnTrace {
            engine,
            kind,
            permission,
            settings: options.start,
            generation: 0,
            last: Vec::new(),
            pods: Vec::new(),
            next_pod: 1,
            origin: MONDAY,
            now: MONDAY,
            history: false,
        }
    }

    /// Takes a scrape and answers with new numbers and why, or none.
    pub fn scrape(&mut self, scrape: &Scrape<'_>) -> Option<(Settings, String)> {
        if self.pods.len() != scrape.replicas.len()
            || self.settings != scrape.settings
            || self.history != scrape.history
        {
            if self.history != scrape.history || self.now < self.origin + scrape.at - Span::SECOND * 15 {
                // The history is over: the trace begins where it ended.
                self.origin = self.now;
            }
            self.history = scrape.history;
            self.begin(scrape.settings, scrape.replicas);
        }
        self.now = self.origin + scrape.at;
        self.load(scrape.node_cpu);
        for (i, replica) in scrape.replicas.iter().enumerate() {
            self.replica(i, *replica);
        }
        self.decide()
    }

    /// Pods that run these numbers, new ones: as after a rollout.
    fn begin(&mut self, settings: Settings, replicas: &[Replica]) {
        for pod in std::mem::take(&mut self.pods) {
            self.tell(Fact::PodGone(pod));
        }
        self.settings = settings;
        self.generation += 1;
        let workload = self.workload(replicas.len());
        self.tell(Fact::Workload(Box::new(workload)));
        // A check in flight at the change ended under the numbers before: what it led to is none of the new pods' doing.
        self.last = replicas.iter().map(|r| Replica { restarts: r.restarts, ..Replica::default() }).collect();
        for i in 0..replicas.len() {
            self.next_pod += 1;
            self.pods.push(Uid::from_bits(self.next_pod));
            self.tell_pod(i, None);
        }
    }

    fn load(&mut self, node_cpu: Option<f64>) {
        let Some(share) = node_cpu else { return };
        let usage = Usage { until: self.now, cores: share, working_set: 0 };
        self.tell(Fact::NodeUsage { node: "trace".into(), usage, allocatable_cores: Some(1.0) });
    }

    fn replica(&mut self, i: usize, replica: Replica) {
        let (pod, before) = (self.pods[i], std::mem::replace(&mut self.last[i], replica));
        let container: Name = "app".into();
        let slow = replica.timed_out.saturating_sub(before.timed_out);
        let fast = replica.counters.failed.saturating_sub(before.counters.failed).saturating_sub(slow);
        for (class, n) in [(FailureClass::Slow, slow), (FailureClass::Fast, fast)] {
            if n > 0 {
                let count = u32::try_from(n).unwrap_or(u32::MAX);
                self.tell(Fact::Unhealthy { pod, container: container.clone(), kind: self.kind, class, count });
            }
        }
        if replica.restarts > before.restarts {
            self.tell(Fact::Killing { pod, container: container.clone(), kind: self.kind });
            self.tell_pod(i, Some(replica.restarts));
        }
        let probe = ProbeId { container, kind: self.kind };
        self.tell(Fact::Sample(Sample { pod, probe, counters: replica.counters }));
    }

    fn decide(&mut self) -> Option<(Settings, String)> {
        if self.history {
            // Only looked at: a plan that nobody carries out would count as one that somebody undid.
            return None;
        }
        let turn = self.engine.turn(self.now);
        if let Some(change) = turn.changes.into_iter().next() {
            let outcome = Outcome::Applied { generation: self.generation + 1 };
            self.tell(Fact::Outcome { workload: WORKLOAD, change: change.id, outcome });
            let step = change.steps.first()?;
            return Some((step.to, change.message));
        }
        let (_, to) = self.engine.riding(WORKLOAD, self.now).into_iter().next()?;
        let told = self.engine.explain(WORKLOAD, self.now).into_iter().next();
        (to != self.settings).then(|| (to, told.map_or_else(String::new, |e| e.judgement.message)))
    }

    fn tell(&mut self, fact: Fact) {
        self.engine.observe(Observation { at: self.now, fact });
    }

    fn probes(&self) -> Vec<Probe> {
        let id = ProbeId { container: "app".into(), kind: self.kind };
        vec![Probe { id, handler: Handler::Http, settings: self.settings, initial_delay: Span::ZERO }]
    }

    fn workload(&self, replicas: usize) -> Workload {
        Workload {
            uid: WORKLOAD,
            address: Address { namespace: "trace".into(), kind: WorkloadKind::Deployment, name: "trace".into() },
            generation: self.generation,
            replicas: u32::try_from(replicas).unwrap_or(u32::MAX),
            version: 1,
            probes: self.probes(),
            permission: self.permission.clone(),
            sidecars: Vec::new(),
            unpatchable: Vec::new(),
        }
    }

    fn tell_pod(&mut self, i: usize, restarts: Option<u64>) {
        let ended = Ended { code: 137, reason: "Error".into(), started: None, finished: Some(self.now) };
        let pod = Pod {
            uid: self.pods[i],
            name: format!("trace-{i}").into(),
            workload: WORKLOAD,
            node: Some("trace".into()),
            probes: self.probes(),
            containers: vec![Container {
                name: "app".into(),
                running_since: Some(self.now),
                ready: true,
                started: true,
                restarts: restarts.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
                last_end: restarts.map(|_| ended),
            }],
            terminating: false,
            created: self.now,
            ready: true,
        };
        self.tell(Fact::Pod(Box::new(pod)));
    }
}
