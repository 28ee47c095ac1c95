//! The kubelet's prober of one probe, in the few steps that a simulation of millions of checks needs.
//!
//! It is [`crate::probe::Prober`] without what never happens here (initial delay, triggers while a check runs, dropped
//! results), and tests hold it to that: same starts, same ends, same verdicts.

use super::weather::Answer;
use crate::probe::Settings;

/// A check under way: when it ends, and how.
#[derive(Clone, Copy)]
pub(super) struct Flight {
    pub(super) end: i64,
    pub(super) healthy: bool,
    pub(super) timed_out: bool,
    pub(super) bucket: usize,
}

/// One worker: its numbers, its grid, its count.
#[derive(Clone, Copy)]
pub(super) struct Worker {
    pub(super) settings: Settings,
    period: i64,
    timeout: i64,
    /// A tick of its grid.
    grid: i64,
    /// When its next check starts.
    pub(super) next: i64,
    failures: u32,
}

impl Worker {
    /// A worker with a tick at `grid`, which is its first check, and no failure counted.
    pub(super) fn new(settings: Settings, grid: i64) -> Worker {
        Worker {
            settings,
            period: settings.period_span().nanos(),
            timeout: settings.timeout_span().nanos(),
            grid,
            next: grid,
            failures: 0,
        }
    }

    /// What a check may take at most without any effect on when the next one starts, and without failing.
    pub(super) fn unnoticed(&self) -> i64 {
        self.period.min(self.timeout)
    }

    /// The next check starts and meets this answer.
    #[inline]
    pub(super) fn launch(&mut self, answer: Answer) -> Flight {
        let at = self.next;
        let timed_out = answer.after > self.timeout;
        let end = at + answer.after.min(self.timeout);
        // One tick is kept while a check is under way: it starts the next at once.
        let tick = self.tick_from(at + 1);
        self.next = if tick <= end { end } else { tick };
        Flight { end, healthy: answer.healthy && !timed_out, timed_out, bucket: answer.bucket }
    }

    /// A check has ended: whether it was the failure too many. If so the worker holds until [`Worker::resume`].
    #[inline]
    pub(super) fn settle(&mut self, healthy: bool) -> bool {
        self.failures = if healthy { 0 } else { self.failures + 1 };
        let verdict = self.failures >= self.settings.threshold();
        if verdict {
            self.failures = 0;
        }
        verdict
    }

    /// A new container answers from `at` on: the first check comes at the first tick not before it. Failures counted
    /// stay counted.
    pub(super) fn resume(&mut self, at: i64) {
        self.next = self.tick_from(at);
    }

    /// Nothing is asked until [`Worker::resume`] or [`Worker::trigger`].
    pub(super) fn close(&mut self) {
        self.next = i64::MAX;
    }

    /// A check at `at`, and its grid begins anew there: what the kubelet gives readiness workers at once.
    pub(super) fn trigger(&mut self, at: i64) {
        self.grid = at;
        self.next = at;
    }

    /// All checks before `until` succeed at once.
    pub(super) fn skip(&mut self, until: i64) {
        self.failures = 0;
        self.next = self.tick_from(until);
    }

    /// The first tick at or after `at`.
    #[inline]
    fn tick_from(&self, at: i64) -> i64 {
        let past = at - self.grid;
        if past <= 0 {
            self.grid - (-past) / self.period * self.period
        } else {
            self.grid + (past + self.period - 1) / self.period * self.period
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::chance::Chance;
    use super::*;
    use crate::probe::ProbeKind;
    use crate::probe::{Answer as Met, Prober, Verdict};
    use crate::units::{NANOS, Span, Timestamp};

    #[test]
    fn it_asks_counts_and_kills_exactly_as_the_model_of_the_kubelets_prober() {
        let mut chance = Chance::new(1, "worker", 0);
        let mut kills = 0;
        for _ in 0..300 {
            let mut number = |most: f64| 1 + (chance.unit() * most) as u32;
            let settings = Settings::new(number(12.0), number(20.0), number(4.0)).unwrap();
            let grid = nanos_of(chance.unit() * 30.0);
            let mut ours = Worker::new(settings, grid);
            let mut model = Prober::new(ProbeKind::Liveness, settings, Timestamp::from_nanos(grid));
            model.container_started(Timestamp::from_nanos(grid));
            for _ in 0..200 {
                let healthy = chance.unit() < 0.5;
                // Now and then a whole number of seconds: checks that end on a tick.
                let seconds = (chance.unit() * 25.0, (chance.unit() * 25.0).round());
                let after = nanos_of(if chance.unit() < 0.5 { seconds.0 } else { seconds.1 });
                let flight = ours.launch(Answer { after, healthy, bucket: 0 });
                let span = Span::from_nanos(after);
                let answer = if healthy { Met::Healthy(span) } else { Met::Unhealthy(span) };
                let check = model.ask(answer).unwrap();
                assert_eq!(check.end.nanos(), flight.end, "{settings}");
                let killed = ours.settle(flight.healthy);
                assert_eq!(check.verdict.is_some(), killed, "{settings}");
                if killed {
                    kills += 1;
                    let again = flight.end + nanos_of(chance.unit() * 60.0);
                    ours.resume(again);
                    model.container_exited(Timestamp::from_nanos(flight.end));
                    model.container_started(Timestamp::from_nanos(again));
                }
                assert_eq!(model.next_start().unwrap().nanos(), ours.next, "{settings}");
            }
        }
        assert!(kills > 1000, "{kills}");
    }

    #[test]
    fn readiness_and_startup_are_asked_as_the_model_of_the_kubelets_prober_asks_them() {
        let mut chance = Chance::new(2, "worker", 0);
        let mut turns = 0;
        for round in 0..300 {
            let kind = [ProbeKind::Readiness, ProbeKind::Startup][round % 2];
            let mut number = |most: f64| 1 + (chance.unit() * most) as u32;
            let settings = Settings::new(number(12.0), number(12.0), number(4.0)).unwrap();
            let grid = nanos_of(chance.unit() * 30.0);
            let mut ours = Worker::new(settings, grid);
            let mut model = Prober::new(kind, settings, Timestamp::from_nanos(grid));
            model.container_started(Timestamp::from_nanos(grid));
            let mut ready = false;
            for _ in 0..200 {
                let (healthy, after) = (chance.unit() < 0.4, nanos_of(chance.unit() * 15.0));
                let flight = ours.launch(Answer { after, healthy, bucket: 0 });
                let span = Span::from_nanos(after);
                let check = model.ask(if healthy { Met::Healthy(span) } else { Met::Unhealthy(span) }).unwrap();
                assert_eq!(check.end.nanos(), flight.end, "{settings}");
                let verdict = ours.settle(flight.healthy);
                let again = flight.end + nanos_of(chance.unit());
                match (kind, flight.healthy) {
                    // Ready at the first success, unready at the verdict, and asked once more then.
                    (ProbeKind::Readiness, true) => {
                        assert_eq!(check.verdict == Some(Verdict::Ready), !ready);
                        ready = true;
                    }
                    (ProbeKind::Readiness, false) => {
                        assert_eq!(check.verdict == Some(Verdict::Unready), verdict && ready, "{settings}");
                        if verdict && std::mem::take(&mut ready) && ours.next > again {
                            turns += 1;
                            ours.trigger(again);
                            model.trigger(Timestamp::from_nanos(again));
                        }
                    }
                    // Started, or killed: either way nothing is asked until a new container runs.
                    _ => {
                        assert_eq!(check.verdict == Some(Verdict::Kill), verdict, "{settings}");
                        if verdict || flight.healthy {
                            turns += 1;
                            ours.resume(again);
                            model.container_exited(Timestamp::from_nanos(flight.end));
                            model.container_started(Timestamp::from_nanos(again));
                        }
                    }
                }
                assert_eq!(model.next_start().unwrap().nanos(), ours.next, "{settings}");
            }
        }
        assert!(turns > 1000, "{turns}");
    }

    fn nanos_of(seconds: f64) -> i64 {
        (seconds * NANOS as f64) as i64
    }
}
