//! The facts as they come in.

use super::pods::{Life, PodState};
use super::restart::{self, COMPANY, Cause, Company, Failing, RESTARTS, RestartRecord, Signs, distance};
use super::seen::Seen;
use super::table::{Edge, OUTAGE_SECONDS};
use super::watch::{PodProbe, Said};
use super::{Evidence, FULL, MAX_NODES, MAX_PODS, MAX_PROBES, NodeHeat};
use crate::observation::{FailureClass, Sample, Usage};
use crate::probe::{Handler, ProbeKind};
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Container, Pod, ProbeId, Workload};

/// A restart and the event that names its cause belong together within this time: the grace period lies between them.
const SAME_RESTART: Span = Span::from_nanos(600 * 1_000_000_000);
/// An event may be slower than the status that it explains.
const LATE_EVENT: Span = Span::from_nanos(180 * 1_000_000_000);
/// Restarts between two looks at a pod of which only the last can be explained; more are counted, not listed.
const HIDDEN: u32 = 5;
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
        let begun = self.begun;
        for seen in &mut self.probes {
            seen.decay_to(at);
            seen.rollout(begun);
        }
        // Nobody knows when between the last fact and this one the new version began.
        self.version_since = Some(self.last_fact.map_or(at, |t| t.min(at)));
        self.begun = true;
        self.rollouts = self.rollouts.saturating_add(1);
        self.last_rollout = Some(at);
        self.pods.iter_mut().for_each(|p| p.present = false);
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
        self.learn_probes(index, pod);
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

    /// What a pod that is seen for the first time has already been through is not ours to judge.
    fn learn_lives(&mut self, index: usize, pod: &Pod) {
        self.pods[index].lives.extend(pod.containers.iter().map(|c| Life {
            container: c.name.clone(),
            restarts: c.restarts,
            since: c.running_since,
            started: c.started,
            was_ready: c.ready,
            killed: None,
        }));
    }

    fn learn_probes(&mut self, index: usize, pod: &Pod) {
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
                    self.pods[index].probes.push(PodProbe::new(probe, name, p.id.kind, p.settings, p.initial_delay));
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

    fn container(&mut self, at: Timestamp, index: usize, now: &Container) {
        let pod = &mut self.pods[index];
        let Some(life) = pod.lives.iter_mut().find(|l| l.container == now.name) else {
            pod.lives.push(Life {
                container: now.name.clone(),
                restarts: now.restarts,
                since: now.running_since,
                started: now.started,
                was_ready: now.ready,
                killed: None,
            });
            return;
        };
        let before = life.clone();
        // Garbage collection may lower the count by a little: that is no restart, and no negative one.
        let more = now.restarts.saturating_sub(before.restarts);
        life.restarts = now.restarts;
        if more > 0 {
            life.killed = None;
            life.started = false;
            life.was_ready = false;
        }
        let waiting = !life.started && (more == 0 || now.running_since != before.since);
        life.since = now.running_since.or(life.since);
        let newly_started = now.started && waiting;
        life.started = now.started;
        life.was_ready |= now.ready;
        let terminating = pod.terminating;
        if more > 0 && !terminating {
            self.restarted(at, index, now, &before, more);
        }
        if newly_started && let Some(since) = now.running_since {
            self.started(index, &now.name, at.since(since), false);
        }
    }

    fn started(&mut self, index: usize, container: &Name, took: Span, cut_off: bool) {
        if let Some(probe) = self.pods[index].find(container, ProbeKind::Startup).map(|p| p.probe)
            && took > Span::ZERO
        {
            self.probes[probe].starts.add(took, cut_off);
        }
    }

    /// A container's restart count rose.
    fn restarted(&mut self, at: Timestamp, index: usize, now: &Container, before: &Life, more: u32) {
        let pod = &mut self.pods[index];
        let lived = now
            .last_end
            .as_ref()
            .and_then(|e| Some(e.finished?.since(e.started?)))
            .or_else(|| before.since.map(|s| at.since(s)))
            .filter(|s| *s >= Span::ZERO);
        let mut signs = Signs::default();
        if let Some(p) = pod.find(&now.name, ProbeKind::Liveness) {
            signs.liveness = Some((p.failed_in_a_row, p.settings.threshold()));
        }
        if !before.started
            && let Some(p) = pod.find(&now.name, ProbeKind::Startup)
        {
            let budget = p.initial_delay + Span::from_seconds(p.settings.refusal_tolerance() as i64);
            signs.overdue = lived.is_some_and(|l| l + Span::SECOND >= budget);
        }
        let explained = before.killed.filter(|t| at.since(*t) <= SAME_RESTART).is_some();
        if !explained {
            let (cause, confidence) = restart::infer(now.last_end.as_ref(), signs);
            if cause == Cause::StartupKill
                && let Some(lived) = lived
            {
                self.started(index, &now.name, lived, true);
            }
            self.record(at, index, &now.name, cause, confidence, lived);
        }
        for _ in 1..more.min(HIDDEN) {
            self.record(at, index, &now.name, Cause::Unknown, 0.0, None);
        }
        for p in self.pods[index].probes.iter_mut().filter(|p| p.container == now.name) {
            p.life_ended(at);
        }
    }

    /// An event said that a container is killed for a failed probe.
    pub fn killing(&mut self, at: Timestamp, pod: Uid, container: &Name, kind: ProbeKind) {
        self.tick(at);
        let (Some(cause), Ok(index)) = (restart::kill(kind), self.pods.binary_search_by_key(&pod, |p| p.uid)) else {
            return;
        };
        if self.pods[index].terminating {
            return;
        }
        // The status was quicker than the event.
        let late = self.restarts.iter().rposition(|r| {
            r.pod == pod && r.container == *container && at.since(r.at) <= LATE_EVENT && r.confidence < 0.95
        });
        let told = self.pods[index].life(container).and_then(|l| l.killed);
        if told.is_none()
            && let Some(i) = late
        {
            let settings = self.pods[index].find(container, kind).map(|p| p.settings);
            let record = &mut self.restarts[i];
            record.cause = cause;
            record.confidence = 0.99;
            record.settings = settings;
            self.weigh();
            return;
        }
        if told.is_some_and(|t| at.since(t) < Span::SECOND) {
            return;
        }
        let since = self.pods[index].life(container).and_then(|l| l.since);
        let lived = since.map(|s| at.since(s)).filter(|s| *s >= Span::ZERO);
        if cause == Cause::StartupKill
            && let Some(lived) = lived
        {
            self.started(index, container, lived, true);
        }
        self.record(at, index, container, cause, 0.99, lived);
        let pod = &mut self.pods[index];
        for p in pod.probes.iter_mut().filter(|p| p.container == *container) {
            p.life_ended(at);
        }
        if let Some(life) = pod.lives.iter_mut().find(|l| l.container == *container) {
            life.killed = Some(at);
            life.was_ready = false;
        }
    }

    /// The scrape after a restart shows failures enough for the probe to have done it, where nothing else told why.
    fn explain(&mut self, at: Timestamp, index: usize, probe: usize) {
        let (uid, container) = (self.pods[index].uid, self.probes[probe].id.container.clone());
        let Some(settings) = self.pods[index].find(&container, ProbeKind::Liveness).map(|p| p.settings) else { return };
        let unexplained = |r: &RestartRecord| {
            r.pod == uid
                && r.container == container
                && at.since(r.at) <= LATE_EVENT
                && matches!(r.cause, Cause::Unknown | Cause::Exit)
        };
        let Some(i) = self.restarts.iter().rposition(unexplained) else { return };
        self.restarts[i].cause = Cause::LivenessKill;
        self.restarts[i].confidence = 0.7;
        self.restarts[i].settings = Some(settings);
        self.restarts[i].company = self.company_of(&self.restarts[i], probe);
        self.share(i);
        self.weigh();
    }

    /// A kill and those of other replicas within five minutes before it keep each other company.
    fn share(&mut self, index: usize) {
        let (at, pod, container) = {
            let r = &self.restarts[index];
            (r.at, r.pod, r.container.clone())
        };
        let mut shared = false;
        for other in &mut self.restarts {
            if other.cause == Cause::LivenessKill
                && other.pod != pod
                && other.container == container
                && distance(at, other.at) <= COMPANY
            {
                other.company = Company::Shared;
                shared = true;
            }
        }
        if shared {
            self.restarts[index].company = Company::Shared;
        }
    }

    fn record(
        &mut self,
        at: Timestamp,
        index: usize,
        container: &Name,
        cause: Cause,
        confidence: f64,
        lived: Option<Span>,
    ) {
        self.calendar.restart(at, cause.by_probe());
        let kind = if cause == Cause::StartupKill { ProbeKind::Startup } else { ProbeKind::Liveness };
        let pod = &mut self.pods[index];
        let uid = pod.uid;
        let killer = pod.find(container, kind).filter(|_| cause.by_probe());
        let (settings, failing, probe) =
            killer.map_or((None, Failing::Untold, None), |p| (Some(p.settings), p.run_failing(at), Some(p.probe)));
        let mut record = RestartRecord {
            at,
            pod: uid,
            pod_name: pod.name.clone(),
            node: pod.node.clone(),
            container: container.clone(),
            cause,
            confidence,
            settings,
            failing,
            company: Company::Alone,
            lived,
            weight: 0.0,
        };
        if cause == Cause::LivenessKill
            && let Some(probe) = probe
        {
            record.company = self.company_of(&record, probe);
            if failing != Failing::Slow {
                self.probes[probe].refused_by_kill(at, failing);
            }
        }
        if self.restarts.len() >= RESTARTS {
            let gone = self.restarts.remove(0);
            if gone.cause == Cause::LivenessKill
                && let Some(seen) = self
                    .probes
                    .iter_mut()
                    .find(|s| s.id.kind == ProbeKind::Liveness && s.id.container == gone.container)
            {
                seen.decay_to(at);
                seen.retire(&gone);
            }
        }
        self.restarts.push(record);
        if cause == Cause::LivenessKill {
            self.share(self.restarts.len() - 1);
        }
        self.weigh();
    }

    /// What the other replicas did in the five minutes before.
    fn company_of(&self, record: &RestartRecord, probe: usize) -> Company {
        let mut company = Company::Alone;
        let others = self.pods.iter().filter(|p| p.uid != record.pod && !p.terminating);
        for p in others.flat_map(|p| &p.probes).filter(|p| p.probe == probe) {
            if let Some((then, so_far)) = p.failing
                && record.at.since(then) <= COMPANY
                && half_the_tolerance(record, so_far)
            {
                return Company::Shared;
            }
            if p.slow_at.is_some_and(|t| record.at.since(t) <= COMPANY) {
                company = Company::Beside;
            }
        }
        company
    }

    /// A replica was slow or failing: restarts of others in the five minutes before were not lonely.
    fn keep_company(&mut self, at: Timestamp, pod: Uid, container: &Name, said: &Said) {
        let mut changed = false;
        for r in self.restarts.iter_mut().rev() {
            if at.since(r.at) > COMPANY {
                break;
            }
            if r.pod == pod || r.container != *container || r.cause != Cause::LivenessKill {
                continue;
            }
            let company = if half_the_tolerance(r, said.failing_for) {
                Company::Shared
            } else if said.slow {
                Company::Beside
            } else {
                continue;
            };
            if company > r.company {
                r.company = company;
                changed = true;
            }
        }
        if changed {
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        for i in 0..self.restarts.len() {
            self.restarts[i].weight = restart::first_guess(&self.restarts, i);
        }
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, at: Timestamp, pod: Uid) {
        self.tick(at);
        if let Ok(i) = self.pods.binary_search_by_key(&pod, |p| p.uid) {
            self.level(i, false);
            self.pods.remove(i);
        }
    }

    /// A probe's counters at a scrape.
    pub fn sample(&mut self, at: Timestamp, s: &Sample) {
        self.tick(at);
        let Ok(index) = self.pods.binary_search_by_key(&s.pod, |p| p.uid) else {
            self.dropped.strangers = self.dropped.strangers.saturating_add(1);
            return;
        };
        let pod = &mut self.pods[index];
        let counting = pod.counts(&s.probe.container, s.probe.kind);
        let present = pod.present;
        let Some(probe) = pod.find(&s.probe.container, s.probe.kind) else {
            self.dropped.strangers = self.dropped.strangers.saturating_add(1);
            return;
        };
        let before = probe.sampled_at();
        let said = probe.window(at, &s.counters, counting);
        let (settings, i) = (probe.settings, probe.probe);
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
        if said.reset {
            seen.reset_at = Some(at);
        }
        if self.last_fact < Some(at) {
            self.last_fact = Some(at);
        }
        if said.loud {
            self.loud(at, index, i, present, &said);
        }
    }

    fn loud(&mut self, at: Timestamp, index: usize, probe: usize, present: bool, said: &Said) {
        let uid = self.pods[index].uid;
        if said.gave_up && self.probes[probe].id.kind == ProbeKind::Liveness {
            self.explain(at, index, probe);
        }
        if said.ended.iter().any(Option::is_some) && !self.sick_now(at, index, probe) {
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
            self.keep_company(at, uid, &container, said);
        }
    }

    /// Counts a slow run of a replica, and says whether it is sick: at least five in the last hours, and more than four
    /// times those of the next (and one).
    fn sick_now(&mut self, at: Timestamp, index: usize, probe: usize) -> bool {
        let mut own = 0;
        let mut second = 0;
        for (i, pod) in self.pods.iter_mut().enumerate() {
            let Some(p) = pod.probes.iter_mut().find(|p| p.probe == probe) else { continue };
            if i == index {
                p.count_run(at);
                own = p.runs_lately(at);
            } else {
                second = second.max(p.runs_lately(at));
            }
        }
        self.pods.len() > 1 && own >= SICK_RUNS && own > 4 * (second + 1)
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
    pub fn pod_usage(&mut self, at: Timestamp, _pod: Uid, _usage: &Usage) {
        self.tick(at);
    }

    /// A node's usage against what it has; unknown allocatable cores say nothing.
    pub fn node_usage(&mut self, at: Timestamp, node: &Name, usage: &Usage, allocatable_cores: Option<f64>) {
        self.tick(at);
        let Some(cores) = allocatable_cores.filter(|c| *c > 0.0) else { return };
        let full = usage.cores / cores > FULL;
        let known = self.nodes.iter().position(|n| n.name == *node);
        if let Some(n) = known.map(|i| &mut self.nodes[i]) {
            n.at = at;
            n.full_since = if full { n.full_since.or(Some(usage.until)) } else { None };
        } else if self.nodes.len() < MAX_NODES {
            let full_since = full.then_some(usage.until);
            self.nodes.push(NodeHeat { name: node.clone(), at, full_since });
        } else {
            self.dropped.strangers = self.dropped.strangers.saturating_add(1);
        }
    }

    /// Time passes: pod-time until now belongs to the pods as they were.
    fn tick(&mut self, at: Timestamp) {
        if self.calendar.until == Some(at) {
            return;
        }
        let (pods, unready) = self.levels;
        self.calendar.advance(at, pods, unready);
    }
}

/// Whether failures of another replica need at least half the tolerance that was not enough here.
fn half_the_tolerance(record: &RestartRecord, (slow, fast): (f32, f32)) -> bool {
    let Some(s) = record.settings else { return false };
    let half = |tolerance: u64, so_far: f32| so_far > 0.0 && so_far >= tolerance as f32 / 2.0;
    (record.failing.slow() && half(s.stall_tolerance(), slow))
        || (record.failing.fast() && half(s.refusal_tolerance(), fast))
}
