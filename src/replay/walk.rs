//! One prober of many, played along a tape.
//!
//! The same rules as [`crate::probe::Prober`], without delay, start-up and triggers, and with one shortcut: from a tick
//! of the grid with no failure counted, all ticks up to the next noisy row are taken in one step. A quiet hour costs as
//! much as a quiet check.
//!
//! Phase i's ticks are at i·P/N + n·P, which may be fractions of a nanosecond. Each phase is kept in whole nanoseconds
//! **and** the fraction that all its moments share, so that comparing two moments of a phase is exact, and comparing one
//! with a row of the trace holds moments less than a nanosecond apart to be the same.

use super::tape::{Cursor, Noise, Tape};
use crate::probe::Settings;
use crate::units::NANOS;

/// What reaching the threshold does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A restart, which takes some time and counts from zero.
    Liveness,
    /// Unready, until the end of the next success.
    Readiness,
}

/// The grid of one phase of one setting, counted from the moment at which the setting began.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// The first tick, in whole nanoseconds.
    pub first: i64,
    /// The fraction of a nanosecond that comes to it, in parts of the number of phases.
    pub fraction: i64,
    /// The period.
    pub period: i64,
    /// The timeout.
    pub timeout: i64,
    /// Failures in a row.
    pub threshold: u32,
}

impl Grid {
    /// Phase `phase` of `phases`, of a setting that begins at `from`.
    pub fn new(settings: Settings, from: i64, phase: u32, phases: u32) -> Self {
        let period = settings.period_span().nanos();
        let offset = i64::from(phase) * period;
        Grid {
            first: from + offset / i64::from(phases),
            fraction: offset % i64::from(phases),
            period,
            timeout: settings.timeout_span().nanos(),
            threshold: settings.threshold(),
        }
    }

    /// What comes to a moment before it is held against a row or a change: a fraction short of it counts as there.
    #[inline]
    pub fn late(&self) -> i64 {
        i64::from(self.fraction > 0)
    }

    /// The first tick not before a moment.
    #[inline]
    pub fn tick_from(&self, t: i64) -> i64 {
        if t <= self.first {
            return self.first;
        }
        let past = (t - self.first) % self.period;
        if past == 0 { t } else { t + self.period - past }
    }
}

/// A check that somebody may want to know of.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// Its start.
    pub start: i64,
    /// Its end.
    pub end: i64,
    /// It failed.
    pub failed: bool,
    /// Failures in a row before it.
    pub before: u32,
    /// It was the one too many.
    pub verdict: bool,
}

/// Whoever watches a walk.
pub trait Watch {
    /// `count` ≥ 1 quiet checks, the first at `start`, one a period.
    fn quiet(&mut self, start: i64, count: i64, period: i64);
    /// Any other check.
    fn check(&mut self, check: Checked);
}

/// Nobody watches.
pub struct Nobody;

impl Watch for Nobody {
    fn quiet(&mut self, _: i64, _: i64, _: i64) {}
    fn check(&mut self, _: Checked) {}
}

/// Notes when the threshold was reached: of a row of failures beyond it the first.
#[derive(Default)]
pub struct Verdicts {
    /// The ends of the checks that were one too many.
    pub at: Vec<i64>,
    /// The last verdict still stands.
    pub unready: bool,
}

impl Watch for Verdicts {
    fn quiet(&mut self, _: i64, _: i64, _: i64) {
        self.unready = false;
    }
    fn check(&mut self, check: Checked) {
        // A restart counts from zero, so what fails next with something counted was unready already.
        let again = self.unready && check.before > 0;
        if check.verdict && !again {
            self.at.push(check.end);
        }
        self.unready = check.verdict;
    }
}

/// Notes the longest run of failures.
#[derive(Default)]
pub struct LongestRun(pub u32);

impl Watch for LongestRun {
    fn quiet(&mut self, _: i64, _: i64, _: i64) {}
    fn check(&mut self, check: Checked) {
        if check.failed {
            self.0 = self.0.max(check.before + 1);
        }
    }
}

/// One prober and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    grid: Grid,
    /// The next start.
    pub next: i64,
    /// Whether that is a tick, so that the check after a quick one is a period later.
    on_grid: bool,
    /// Failures in a row.
    pub failures: u32,
    /// The end of the last check; for quiet ones its start, and then `last_quiet`.
    busy: i64,
    last_quiet: bool,
    /// The end of the last restart.
    down: i64,
    unready_since: Option<i64>,
    /// `None` before the first check of each setting.
    cursor: Option<Cursor>,
    /// Checks started.
    pub checks: u64,
    /// Of them failed.
    pub failed: u64,
    /// Restarts.
    pub restarts: u64,
    /// Nanoseconds unready so far.
    pub unready: i64,
}

impl Walk {
    /// A prober whose first check is its grid's first tick.
    pub fn new(grid: Grid) -> Self {
        Walk {
            grid,
            next: grid.first,
            on_grid: true,
            failures: 0,
            busy: i64::MIN,
            last_quiet: false,
            down: i64::MIN,
            unready_since: None,
            cursor: None,
            checks: 0,
            failed: 0,
            restarts: 0,
            unready: 0,
        }
    }

    /// Its grid.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Plays all checks that start before a change at `until` (a start less than a nanosecond before counts as at it).
    #[inline]
    pub fn before<W: Watch>(&mut self, tape: &Tape, noise: &Noise, rules: Rules, until: i64, watch: &mut W) {
        self.advance(tape, noise, rules, until - self.grid.late(), watch);
    }

    /// Plays all checks that start up to the tape's end.
    #[inline]
    pub fn until_the_end<W: Watch>(&mut self, tape: &Tape, noise: &Noise, rules: Rules, watch: &mut W) {
        self.advance(tape, noise, rules, tape.end + 1, watch);
    }

    #[inline]
    fn advance<W: Watch>(&mut self, tape: &Tape, noise: &Noise, rules: Rules, limit: i64, watch: &mut W) {
        let Grid { period, timeout, threshold, .. } = self.grid;
        let late = self.grid.late();
        let mut cursor = self.cursor.unwrap_or_else(|| noise.cursor(self.next));
        while self.next < limit {
            let start = self.next;
            if self.on_grid && self.failures == 0 {
                let noisy = noise.next(&mut cursor, start + late);
                if noisy > start + late {
                    let until = noisy.saturating_sub(late).min(limit);
                    let count = (until - start + period - 1) / period;
                    watch.quiet(start, count, period);
                    self.checks += count as u64;
                    self.next = start + count * period;
                    (self.busy, self.last_quiet) = (self.next - period, true);
                    continue;
                }
            }
            let (latency, healthy) = tape.answer(start + late);
            let end = start + latency.min(timeout);
            let failed = !healthy || latency > timeout;
            let before = self.failures;
            let verdict = failed && before + 1 >= threshold;
            watch.check(Checked { start, end, failed, before, verdict });
            (self.busy, self.last_quiet) = (end, false);
            self.checks += 1;
            let tick = if self.on_grid { start + period } else { self.grid.tick_from(start + 1) };
            self.next = tick.max(end);
            self.on_grid = end <= tick || (end - self.grid.first) % period == 0;
            if !failed {
                self.failures = 0;
                if let Some(since) = self.unready_since.take() {
                    self.unready += (end.min(tape.end) - since).max(0);
                }
                continue;
            }
            self.failed += 1;
            self.failures = before.saturating_add(1);
            if verdict && rules.kind == Kind::Liveness {
                self.restarts += 1;
                self.failures = 0;
                self.down = end + rules.restart_takes;
                self.next = self.grid.tick_from(self.down);
                self.on_grid = true;
            } else if verdict {
                self.unready_since.get_or_insert(end);
            }
        }
        self.cursor = Some(cursor);
    }

    /// New numbers from `at` on, all checks before it being played. A check in flight is ended under the old ones, a
    /// restart under way goes on; then nothing is counted, all are ready, and the grid begins at `at`. A tick of it that
    /// passed while a check was in flight is kept, as ever.
    pub fn switch(&mut self, tape: &Tape, grid: Grid, at: i64) {
        if self.last_quiet {
            self.busy += tape.answer(self.busy + self.grid.late()).0;
        }
        self.last_quiet = false;
        if let Some(since) = self.unready_since.take() {
            self.unready += (self.busy.max(at).min(tape.end) - since).max(0);
        }
        self.grid = grid;
        self.cursor = None;
        self.failures = 0;
        self.on_grid = true;
        if self.down > at {
            self.next = grid.tick_from(self.down);
        } else {
            self.next = grid.first.max(self.busy);
            self.on_grid = (self.next - grid.first) % grid.period == 0;
        }
    }

    /// Nanoseconds unready, once the tape has ended.
    pub fn unready_by(&self, end: i64) -> i64 {
        self.unready + self.unready_since.map_or(0, |since| (end - since).max(0))
    }
}

/// What does not change during a replay.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What reaching the threshold does.
    pub kind: Kind,
    /// From a verdict until the container runs again, in nanoseconds.
    pub restart_takes: i64,
    /// How many phases.
    pub phases: u32,
}

/// A second, in the unit of this room.
pub const SECOND: i64 = NANOS;
