//! One replica: a pod, its container, its prober.

use super::backoff::Backoff;
use super::chance::Chance;
use super::truth::carrying_cost;
use super::worker::{Flight, Worker};
use crate::observation::Counters;
use crate::probe::{Handler, Settings};
use crate::units::{Name, Uid};
use crate::workload::Ended;

/// A true fault under way.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    /// When it was first to be noticed by anyone: a leak grows from here.
    pub(super) from: i64,
    /// From when it hangs or refuses.
    pub(super) breaks: i64,
    pub(super) hang: bool,
}

/// A pod that will take a slot over.
#[derive(Clone, Copy)]
pub(super) struct Successor {
    pub(super) created: i64,
    pub(super) at: i64,
    pub(super) settings: Settings,
    pub(super) announced: bool,
    pub(super) uid: Uid,
}

/// One replica: a pod, its container, its prober.
pub(super) struct Slot {
    pub(super) uid: Uid,
    pub(super) name: Name,
    pub(super) node: usize,
    pub(super) created: i64,
    pub(super) worker: Worker,
    /// Carrying cost of its numbers, in pod-seconds a pod-year.
    pub(super) cost: f64,
    pub(super) flight: Option<Flight>,
    /// From when the container answers; the future while it is down or starting.
    pub(super) serving: i64,
    /// When its present life began.
    pub(super) started: i64,
    pub(super) restarts: u32,
    pub(super) last_end: Option<Ended>,
    pub(super) backoff: Backoff,
    pub(super) fault: Option<Fault>,
    pub(super) next_fault: i64,
    pub(super) next_exit: i64,
    pub(super) successor: Option<Successor>,
    pub(super) counters: Counters,
    /// No check of this minute can fail or take long.
    pub(super) calm: bool,
    pub(super) chance: Chance,
    pub(super) faults: Chance,
}

impl Slot {
    /// A new worker with these numbers, whose first check comes within a period after `at`.
    pub(super) fn probe_with(&mut self, settings: Settings, handler: Handler, at: i64) {
        self.worker = Worker::new(settings, at + nanos(self.chance.unit() * f64::from(settings.period())));
        self.cost = carrying_cost(settings, handler);
    }
}

/// Seconds as nanoseconds.
pub(super) fn nanos(seconds: f64) -> i64 {
    (seconds * 1e9) as i64
}

/// A moment so many seconds after another; the far future if it cannot be said.
pub(super) fn after(at: i64, seconds: f64) -> i64 {
    at.saturating_add(nanos(seconds))
}
