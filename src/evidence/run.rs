//! Runs of slow or failed checks, rebuilt from counters: how long at most, and how many surely in a row.
//!
//! A scrape window tells how many checks ended in it and how many of them exceeded an edge, not in which order. A window
//! in which all exceeded goes on with a run, one in which none did ends it, and a mixed one may end one run and begin
//! another: its count goes to both. So the length is an upper bound, and the checks of full windows are a lower one.

use super::table::Edge;
use crate::probe::{ProbeKind, Settings};

/// What one scrape window says of one edge.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Window {
    /// Checks that ended in it.
    pub(super) checks: u32,
    /// Those that exceeded the edge.
    pub(super) over: u32,
    /// Those of them that failed.
    pub(super) failed: u32,
    /// Latency of the slowest success among them: the ends of its bucket, in seconds.
    pub(super) slowest: (f32, f32),
}

/// A run that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Run {
    /// Checks at most; zero when there is no run.
    pub(super) most: u32,
    /// Surely in a row: now, and at best so far.
    sure: (u32, u32),
    /// Failures surely in a row: now, and at best so far.
    sure_failed: (u32, u32),
    /// Failures at most.
    failed: u32,
    /// Bucket of the slowest success.
    slowest: (f32, f32),
    /// Begun in a window that may have ended another run: real only if it goes on.
    tentative: bool,
}

impl Run {
    pub(super) const NONE: Run =
        Run { most: 0, sure: (0, 0), sure_failed: (0, 0), failed: 0, slowest: (0.0, 0.0), tentative: false };

    /// Lives through a window; returns the run that ended in it.
    pub(super) fn push(&mut self, w: Window) -> Option<Run> {
        if w.checks == 0 {
            return None;
        }
        if w.over == 0 {
            let ended = std::mem::replace(self, Run::NONE);
            return (ended.most > 0 && !ended.tentative).then_some(ended);
        }
        if w.over >= w.checks {
            self.take(w);
            self.sure.0 = self.sure.0.saturating_add(w.over);
            self.sure.1 = self.sure.1.max(self.sure.0);
            self.sure_failed.0 = if w.failed >= w.checks { self.sure_failed.0.saturating_add(w.failed) } else { 0 };
            self.sure_failed.1 = self.sure_failed.1.max(self.sure_failed.0);
            self.tentative = false;
            return None;
        }
        let mut ended = *self;
        *self = Run::NONE;
        self.take(w);
        if ended.most == 0 {
            return None;
        }
        self.tentative = true;
        ended.take(w);
        Some(ended)
    }

    fn take(&mut self, w: Window) {
        self.most = self.most.saturating_add(w.over);
        self.failed = self.failed.saturating_add(w.failed);
        if w.slowest.0 > self.slowest.0 {
            self.slowest = w.slowest;
        }
    }

    /// Checks surely in a row, at least one in any run.
    pub(super) fn surely(&self) -> u32 {
        self.sure.1.max(1)
    }

    /// Failures surely in a row.
    pub(super) fn surely_failed(&self) -> u32 {
        if self.failed == 0 { 0 } else { self.sure_failed.1.max(1) }
    }

    /// Whether there is nothing but failures in it.
    pub(super) fn only_failures(&self) -> bool {
        self.failed == self.most
    }

    /// The tolerance that this run shows to be needed at least, in seconds, while it may still go on.
    pub(super) fn so_far(&self, edge: Edge, s: Settings) -> f32 {
        self.interval(edge, s).0
    }

    /// Lower and upper end of the extent of a run that recovered, in seconds.
    pub(super) fn interval(&self, edge: Edge, s: Settings) -> (f32, f32) {
        let (p, m, t, x) = (s.period() as f32, s.spacing() as f32, s.timeout() as f32, edge.seconds() as f32);
        let (sure, most) = (self.surely() as f32, self.most.max(1) as f32);
        if edge == Edge::Fast {
            let lo = if sure < 2.0 { x } else { (sure - 1.0) * p };
            return (lo, (most * p).max(lo));
        }
        if self.failed == 0 {
            let (a, b) = (self.slowest.0.max(x), self.slowest.1.min(t).max(x));
            if self.most < 2 {
                return (a, b.max(a));
            }
            let lo = if sure < 2.0 { a } else { a.max((sure - 1.0) * p + x) };
            return (lo, (most * p + x).max(b).max(lo));
        }
        let lo = ((self.surely_failed().max(1) as f32 - 1.0) * m + t).max((sure - 1.0) * p + x);
        (lo, (most * m + t).max(lo))
    }

    /// The extent as evidence, or `None` when the run cannot have recovered: a liveness probe would have killed.
    ///
    /// What did recover had fewer failures in a row than the threshold, so a run of nothing but failures is cut there.
    pub(super) fn recovered(&self, edge: Edge, kind: ProbeKind, s: Settings) -> Option<(f32, f32)> {
        let (lo, hi) = self.interval(edge, s);
        if kind != ProbeKind::Liveness || self.failed == 0 {
            return Some((lo, hi));
        }
        if self.surely_failed() >= s.threshold() {
            return None;
        }
        let tolerated = if edge == Edge::Fast { s.refusal_tolerance() } else { s.stall_tolerance() } as f32;
        let hi = if self.only_failures() { hi.min(tolerated) } else { hi };
        Some((lo, hi.max(lo)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn w(checks: u32, over: u32) -> Window {
        Window { checks, over, failed: over, slowest: (0.0, 0.0) }
    }

    #[test]
    fn full_windows_are_surely_in_a_row_and_mixed_ones_only_perhaps() {
        let mut run = Run::NONE;
        assert_eq!(run.push(w(2, 1)), None);
        assert_eq!(run.push(w(1, 1)), None);
        assert_eq!(run.push(w(2, 2)), None);
        let ended = run.push(w(2, 1)).unwrap();
        assert_eq!((ended.most, ended.surely(), ended.surely_failed()), (5, 3, 3));
        assert_eq!(run.push(w(1, 0)), None, "the mixed window's check already lies in the run that it ended");
    }

    #[test]
    fn a_window_without_checks_says_nothing() {
        let mut run = Run::NONE;
        run.push(w(1, 1));
        assert_eq!(run.push(w(0, 0)), None);
        assert_eq!(run.push(w(1, 0)).unwrap().most, 1);
    }

    #[track_caller]
    fn check(run: Run, edge: Edge, settings: &str, wanted: (f32, f32)) {
        assert_eq!(run.interval(edge, settings.parse().unwrap()), wanted);
    }

    #[test]
    fn a_run_becomes_the_interval_of_the_table() {
        let slow = |most, sure, slowest| Run { most, sure: (0, sure), slowest, ..Run::NONE };
        let failed = |most, sure| Run { most, sure: (0, sure), failed: most, sure_failed: (0, sure), ..Run::NONE };
        check(slow(1, 1, (2.5, 5.0)), Edge::One, "10/10/2", (2.5, 5.0));
        check(slow(1, 1, (2.5, 5.0)), Edge::One, "10/4/2", (2.5, 4.0));
        check(slow(3, 2, (1.0, 2.5)), Edge::One, "10/10/2", (11.0, 31.0));
        check(slow(2, 1, (5.0, 10.0)), Edge::One, "10/12/2", (5.0, 21.0));
        check(failed(2, 1), Edge::One, "10/1/3", (1.0, 21.0));
        check(failed(3, 2), Edge::One, "5/15/5", (30.0, 60.0));
        check(failed(1, 1), Edge::Fast, "10/1/3", (0.5, 10.0));
        check(failed(3, 3), Edge::Fast, "10/1/5", (20.0, 30.0));
    }

    #[test]
    fn a_liveness_run_that_recovered_was_shorter_than_the_threshold() {
        let s = "10/1/3".parse().unwrap();
        let failed = |most, sure| Run { most, sure: (0, sure), failed: most, sure_failed: (0, sure), ..Run::NONE };
        assert_eq!(failed(3, 3).recovered(Edge::One, ProbeKind::Liveness, s), None);
        assert_eq!(failed(4, 2).recovered(Edge::One, ProbeKind::Liveness, s), Some((11.0, 21.0)));
        assert_eq!(failed(3, 3).recovered(Edge::One, ProbeKind::Readiness, s), Some((21.0, 31.0)));
    }

    /// The runs that were: of each its first check, its length, and the check that ended it.
    fn true_runs(over: &[bool]) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let mut begin = None;
        for (i, slow) in over.iter().chain([&false]).enumerate() {
            match (slow, begin) {
                (true, None) => begin = Some(i),
                (false, Some(b)) => runs.push((b, i - std::mem::take(&mut begin).unwrap_or(b))),
                _ => {}
            }
        }
        runs
    }

    #[test]
    fn runs_of_at_least_k_are_the_windows_of_k_failures_less_those_of_one_more() {
        // Policy, worked example 3.
        let windows = |over: &[bool], k: usize| over.windows(k).filter(|w| w.iter().all(|f| *f)).count();
        let of = |text: &str| text.split(' ').map(|f| f == "1").collect::<Vec<_>>();
        let f = of("0 1 1 1 0 0 1 0 1 1 0 0");
        assert_eq!([1, 2, 3, 4].map(|k| windows(&f, k)), [6, 3, 1, 0]);
        let at_least = |over: &[bool], k: usize| true_runs(over).iter().filter(|(_, n)| *n >= k).count();
        assert_eq!([1, 2, 3].map(|k| at_least(&f, k)), [3, 2, 1]);
        proptest::proptest!(|(over in proptest::collection::vec(proptest::bool::weighted(0.6), 0..60), k in 1usize..8)| {
            proptest::prop_assert_eq!(at_least(&over, k), windows(&over, k) - windows(&over, k + 1));
            // One scrape a check: every run comes out with its length, both ways.
            let mut run = Run::NONE;
            let checks = over.iter().chain([&false]).filter_map(|slow| run.push(w(1, u32::from(*slow))));
            let told: Vec<usize> = checks.map(|r| { assert_eq!(r.most, r.surely()); r.most as usize }).collect();
            let lengths: Vec<usize> = true_runs(&over).iter().map(|(_, n)| *n).collect();
            proptest::prop_assert_eq!(told, lengths);
        });
    }

    proptest::proptest! {
        #[test]
        fn however_checks_fall_into_windows_no_run_is_longer_than_told_nor_shorter_than_sure(
            mut over in proptest::collection::vec(proptest::bool::weighted(0.5), 1..60),
            sizes in proptest::collection::vec(0usize..5, 60..61),
        ) {
            over.push(false);
            let (mut run, mut told, mut at) = (Run::NONE, Vec::new(), 0);
            let mut window_of = Vec::new();
            for (i, size) in sizes.into_iter().chain([1; 62]).enumerate() {
                let checks = &over[at..(at + size).min(over.len())];
                window_of.extend(checks.iter().map(|_| i));
                at += checks.len();
                let n = |all: &mut dyn Iterator<Item = &bool>| u32::try_from(all.filter(|s| **s).count()).unwrap();
                let slow = n(&mut checks.iter());
                if let Some(ended) = run.push(w(u32::try_from(checks.len()).unwrap(), slow)) {
                    told.push((i, ended));
                }
            }
            // The last word is a window without a slow check.
            told.extend(run.push(w(1, 0)).map(|ended| (usize::MAX, ended)));
            let runs = true_runs(&over);
            for &(begin, length) in &runs {
                let (from, ends) = (window_of[begin], window_of[begin + length]);
                let last = told.iter().map(|(i, _)| *i).find(|i| *i >= ends).unwrap_or(usize::MAX);
                let most = told.iter().filter(|(i, _)| (from..=last).contains(i)).map(|(_, r)| r.most as usize).max();
                proptest::prop_assert!(most >= Some(length), "{over:?}: {length} checks in a row, told {most:?}");
            }
            let mut before = 0;
            for (i, ended) in told {
                let met = |&&(b, n): &&(usize, usize)| window_of[b] <= i && window_of[b + n - 1] >= before;
                let longest = runs.iter().filter(met).map(|(_, n)| *n).max();
                proptest::prop_assert!(Some(ended.surely() as usize) <= longest, "{over:?}: {ended:?} of {longest:?}");
                before = i;
            }
        }
    }
}
