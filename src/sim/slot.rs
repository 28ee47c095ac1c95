//! One place of a workload: the pod in it, the one that is to take over, and what befalls them.

use super::chance::Chance;
use super::numbers::Numbers;
use super::pod::Pod;
use crate::units::Uid;

/// A true fault under way.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    /// When it was first to be noticed by anyone: a leak grows from here.
    pub(super) from: i64,
    /// From when it hangs or refuses.
    pub(super) breaks: i64,
    pub(super) hang: bool,
    /// Readiness has taken its pod out of service.
    pub(super) out: bool,
}

/// A pod that will take a slot over.
pub(super) struct Successor {
    /// When it is created; the far future while its turn has not come.
    pub(super) created: i64,
    /// When it takes over; the far future while it is not ready.
    pub(super) at: i64,
    pub(super) numbers: Numbers,
    pub(super) announced: bool,
    pub(super) uid: Uid,
    /// Its own life until then, where there is a probe to watch it start.
    pub(super) pod: Option<Box<Pod>>,
}

/// Which pod of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The one that is there.
    Here,
    /// The one that is to take over.
    Next,
}

/// One replica.
pub(super) struct Slot {
    pub(super) node: usize,
    pub(super) pod: Pod,
    pub(super) next: Option<Successor>,
    pub(super) fault: Option<Fault>,
    pub(super) next_fault: i64,
    pub(super) next_exit: i64,
    /// No check of this minute can fail or take long.
    pub(super) calm: bool,
    pub(super) chance: Chance,
    pub(super) faults: Chance,
}

impl Slot {
    /// A pod of it, if there is one in this place.
    #[inline]
    pub(super) fn pod_at(&mut self, place: Place) -> Option<&mut Pod> {
        match place {
            Place::Here => Some(&mut self.pod),
            Place::Next => self.next.as_mut().and_then(|n| n.pod.as_deref_mut()),
        }
    }

    /// Nothing but the weather can make a check of it fail.
    pub(super) fn is_steady(&self) -> bool {
        let whole = self.pod.beside.is_empty() || self.pod.started && self.pod.ready;
        self.fault.is_none() && whole && self.next.as_ref().is_none_or(|n| n.pod.is_none())
    }

    /// Its pods, the one that is there first.
    pub(super) fn pods(&self) -> impl Iterator<Item = (Place, &Pod)> {
        let next = self.next.as_ref().and_then(|n| n.pod.as_deref()).map(|pod| (Place::Next, pod));
        std::iter::once((Place::Here, &self.pod)).chain(next)
    }

    /// The moment up to which nothing but checks happens, `stop` at the latest.
    pub(super) fn limit(&self, stop: i64) -> i64 {
        self.next.as_ref().map_or(stop, |next| next.at.min(stop)).min(self.next_exit)
    }

    /// Whose turn comes first among the checks that end by `until` or start before it.
    pub(super) fn soonest(&self, until: i64) -> Option<(Place, usize)> {
        let mut first: Option<(i64, Place, usize)> = None;
        for (place, pod) in self.pods() {
            for (k, asker) in pod.askers().enumerate() {
                let at = match asker.flight {
                    Some(flight) if flight.end <= until => flight.end,
                    None if asker.worker.next < until => asker.worker.next,
                    _ => continue,
                };
                if first.is_none_or(|(earliest, ..)| at < earliest) {
                    first = Some((at, place, k));
                }
            }
        }
        first.map(|(_, place, k)| (place, k))
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
