//! Containers' lives as statuses, events and counters tell them: what began, what ended it, and in which company.

use super::load::{self, LoadThen};
use super::pods::Life;
use super::restart::{
    self, COMPANY, Cause, Company, Failing, KNOWN_YEARS, NeighboursThen, Others, RELAPSE, RESTARTS, RestartRecord,
    Signs, distance,
};
use super::seen::Seen;
use super::table::worth_after;
use super::watch::{Beginning, Said};
use super::{Evidence, Notes};
use crate::probe::ProbeKind;
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Container, Pod};

/// A restart and the event that names its cause belong together within this time: the grace period lies between them.
const SAME_RESTART: Span = Span::from_nanos(600 * 1_000_000_000);
/// An event may be slower than the status that it explains.
const LATE_EVENT: Span = Span::from_nanos(180 * 1_000_000_000);
/// So long after a kill what answers may still be the life before: the usual grace period. Caches that fill take as long.
pub(super) const SETTLES: Span = Span::from_nanos(30 * 1_000_000_000);
/// How sure a cause is that an event told.
const TOLD: f64 = 0.99;
/// How sure a cause must be to stand against an event that comes later.
const SURE: f64 = 0.95;
/// Restarts between two looks at a pod of which only the last can be explained; more are counted, not listed.
const HIDDEN: u32 = 5;

impl Evidence {
    /// What a pod that is seen for the first time has already been through is not ours to judge.
    pub(super) fn learn_lives(&mut self, index: usize, pod: &Pod) {
        self.pods[index].lives.extend(pod.containers.iter().map(|c| Life {
            container: c.name.clone(),
            restarts: c.restarts,
            since: c.running_since,
            started: c.started,
            was_ready: c.ready,
            killed: None,
        }));
    }

    pub(super) fn container(&mut self, at: Timestamp, index: usize, now: &Container) {
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
            r.pod == pod && r.container == *container && at.since(r.at) <= LATE_EVENT && r.confidence < SURE
        });
        let told = self.pods[index].life(container).and_then(|l| l.killed);
        if told.is_none()
            && let Some(i) = late
        {
            self.blame(at, i, index, kind, TOLD);
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
        self.record(at, index, container, cause, TOLD, lived);
        let pod = &mut self.pods[index];
        for p in pod.probes.iter_mut().filter(|p| p.container == *container) {
            p.life_ended(at);
        }
        if let Some(life) = pod.lives.iter_mut().find(|l| l.container == *container) {
            life.killed = Some(at);
            life.was_ready = false;
        }
    }

    /// The scrape after a restart shows failures enough for the probe to have done it, where nothing else told why;
    /// says whether it was so.
    pub(super) fn explain(&mut self, at: Timestamp, index: usize, probe: usize) -> bool {
        let (uid, container) = (self.pods[index].uid, &self.probes[probe].id.container);
        let unexplained = |r: &RestartRecord| {
            r.pod == uid
                && r.container == *container
                && at.since(r.at) <= LATE_EVENT
                && matches!(r.cause, Cause::Unknown | Cause::Exit)
        };
        let Some(record) = self.restarts.iter().rposition(unexplained) else { return false };
        self.blame(at, record, index, ProbeKind::Liveness, 0.7);
        true
    }

    /// It turns out that a probe did what is recorded already of a container of the pod at `index`.
    fn blame(&mut self, at: Timestamp, record: usize, index: usize, kind: ProbeKind, confidence: f64) {
        let Some(cause) = restart::kill(kind) else { return };
        let known = &mut self.restarts[record];
        if !known.cause.by_probe() {
            self.calendar.explained(known.at);
        }
        (known.cause, known.confidence) = (cause, confidence);
        if let Some(p) = self.pods[index].find(&known.container, kind) {
            let probe = p.probe;
            // What follows says whether it cured anything, as after a kill that was known at once.
            if cause == Cause::LivenessKill && p.beginning.is_none_or(|b| !b.after_kill) {
                p.beginning = Some(Beginning { since: known.at, after_kill: true, answers: (0, 0), cured: false });
            }
            known.settings = Some(p.settings);
            if known.failing == Failing::Untold {
                known.failing = p.run_failing(at);
            }
            if cause == Cause::LivenessKill {
                self.notes.killed = Some(self.restarts[record].at);
                self.restarts[record].company = self.company_of(&self.restarts[record], probe);
                self.share(record);
            }
        }
        self.weigh();
    }

    /// A kill and those of other replicas within five minutes before it keep each other company.
    pub(super) fn share(&mut self, index: usize) {
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

    /// How busy the pod at `index` and its node are.
    fn load_then(&self, at: Timestamp, index: usize) -> LoadThen {
        let pod = &self.pods[index];
        let node = self.nodes.iter().find(|n| pod.node.as_ref() == Some(&n.name));
        LoadThen { node: load::fresh(node.map(|n| (n.at, n.load)), at), pod: load::fresh(pod.cores, at) }
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
        let load = self.load_then(at, index);
        let pod = &mut self.pods[index];
        let uid = pod.uid;
        let killer = pod.find(container, kind).filter(|_| cause.by_probe());
        let (settings, failing, probe) =
            killer.map_or((None, Failing::Untold, None), |p| (Some(p.settings), p.run_failing(at), Some(p.probe)));
        let mut record = RestartRecord {
            kept: 1.0,
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
            relapsed: false,
            ailed: false,
            neighbours: None,
            lived,
            load,
            weight: 0.0,
        };
        if cause == Cause::LivenessKill
            && let Some(probe) = probe
        {
            record.company = self.company_of(&record, probe);
        }
        if self.restarts.len() >= RESTARTS {
            let gone = self.restarts.remove(0);
            self.retire(at, &gone);
        }
        self.restarts.push(record);
        if cause == Cause::LivenessKill {
            self.relapse_of(uid, container, at);
        }
        if cause == Cause::LivenessKill
            && let Some(p) = self.pods[index].find(container, kind)
        {
            let in_vain = p.beginning.is_some_and(|b| b.cured);
            let cured = p.ends_spell(at);
            p.beginning = Some(Beginning { since: at, after_kill: true, answers: (0, 0), cured });
            let probe = p.probe;
            if let Some(r) = self.restarts.last_mut() {
                r.ailed = cured;
            }
            match failing {
                Failing::Slow => self.probes[probe].told(true, false),
                Failing::Fast => self.probes[probe].told(false, true),
                Failing::Untold => {}
            }
            if in_vain {
                self.probes[probe].spells.1 += 1.0;
            }
        }
        if cause == Cause::LivenessKill {
            self.share(self.restarts.len() - 1);
            self.notes.killed = Some(at);
        }
        self.weigh();
    }

    /// A container that its probe kills again by timeouts within minutes was not cured the last time: its lives were too
    /// short to say so themselves.
    fn relapse_of(&mut self, pod: Uid, container: &Name, at: Timestamp) {
        let mut kills = self.restarts.iter_mut().rev().filter(|r| {
            r.pod == pod && r.container == *container && r.cause == Cause::LivenessKill && r.failing.slow()
        });
        let (Some(this), Some(last)) = (kills.next(), kills.next()) else { return };
        if this.at == at && at.since(last.at) <= RELAPSE {
            last.relapsed = true;
        }
    }

    /// Takes in a record that leaves the list.
    pub(super) fn retire(&mut self, at: Timestamp, gone: &RestartRecord) {
        if gone.cause != Cause::LivenessKill {
            return;
        }
        let by = |s: &Seen| s.id.kind == ProbeKind::Liveness && s.id.container == gone.container;
        let Some(probe) = self.probes.iter().position(by) else { return };
        let seen = &mut self.probes[probe];
        seen.decay_to(at);
        let (cured, slow_start) = (seen.cured(), seen.slow_start_chance());
        let guess = |r: &RestartRecord, others| restart::last_guess(r, cured, slow_start, others);
        // Of those since that came alone what looks true says how often containers truly break.
        let alike = |r: &&RestartRecord| {
            r.cause == Cause::LivenessKill
                && r.container == gone.container
                && r.failing == gone.failing
                && r.company == Company::Alone
        };
        let pods = self.replicas.max(self.pods()).max(1);
        let usual = Others { pods, faults: gone.usual_faults() };
        let seemed_true: f64 = self.restarts.iter().filter(alike).map(|r| 1.0 - guess(r, usual)).sum();
        let years = f64::from(pods) * at.since(gone.at).as_years_f64().max(0.0);
        let faults = usual.faults.max((usual.faults * KNOWN_YEARS + seemed_true) / (KNOWN_YEARS + years));
        let weight = guess(gone, Others { faults, ..usual }) * f64::from(gone.kept) * worth_after(at.since(gone.at));
        self.probes[probe].retire(gone, weight);
    }

    /// What the other replicas did in the five minutes before.
    fn company_of(&self, record: &RestartRecord, probe: usize) -> Company {
        let (mut company, ill) = (Company::Alone, self.ill(record.at, probe, record.pod));
        let others = self.pods.iter().filter(|p| p.uid != record.pod && !p.terminating);
        for p in others.flat_map(|p| &p.probes).filter(|p| p.probe == probe) {
            // What is no evidence of stalls is none of company either.
            if ill && p.ailing(record.at) {
                continue;
            }
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

    /// Whether another replica was slow in the five minutes before.
    pub(super) fn slow_beside(&self, at: Timestamp, pod: Uid, probe: usize) -> bool {
        let ill = self.ill(at, probe, pod);
        let others = self.pods.iter().filter(|p| p.uid != pod && !p.terminating).flat_map(|p| &p.probes);
        others
            .filter(|p| p.probe == probe && !(ill && p.ailing(at)))
            .any(|p| p.slow_at.is_some_and(|t| at.since(t) <= COMPANY))
    }

    /// A replica was slow or failing: restarts of others in the five minutes before were not lonely.
    pub(super) fn keep_company(&mut self, at: Timestamp, pod: Uid, container: &Name, said: &Said) {
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

    /// A container answers in its first minutes: unusually slow answers there, as before its kill, say that the kill cured
    /// nothing, unless that is how its lives begin.
    ///
    /// Only of a window that begins in that life.
    pub(super) fn begin(&mut self, at: Timestamp, index: usize, probe: usize, mut b: Beginning, said: &Said) {
        if said.checks.all == 0 {
            return;
        }
        let slow = self.probes[probe].unusual(&said.latencies);
        let answers = said.latencies.iter().fold(0u32, |sum, n| sum.saturating_add(*n));
        b.answers.0 = b.answers.0.saturating_add(answers);
        b.answers.1 = b.answers.1.saturating_add(slow.unwrap_or(0));
        let unwell = said.slow || b.answers.1 >= 3 && 4 * b.answers.1 >= b.answers.0;
        let over = unwell || at.since(b.since) > RELAPSE;
        let pod = &mut self.pods[index];
        let uid = pod.uid;
        if let Some(p) = pod.probes.iter_mut().find(|p| p.probe == probe) {
            p.beginning = (!over).then_some(b);
        }
        if over && b.cured {
            let spells = &mut self.probes[probe].spells;
            *(if unwell { &mut spells.1 } else { &mut spells.0 }) += 1.0;
        }
        // Before it is known what is usual, nothing tells how a life begins.
        if over && !b.after_kill && (unwell || slow.is_some()) {
            let begun = &mut self.probes[probe].begun;
            begun.0 += 1.0;
            begun.1 += f32::from(u8::from(unwell));
        }
        if unwell && b.after_kill {
            let container = &self.probes[probe].id.container;
            let killed = |r: &&mut RestartRecord| {
                r.pod == uid && r.container == *container && r.cause == Cause::LivenessKill && r.at <= b.since
            };
            if let Some(r) = self.restarts.iter_mut().rev().find(killed) {
                r.relapsed = true;
            }
        }
    }

    /// What the facts since the last asking say that concerns other workloads on the same node: whether a pod was slow, and
    /// when a container was killed by its liveness probe.
    pub fn take_notes(&mut self) -> (bool, Option<Timestamp>) {
        let Notes { slow, killed } = std::mem::take(&mut self.notes);
        (slow, killed)
    }

    /// What other workloads on a node did around the kill at a moment. That one of them was slow is not taken back.
    ///
    /// Says whether that was news.
    pub fn neighbours_said(&mut self, node: &Name, killed: Timestamp, said: Option<NeighboursThen>) -> bool {
        let mut news = false;
        let here =
            |r: &&mut RestartRecord| r.at == killed && r.cause == Cause::LivenessKill && r.node.as_ref() == Some(node);
        for r in self.restarts.iter_mut().rev().filter(here) {
            if r.neighbours.is_none_or(|n| !n.slow) {
                news |= r.neighbours != said;
                r.neighbours = said;
            }
        }
        news
    }

    /// Whether a pod on a node was read within five minutes before.
    pub fn read_on(&self, node: &Name, at: Timestamp) -> bool {
        let here = self.pods.iter().filter(|p| !p.terminating && p.node.as_ref() == Some(node));
        let mut read = here.flat_map(|p| &p.probes).filter_map(|p| p.sampled_at());
        read.any(|then| at.since(then) <= COMPANY)
    }

    pub(super) fn weigh(&mut self) {
        for i in 0..self.restarts.len() {
            self.restarts[i].weight = restart::first_guess(&self.restarts, i);
        }
    }
}

/// Whether two records, of which an event told one and the other was inferred from a status, are of one death: the kill is
/// told first, and the container ends within its grace period, or the event comes late. A life that began after the kill
/// ended of something else.
pub(super) fn one_death(a: &RestartRecord, b: &RestartRecord) -> bool {
    let (told, inferred) = if a.confidence >= TOLD { (a, b) } else { (b, a) };
    let after = inferred.at.since(told.at);
    let lived_then = inferred.lived.is_none_or(|l| after <= l);
    (a.pod, &a.container) == (b.pod, &b.container)
        && (told.confidence >= TOLD && inferred.confidence < TOLD)
        && ((Span::ZERO <= after && after <= SAME_RESTART && lived_then)
            || (after < Span::ZERO && told.at.since(inferred.at) <= LATE_EVENT && inferred.confidence < SURE))
}

/// Whether failures of another replica need at least half the tolerance that was not enough here.
fn half_the_tolerance(record: &RestartRecord, (slow, fast): (f32, f32)) -> bool {
    let Some(s) = record.settings else { return false };
    let half = |tolerance: u64, so_far: f32| so_far > 0.0 && so_far >= tolerance as f32 / 2.0;
    (record.failing.slow() && half(s.stall_tolerance(), slow))
        || (record.failing.fast() && half(s.refusal_tolerance(), fast))
}
