//! What shadow checks saw of one probe: the answers that the daemon waited for itself, beyond the kubelet's timeout.
//!
//! They are shown and move no number: measured against replays they add nothing to what the kubelets' counters and the
//! restarts say (a timeout that cuts every answer off at 1 s still shows how long stalls are, by how many checks in a row
//! fail). Their worth is diagnosis: an answer after 4 s and none at all look alike to a kubelet.
//!
//! The daemon's way to the pod is not the kubelet's, so both are held against each other where both can see: the share
//! of checks that were healthy within the largest edge not above the timeout. Where the shares differ by more than
//! chance allows, what was seen is dropped, until they agree again. Bounds: some 200 bytes a probe.

use super::table::{Edge, worth_after};
use crate::observation::EDGES;
use crate::units::{Span, Timestamp};
use statrs::distribution::{Binomial, DiscreteCDF};

/// The longest answers that are kept.
pub const LONGEST: usize = 8;
/// For how long they are kept.
const KEPT: Span = Span::DAY;
/// Checks of each side before both are compared.
pub const COMPARED_FROM: u32 = 200;
/// A difference that chance makes less often than this is none of chance.
const CHANCE: f64 = 0.001;

/// A check that took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long {
    /// How long its answer took; `None`: none came within the patience of 30 s.
    pub latency: Option<Span>,
    /// When it ended.
    pub at: Timestamp,
}

/// Whether shadow checks and the kubelet see the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Agreement {
    /// Too few checks of one side to tell, of [`COMPARED_FROM`].
    NotYet {
        /// Checks of ours and of the kubelets in the last day or two.
        have: (u32, u32),
    },
    /// They do not differ by more than chance.
    Agree,
    /// They do: what was seen is dropped.
    Differ {
        /// Since when.
        since: Timestamp,
        /// Shares of checks that were not healthy within the edge: ours, the kubelets'.
        shares: (f64, f64),
    },
}

/// Checks of one side: all, and those that were not healthy within the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Side {
    pub(super) all: u32,
    pub(super) beyond: u32,
}

/// Both sides over the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Period {
    pub(super) ours: Side,
    pub(super) theirs: Side,
}

/// What a kubelet's counters say of a probe between two scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Checks {
    /// All.
    pub(super) all: u32,
    /// Those that failed.
    pub(super) failed: u32,
    /// Healthy ones above each latency edge.
    pub(super) above: [u32; 4],
}

/// What shadow checks saw of one probe over all replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct Shadow {
    /// Decayed: up to each of the kubelet's edges, above the last, none within the patience.
    pub(super) counts: [f32; 13],
    /// Decayed: answers that were not healthy.
    pub(super) unhealthy: f32,
    pub(super) longest: Vec<Long>,
    /// The hour to which counts are decayed.
    pub(super) hour: i64,
    /// Of this day, counted from the epoch, and of the one before it.
    pub(super) day: i64,
    pub(super) periods: [Period; 2],
    /// The number of latency edges that the probe's timeout lets a kubelet see.
    pub(super) visible: usize,
    pub(super) differs: Option<(Timestamp, (f64, f64))>,
}

impl Shadow {
    pub(super) fn new(at: Timestamp) -> Self {
        Shadow {
            counts: [0.0; 13],
            unhealthy: 0.0,
            longest: Vec::new(),
            hour: at.nanos().div_euclid(Span::HOUR.nanos()),
            day: day(at),
            periods: [Period::default(); 2],
            visible: 1,
            differs: None,
        }
    }

    /// Checks, decayed.
    pub fn checks(&self) -> f64 {
        self.counts.iter().map(|c| f64::from(*c)).sum()
    }

    /// Answers that took longer than each of the kubelet's edges, those that never came among them; decayed. In the order
    /// of [`EDGES`].
    pub fn above(&self) -> [f64; 11] {
        std::array::from_fn(|i| self.counts[i + 1..].iter().map(|c| f64::from(*c)).sum())
    }

    /// Checks without an answer within the patience, decayed.
    pub fn silent(&self) -> f64 {
        f64::from(self.counts[12])
    }

    /// Answers that were not healthy, decayed: refused, a bad status, broken off.
    pub fn unhealthy(&self) -> f64 {
        f64::from(self.unhealthy)
    }

    /// The longest of the last day, the longest first; at most [`LONGEST`].
    pub fn longest(&self) -> &[Long] {
        &self.longest
    }

    /// Whether they see what the kubelet sees.
    pub fn agreement(&self) -> Agreement {
        let Period { ours, theirs } = self.both();
        match self.differs {
            Some((since, shares)) => Agreement::Differ { since, shares },
            None if ours.all < COMPARED_FROM || theirs.all < COMPARED_FROM => {
                Agreement::NotYet { have: (ours.all, theirs.all) }
            }
            None => Agreement::Agree,
        }
    }

    /// One check of ours, under this timeout of the kubelet's.
    pub(super) fn add(&mut self, at: Timestamp, latency: Option<Span>, healthy: bool, timeout: u32) {
        self.turn(at, timeout);
        let edge = Edge::LATENCY[self.visible - 1].seconds();
        let within = healthy && latency.is_some_and(|l| l.as_secs_f64() <= edge);
        self.periods[0].ours.count(1, u32::from(!within));
        self.compare(at);
        if self.differs.is_some() {
            return;
        }
        let bin = latency.map_or(12, |l| EDGES.iter().position(|e| l.as_secs_f64() <= *e).unwrap_or(11));
        self.counts[bin] += 1.0;
        if latency.is_some() && !healthy {
            self.unhealthy += 1.0;
        }
        self.longest.retain(|l| at.since(l.at) <= KEPT);
        let longer = |l: &Long| l.latency.is_none_or(|l| latency.is_some_and(|new| l >= new));
        let place = self.longest.iter().position(|l| !longer(l)).unwrap_or(self.longest.len());
        if place < LONGEST {
            self.longest.truncate(LONGEST - 1);
            self.longest.insert(place, Long { latency, at });
        }
    }

    /// What a kubelet counted meanwhile, under this timeout.
    pub(super) fn kubelet(&mut self, at: Timestamp, checks: &Checks, timeout: u32) {
        // During a rollout of other numbers pods differ; the comparison is of the numbers that shadow checks met last.
        if Edge::visible(timeout) == self.visible {
            self.turn(at, timeout);
            let beyond = checks.failed.saturating_add(checks.above[self.visible - 1]);
            self.periods[0].theirs.count(checks.all, beyond);
        }
    }

    /// Time passes: counts decay, a day begins. Another edge begins another comparison.
    fn turn(&mut self, at: Timestamp, timeout: u32) {
        let visible = Edge::visible(timeout);
        if visible != self.visible {
            (self.visible, self.periods) = (visible, [Period::default(); 2]);
        }
        self.turn_to(at.nanos().div_euclid(Span::HOUR.nanos()), day(at));
    }

    fn turn_to(&mut self, hour: i64, today: i64) {
        if hour > self.hour {
            let factor = worth_after(Span::HOUR * (hour - self.hour)) as f32;
            self.counts.iter_mut().for_each(|c| *c *= factor);
            self.unhealthy *= factor;
            self.hour = hour;
        }
        if today > self.day {
            let before = if today == self.day + 1 { self.periods[0] } else { Period::default() };
            (self.day, self.periods) = (today, [Period::default(), before]);
        }
    }

    /// Takes in what another observer's checks saw. Where one side differs from its kubelets, so do both.
    pub(super) fn merge(&mut self, mut other: Shadow) {
        let (hour, day) = (self.hour.max(other.hour), self.day.max(other.day));
        self.turn_to(hour, day);
        other.turn_to(hour, day);
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.unhealthy += other.unhealthy;
        self.longest.extend(other.longest);
        // None at all is the longest.
        let key = |l: &Long| (l.latency.is_some(), std::cmp::Reverse(l.latency), std::cmp::Reverse(l.at));
        self.longest.sort_by_key(key);
        self.longest.truncate(LONGEST);
        // A comparison at another edge is another comparison: that of more is kept.
        match self.visible.cmp(&other.visible) {
            std::cmp::Ordering::Less => (self.visible, self.periods) = (other.visible, other.periods),
            std::cmp::Ordering::Equal => {
                for (mine, theirs) in self.periods.iter_mut().zip(other.periods) {
                    mine.ours.count(theirs.ours.all, theirs.ours.beyond);
                    mine.theirs.count(theirs.theirs.all, theirs.theirs.beyond);
                }
            }
            std::cmp::Ordering::Greater => {}
        }
        let earlier = |a: (Timestamp, _), b: (Timestamp, _)| if b.0 < a.0 { b } else { a };
        self.differs = match (self.differs, other.differs) {
            (Some(a), Some(b)) => Some(earlier(a, b)),
            (a, b) => a.or(b),
        };
        if self.differs.is_some() {
            self.drop_seen();
        }
    }

    fn drop_seen(&mut self) {
        self.counts = [0.0; 13];
        self.unhealthy = 0.0;
        self.longest.clear();
    }

    fn both(&self) -> Period {
        let [mut both, before] = self.periods;
        both.ours.count(before.ours.all, before.ours.beyond);
        both.theirs.count(before.theirs.all, before.theirs.beyond);
        both
    }

    fn compare(&mut self, at: Timestamp) {
        let Period { ours, theirs } = self.both();
        if ours.all < COMPARED_FROM || theirs.all < COMPARED_FROM {
            return;
        }
        if by_chance(ours, theirs) >= CHANCE {
            self.differs = None;
            return;
        }
        let since = self.differs.map_or(at, |(since, _)| since);
        self.differs = Some((since, (ours.share(), theirs.share())));
        self.drop_seen();
    }
}

impl Side {
    fn count(&mut self, all: u32, beyond: u32) {
        self.all = self.all.saturating_add(all);
        self.beyond = self.beyond.saturating_add(beyond.min(all));
    }

    fn share(self) -> f64 {
        f64::from(self.beyond) / f64::from(self.all.max(1))
    }
}

/// How often chance makes two sides with the same share differ as much as these: the smaller tail, twice.
///
/// Given how many of both were beyond the edge, how many of them are ours is binomial with our share of all checks. That
/// is exact where few are beyond it and too careful where many are, which is the right side to err on.
fn by_chance(ours: Side, theirs: Side) -> f64 {
    let (beyond, all) = (ours.beyond.saturating_add(theirs.beyond), ours.all.saturating_add(theirs.all));
    let share = f64::from(ours.all) / f64::from(all.max(1));
    let Ok(chance) = Binomial::new(share, u64::from(beyond)) else { return 1.0 };
    let n = u64::from(ours.beyond);
    let at_most = chance.cdf(n);
    let at_least = if n == 0 { 1.0 } else { chance.sf(n - 1) };
    (2.0 * at_most.min(at_least)).min(1.0)
}

fn day(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::DAY.nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn ms(ms: i64) -> Option<Span> {
        Some(Span::from_millis(ms))
    }

    #[test]
    fn what_is_longer_than_the_kubelets_timeout_is_seen_by_its_length() {
        let mut shadow = Shadow::new(at(0));
        for (i, latency) in [ms(3), ms(4_000), ms(12_000), None, ms(700)].into_iter().enumerate() {
            shadow.add(at(15 * i as i64), latency, latency.is_some(), 1);
        }
        shadow.add(at(90), ms(1), false, 1);
        let above = shadow.above();
        assert_eq!((above[7], above[9], above[10]), (3.0, 2.0, 2.0));
        assert_eq!((shadow.checks(), shadow.silent(), shadow.unhealthy()), (6.0, 1.0, 1.0));
        let longest: Vec<_> = shadow.longest().iter().map(|l| l.latency).collect();
        assert_eq!(longest, [None, ms(12_000), ms(4_000), ms(700), ms(3), ms(1)]);
        assert_eq!(shadow.longest()[1].at, at(30));
        assert_eq!(shadow.agreement(), Agreement::NotYet { have: (6, 0) });
    }

    #[test]
    fn only_the_longest_of_the_last_day_are_kept() {
        let mut shadow = Shadow::new(at(0));
        for i in 0..100 {
            shadow.add(at(i), ms(1_000 + i), true, 1);
        }
        let longest: Vec<_> = shadow.longest().iter().map(|l| l.latency).collect();
        assert_eq!(longest, (1_092..1_100).rev().map(ms).collect::<Vec<_>>());
        shadow.add(at(86_400 + 50), ms(2), true, 1);
        assert_eq!(shadow.longest().first().map(|l| l.latency), Some(ms(1_099)));
        shadow.add(at(86_400 + 200), ms(3), true, 1);
        assert_eq!(shadow.longest().iter().map(|l| l.latency).collect::<Vec<_>>(), [ms(3)]);
    }

    /// Both sides by so many checks, of which so many beyond the edge.
    fn both(ours: (u32, u32), theirs: (u32, u32)) -> Shadow {
        let mut shadow = Shadow::new(at(0));
        let checks = Checks { all: theirs.0, failed: theirs.1, above: [0; 4] };
        shadow.kubelet(at(1), &checks, 1);
        for i in 0..ours.0 {
            shadow.add(at(2), if i < ours.1 { ms(2_000) } else { ms(5) }, true, 1);
        }
        shadow
    }

    #[test]
    fn a_way_that_is_not_the_kubelets_is_found_and_what_it_saw_is_dropped() {
        let shadow = both((300, 30), (3_000, 30));
        assert_eq!(shadow.agreement(), Agreement::Differ { since: at(2), shares: (0.1, 0.01) });
        assert_eq!((shadow.checks(), shadow.longest().len()), (0.0, 0));
        // A pod that hangs for both alike, and one stall that only we met.
        assert_eq!(both((300, 60), (3_000, 600)).agreement(), Agreement::Agree);
        assert_eq!(both((300, 1), (3_000, 0)).agreement(), Agreement::Agree);
        assert_eq!(both((300, 0), (3_000, 3)).agreement(), Agreement::Agree);
        assert_eq!(both((199, 190), (3_000, 0)).agreement(), Agreement::NotYet { have: (199, 3_000) });
    }

    #[test]
    fn chance_is_the_binomials() {
        // 20 of 300 against 30 of 3,000: 50 beyond, each ours with 1/11; P(at least 20) in exact fractions.
        let p = by_chance(Side { all: 300, beyond: 20 }, Side { all: 3_000, beyond: 30 });
        assert!((p / (2.0 * SF) - 1.0).abs() < 1e-6, "{p:e}");
        assert_eq!(by_chance(Side { all: 300, beyond: 0 }, Side { all: 300, beyond: 0 }), 1.0);
    }

    const SF: f64 = 4.674_218_577_949_995e-9;

    #[test]
    fn once_they_agree_again_for_two_days_it_is_believed_again() {
        let mut shadow = both((300, 30), (3_000, 30));
        for day in 1..=3 {
            shadow.kubelet(at(day * 86_400), &Checks { all: 3_000, failed: 30, above: [0; 4] }, 1);
            for i in 0..300 {
                shadow.add(at(day * 86_400 + 1), if i < 3 { ms(2_000) } else { ms(5) }, true, 1);
            }
        }
        assert_eq!(shadow.agreement(), Agreement::Agree);
        assert!(shadow.checks() > 0.0);
    }

    #[test]
    fn a_kubelets_successes_above_the_edge_count_and_other_timeouts_are_compared_anew() {
        let mut shadow = Shadow::new(at(0));
        for i in 0..300 {
            shadow.add(at(1), if i < 30 { ms(2_000) } else { ms(5) }, true, 2);
        }
        // A timeout of 2 s: successes above 1 s are beyond it too.
        shadow.kubelet(at(2), &Checks { all: 300, failed: 0, above: [30, 0, 0, 0] }, 2);
        shadow.add(at(3), ms(5), true, 2);
        assert_eq!(shadow.agreement(), Agreement::Agree);
        shadow.kubelet(at(4), &Checks { all: 900, failed: 0, above: [0; 4] }, 5);
        assert_eq!(shadow.agreement(), Agreement::Agree, "a pod of other numbers is not compared");
        shadow.add(at(5), ms(5), true, 5);
        assert_eq!(shadow.agreement(), Agreement::NotYet { have: (1, 0) });
    }
}
