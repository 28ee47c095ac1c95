//! A pod, its container, and the kubelet's probers of it.

use super::backoff::Backoff;
use super::chance::Chance;
use super::numbers::Numbers;
use super::slot::nanos;
use super::truth::carrying_cost;
use super::worker::{Flight, Worker};
use crate::observation::Counters;
use crate::probe::{Handler, ProbeKind, Settings};
use crate::units::{NANOS, Name, Uid};
use crate::workload::Ended;

/// The kubelet looks at a container that has just begun to run, or just lost its readiness, so soon.
const AT_ONCE: i64 = 12 * NANOS / 1000;

/// One prober of a pod, the check under way, and what it has counted.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) kind: ProbeKind,
    pub(super) worker: Worker,
    pub(super) flight: Option<Flight>,
    pub(super) counters: Counters,
}

impl Asker {
    /// A prober with a tick within a period after `at`.
    fn new(kind: ProbeKind, settings: Settings, at: i64, chance: &mut Chance) -> Asker {
        let worker = Worker::new(settings, at + nanos(chance.unit() * f64::from(settings.period())));
        Asker { kind, worker, flight: None, counters: Counters::default() }
    }

    /// Its check has ended: whether that was the verdict. Successes are only counted where somebody listens.
    #[inline]
    pub(super) fn settle(&mut self, flight: Flight, listen: bool) -> bool {
        self.flight = None;
        if !flight.healthy {
            self.counters.failed += 1;
        } else if listen {
            self.counters.successful += 1;
            self.counters.count += 1;
            for bucket in self.counters.buckets.iter_mut().skip(flight.bucket) {
                *bucket += 1;
            }
        }
        self.worker.settle(flight.healthy)
    }
}

/// A pod, its container, its probers.
pub(super) struct Pod {
    pub(super) uid: Uid,
    pub(super) name: Name,
    pub(super) created: i64,
    pub(super) liveness: Asker,
    /// Readiness and startup, where they are declared.
    pub(super) beside: Vec<Asker>,
    /// Carrying cost of its liveness numbers, in pod-seconds a pod-year.
    pub(super) cost: f64,
    /// From when the container answers; the future while it is down or starting.
    pub(super) serving: i64,
    /// When its present life began.
    pub(super) running: i64,
    pub(super) restarts: u32,
    pub(super) last_end: Option<Ended>,
    pub(super) backoff: Backoff,
    /// Its startup probe has succeeded in this life, or it has none.
    pub(super) started: bool,
    pub(super) ready: bool,
    /// Readiness has taken it out of service, though it is healthy.
    pub(super) removed: bool,
    /// Since when it is missing, from its creation or its end until it is ready again.
    pub(super) missing: Option<i64>,
}

impl Pod {
    /// A pod that is made at `created` and up long before `probed`, when its probers' grids begin.
    pub(super) fn new(
        (uid, name): (Uid, Name),
        (created, probed): (i64, i64),
        numbers: Numbers,
        handler: Handler,
        chance: &mut Chance,
    ) -> Pod {
        let liveness = Asker::new(ProbeKind::Liveness, numbers.liveness, probed, chance);
        let beside = numbers.declared().filter(|(kind, _)| *kind != ProbeKind::Liveness);
        let mut beside: Vec<Asker> = beside.map(|(kind, s)| Asker::new(kind, s, probed, chance)).collect();
        beside.iter_mut().filter(|a| a.kind == ProbeKind::Startup).for_each(|a| a.worker.close());
        Pod {
            uid,
            name,
            created,
            liveness,
            beside,
            cost: carrying_cost(numbers.liveness, handler),
            serving: created + 20 * NANOS,
            running: created + 2 * NANOS,
            restarts: 0,
            last_end: None,
            backoff: Backoff::default(),
            started: true,
            ready: true,
            removed: false,
            missing: None,
        }
    }

    /// Whether it takes its part of the load.
    pub(super) fn in_service(&self, at: i64) -> bool {
        self.serving <= at && (self.beside.is_empty() || self.ready)
    }

    /// All its probers, liveness first.
    pub(super) fn askers(&self) -> impl Iterator<Item = &Asker> {
        std::iter::once(&self.liveness).chain(&self.beside)
    }

    /// The same, to be changed.
    pub(super) fn askers_mut(&mut self) -> impl Iterator<Item = &mut Asker> {
        std::iter::once(&mut self.liveness).chain(&mut self.beside)
    }

    /// The prober at this place of [`Pod::askers`].
    #[inline]
    pub(super) fn asker(&mut self, k: usize) -> &mut Asker {
        if k == 0 { &mut self.liveness } else { &mut self.beside[k - 1] }
    }

    /// The prober of this kind, if it has one.
    pub(super) fn of(&mut self, kind: ProbeKind) -> Option<&mut Asker> {
        self.askers_mut().find(|a| a.kind == kind)
    }

    pub(super) fn has(&self, kind: ProbeKind) -> bool {
        self.askers().any(|a| a.kind == kind)
    }

    /// The longest that a check of any of its probers may take without any effect.
    pub(super) fn unnoticed(&self) -> i64 {
        let beside = self.beside.iter().filter(|a| a.kind != ProbeKind::Startup);
        beside.fold(self.liveness.worker.unnoticed(), |least, a| least.min(a.worker.unnoticed()))
    }

    /// A container of it begins to run at [`Pod::running`] and answers from [`Pod::serving`] on: nobody has asked it yet.
    ///
    /// Without a startup probe liveness waits until it serves, as behind an `initialDelaySeconds` that is exact.
    pub(super) fn begin(&mut self) {
        let (running, serving) = (self.running, self.serving);
        let held = self.has(ProbeKind::Startup);
        self.started = !held;
        self.ready = false;
        for asker in self.askers_mut() {
            asker.flight = None;
            match asker.kind {
                ProbeKind::Startup => asker.worker.resume(running),
                _ if held => asker.worker.close(),
                ProbeKind::Liveness => asker.worker.resume(serving),
                ProbeKind::Readiness => asker.worker.trigger(running + AT_ONCE),
            }
        }
    }

    /// Its startup probe has succeeded: the others begin.
    pub(super) fn start_succeeded(&mut self, at: i64) {
        self.started = true;
        for asker in self.askers_mut() {
            match asker.kind {
                ProbeKind::Startup => asker.worker.close(),
                ProbeKind::Liveness => asker.worker.resume(at),
                ProbeKind::Readiness => asker.worker.trigger(at + AT_ONCE),
            }
        }
    }

    /// It has lost its readiness: it is asked once more at once, unless a kept tick asks already.
    pub(super) fn lost(&mut self, at: i64) {
        self.ready = false;
        if let Some(readiness) = self.of(ProbeKind::Readiness)
            && readiness.worker.next > at
        {
            readiness.worker.trigger(at + AT_ONCE);
        }
    }

    /// Its node's kubelet begins anew: other grids, and nothing counted. What was started and ready stays so.
    pub(super) fn probed_anew(&mut self, at: i64, chance: &mut Chance) {
        let (running, serving, started) = (self.running.max(at), self.serving.max(at), self.started);
        for asker in self.askers_mut() {
            let settings = asker.worker.settings;
            *asker = Asker::new(asker.kind, settings, at, chance);
            match (asker.kind, started) {
                (ProbeKind::Startup, false) | (ProbeKind::Readiness, true) => asker.worker.resume(running),
                (ProbeKind::Liveness, true) => asker.worker.resume(serving),
                _ => asker.worker.close(),
            }
        }
    }
}
