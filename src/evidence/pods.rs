//! The pods that are there now, and how many of them are seen.

use super::Evidence;
use super::throttle::Quota;
use super::watch::PodProbe;
use crate::probe::ProbeKind;
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Pod, ProbeId};

/// A container of a pod, as far as its life is watched.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) container: Name,
    pub(super) restarts: u32,
    pub(super) since: Option<Timestamp>,
    pub(super) started: bool,
    /// It has been ready in this life: from now on an unready answer says something.
    pub(super) was_ready: bool,
    /// An event named the probe that killed it; the restart itself is still to come.
    pub(super) killed: Option<Timestamp>,
}

/// A pod that is there.
#[derive(Clone, Debug)]
pub(super) struct PodState {
    pub(super) uid: Uid,
    pub(super) name: Name,
    pub(super) node: Option<Name>,
    /// Of the present version.
    pub(super) present: bool,
    pub(super) terminating: bool,
    pub(super) ready: bool,
    /// Counted among those that are there.
    pub(super) counted: bool,
    pub(super) known_since: Timestamp,
    /// Its usage in cores, and when it was told.
    pub(super) cores: Option<(Timestamp, f32)>,
    /// The CFS counters of its containers.
    pub(super) quotas: Vec<Quota>,
    pub(super) probes: Vec<PodProbe>,
    pub(super) lives: Vec<Life>,
}

impl PodState {
    pub(super) fn new(at: Timestamp, pod: &Pod, present: bool) -> Self {
        PodState {
            uid: pod.uid,
            name: pod.name.clone(),
            node: pod.node.clone(),
            present,
            terminating: pod.terminating,
            ready: pod.ready,
            counted: false,
            known_since: at,
            cores: None,
            quotas: Vec::new(),
            probes: Vec::with_capacity(pod.probes.len()),
            lives: Vec::with_capacity(pod.containers.len()),
        }
    }

    pub(super) fn life(&self, container: &str) -> Option<&Life> {
        self.lives.iter().find(|l| *l.container == *container)
    }

    pub(super) fn find(&mut self, container: &str, kind: ProbeKind) -> Option<&mut PodProbe> {
        self.probes.iter_mut().find(|p| p.kind == kind && *p.container == *container)
    }

    /// Whether what a probe of this pod says is evidence just now.
    pub(super) fn counts(&self, container: &str, kind: ProbeKind) -> bool {
        if self.terminating {
            return false;
        }
        match (kind, self.life(container)) {
            (ProbeKind::Startup, _) => false,
            (_, None) => true,
            (ProbeKind::Liveness, Some(life)) => life.started,
            (ProbeKind::Readiness, Some(life)) => life.started && life.was_ready,
        }
    }

    pub(super) fn heap(&self) -> usize {
        self.probes.capacity() * size_of::<PodProbe>()
            + self.lives.capacity() * size_of::<Life>()
            + self.quotas.capacity() * size_of::<Quota>()
    }
}

/// How many of a probe's replicas are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Pods that run it and are not being deleted, known for at least a minute.
    pub pods: u32,
    /// Those whose counters were ever read.
    pub sampled: u32,
    /// Those whose counters were read within the last three scrapes.
    pub fresh: u32,
}

/// How long a new pod may be unread before it counts as unseen.
const NEW: Span = Span::MINUTE;
/// After so long without any fact everything is stale.
const SILENCE: Span = Span::from_nanos(600 * 1_000_000_000);
/// The distance of scrapes that is taken for granted until it is known.
const USUAL_INTERVAL: Span = Span::from_nanos(15 * 1_000_000_000);

impl Evidence {
    /// How many of a probe's replicas are seen at `now`.
    pub fn coverage(&self, id: &ProbeId, now: Timestamp) -> Coverage {
        // Staleness is counted by the clock of the facts: who asks ahead of them has missed nothing yet. Only when nothing
        // at all is heard any more is it counted from the asking.
        let heard = self.calendar.until.unwrap_or(now);
        let clock = if now.since(heard) > SILENCE { now } else { heard.min(now) };
        let interval = self.seen(id).and_then(super::Seen::interval).unwrap_or(USUAL_INTERVAL);
        let patience = interval * 3 + Span::SECOND * 5;
        let mut c = Coverage::default();
        for pod in self.pods.iter().filter(|p| !p.terminating && now.since(p.known_since) >= NEW) {
            let Some(probe) = pod.probes.iter().find(|p| p.kind == id.kind && p.container == id.container) else {
                continue;
            };
            c.pods += 1;
            if let Some(at) = probe.sampled_at() {
                c.sampled += 1;
                c.fresh += u32::from(clock.since(at) <= patience && probe.missed <= 3);
            }
        }
        c
    }

    /// Pods that are there and are not being deleted.
    pub fn pods(&self) -> u32 {
        u32::try_from(self.pods.iter().filter(|p| !p.terminating).count()).unwrap_or(u32::MAX)
    }
}
