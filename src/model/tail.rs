//! One latency edge's tail: how often anything exceeds it, and how fast that falls with the length.
//!
//! Rate above `u`: `r = (C + ½)/(E + ½/r̂) · N/C`. Shape: a tempered Pareto, `S(y) = (y/u)^−α · e^{−(y−u)/25}`, its α on
//! a grid with the likelihood of intervals `S(lo) − S(hi)`, each count to the power `C/N`. `C` half-hours over all
//! replicas are the evidence, `N` runs the frequency: replicas that stall together count once as evidence.

use crate::evidence::{Cluster, Edge, Table};
use std::sync::LazyLock;

/// Points of the grid of α.
pub(super) const GRID: usize = 40;
/// The grid's ends: geometric between them.
const ALPHA: (f64, f64) = (0.5, 12.0);
/// Silences much longer than this, in seconds, are outages and no stalls.
pub(super) const TEMPER: f64 = 25.0;
/// The largest lower end with at least this many clusters at or above it becomes the tail's start.
const CLUSTERS_AT_START: f64 = 4.0;

pub(super) struct Grid {
    pub(super) alpha: [f64; GRID],
    /// `ln(α^12·e^{−4α})`: mean 3 on the geometric grid.
    pub(super) ln_prior: [f64; GRID],
}

pub(super) static GRID_OF_ALPHA: LazyLock<Grid> = LazyLock::new(|| {
    let step = (ALPHA.1 / ALPHA.0).ln() / (GRID - 1) as f64;
    let alpha = std::array::from_fn(|i| ALPHA.0 * (step * i as f64).exp());
    Grid { alpha, ln_prior: alpha.map(|a| 12.0 * a.ln() - 4.0 * a) }
});

/// What there is to fit one tail to. Counts are taken times the scale beside their table.
pub(super) struct Data<'a> {
    pub(super) edge: Edge,
    /// This version, the past, or one of them.
    pub(super) tables: [Option<(&'a Table, f64)>; 2],
    /// Restarts as `[tolerance, ∞)` with the weight that they were false, and the weight that their half-hour has as a
    /// cluster: zero for all but the heaviest of it.
    pub(super) killed: &'a [Killed],
    /// Pod-years in which the edge could be seen.
    pub(super) exposure: f64,
}

/// A restart as an extent that was cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Killed {
    pub(super) tolerance: f64,
    /// How many latency edges its timeout let us see.
    pub(super) edges: usize,
    pub(super) weight: f64,
    pub(super) cluster: f64,
    /// It was another version that it ended.
    pub(super) before: bool,
}

/// The tail above one edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Tail {
    edge: Edge,
    start: f64,
    rate: f64,
    clusters: f64,
    count: f64,
    exposure: f64,
    posterior: [f64; GRID],
    /// The grid points whose weight matters.
    from: usize,
    to: usize,
}

/// First and second moment of a quantity under the posterior of α.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Moments {
    pub(super) mean: f64,
    pub(super) square: f64,
}

impl Tail {
    /// Which edge's.
    pub fn edge(&self) -> Edge {
        self.edge
    }

    /// Where it begins, `u`, in seconds.
    pub fn start(&self) -> f64 {
        self.start
    }

    /// Events above its start a pod-year, `r`.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Half-hours with an event above its start, decayed: the evidence.
    pub fn clusters(&self) -> f64 {
        self.clusters
    }

    /// Events above its start, decayed: the frequency.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// Pod-years in which its edge could be seen, decayed.
    pub fn exposure(&self) -> f64 {
        self.exposure
    }

    /// Posterior mean of the exponent α.
    pub fn alpha(&self) -> f64 {
        let grid = &GRID_OF_ALPHA.alpha;
        (self.from..self.to).map(|i| self.posterior[i] * grid[i]).sum()
    }

    /// The share of events above the start that exceed `y` seconds: posterior mean of `S(y)`; 1 up to the start, never
    /// rising.
    pub fn survival(&self, y: f64) -> f64 {
        if y <= self.start {
            return 1.0;
        }
        let (grid, posterior) = (&GRID_OF_ALPHA.alpha[self.from..self.to], &self.posterior[self.from..self.to]);
        let ratio = (y / self.start).ln();
        let mean: f64 = grid.iter().zip(posterior).map(|(alpha, p)| p * (-alpha * ratio).exp()).sum();
        mean * (-(y - self.start) / TEMPER).exp()
    }

    pub(super) fn moments(&self, y: f64) -> Moments {
        if y <= self.start {
            return Moments { mean: 1.0, square: 1.0 };
        }
        let (grid, posterior) = (&GRID_OF_ALPHA.alpha[self.from..self.to], &self.posterior[self.from..self.to]);
        let (ratio, temper) = ((y / self.start).ln(), (-(y - self.start) / TEMPER).exp());
        let mut m = Moments::default();
        for (alpha, p) in grid.iter().zip(posterior) {
            let s = (-alpha * ratio).exp() * temper;
            m.mean += p * s;
            m.square += p * s * s;
        }
        m
    }

    /// `1/shape` of the rate's Gamma posterior, for its second moment.
    pub(super) fn spread(&self) -> f64 {
        1.0 / (self.clusters + 0.5)
    }
}

fn clusters<'a>(data: &'a Data<'_>) -> impl Iterator<Item = Cluster> + Clone + 'a {
    data.tables
        .iter()
        .flatten()
        .flat_map(|(table, scale)| table.clusters().map(move |c| Cluster { lo: c.lo, count: c.count * *scale as f32 }))
        .chain(data.killed.iter().map(|k| Cluster { lo: k.tolerance as f32, count: k.cluster as f32 }))
}

/// Fits a tail. `prior` is the rate expected above a start, `ln_prior` that of α; also gives α's log posterior, up to a
/// constant, for the edge above.
pub(super) fn fit(data: &Data<'_>, prior: impl Fn(f64) -> f64, ln_prior: &[f64; GRID]) -> (Tail, [f64; GRID]) {
    let base = data.edge.seconds();
    let from = |lo: f64| -> f64 { clusters(data).filter(|c| f64::from(c.lo) >= lo).map(|c| f64::from(c.count)).sum() };
    let start = clusters(data)
        .map(|c| f64::from(c.lo))
        .filter(|lo| *lo > base && from(*lo) >= CLUSTERS_AT_START - 1e-3)
        .fold(base, f64::max);
    let intervals = || {
        let seen = data.tables.iter().flatten().flat_map(|(table, scale)| {
            table.extents().iter().map(move |e| (f64::from(e.lo), f64::from(e.hi), f64::from(e.count) * scale))
        });
        seen.chain(data.killed.iter().map(|k| (k.tolerance, f64::INFINITY, k.weight)))
            .filter(|(lo, _, count)| *lo >= start && *count > 0.0)
    };
    let count: f64 = intervals().map(|(_, _, n)| n).sum();
    let evidence = from(start).min(count);
    let (frequency, temper) = if evidence > 0.0 { (count / evidence, evidence / count) } else { (1.0, 1.0) };
    let rate = (evidence + 0.5) / (data.exposure + 0.5 / prior(start)) * frequency;

    let mut ln_post = *ln_prior;
    let grid = &GRID_OF_ALPHA.alpha;
    for (lo, hi, n) in intervals() {
        let power = n * temper;
        let (a, ca) = ((lo / start).ln(), (lo - start) / TEMPER);
        if hi.is_finite() {
            let (b, cb) = ((hi / lo).ln(), (hi - lo) / TEMPER);
            for (l, alpha) in ln_post.iter_mut().zip(grid) {
                *l += power * (-alpha * a - ca + (-(-alpha * b - cb).exp()).ln_1p());
            }
        } else {
            for (l, alpha) in ln_post.iter_mut().zip(grid) {
                *l += power * (-alpha * a - ca);
            }
        }
    }
    let (posterior, range) = normalised(&ln_post);
    let tail = Tail {
        edge: data.edge,
        start,
        rate,
        clusters: evidence,
        count,
        exposure: data.exposure,
        posterior,
        from: range.0,
        to: range.1,
    };
    (tail, ln_post)
}

/// Weights that sum to one, and the range of those above a billionth of the largest.
fn normalised(ln: &[f64; GRID]) -> ([f64; GRID], (usize, usize)) {
    let most = ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut w = ln.map(|l| (l - most).exp());
    let matters = |x: &f64| *x > 1e-9;
    let from = w.iter().position(matters).unwrap_or(0);
    let to = w.iter().rposition(matters).map_or(GRID, |i| i + 1);
    let sum: f64 = w[from..to].iter().sum();
    w.iter_mut().for_each(|x| *x /= sum);
    (w, (from, to))
}
