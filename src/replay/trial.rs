//! Faults tried at many moments: how long until the verdict.
//!
//! A fault at a moment leaves everything before it as it was. So one walk without fault, watched, answers for all
//! moments: each one's next check is known when the walk comes by, and from there the hung or refused checks follow by
//! arithmetic.

use super::Change;
use super::walk::{Checked, Grid, Watch};

/// Moments at which a fault is tried on each phase.
pub const MOMENTS: i64 = 1000;

/// Watches the walk of one phase and notes the detections, in nanoseconds.
pub struct Trials<'a> {
    timeline: &'a [Change],
    segment: usize,
    phase: u32,
    phases: u32,
    end: i64,
    /// The moment that is looked for, and itself as the first whole nanosecond of this phase that is not before it.
    index: i64,
    reached_at: i64,
    grid: Grid,
    hang: &'a mut Vec<i64>,
    crash: &'a mut Vec<i64>,
}

impl<'a> Trials<'a> {
    /// Trials on phase `phase` of the numbers of `timeline`, which begin with the walk.
    pub fn new(
        timeline: &'a [Change],
        (phase, phases): (u32, u32),
        end: i64,
        (hang, crash): (&'a mut Vec<i64>, &'a mut Vec<i64>),
    ) -> Self {
        let grid = Grid::new(timeline[0].settings, timeline[0].at, phase, phases);
        let mut trials =
            Trials { timeline, segment: 0, phase, phases, end, index: 0, reached_at: 0, grid, hang, crash };
        trials.look_for(0);
        trials
    }

    /// The walk goes over to the next numbers.
    pub fn next_segment(&mut self) {
        self.segment += 1;
        self.grid = self.grid_of(self.segment);
        self.look_for(self.index);
    }

    /// The walk is over: all that is still looked for meets this check next.
    pub fn finish(mut self, next: i64, failures: u32) {
        while self.index < MOMENTS {
            self.resolve(next, failures);
        }
    }

    fn grid_of(&self, segment: usize) -> Grid {
        let change = &self.timeline[segment];
        Grid::new(change.settings, change.at, self.phase, self.phases)
    }

    /// The moment (j + ½)·end/1000 is `2000·N`-ths of a nanosecond; a moment a + f/N of this phase is not before it
    /// (or less than a nanosecond before, which is the same) when a > moment − f/N − 1.
    fn look_for(&mut self, index: i64) {
        self.index = index;
        if index < MOMENTS {
            let (units, parts) = (self.units(), 2 * MOMENTS as i128 * i128::from(self.phases));
            let fraction = 2 * MOMENTS as i128 * i128::from(self.grid.fraction);
            self.reached_at = (units - fraction).div_euclid(parts) as i64;
        }
    }

    /// The moment looked for, in parts of 1/(2000·N) ns.
    fn units(&self) -> i128 {
        i128::from(self.end) * i128::from(2 * self.index + 1) * i128::from(self.phases)
    }

    /// From the moment to a verdict at `at` of the grid with this fraction, rounded to the nanosecond.
    fn since(&self, at: i64, fraction: i64) -> i64 {
        let parts = 2 * MOMENTS as i128 * i128::from(self.phases);
        let at = i128::from(at) * parts + 2 * MOMENTS as i128 * i128::from(fraction);
        ((at - self.units() + parts / 2).div_euclid(parts) as i64).max(0)
    }

    fn resolve(&mut self, start: i64, failures: u32) {
        let (at, fraction) = self.verdict(start, failures, true);
        self.hang.push(self.since(at, fraction));
        let (at, fraction) = self.verdict(start, failures, false);
        self.crash.push(self.since(at, fraction));
        self.look_for(self.index + 1);
    }

    /// When the verdict comes if the check at `start` and all after it fail, after the timeout (a hang) or at once.
    fn verdict(&self, mut start: i64, mut failures: u32, hang: bool) -> (i64, i64) {
        let (mut segment, mut busy) = (self.segment, i64::MIN);
        loop {
            let grid = self.grid_of(segment);
            let took = if hang { grid.timeout } else { 0 };
            let tick = grid.tick_from(start + 1);
            // The q-th of the failing checks: each waits for its tick and for the one before.
            let nth = |q: i64| match q {
                1 => start,
                _ => (tick + (q - 2) * grid.period).max(start + (q - 1) * took),
            };
            let wanted = i64::from(grid.threshold.saturating_sub(failures).max(1));
            let until = self.timeline.get(segment + 1).map_or(i64::MAX, |change| change.at - grid.late());
            if nth(wanted) < until {
                return (nth(wanted) + took, grid.fraction);
            }
            // The numbers change first: the last check that starts before, if any, ends under the old ones.
            if start < until {
                let (mut low, mut high) = (1, wanted);
                while high - low > 1 {
                    let middle = i64::midpoint(low, high);
                    if nth(middle) < until { low = middle } else { high = middle }
                }
                busy = nth(low) + took;
            }
            segment += 1;
            start = self.grid_of(segment).first.max(busy);
            failures = 0;
        }
    }
}

impl Watch for Trials<'_> {
    fn quiet(&mut self, start: i64, count: i64, period: i64) {
        let last = start + (count - 1) * period;
        while self.index < MOMENTS && self.reached_at <= last {
            let past = (self.reached_at - start).max(0);
            self.resolve(start + (past + period - 1) / period * period, 0);
        }
    }

    fn check(&mut self, check: Checked) {
        while self.index < MOMENTS && self.reached_at <= check.start {
            self.resolve(check.start, check.before);
        }
        // A check in flight keeps its answer; if it is the one too many, that is the first verdict.
        while check.verdict && self.index < MOMENTS && self.reached_at <= check.end {
            let detected = self.since(check.end, self.grid.fraction);
            self.hang.push(detected);
            self.crash.push(detected);
            self.look_for(self.index + 1);
        }
    }
}
