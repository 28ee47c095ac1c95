//! The facts as they come in.

use super::life::SETTLES;
use super::pods::PodState;
use super::restart;
use super::seen::Seen;
use super::shadow::Shadow;
use super::table::{Edge, OUTAGE_SECONDS};
use super::throttle::Quota;
use super::watch::{Beginning, PodProbe, Said};
use super::{Evidence, FULL, MAX_NODES, MAX_PODS, MAX_PROBES, NodeHeat};
use crate::observation::{FailureClass, Sample, Throttling, Usage};
use crate::probe::{Handler, ProbeKind};
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Pod, ProbeId, Workload};

/// A pod seen this soon after it was created began under our eyes.
const YOUNG: Span = Span::from_nanos(120 * 1_000_000_000);
/// Slow runs of one replica in the last hours from which it may be sick.
const SICK_RUNS: u32 = 5;

impl Evidence {
    /// The workload as it is declared now. A changed `version` is a rollout of the owner; changed numbers under the
    /// same version are a change of numbers by whomever.
    pub fn workload(&mut self, at: Timestamp, w: &Workload) {
        self.tick(at);
        self.replicas = w.replicas;
        let same = self.declared.len() == w.probes.len()
            && self.declared.iter().zip(&w.probes).all(|((id, s), p)| *id == p.id && *s == p.settings);
        match self.version {
            None => {
                self.first = self.first.or(Some(at));
                self.version = Some(w.version);
            }
            Some(version) => {
                if version != w.version {
                    self.rollout(at);
                    self.version = Some(w.version);
                }
                if !same {
                    self.last_change = Some(at);
                }
            }
        }
        if !same {
            self.declared = w.settings();
        }
        for p in &w.probes {
            self.probe_index(&p.id, p.handler);
        }
        self.last_fact = self.last_fact.max(Some(at));
    }

    fn rollout(&mut self, at: Timestamp) {
        let (begun, since) = (self.begun, self.version_since);
        for seen in &mut self.probes {
            seen.decay_to(at);
            let (before, this) = seen.rollout(begun);
            for record in restart::of_probe(&mut self.restarts, &seen.id) {
                record.kept *= if since.is_some_and(|since| record.at < since) { before } else { this };
            }
        }
        // Nobody knows when between the last fact and this one the new version began.
        self.version_since = Some(self.last_fact.map_or(at, |t| t.min(at)));
        self.begun = true;
        self.rollouts = self.rollouts.saturating_add(1);
        self.last_rollout = Some(at);
        self.pods.iter_mut().for_each(|p| p.present = false);
    }

    /// Goes on from what was known before: `older` takes the place of what was gathered since the watching began, and the
    /// pods that are watched stay watched. Of the restarts since, those later than the last fact of `older` are kept; of a
    /// death that both recorded, the record that knows more.
    pub fn resume(&mut self, at: Timestamp, older: Evidence, w: &Workload) {
        let live = std::mem::replace(self, older);
        let known_until = self.last_fact;
        self.workload(at, w);
        self.levels = live.levels;
        self.nodes = live.nodes;
        self.dropped = live.dropped;
        self.pods = live.pods;
        let mut places = Vec::with_capacity(live.probes.len());
        for seen in &live.probes {
            places.push(self.probe_index(seen.id(), seen.handler()));
        }
        for pod in &mut self.pods {
            // A probe for which there is no room is not watched.
            pod.probes.retain_mut(|p| match places.get(p.probe).copied().flatten() {
                Some(place) => {
                    p.probe = place;
                    true
                }
                None => false,
            });
        }
        self.resume_restarts(at, live.restarts, known_until);
        self.last_fact = self.last_fact.max(live.last_fact);
    }

    /// Our own rollout was applied.
    pub fn changed_by_us(&mut self, at: Timestamp) {
        self.tick(at);
        self.last_change = self.last_change.max(Some(at));
    }

    /// A pod as it is now.
    pub fn pod(&mut self, at: Timestamp, pod: &Pod) {
        self.tick(at);
        self.last_fact = self.last_fact.max(Some(at));
        let index = match self.pods.binary_search_by_key(&pod.uid, |p| p.uid) {
            Ok(i) => i,
            Err(i) => {
                if self.pods.len() >= MAX_PODS {
                    self.dropped.pods = self.dropped.pods.saturating_add(1);
                    return;
                }
                // Creation times are whole seconds, rounded down.
                let present = self.version_since.is_none_or(|since| pod.created + Span::SECOND > since);
                self.pods.insert(i, PodState::new(at, pod, present));
                self.learn_lives(i, pod);
                i
            }
        };
        self.level(index, false);
        let known = &mut self.pods[index];
        known.node.clone_from(&pod.node);
        known.ready = pod.ready;
        if pod.terminating && !known.terminating {
            known.terminating = true;
            known.probes.iter_mut().for_each(PodProbe::forget_runs);
        }
        self.learn_probes(at, index, pod);
        for container in &pod.containers {
            self.container(at, index, container);
        }
        self.level(index, true);
    }

    /// Counts a pod in or out of those that are there.
    fn level(&mut self, index: usize, in_or_out: bool) {
        let pod = &self.pods[index];
        if pod.terminating || (!pod.counted && !in_or_out) {
            return;
        }
        let (there, unready) = (1, u32::from(!pod.ready));
        let (pods, not_ready) = self.levels;
        self.levels = if in_or_out {
            (pods + there, not_ready + unready)
        } else {
            (pods.saturating_sub(there), not_ready.saturating_sub(unready))
        };
        self.pods[index].counted = in_or_out;
    }

    fn learn_probes(&mut self, at: Timestamp, index: usize, pod: &Pod) {
        for p in &pod.probes {
            match self.pods[index].find(&p.id.container, p.id.kind) {
                Some(known) if known.settings == p.settings => {}
                Some(known) => {
                    known.forget_runs();
                    known.settings = p.settings;
                }
                None => {
                    let Some(probe) = self.probe_index(&p.id, p.handler) else { continue };
                    let name = self.probes[probe].id().container.clone();
                    let mut new = PodProbe::new(probe, name, p.id.kind, p.settings, p.initial_delay);
                    if at.since(pod.created) <= YOUNG {
                        new.beginning = Some(Beginning { since: at, after_kill: false, answers: (0, 0), cured: false });
                    }
                    self.pods[index].probes.push(new);
                }
            }
        }
    }

    fn probe_index(&mut self, id: &ProbeId, handler: Handler) -> Option<usize> {
        if let Some(i) = self.probes.iter().position(|s| s.id == *id) {
            self.probes[i].handler = handler;
            return Some(i);
        }
        if self.probes.len() >= MAX_PROBES {
            self.dropped.probes = self.dropped.probes.saturating_add(1);
            return None;
        }
        self.probes.push(Seen::new(id.clone(), handler));
        Some(self.probes.len() - 1)
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, at: Timestamp, pod: Uid) {
        self.tick(at);
        if let Ok(i) = self.pods.binary_search_by_key(&pod, |p| p.uid) {
            self.level(i, false);
            self.pods.remove(i);
        }
    }

    /// A probe's counters at a scrape. Says whether they told what ended a container's life that nothing else explained.
    pub fn sample(&mut self, at: Timestamp, s: &Sample) -> bool {
        self.tick(at);
        let Ok(index) = self.pods.binary_search_by_key(&s.pod, |p| p.uid) else {
            self.dropped.strangers = self.dropped.strangers.saturating_add(1);
            return false;
        };
        let pod = &mut self.pods[index];
        let counting = pod.counts(&s.probe.container, s.probe.kind);
        let present = pod.present;
        let Some(probe) = pod.find(&s.probe.container, s.probe.kind) else {
            self.dropped.strangers = self.dropped.strangers.saturating_add(1);
            return false;
        };
        let before = probe.sampled_at();
        let usual = self.probes[probe.probe].usually_fails();
        let said = probe.window(at, &s.counters, counting, usual);
        let (settings, i, beginning) = (probe.settings, probe.probe, probe.beginning);
        let seen = &mut self.probes[i];
        if let Some(before) = before {
            seen.scraped(at.since(before));
        }
        seen.live(at, present);
        seen.decay_to(at);
        if said.credit > 0.0 {
            seen.pod_seconds += said.credit;
            let epoch = if present { &mut seen.this } else { &mut seen.past };
            epoch.credit(said.credit, settings.timeout(), settings.period());
        }
        if said.checks.all > 0 {
            seen.season.add(at, settings.timeout(), &said.latencies, &said.checks.above, said.timeouts);
        }
        if let Some(shadow) = &mut seen.shadow {
            shadow.kubelet(at, &said.checks, settings.timeout());
        }
        if said.reset {
            seen.reset_at = Some(at);
        }
        if let Some(b) = beginning
            && before.is_some_and(|from| from >= b.since + SETTLES)
        {
            self.begin(at, index, i, b, &said);
        }
        let seen = &mut self.probes[i];
        for (usual, n) in seen.usual.iter_mut().zip(said.latencies) {
            *usual += n as f32;
        }
        if self.last_fact < Some(at) {
            self.last_fact = Some(at);
        }
        said.loud && self.loud(at, index, i, present, &said)
    }

    fn loud(&mut self, at: Timestamp, index: usize, probe: usize, present: bool, said: &Said) -> bool {
        self.notes.slow |= said.slow;
        let uid = self.pods[index].uid;
        let liveness = self.probes[probe].id.kind == ProbeKind::Liveness;
        let explained = said.gave_up && liveness && self.explain(at, index, probe);
        if said.ended.iter().any(Option::is_some) && !self.sick_now(at, index, probe) {
            if said.ended[Edge::Five.index()].is_some() {
                let beside = self.slow_beside(at, uid, probe);
                self.probes[probe].habits.recovered(at, uid, beside);
            }
            let seen = &mut self.probes[probe];
            let epoch = if present { &mut seen.this } else { &mut seen.past };
            for edge in Edge::ALL {
                let Some((lo, hi)) = said.ended[edge.index()] else { continue };
                // Hours above a low edge rule out timeouts below it; minutes of silence or refusals are an outage.
                let blind = matches!(edge, Edge::Ten | Edge::Fast);
                if lo > OUTAGE_SECONDS && blind {
                    continue;
                }
                let (lo, hi) = if lo > OUTAGE_SECONDS { (OUTAGE_SECONDS, f32::INFINITY) } else { (lo, hi) };
                seen.merged = seen.merged.saturating_add(epoch.tables[edge.index()].add(at, lo, hi));
            }
        }
        let seen = &mut self.probes[probe];
        if said.refused {
            seen.refused(at);
        }
        if said.told != (0, 0) {
            seen.told(said.told.0 > 0, said.told.1 > 0);
        }
        if said.outage {
            seen.outage_of(uid, at);
        }
        for (edge, on) in said.regime.into_iter().enumerate() {
            if on {
                seen.regime(edge, uid, at);
            }
        }
        if said.failed_fast {
            let replicas = self
                .pods
                .iter()
                .filter(|p| !p.terminating)
                .flat_map(|p| &p.probes)
                .filter(|p| p.probe == probe)
                .map(|p| p.refused_at);
            seen.failed_together(at, replicas);
        }
        if said.slow || said.failing_for != (0.0, 0.0) {
            let container = seen.id.container.clone();
            let ill =
                self.ill(at, probe, uid) && self.pods[index].probes.iter().any(|p| p.probe == probe && p.ailing(at));
            if !ill {
                self.probes[probe].habits.slow(at, uid);
                self.keep_company(at, uid, &container, said);
            }
        }
        explained
    }

    /// Counts a slow run of a replica, and says whether it is sick: at least five in the last hours, and more than four
    /// times those of the next (and one).
    fn sick_now(&mut self, at: Timestamp, index: usize, probe: usize) -> bool {
        let mut passed = 0.0;
        for p in self.pods.iter_mut().flat_map(|pod| &mut pod.probes).filter(|p| p.probe == probe) {
            passed += f32::from(u8::from(p.recovered(at)));
        }
        self.probes[probe].spells.1 += passed;
        let ill = self.ill(at, probe, self.pods[index].uid);
        let (mut own, mut second) = (0, 0);
        for (i, pod) in self.pods.iter_mut().enumerate() {
            let Some(p) = pod.probes.iter_mut().find(|p| p.probe == probe) else { continue };
            if i == index {
                p.count_run(at);
                own = p.runs_lately(at);
            } else if !(ill && p.ailing(at)) {
                // Of two that are sick at once, the second is not well because the first is worse.
                second = second.max(p.runs_before(at));
            }
        }
        if self.pods.len() < 2 || own < SICK_RUNS || own <= 4 * (second + 1) {
            return false;
        }
        let pod = &mut self.pods[index];
        if let Some(p) = pod.probes.iter_mut().find(|p| p.probe == probe) {
            p.ails(at, SICK_RUNS);
        }
        self.probes[probe].ails(at, pod.node.as_ref().unwrap_or(&pod.name))
    }

    /// Whether other replicas than one that are ill alone are to be left out: restarts are known to cure them, and with that
    /// one they are a minority; what spreads further is what they run on.
    pub(super) fn ill(&self, at: Timestamp, probe: usize, but: Uid) -> bool {
        let others = self.pods.iter().filter(|pod| pod.uid != but).flat_map(|pod| &pod.probes);
        let ailing = || others.filter(|p| p.probe == probe && p.ailing(at)).count();
        self.probes[probe].cured() && 2 * (ailing() + 1) <= self.pods.len()
    }

    /// The daemon asked a probe's endpoint itself: how long until the answer, `None` for none within its patience.
    pub fn shadow_check(&mut self, at: Timestamp, pod: Uid, id: &ProbeId, latency: Option<Span>, healthy: bool) {
        self.tick(at);
        let found = self.pods.binary_search_by_key(&pod, |p| p.uid).ok();
        let found = found.and_then(|i| {
            let pod = &mut self.pods[i];
            let counting = pod.counts(&id.container, id.kind);
            pod.find(&id.container, id.kind).map(|p| (p.probe, p.settings.timeout(), counting))
        });
        match found {
            Some((probe, timeout, true)) => {
                let shadow = self.probes[probe].shadow.get_or_insert_with(|| Box::new(Shadow::new(at)));
                shadow.add(at, latency, healthy, timeout);
            }
            // Starting, shutting down or not yet ready: the kubelet's answers do not count either.
            Some(_) => {}
            None => self.dropped.strangers = self.dropped.strangers.saturating_add(1),
        }
    }

    /// A node's kubelet could not be read.
    pub fn scrape_missed(&mut self, at: Timestamp, node: &Name) {
        self.tick(at);
        for pod in self.pods.iter_mut().filter(|p| p.node.as_ref() == Some(node)) {
            for p in &mut pod.probes {
                p.missed = p.missed.saturating_add(1);
            }
        }
    }

    /// An event said that checks failed, `count` more than before.
    pub fn unhealthy(
        &mut self,
        at: Timestamp,
        pod: Uid,
        container: &Name,
        kind: ProbeKind,
        class: FailureClass,
        count: u32,
    ) {
        self.tick(at);
        if let Ok(i) = self.pods.binary_search_by_key(&pod, |p| p.uid)
            && !self.pods[i].terminating
            && let Some(p) = self.pods[i].find(container, kind)
        {
            p.told(at, class, count);
        }
    }

    /// A pod's usage. Kept as coverage only: no number follows from load alone.
    pub fn pod_usage(&mut self, at: Timestamp, pod: Uid, usage: &Usage) {
        self.tick(at);
        let Ok(i) = self.pods.binary_search_by_key(&pod, |p| p.uid) else { return };
        // The same window may be told twice.
        let before = self.pods[i].cores.map(|(until, _)| until);
        if before < Some(usage.until) {
            self.load.pod(usage.until, before, usage.cores);
            self.pods[i].cores = Some((usage.until, usage.cores as f32));
        }
    }

    /// How often a container was throttled so far. A container without a probe says nothing about any.
    pub fn throttling(&mut self, at: Timestamp, told: &Throttling) {
        self.tick(at);
        let Ok(i) = self.pods.binary_search_by_key(&told.pod, |p| p.uid) else {
            self.dropped.strangers = self.dropped.strangers.saturating_add(1);
            return;
        };
        let pod = &mut self.pods[i];
        if pod.terminating || !self.probes.iter().any(|s| s.id.container == told.container) {
            return;
        }
        let Some(quota) = pod.quotas.iter_mut().find(|q| q.container == told.container) else {
            pod.quotas.push(Quota::new(told.container.clone(), at, told.periods, told.throttled));
            return;
        };
        if let Some(window) = quota.told(at, told.periods, told.throttled) {
            let room = self.load.throttle(at, &told.container, &window);
            self.dropped.throttling = self.dropped.throttling.saturating_add(u32::from(!room));
        }
    }

    /// A node's usage against what it has; unknown allocatable cores say nothing.
    pub fn node_usage(&mut self, at: Timestamp, node: &Name, usage: &Usage, allocatable_cores: Option<f64>) {
        self.tick(at);
        let Some(cores) = allocatable_cores.filter(|c| *c > 0.0) else { return };
        let load = usage.cores / cores;
        let full = load > FULL;
        let ours = self.pods.iter().any(|p| p.node.as_ref() == Some(node));
        let known = self.nodes.iter().position(|n| n.name == *node);
        if ours {
            self.load.node(at, known.map(|i| self.nodes[i].at), load);
        }
        if let Some(n) = known.map(|i| &mut self.nodes[i]) {
            n.at = at;
            n.load = load as f32;
            n.full_since = if full { n.full_since.or(Some(usage.until)) } else { None };
        } else if self.nodes.len() < MAX_NODES {
            let full_since = full.then_some(usage.until);
            self.nodes.push(NodeHeat { name: node.clone(), at, full_since, load: load as f32 });
        } else {
            self.dropped.strangers = self.dropped.strangers.saturating_add(1);
        }
    }

    /// Time passes: pod-time until now belongs to the pods as they were.
    pub(super) fn tick(&mut self, at: Timestamp) {
        if self.calendar.until == Some(at) {
            return;
        }
        let (pods, unready) = self.levels;
        self.calendar.advance(at, pods, unready);
    }
}
