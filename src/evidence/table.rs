//! Decaying tables of extents: what was seen above one latency edge, in one epoch of the program.
//!
//! An extent is the stall tolerance that would have been needed to live through one run of slow or failed checks, known
//! only as an interval. A table keeps interval → count, the half-hours (over all replicas) in which there was any with
//! their largest lower end, and nothing else: replicas that stall together are one piece of evidence.

use crate::units::{Span, Timestamp};

/// A latency edge that whole-second timeouts can use, or refusals, which have no latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// Above 1 s.
    One,
    /// Above 2.5 s.
    TwoAndHalf,
    /// Above 5 s.
    Five,
    /// Above 10 s.
    Ten,
    /// Refused or answered badly at once.
    Fast,
}

impl Edge {
    /// The four edges of latency, rising.
    pub const LATENCY: [Edge; 4] = [Edge::One, Edge::TwoAndHalf, Edge::Five, Edge::Ten];
    /// All five, refusals last.
    pub const ALL: [Edge; 5] = [Edge::One, Edge::TwoAndHalf, Edge::Five, Edge::Ten, Edge::Fast];

    /// Where the tail above this edge begins, in seconds; half a second for refusals, since a lone refused check has
    /// lasted some time but nobody knows how long.
    pub const fn seconds(self) -> f64 {
        match self {
            Edge::One => 1.0,
            Edge::TwoAndHalf => 2.5,
            Edge::Five => 5.0,
            Edge::Ten => 10.0,
            Edge::Fast => 0.5,
        }
    }

    /// Position in [`Edge::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Edge::One => 0,
            Edge::TwoAndHalf => 1,
            Edge::Five => 2,
            Edge::Ten => 3,
            Edge::Fast => 4,
        }
    }

    /// The number of latency edges that checks with this timeout can see: those not above it.
    pub const fn visible(timeout: u32) -> usize {
        match timeout {
            0..=2 => 1,
            3..=4 => 2,
            5..=9 => 3,
            _ => 4,
        }
    }
}

/// Most distinct intervals in a table. A quiet probe has none, a noisy one with one setting about ten.
pub const EXTENTS: usize = 16;
/// Most distinct cluster sizes in a table: lower ends are edges, timeouts and multiples of one period.
pub const CLUSTERS: usize = 12;
/// Evidence loses half its weight in this time: counts, clusters and exposure alike, so that rates stay.
pub const HALF_LIFE: Span = Span::from_nanos(45 * 86_400 * 1_000_000_000);
/// Clusters are half-hours.
pub const CLUSTER: Span = Span::from_nanos(1_800 * 1_000_000_000);
/// So many of them are a day.
const DAY: i64 = 48;
/// Half-hours of a bout at most: half a day without a pause counts as three bouts whatever there was before.
const BOUT: f64 = 9.6;
/// Longer than this is an outage and no stall.
pub const OUTAGE_SECONDS: f32 = 120.0;

/// What is left of evidence of some age, in [0, 1].
pub fn worth_after(age: Span) -> f64 {
    (-age.as_secs_f64().max(0.0) / HALF_LIFE.as_secs_f64()).exp2()
}

/// Runs whose extent lies in an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// Lower end, in seconds: surely at least this.
    pub lo: f32,
    /// Upper end, in seconds; infinite when it was cut off.
    pub hi: f32,
    /// How many, decayed.
    pub count: f32,
}

/// Half-hours whose largest extent has this lower end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    /// Largest lower end in the half-hour, in seconds.
    pub lo: f32,
    /// How many such half-hours, decayed.
    pub count: f32,
}

/// What was seen above one edge in one epoch. Both lists are sorted by `lo`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Table {
    pub(super) extents: Vec<Extent>,
    pub(super) clusters: Vec<Cluster>,
    /// The half-hour that is still running and its largest lower end.
    pub(super) open: Option<(i64, f32)>,
    /// The last day with a half-hour, counted from the epoch, and how many it had.
    pub(super) today: (i64, u32),
    /// The sum over all days of the square of how many half-hours each had, decayed.
    pub(super) squares: f32,
}

/// The half-hour of a moment, counted from the epoch.
pub(super) fn half_hour(at: Timestamp) -> i64 {
    at.nanos().div_euclid(CLUSTER.nanos())
}

impl Table {
    /// A table with these intervals and clusters, for tests of the arithmetic.
    #[cfg(test)]
    pub(crate) fn of(extents: &[(f32, f32, f32)], clusters: &[(f32, f32)]) -> Self {
        Table {
            extents: extents.iter().map(|&(lo, hi, count)| Extent { lo, hi, count }).collect(),
            clusters: clusters.iter().map(|&(lo, count)| Cluster { lo, count }).collect(),
            open: None,
            today: (0, 0),
            squares: clusters.iter().map(|c| c.1).sum(),
        }
    }

    /// How many half-hours come at a time, at most 9.6: the variance of their number a day over its mean, which is 1
    /// where each comes for itself, however many there are. `days` have been watched.
    pub fn bout(&self, days: f64) -> f64 {
        let all = self.clusters_from(0.0);
        if all <= 0.0 || days <= 0.0 {
            return 1.0;
        }
        (f64::from(self.squares) / all - all / days).clamp(1.0, BOUT)
    }

    /// The intervals with their counts, sorted.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Whether nothing was ever seen.
    pub(super) fn is_empty(&self) -> bool {
        self.extents.is_empty() && self.clusters.is_empty() && self.open.is_none()
    }

    /// The clusters, the half-hour that is still running counted as one.
    pub fn clusters(&self) -> impl Iterator<Item = Cluster> + Clone + '_ {
        self.clusters.iter().copied().chain(self.open.map(|(_, lo)| Cluster { lo, count: 1.0 }))
    }

    /// The number of clusters whose largest extent is at least `lo`.
    pub fn clusters_from(&self, lo: f32) -> f64 {
        self.clusters().filter(|c| c.lo >= lo).map(|c| f64::from(c.count)).sum()
    }

    /// Adds one run; returns how many neighbours had to be merged for it.
    pub(super) fn add(&mut self, at: Timestamp, lo: f32, hi: f32) -> u32 {
        let mut merged = self.add_extent(Extent { lo, hi: hi.max(lo + 0.001), count: 1.0 });
        let bin = half_hour(at);
        match &mut self.open {
            Some((open, largest)) if *open == bin => *largest = largest.max(lo),
            open => {
                let closed = open.replace((bin, lo));
                let day = bin.div_euclid(DAY);
                // Squares of whole numbers are sums of the odd ones.
                self.today = if self.today.0 == day { (day, self.today.1.saturating_add(1)) } else { (day, 1) };
                self.squares += (2 * self.today.1 - 1) as f32;
                if let Some((_, lo)) = closed {
                    merged += self.add_cluster(Cluster { lo, count: 1.0 });
                }
            }
        }
        merged
    }

    fn add_extent(&mut self, new: Extent) -> u32 {
        let key = |e: &Extent| (e.lo, e.hi);
        match self.extents.binary_search_by(|e| {
            key(e).partial_cmp(&key(&new)).expect("extents are never not-a-number: they are sums of settings")
        }) {
            Ok(i) => {
                self.extents[i].count += new.count;
                return 0;
            }
            Err(i) => self.extents.insert(i, new),
        }
        if self.extents.len() <= EXTENTS {
            return 0;
        }
        // The pair whose merging says least less: nearest in lower ends and in upper ends, by ratio.
        let cost = |w: &[Extent]| {
            let ratio = |a: f32, b: f32| if a.is_infinite() == b.is_infinite() { 0.0 } else { 9.0 } + far(a, b);
            ratio(w[0].lo, w[1].lo) + ratio(w[0].hi, w[1].hi)
        };
        let at = cheapest(&self.extents, cost);
        let gone = self.extents.remove(at + 1);
        let kept = &mut self.extents[at];
        *kept = Extent { lo: kept.lo.min(gone.lo), hi: kept.hi.max(gone.hi), count: kept.count + gone.count };
        1
    }

    fn add_cluster(&mut self, new: Cluster) -> u32 {
        match self.clusters.binary_search_by(|c| c.lo.total_cmp(&new.lo)) {
            Ok(i) => {
                self.clusters[i].count += new.count;
                return 0;
            }
            Err(i) => self.clusters.insert(i, new),
        }
        if self.clusters.len() <= CLUSTERS {
            return 0;
        }
        let at = cheapest(&self.clusters, |w| far(w[0].lo, w[1].lo));
        let gone = self.clusters.remove(at + 1);
        self.clusters[at].count += gone.count;
        1
    }

    pub(super) fn scale(&mut self, factor: f32) {
        self.extents.iter_mut().for_each(|e| e.count *= factor);
        self.clusters.iter_mut().for_each(|c| c.count *= factor);
        self.squares *= factor;
    }

    /// Closes the running half-hour if it lies before an hour, counted from the epoch, worth what its age leaves of it.
    pub(super) fn close_before(&mut self, hour: i64) -> u32 {
        let Some((bin, lo)) = self.open.take_if(|(bin, _)| bin.div_euclid(2) < hour) else { return 0 };
        let age = Span::HOUR * (hour - bin.div_euclid(2));
        self.add_cluster(Cluster { lo, count: worth_after(age) as f32 })
    }

    /// Takes in another observer's table: the half-hour that still runs is one for both.
    fn absorb_open(&mut self, other: &mut Table) -> u32 {
        let mut merged = 0;
        for e in other.extents.drain(..) {
            merged += self.add_extent(e);
        }
        for c in other.clusters.drain(..) {
            merged += self.add_cluster(c);
        }
        let (mine, theirs) = (self.open.take(), other.open.take());
        let closed = match (mine, theirs) {
            (Some((a, x)), Some((b, y))) if a == b => {
                self.open = Some((a, x.max(y)));
                None
            }
            (Some(a), Some(b)) => {
                self.open = Some(if a.0 > b.0 { a } else { b });
                Some(if a.0 > b.0 { b } else { a })
            }
            (a, b) => {
                self.open = a.or(b);
                None
            }
        };
        self.squares += std::mem::take(&mut other.squares);
        self.today = self.today.max(std::mem::take(&mut other.today));
        closed.map_or(merged, |(_, lo)| merged + self.add_cluster(Cluster { lo, count: 1.0 }))
    }

    /// Takes another table in and leaves it empty.
    fn absorb(&mut self, other: &mut Table) -> u32 {
        let mut merged = 0;
        for e in other.extents.drain(..) {
            merged += self.add_extent(e);
        }
        for c in other.clusters.drain(..) {
            merged += self.add_cluster(c);
        }
        self.squares += std::mem::take(&mut other.squares);
        self.today = self.today.max(std::mem::take(&mut other.today));
        for (_, lo) in [self.open.take(), other.open.take()].into_iter().flatten() {
            merged += self.add_cluster(Cluster { lo, count: 1.0 });
        }
        merged
    }
}

/// How far apart two positive ends are, by ratio; two infinite ones are together.
fn far(a: f32, b: f32) -> f32 {
    if a == b { 0.0 } else { (a.min(1e6) / b.min(1e6)).ln().abs() }
}

fn cheapest<T>(items: &[T], cost: impl Fn(&[T]) -> f32) -> usize {
    let mut best = (0, f32::INFINITY);
    for (i, pair) in items.windows(2).enumerate() {
        let c = cost(pair);
        if c < best.1 {
            best = (i, c);
        }
    }
    best.0
}

/// All that was seen of a probe in one epoch: this version of the program, or everything before it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Epoch {
    pub(super) tables: [Table; 5],
    /// Pod-seconds, by the number of latency edges that the timeout in force let us see, less one.
    pub(super) exposure: [f64; 4],
    /// Pod-seconds times the period in force, in seconds: for the mean period at which all this was seen.
    pub(super) periods: f64,
}

impl Epoch {
    /// The table of an edge.
    pub fn table(&self, edge: Edge) -> &Table {
        &self.tables[edge.index()]
    }

    /// Pod-seconds in which an edge could be seen: timeouts not below it. Refusals can always be seen.
    pub fn exposure(&self, edge: Edge) -> f64 {
        match edge {
            Edge::Fast => self.exposure.iter().sum(),
            _ => self.exposure[edge.index()..].iter().sum(),
        }
    }

    /// Pod-seconds times period: divided by [`Epoch::exposure`] of refusals it is the mean period, in seconds.
    pub fn periods(&self) -> f64 {
        self.periods
    }

    pub(super) fn credit(&mut self, seconds: f64, timeout: u32, period: u32) {
        self.exposure[Edge::visible(timeout) - 1] += seconds;
        self.periods += seconds * f64::from(period);
    }

    pub(super) fn scale(&mut self, factor: f32) {
        self.tables.iter_mut().for_each(|t| t.scale(factor));
        self.exposure.iter_mut().for_each(|e| *e *= f64::from(factor));
        self.periods *= f64::from(factor);
    }

    pub(super) fn clear(&mut self) {
        for t in &mut self.tables {
            t.extents.clear();
            t.clusters.clear();
            t.open = None;
            t.today = (0, 0);
            t.squares = 0.0;
        }
        self.exposure = [0.0; 4];
        self.periods = 0.0;
    }

    pub(super) fn absorb(&mut self, other: &mut Epoch) -> u32 {
        let mut merged = 0;
        for (mine, theirs) in self.tables.iter_mut().zip(&mut other.tables) {
            merged += mine.absorb(theirs);
        }
        for (mine, theirs) in self.exposure.iter_mut().zip(&mut other.exposure) {
            *mine += std::mem::take(theirs);
        }
        self.periods += std::mem::take(&mut other.periods);
        merged
    }

    /// Takes in what another observer saw of the same version.
    pub(super) fn absorb_open(&mut self, other: &mut Epoch) -> u32 {
        let mut merged = 0;
        for (mine, theirs) in self.tables.iter_mut().zip(&mut other.tables) {
            merged += mine.absorb_open(theirs);
        }
        for (mine, theirs) in self.exposure.iter_mut().zip(&other.exposure) {
            *mine += theirs;
        }
        self.periods += other.periods;
        merged
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        self.tables
            .iter()
            .map(|t| t.extents.capacity() * size_of::<Extent>() + t.clusters.capacity() * size_of::<Cluster>())
            .sum()
    }
}
