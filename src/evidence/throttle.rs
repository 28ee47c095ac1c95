//! How often a workload's containers were throttled, hour by hour.
//!
//! A container with a CPU limit may use so much CPU in each period of 100 ms; once that is used up it stands still until
//! the next period begins. The kernel counts the periods in which it ran at all and those in which it stood still (CFS
//! bandwidth control). A throttled program answers late and is not slow by itself: CPU is what is missing, and no number
//! of a probe.
//!
//! Counters become windows of five minutes or a little more, each of which was throttled or was not; one that falls
//! begins anew, and a longer silence is unknown. Bounds: [`THROTTLED_HOURS`] hours of [`CONTAINERS`] containers a
//! workload, 24 bytes each.

use crate::units::{Name, Span, Timestamp};

/// CPU is missing above this share of throttled periods.
pub const THROTTLED: f64 = 0.3;
/// Hours that are kept.
pub const THROTTLED_HOURS: usize = 24;
/// Most containers that are kept: those with probes.
pub(super) const CONTAINERS: usize = 10;
/// The shortest window whose share is taken: cAdvisor itself looks each 10 to 15 s only.
const WINDOW: Span = Span::from_nanos(300 * 1_000_000_000);
/// A longer silence than this says nothing.
const SILENCE: Span = Span::from_nanos(900 * 1_000_000_000);
/// Of the hour that is running, pod-time seen of each pod before it says anything, in seconds.
const TELLING: u64 = 600;

/// One hour of a container over all pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Hour {
    /// Pod-seconds that were read.
    pub seen: u32,
    /// Those of them in which more than [`THROTTLED`] of the periods were throttled.
    pub throttled: u32,
    /// CFS periods in which it ran.
    pub periods: u64,
    /// Those of them in which it stood still.
    pub throttled_periods: u64,
}

/// How often one container was throttled in the last hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttled {
    pub(super) container: Name,
    /// The last hour, counted from the epoch.
    pub(super) newest: i64,
    /// By hour modulo their number.
    pub(super) hours: [Hour; THROTTLED_HOURS],
}

impl Throttled {
    pub(super) fn new(container: Name) -> Self {
        Throttled { container, newest: i64::MIN, hours: [Hour::default(); THROTTLED_HOURS] }
    }

    /// Which.
    pub fn container(&self) -> &Name {
        &self.container
    }

    /// An hour, counted from the epoch; all zero where unknown or forgotten.
    pub fn hour(&self, hour: i64) -> Hour {
        let known = hour <= self.newest && hour > self.newest.saturating_sub(THROTTLED_HOURS as i64);
        if known { self.hours[place(hour)] } else { Hour::default() }
    }

    /// The last day before `now` in one; `None` if nothing was read in it.
    pub fn day(&self, now: Timestamp) -> Option<Hour> {
        let this = hour(now);
        let mut day = Hour::default();
        (this - THROTTLED_HOURS as i64 + 1..=this).for_each(|h| day.add(&self.hour(h)));
        (day.seen > 0).then_some(day)
    }

    /// Since when most pods of so many were throttled, up to `now`; `None` if they are not, or nobody knows.
    pub(super) fn since(&self, now: Timestamp, pods: u32) -> Option<Timestamp> {
        let (this, pods) = (hour(now), u64::from(pods.max(1)));
        // What was not read counts as if it had not been throttled.
        let most = |h: &Hour, whole: u64| 2 * u64::from(h.throttled) > u64::from(h.seen).max(whole);
        let running = self.hour(this);
        if u64::from(running.seen) >= TELLING * pods && !most(&running, 0) {
            return None;
        }
        let hours = (1..THROTTLED_HOURS as i64).take_while(|back| most(&self.hour(this - back), 3_600 * pods)).count();
        (hours > 0).then(|| Timestamp::EPOCH + Span::HOUR * (this - hours as i64))
    }

    pub(super) fn add(&mut self, at: Timestamp, window: &Window) {
        let Window { passed, periods, throttled } = *window;
        let seconds = u32::try_from(passed.floor_seconds()).unwrap_or(0);
        // The share itself, not its parts: an idle container is not throttled.
        let short = throttled as f64 > THROTTLED * periods as f64;
        let new =
            Hour { seen: seconds, throttled: if short { seconds } else { 0 }, periods, throttled_periods: throttled };
        if let Some(known) = self.turn(hour(at)) {
            known.add(&new);
        }
    }

    /// The place of an hour, those between it and the newest emptied; `None` of one that is forgotten.
    fn turn(&mut self, hour: i64) -> Option<&mut Hour> {
        const ALL: i64 = THROTTLED_HOURS as i64;
        if hour > self.newest {
            let first = (hour - ALL + 1).max(self.newest.saturating_add(1));
            (first..=hour).for_each(|gone| self.hours[place(gone)] = Hour::default());
            self.newest = hour;
        }
        (hour > self.newest - ALL).then(|| &mut self.hours[place(hour)])
    }

    pub(super) fn merge(&mut self, other: &Throttled) {
        for hour in other.newest.saturating_sub(THROTTLED_HOURS as i64 - 1)..=other.newest {
            let theirs = other.hour(hour);
            if theirs != Hour::default()
                && let Some(mine) = self.turn(hour)
            {
                mine.add(&theirs);
            }
        }
    }
}

impl Hour {
    /// Throttled periods among all; 0 of a container that never ran.
    pub fn share(&self) -> f64 {
        self.throttled_periods as f64 / (self.periods as f64).max(1.0)
    }

    fn add(&mut self, other: &Hour) {
        self.seen = self.seen.saturating_add(other.seen);
        self.throttled = self.throttled.saturating_add(other.throttled);
        self.periods = self.periods.saturating_add(other.periods);
        self.throttled_periods = self.throttled_periods.saturating_add(other.throttled_periods);
    }
}

/// What counters say of a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    passed: Span,
    periods: u64,
    throttled: u64,
}

/// The counters of one container of one pod.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    pub(super) container: Name,
    /// Where the running window began, and where it is now: when, periods, throttled ones.
    begin: (Timestamp, u64, u64),
    last: (Timestamp, u64, u64),
}

impl Quota {
    pub(super) fn new(container: Name, at: Timestamp, periods: u64, throttled: u64) -> Self {
        Quota { container, begin: (at, periods, throttled), last: (at, periods, throttled) }
    }

    /// The counters of a later moment; gives the window that is full with them, if one is.
    pub(super) fn told(&mut self, at: Timestamp, periods: u64, throttled: u64) -> Option<Window> {
        let (before, old_periods, old_throttled) = self.last;
        if at <= before {
            return None;
        }
        self.last = (at, periods, throttled);
        if periods < old_periods || throttled < old_throttled || at.since(before) > SILENCE {
            self.begin = self.last;
            return None;
        }
        let (from, first_periods, first_throttled) = self.begin;
        let passed = at.since(from);
        (passed >= WINDOW).then(|| {
            self.begin = self.last;
            Window { passed, periods: periods - first_periods, throttled: throttled - first_throttled }
        })
    }
}

fn place(hour: i64) -> usize {
    hour.rem_euclid(THROTTLED_HOURS as i64) as usize
}

fn hour(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::HOUR.nanos())
}
