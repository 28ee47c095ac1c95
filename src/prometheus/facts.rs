//! From a history to the facts that the kubelet path would have given: workload, pods, counters, restarts, in order of
//! time. Pure: the same history, the same facts.
//!
//! - A pod appears with its first sample and is gone after its last one, unless that is as late as any.
//! - Another template's hash in pods' names is another version of the program, from the first pod of it on.
//! - Counters are told as they were kept; what they mean across resets and gaps is `evidence`'s to say, as ever.
//! - A restart is told when kube-state-metrics counted one. Where that was not kept, failures in a row up to the
//!   liveness threshold are one: the kubelet kills at that very check and asks no more until the container runs again.
//!   Within a window the order of results is unknown, and they are taken to lie at its end: so a restart may be told
//!   that was none, one failure short.

use super::history::{History, Moment, Restarts, Track};
use super::select::Pods;
use crate::observation::{Fact, Observation, Sample, Throttling};
use crate::probe::{ProbeKind, Settings};
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Container, Ended, Pod, ProbeId, Workload};
use std::collections::{BTreeMap, BTreeSet};

/// A pod whose last sample is this much older than the history's end is gone.
const GONE: Span = Span::from_seconds(300);

/// A longer silence says nothing about runs; the same as in `evidence`.
const GAP: Span = Span::from_seconds(300);

/// Whose history it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// As it is declared now: its numbers are taken for those of all the time, since a Prometheus knows no others.
    pub workload: Workload,
    /// How its pods are named.
    pub pods: Pods,
}

/// What was told, and what it was told from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recounted {
    /// Pods that were seen.
    pub pods: usize,
    /// Versions of the program, by the hashes in pods' names; 1 where names do not tell.
    pub versions: usize,
    /// Checks that were counted between two samples of one life of the counters, of all probes.
    pub checks: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Times at which a probe's counters went back.
    pub resets: u64,
    /// Silences of a probe's counters longer than five minutes.
    pub gaps: u64,
    /// Restarts that kube-state-metrics counted.
    pub restarts: u64,
    /// Restarts read out of failures in a row, where it counted none.
    pub inferred: u64,
    /// Probes that were sampled.
    pub probes: BTreeSet<ProbeId>,
}

/// Tells the facts of a history, in order of time.
pub fn recount(history: &History, subject: &Subject, mut tell: impl FnMut(Observation)) -> Recounted {
    let plot = plot(history);
    let mut teller = Teller {
        subject,
        history,
        tracks: history.tracks.iter().collect(),
        containers: history.restarts.iter().collect(),
        throttling: history.throttling.iter().collect(),
        pods: BTreeMap::new(),
        revisions: Vec::new(),
        newest: None,
        done: Recounted::default(),
    };
    teller.revisions = teller.in_order(&plot);
    let first = plot.first().map_or(history.from, |(at, ..)| *at);
    let version = teller.version(0);
    tell(Observation { at: first, fact: teller.workload(version) });
    for (at, _, scene) in plot {
        teller.scene(at, scene, &mut |fact| tell(Observation { at, fact }));
    }
    teller.done.versions = teller.revisions.len().max(1);
    teller.done
}

/// What happens, in the order in which it is told within one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scene {
    /// The first sample of a pod.
    Appears(Uid),
    /// The sample at this place of the track at that place.
    Sampled(u32, u32),
    /// A container of a pod, by its place in the list of those that were told of.
    Container(u32, Timestamp),
    /// The container at this place of the list of those that cAdvisor told of, in this pod.
    Throttled(u32, Uid, Timestamp),
    /// After the last sample.
    Gone(Uid),
}

type Plot = Vec<(Timestamp, u8, Scene)>;

/// Everything that happens, sorted.
fn plot(history: &History) -> Plot {
    let mut plot = Plot::new();
    let mut lives: BTreeMap<Uid, (Timestamp, Timestamp)> = BTreeMap::new();
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    for (i, ((uid, _), track)) in history.tracks.iter().enumerate() {
        for (j, moment) in track.moments.iter().enumerate() {
            plot.push((moment.at, 1, Scene::Sampled(small(i), small(j))));
            let life = lives.entry(*uid).or_insert((moment.at, moment.at));
            *life = (life.0.min(moment.at), life.1.max(moment.at));
        }
    }
    for (uid, (first, last)) in &lives {
        plot.push((*first, 0, Scene::Appears(*uid)));
        if history.until.since(*last) > GONE {
            plot.push((*last, 3, Scene::Gone(*uid)));
        }
    }
    for (i, ((uid, _), told)) in history.restarts.iter().enumerate() {
        let Some((first, last)) = lives.get(uid) else { continue };
        // What was so before the pod's first sample is how it appears.
        plot.extend(
            told.keys().filter(|at| *at > first && *at <= last).map(|at| (*at, 2, Scene::Container(small(i), *at))),
        );
    }
    // cAdvisor names no uid: a name is that of the pod that lived then.
    let named: BTreeSet<(&Name, Uid)> = history.tracks.iter().map(|((uid, _), track)| (&track.pod, *uid)).collect();
    for (i, ((pod, _), told)) in history.throttling.iter().enumerate() {
        for (_, uid) in named.iter().filter(|(name, _)| *name == pod) {
            let Some((first, last)) = lives.get(uid) else { continue };
            plot.extend(told.range(first..=last).map(|(at, _)| (*at, 2, Scene::Throttled(small(i), *uid, *at))));
        }
    }
    plot.sort_unstable();
    plot
}

struct Teller<'a> {
    subject: &'a Subject,
    history: &'a History,
    /// The history's tracks and containers, and the containers that cAdvisor told of, by place.
    tracks: Vec<(&'a (Uid, ProbeId), &'a Track)>,
    containers: Vec<(&'a (Uid, Name), &'a BTreeMap<Timestamp, Restarts>)>,
    throttling: Vec<(&'a (Name, Name), &'a BTreeMap<Timestamp, (u64, u64)>)>,
    pods: BTreeMap<Uid, Life>,
    /// The templates' hashes, in the order in which their first pods appeared.
    revisions: Vec<&'a str>,
    /// The newest of them of which a pod has appeared, by place.
    newest: Option<usize>,
    done: Recounted,
}

/// A pod as it is at a moment of the history.
struct Life {
    pod: Pod,
    /// Each container's: whether kube-state-metrics tells of it.
    told_of: BTreeSet<Name>,
    last: BTreeMap<ProbeId, Moment>,
    /// Failures in a row at most, of each container's liveness probe.
    failing: BTreeMap<Name, u64>,
}

impl<'a> Teller<'a> {
    fn in_order(&self, plot: &Plot) -> Vec<&'a str> {
        let mut revisions: Vec<&str> = Vec::new();
        for (_, _, scene) in plot {
            let Scene::Appears(uid) = scene else { continue };
            if let Some(revision) = self.name(*uid).and_then(|pod| self.subject.pods.revision(pod))
                && !revisions.contains(&revision)
            {
                revisions.push(revision);
            }
        }
        revisions
    }

    fn name(&self, uid: Uid) -> Option<&'a Name> {
        self.tracks_of(uid).next().map(|(_, track)| &track.pod)
    }

    fn tracks_of(&self, uid: Uid) -> impl Iterator<Item = (&'a ProbeId, &'a Track)> + use<'a> {
        let least = (uid, ProbeId { container: "".into(), kind: ProbeKind::Liveness });
        self.history.tracks.range(least..).take_while(move |((u, _), _)| *u == uid).map(|((_, id), t)| (id, t))
    }

    /// The version of the revision at a place: the last one is the one that is declared now.
    fn version(&self, place: usize) -> u64 {
        match self.revisions.get(place) {
            Some(revision) if place + 1 < self.revisions.len() => revision
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)),
            _ => self.subject.workload.version,
        }
    }

    fn workload(&self, version: u64) -> Fact {
        Fact::Workload(Box::new(Workload { version, ..self.subject.workload.clone() }))
    }

    fn scene(&mut self, at: Timestamp, what: Scene, tell: &mut impl FnMut(Fact)) {
        match what {
            Scene::Appears(uid) => self.appears(at, uid, tell),
            Scene::Sampled(track, moment) => self.sampled(track, moment, tell),
            Scene::Container(place, moment) => self.container(at, place, moment, tell),
            Scene::Throttled(place, pod, moment) => {
                let told = self.throttling.get(place as usize);
                if let Some(((_, container), (periods, throttled))) =
                    told.and_then(|(of, t)| Some((of, t.get(&moment)?)))
                {
                    let (container, periods, throttled) = (container.clone(), *periods, *throttled);
                    tell(Fact::Throttling(Throttling { pod, container, periods, throttled }));
                }
            }
            Scene::Gone(uid) => {
                self.pods.remove(&uid);
                tell(Fact::PodGone(uid));
            }
        }
    }

    fn appears(&mut self, at: Timestamp, uid: Uid, tell: &mut impl FnMut(Fact)) {
        let Some(name) = self.name(uid).cloned() else { return };
        let place = self.subject.pods.revision(&name).and_then(|r| self.revisions.iter().position(|o| *o == r));
        // A pod of a new revision announces another version; one of an older revision (scaled up meanwhile) does not.
        if let Some(place) = place.filter(|p| self.newest.is_none_or(|newest| *p > newest)) {
            if self.newest.is_some() {
                tell(self.workload(self.version(place)));
            }
            self.newest = Some(place);
        }
        self.done.pods += 1;
        let mut containers: BTreeMap<Name, Container> = BTreeMap::new();
        let mut probes = Vec::new();
        let mut node = None;
        for (id, track) in self.tracks_of(uid) {
            self.done.probes.insert(id.clone());
            probes.extend(self.subject.workload.probe(id).cloned());
            node = node.or_else(|| track.node.clone());
            let container = containers.entry(id.container.clone()).or_insert_with(|| fresh(&id.container));
            // Until a startup or readiness probe has once succeeded the container is what it is waited for.
            let healthy = track.moments.first().is_some_and(|m| m.counters.successful > 0);
            match id.kind {
                ProbeKind::Startup => container.started = healthy,
                ProbeKind::Readiness => container.ready = healthy,
                ProbeKind::Liveness => {}
            }
        }
        let mut told_of = BTreeSet::new();
        for container in containers.values_mut() {
            let Some(told) = self.history.restarts.get(&(uid, container.name.clone())) else { continue };
            if told.values().any(|r| r.count.is_some()) {
                told_of.insert(container.name.clone());
            }
            let before = told.range(..=at).next_back().or_else(|| told.first_key_value());
            if let Some((_, now)) = before {
                container.restarts = now.count.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX));
                container.running_since = now.running_since;
            }
        }
        let pod = Pod {
            uid,
            name,
            workload: self.subject.workload.uid,
            node,
            probes,
            ready: containers.values().all(|c| c.ready),
            containers: containers.into_values().collect(),
            terminating: false,
            created: at,
        };
        tell(Fact::Pod(Box::new(pod.clone())));
        self.pods.insert(uid, Life { pod, told_of, last: BTreeMap::new(), failing: BTreeMap::new() });
    }

    fn sampled(&mut self, place: u32, moment: u32, tell: &mut impl FnMut(Fact)) {
        let Some(((uid, id), track)) = self.tracks.get(place as usize) else { return };
        let Some(now) = track.moments.get(moment as usize) else { return };
        let Some(life) = self.pods.get_mut(uid) else { return };
        let declared = life.pod.probes.iter().find(|p| p.id == *id).map(|p| p.settings);
        let before = life.last.insert(id.clone(), *now);
        let mut news = false;
        let mut window = (0, 0);
        if let Some(old) = before {
            let (new, old_counters) = (&now.counters, &old.counters);
            let back = new.successful < old_counters.successful || new.failed < old_counters.failed;
            let gap = now.at.since(old.at) > GAP;
            self.done.resets += u64::from(back);
            self.done.gaps += u64::from(gap && !back);
            if back || gap {
                life.failing.remove(&id.container);
            } else {
                window = (new.successful - old_counters.successful, new.failed - old_counters.failed);
                self.done.checks += window.0 + window.1;
                self.done.failures += window.1;
            }
        }
        if window.0 > 0
            && let Some(container) = life.pod.containers.iter_mut().find(|c| c.name == id.container)
        {
            let waits = match id.kind {
                ProbeKind::Startup => Some(&mut container.started),
                ProbeKind::Readiness => Some(&mut container.ready),
                ProbeKind::Liveness => None,
            };
            news = waits.is_some_and(|w| !std::mem::replace(w, true));
        }
        if news {
            life.pod.ready = life.pod.containers.iter().all(|c| c.ready);
            tell(Fact::Pod(Box::new(life.pod.clone())));
        }
        tell(Fact::Sample(Sample { pod: *uid, probe: id.clone(), counters: now.counters }));
        if id.kind == ProbeKind::Liveness
            && !life.told_of.contains(&id.container)
            && let Some(settings) = declared
            && gave_up(life.failing.entry(id.container.clone()).or_insert(0), window, settings)
        {
            self.done.inferred += 1;
            life.restart(&id.container, None, None);
            tell(Fact::Pod(Box::new(life.pod.clone())));
        }
    }

    fn container(&mut self, at: Timestamp, place: u32, moment: Timestamp, tell: &mut impl FnMut(Fact)) {
        let Some(((uid, name), told)) = self.containers.get(place as usize) else { return };
        let (Some(now), Some(life)) = (told.get(&moment), self.pods.get_mut(uid)) else { return };
        let Some(known) = life.pod.containers.iter_mut().find(|c| c.name == *name) else { return };
        let count = now.count.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        match count {
            Some(n) if n > known.restarts => {
                self.done.restarts += u64::from(n - known.restarts);
                known.restarts = n - 1;
                life.restart(name, ended(now, at), now.running_since);
            }
            _ if now.running_since.is_some() && now.running_since != known.running_since => {
                known.running_since = now.running_since;
            }
            _ => return,
        }
        tell(Fact::Pod(Box::new(life.pod.clone())));
    }
}

impl Life {
    /// A container begins another life.
    fn restart(&mut self, name: &Name, end: Option<Ended>, since: Option<Timestamp>) {
        let has = |kind| self.pod.probes.iter().any(|p| p.id.container == *name && p.id.kind == kind);
        let (starts, readies) = (has(ProbeKind::Startup), has(ProbeKind::Readiness));
        if let Some(c) = self.pod.containers.iter_mut().find(|c| c.name == *name) {
            c.restarts = c.restarts.saturating_add(1);
            c.last_end = end;
            c.running_since = since;
            c.started = !starts;
            c.ready = !readies;
        }
        self.pod.ready = self.pod.containers.iter().all(|c| c.ready);
    }
}

/// Counts failures in a row over a window of so many successes and failures, and says whether they reached the
/// threshold; then they begin anew.
fn gave_up(run: &mut u64, (ok, failed): (u64, u64), settings: Settings) -> bool {
    *run = if ok == 0 { *run + failed } else { failed };
    let reached = failed > 0 && *run >= u64::from(settings.threshold());
    if reached {
        *run = 0;
    }
    reached
}

/// How a life ended, as far as it was kept: a code without a reason, or a reason whose code is known by itself.
fn ended(now: &Restarts, at: Timestamp) -> Option<Ended> {
    let code = now.code.or(match now.reason.as_deref() {
        Some("OOMKilled") => Some(137),
        Some("Completed") => Some(0),
        _ => None,
    })?;
    let reason = now.reason.clone().unwrap_or_else(|| if code == 0 { "Completed" } else { "Error" }.into());
    Some(Ended { code, reason, started: None, finished: Some(at) })
}

/// A container of which nothing is known but its name.
fn fresh(name: &Name) -> Container {
    Container { name: name.clone(), running_since: None, ready: true, started: true, restarts: 0, last_end: None }
}
