//! At what load a workload was seen, and at what load never: coverage, and a word beside each restart.
//!
//! No number follows from load alone. But evidence at 0.4 of a node's cores says nothing about 0.9 of them, and a person
//! who looks at a restart asks first how busy the node was. Bounds: two histograms of ten bins a workload, and the hours
//! in which its containers were throttled (`throttle`).

use super::table::worth_after;
use super::throttle::{CONTAINERS, Throttled, Window};
use super::watch::GAP;
use crate::units::{Name, Span, Timestamp};

/// Bins of a histogram.
pub const LOAD_BINS: usize = 10;
/// Lower edges of the bins of a node's load, as share of its allocatable cores; the last is open.
pub const NODE_EDGES: [f64; LOAD_BINS] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Lower edges of the bins of a pod's load, in cores; the last is open.
pub const POD_EDGES: [f64; LOAD_BINS] = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
/// What was told longer ago than this is not the load of now.
const FRESH: Span = Span::from_nanos(600 * 1_000_000_000);

/// Load at one moment, as far as it was told within ten minutes.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct LoadThen {
    /// Of the node, as share of its allocatable cores; may exceed 1.
    pub node: Option<f32>,
    /// Of the pod, in cores.
    pub pod: Option<f32>,
}

/// How long it was how busy.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Covered {
    pub(super) seconds: [f32; LOAD_BINS],
    pub(super) highest: Option<(f32, Timestamp)>,
}

impl Covered {
    /// Seconds in each bin, decayed as all counts are; a node's or pod's own seconds, so that two at once count twice.
    pub fn seconds(&self) -> [f64; LOAD_BINS] {
        self.seconds.map(f64::from)
    }

    /// The highest ever seen, and when.
    pub fn highest(&self) -> Option<(f64, Timestamp)> {
        self.highest.map(|(load, at)| (f64::from(load), at))
    }

    fn add(&mut self, at: Timestamp, load: f64, seconds: f64, edges: &[f64; LOAD_BINS]) {
        let bin = edges.iter().rposition(|edge| load >= *edge).unwrap_or(0);
        self.seconds[bin] += seconds as f32;
        let load = load as f32;
        if self.highest.is_none_or(|(most, _)| load > most) {
            self.highest = Some((load, at));
        }
    }

    fn merge(&mut self, other: &Covered) {
        for (mine, theirs) in self.seconds.iter_mut().zip(other.seconds) {
            *mine += theirs;
        }
        // Of equals the earlier: it was first.
        let key = |h: &(f32, Timestamp)| (h.0, std::cmp::Reverse(h.1));
        self.highest = match (self.highest, other.highest) {
            (Some(a), Some(b)) => Some(if key(&b) > key(&a) { b } else { a }),
            (a, b) => a.or(b),
        };
    }
}

/// The load that a workload was seen at.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Load {
    pub(super) nodes: Covered,
    pub(super) pods: Covered,
    /// By name.
    pub(super) throttled: Vec<Throttled>,
    /// The hour, counted from the epoch, to which seconds are decayed.
    pub(super) hour: i64,
}

impl Load {
    /// Of the nodes that its pods run on, in the bins of [`NODE_EDGES`].
    pub fn nodes(&self) -> &Covered {
        &self.nodes
    }

    /// Of its pods, in the bins of [`POD_EDGES`].
    pub fn pods(&self) -> &Covered {
        &self.pods
    }

    /// How often its containers were throttled, by name: those with a probe, with a CPU limit, and of which cAdvisor told.
    pub fn throttled(&self) -> &[Throttled] {
        &self.throttled
    }

    /// A window of one pod's container; whether there was room for it.
    #[must_use = "what is dropped is counted"]
    pub(super) fn throttle(&mut self, at: Timestamp, container: &Name, window: &Window) -> bool {
        let known = self.place(container);
        known.map(|known| known.add(at, window)).is_some()
    }

    /// What is known of a container, made if it is new; `None` where there is no room.
    fn place(&mut self, container: &Name) -> Option<&mut Throttled> {
        let at = match self.throttled.binary_search_by(|t| t.container.cmp(container)) {
            Ok(at) => at,
            Err(_) if self.throttled.len() >= CONTAINERS => return None,
            Err(at) => {
                self.throttled.insert(at, Throttled::new(container.clone()));
                at
            }
        };
        self.throttled.get_mut(at)
    }

    pub(super) fn heap(&self) -> usize {
        self.throttled.capacity() * size_of::<Throttled>()
    }

    /// A node's load as share of its cores, `before` having been told last.
    pub(super) fn node(&mut self, at: Timestamp, before: Option<Timestamp>, share: f64) {
        self.decay_to(hour(at));
        self.nodes.add(at, share, lasted(at, before), &NODE_EDGES);
    }

    /// A pod's load in cores, `before` having been told last.
    pub(super) fn pod(&mut self, at: Timestamp, before: Option<Timestamp>, cores: f64) {
        self.decay_to(hour(at));
        self.pods.add(at, cores, lasted(at, before), &POD_EDGES);
    }

    fn decay_to(&mut self, hour: i64) {
        if hour > self.hour {
            let factor = worth_after(Span::HOUR * (hour - self.hour)) as f32;
            self.nodes.seconds.iter_mut().chain(&mut self.pods.seconds).for_each(|s| *s *= factor);
            self.hour = hour;
        }
    }

    /// Says of how many containers there was no room for what the other knew.
    #[must_use = "what is dropped is counted"]
    pub(super) fn merge(&mut self, mut other: Load) -> u32 {
        let hour = self.hour.max(other.hour);
        self.decay_to(hour);
        other.decay_to(hour);
        self.nodes.merge(&other.nodes);
        self.pods.merge(&other.pods);
        let mut dropped = 0;
        for theirs in &other.throttled {
            match self.place(&theirs.container) {
                Some(mine) => mine.merge(theirs),
                None => dropped += 1,
            }
        }
        dropped
    }
}

/// Up to a new word the last one stood, unless nobody told for minutes.
fn lasted(at: Timestamp, before: Option<Timestamp>) -> f64 {
    before.map(|b| at.since(b)).filter(|s| *s > Span::ZERO && *s <= GAP).map_or(0.0, Span::as_secs_f64)
}

/// A load that was told at some moment, if it is fresh at `now`.
pub(super) fn fresh(told: Option<(Timestamp, f32)>, now: Timestamp) -> Option<f32> {
    told.filter(|(at, _)| now.since(*at) <= FRESH).map(|(_, load)| load)
}

fn hour(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::HOUR.nanos())
}
