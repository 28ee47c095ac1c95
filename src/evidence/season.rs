//! How high a probe's latency was in each hour of the last weeks, and what was foretold of it.
//!
//! The level of an hour is its 99th percentile over all replicas: interpolated within the kubelet's bucket (the share
//! above it falls as a power of the latency), and where one check in a hundred ran into the timeout T or more did,
//! `T·(share/0.01)^(2/3)`: so far beyond T as the prior tail (exponent 1.5) puts it. An hour has **reached** T from one timeout in a hundred checks on.
//!
//! Bounds: one byte an hour for three weeks, one forecast under way and the last ten that were judged: about 1 kB a probe.
//! An hour with few checks, or none, is unknown.

use super::seen::PRIOR_FALL;
use super::watch::LOW;
use crate::observation::EDGES;
use crate::units::{Span, Timestamp};

/// Weeks of hours that are kept.
pub const WEEKS: usize = 3;
/// Hours in a week.
pub const WEEK: usize = 168;
/// Hours that are kept.
pub(super) const HOURS: usize = WEEKS * WEEK;
/// Forecasts that are kept after they were judged.
pub const JUDGED: usize = 10;
/// Hours at T no further apart than this are one time that it is reached.
pub const EPISODE: i64 = 6;
/// Buckets: successes up to each of the kubelet's edges, above the last, and timeouts.
pub(super) const BINS: usize = 13;
/// An hour of fewer checks is unknown: one replica asked each minute has as many.
const FEWEST: u32 = 50;
/// The share of checks that may be slower than the level.
const SHARE: f64 = 0.01;
/// Code 1 begins at this level in seconds: half the kubelet's lowest edge.
const LOWEST: f64 = 0.0025;
/// One code more is a level higher by this factor's logarithm: 5 %; code 255 is 14 minutes.
const STEP: f64 = 0.05;
/// Surprises count once forecasts were possible: three days.
const RIPE: i64 = 72;

/// What a forecast follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis {
    /// It was so at this hour of the week, or of the day, before.
    Season,
    /// It grows from day to day, by this share: 0.05 is 5 % a day.
    Trend(f32),
}

/// A forecast: when T will be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Foretold {
    /// When it was made.
    pub made: Timestamp,
    /// The beginning of the hour in which T is expected to be reached first.
    pub at: Timestamp,
    /// It is right if T is reached in an hour no further away than this.
    pub within: Span,
    /// T: the timeout that will be reached, in seconds.
    pub timeout: u32,
    /// By how past hours lay off what was expected of them, `[0.8, 1]`: that this hour will lie high enough; of growth,
    /// that one will until a day later.
    pub probability: f32,
    /// What it follows from.
    pub basis: Basis,
}

impl Foretold {
    /// Growth was quicker than foretold: the timeout was reached before.
    fn too_late(&self, reached: i64) -> bool {
        matches!(self.basis, Basis::Trend(_)) && reached < *window(self).start()
    }
}

/// A forecast whose time has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// What was foretold.
    pub foretold: Foretold,
    /// The hour in which T was reached; `None`: it was not, a miss.
    pub reached: Option<Timestamp>,
}

/// How forecasts of one probe turned out, since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// T was reached when it was foretold.
    pub hits: u32,
    /// It was foretold and not reached.
    pub misses: u32,
    /// It was reached and not foretold, although three days had been seen.
    pub surprises: u32,
}

impl Record {
    /// Hits among the forecasts that were judged, `[0, 1]`; `None` before the first.
    pub fn hit_rate(&self) -> Option<f64> {
        let judged = self.hits.saturating_add(self.misses);
        (judged > 0).then(|| f64::from(self.hits) / f64::from(judged))
    }
}

/// The levels of the last weeks' hours, and the forecasts.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Season {
    /// Checks of the hour that is running.
    pub(super) counts: [u32; BINS],
    /// Its number, counted from the epoch.
    pub(super) hour: i64,
    /// T of the last check.
    pub(super) timeout: u32,
    /// By hour modulo [`HOURS`], 0 where unknown; empty until an hour is over.
    pub(super) levels: Vec<u8>,
    /// The first hour of all, and the last one that reached its T.
    pub(super) first: Option<i64>,
    pub(super) reached: Option<i64>,
    pub(super) pending: Option<Foretold>,
    pub(super) judged: Vec<Judged>,
    pub(super) record: Record,
}

impl Season {
    /// The number of the last hour that is over, counted from the epoch; `None` before the first.
    pub fn newest(&self) -> Option<i64> {
        (!self.levels.is_empty()).then_some(self.hour - 1)
    }

    /// The natural logarithm of an hour's level in seconds, the middle of its 5 %; `None` where unknown or forgotten.
    pub fn level(&self, hour: i64) -> Option<f64> {
        self.code(hour).map(|code| LOWEST.ln() + STEP * (f64::from(code) - 0.5))
    }

    /// Whether an hour's level reached a timeout.
    pub fn reached(&self, hour: i64, timeout: u32) -> Option<bool> {
        self.code(hour).map(|code| code >= code_of(timeout))
    }

    /// The last hour that reached what was its timeout then.
    pub fn last_reached(&self) -> Option<i64> {
        self.reached
    }

    /// Since when a timeout is being reached, and the last hour in which it was: the beginnings of both. `None`: it was not
    /// in the last [`EPISODE`] hours. The hour that is running counts as far as it is known.
    pub fn reaching(&self, timeout: u32, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let running = self.timeout == timeout && level(&self.counts, timeout).is_some_and(|(_, reached)| reached);
        let is = |h: &i64| if *h == self.hour { running } else { self.reached(*h, timeout) == Some(true) };
        let last = (hour(now) - EPISODE..=hour(now)).rev().find(is)?;
        let mut since = last;
        while let Some(before) = (since - EPISODE..since).find(is) {
            since = before;
        }
        Some((start(since), start(last)))
    }

    /// The forecast under way.
    pub fn pending(&self) -> Option<&Foretold> {
        self.pending.as_ref()
    }

    /// The last forecasts that were judged, oldest first, at most [`JUDGED`].
    pub fn judged(&self) -> &[Judged] {
        &self.judged
    }

    /// How all turned out.
    pub fn record(&self) -> Record {
        self.record
    }

    /// Whether forecasts of this probe are worth telling: not while of the last ten fewer than five came true.
    pub fn trusted(&self) -> bool {
        self.judged.len() < JUDGED || 2 * self.judged.iter().filter(|j| j.reached.is_some()).count() >= JUDGED
    }

    /// Writes down a forecast; one that is under way stands.
    pub(super) fn foretell(&mut self, foretold: Foretold) {
        self.pending.get_or_insert(foretold);
    }

    /// Checks between two scrapes of one replica: successes by latency up to each low edge and above 1 s, successes above
    /// 1, 2.5, 5 and 10 s, and timeouts.
    pub(super) fn add(
        &mut self,
        at: Timestamp,
        timeout: u32,
        latencies: &[u32; LOW + 1],
        above: &[u32; 4],
        timeouts: u32,
    ) {
        let hour = hour(at);
        if hour != self.hour {
            if hour < self.hour {
                return;
            }
            self.turn(hour);
        }
        if timeout != self.timeout {
            self.retime(timeout);
        }
        for (n, new) in self.counts.iter_mut().zip(&latencies[..LOW]) {
            *n = n.saturating_add(*new);
        }
        if above[0] > 0 || timeouts > 0 {
            let [one, two, five, ten] = *above;
            let high = [one.saturating_sub(two), two.saturating_sub(five), five.saturating_sub(ten), ten, timeouts];
            for (n, new) in self.counts[LOW..].iter_mut().zip(high) {
                *n = n.saturating_add(new);
            }
        }
    }

    /// Other numbers: what was foretold of the old timeout is void, and by how much a level lay beyond it was a guess.
    fn retime(&mut self, timeout: u32) {
        let old = std::mem::replace(&mut self.timeout, timeout);
        if timeout > old {
            let bound = code_of(old);
            self.levels.iter_mut().filter(|code| **code >= bound).for_each(|code| *code = 0);
        }
        self.pending = self.pending.filter(|p| p.timeout == timeout);
    }

    /// The running hour is over.
    fn turn(&mut self, hour: i64) {
        let over = std::mem::replace(&mut self.hour, hour);
        let counts = std::mem::take(&mut self.counts);
        if self.first.is_none() {
            // The first hour of all was hardly seen whole.
            self.first = Some(hour);
            return;
        }
        self.close(over, hour, level(&counts, self.timeout).map(|(ln, reached)| encode(ln, reached, self.timeout)));
    }

    fn close(&mut self, over: i64, next: i64, code: Option<u8>) {
        if self.levels.is_empty() {
            self.levels = vec![0; HOURS];
        }
        for gone in (over + 1).max(next - HOURS as i64)..next {
            self.levels[place(gone)] = 0;
        }
        self.levels[place(over)] = code.unwrap_or(0);
        let reached = code.is_some_and(|code| code >= code_of(self.timeout));
        if reached {
            let onset = self.reached.is_none_or(|last| over.saturating_sub(last) > EPISODE);
            self.reached = Some(over);
            match self.pending.filter(|p| window(p).contains(&over) && over > self::hour(p.made)) {
                Some(foretold) => self.settle(foretold, Some(start(over))),
                None if let Some(foretold) = self.pending.filter(|p| p.too_late(over)) => self.settle(foretold, None),
                None if onset && self.first.is_some_and(|first| over.saturating_sub(first) >= RIPE) => {
                    self.record.surprises = self.record.surprises.saturating_add(1);
                }
                None => {}
            }
        }
        if let Some(foretold) = self.pending.filter(|p| *window(p).end() < next) {
            if window(&foretold).any(|hour| self.code(hour).is_none()) {
                // Nobody knows whether it came true.
                self.pending = None;
            } else {
                self.settle(foretold, None);
            }
        }
    }

    fn settle(&mut self, foretold: Foretold, reached: Option<Timestamp>) {
        let count = if reached.is_some() { &mut self.record.hits } else { &mut self.record.misses };
        *count = count.saturating_add(1);
        if self.judged.len() >= JUDGED {
            self.judged.remove(0);
        }
        self.judged.push(Judged { foretold, reached });
        self.pending = None;
    }

    fn code(&self, hour: i64) -> Option<u8> {
        if self.levels.is_empty() || hour >= self.hour || hour < self.hour - HOURS as i64 {
            return None;
        }
        Some(self.levels[place(hour)]).filter(|code| *code > 0)
    }

    /// Takes in what another observer saw: the higher level of each hour, both records.
    pub(super) fn merge(&mut self, mut other: Season) {
        if self.hour < other.hour {
            std::mem::swap(self, &mut other);
        }
        if self.hour == other.hour {
            self.timeout = self.timeout.max(other.timeout);
            for (n, more) in self.counts.iter_mut().zip(other.counts) {
                *n = n.saturating_add(more);
            }
        }
        if !other.levels.is_empty() {
            if self.levels.is_empty() {
                self.levels = vec![0; HOURS];
            }
            for hour in (self.hour - HOURS as i64).max(other.hour - HOURS as i64)..other.hour {
                let code = &mut self.levels[place(hour)];
                *code = (*code).max(other.levels[place(hour)]);
            }
        }
        self.first = match (self.first, other.first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.reached = self.reached.max(other.reached);
        let key = |f: &Foretold| (f.made, f.at, f.timeout);
        self.pending = self.pending.into_iter().chain(other.pending).min_by_key(key);
        self.judged.extend(other.judged);
        self.judged.sort_by_key(|j| (j.foretold.at, j.foretold.made, j.reached));
        let over = self.judged.len().saturating_sub(JUDGED);
        self.judged.drain(..over);
        let (mine, theirs) = (&mut self.record, other.record);
        mine.hits = mine.hits.saturating_add(theirs.hits);
        mine.misses = mine.misses.saturating_add(theirs.misses);
        mine.surprises = mine.surprises.saturating_add(theirs.surprises);
    }

    pub(super) fn heap(&self) -> usize {
        self.levels.capacity() + self.judged.capacity() * size_of::<Judged>()
    }
}

/// The hours in which a forecast comes true.
fn window(f: &Foretold) -> std::ops::RangeInclusive<i64> {
    let (at, within) = (hour(f.at), f.within.nanos().div_euclid(Span::HOUR.nanos()));
    at - within..=at + within
}

/// The logarithm of an hour's level, and whether it reached the timeout; `None` of too few checks.
fn level(counts: &[u32; BINS], timeout: u32) -> Option<(f64, bool)> {
    let all: u32 = counts.iter().fold(0, |sum, n| sum.saturating_add(*n));
    if all < FEWEST {
        return None;
    }
    let t = f64::from(timeout.max(1));
    let allowed = SHARE * f64::from(all);
    let mut above = f64::from(counts[BINS - 1]);
    if above >= allowed {
        return Some((t.ln() + (above / allowed).ln() / PRIOR_FALL, true));
    }
    for i in (0..BINS - 1).rev() {
        let here = f64::from(counts[i]);
        if above + here > allowed {
            let lo = if i == 0 { LOWEST } else { EDGES[i - 1] }.min(t);
            let hi = EDGES.get(i).copied().unwrap_or(t).min(t).max(lo);
            // Between two edges the share above falls as a power of the latency; above the highest, half a check is left.
            let down = ((above + here) / allowed).ln() / ((above + here) / above.max(0.5)).ln();
            return Some((lo.ln() + down.min(1.0) * (hi / lo).ln(), false));
        }
        above += here;
    }
    None
}

/// Rounds down, and on the right side of the timeout.
fn encode(ln: f64, reached: bool, timeout: u32) -> u8 {
    let code = ((ln - LOWEST.ln()) / STEP).floor().clamp(0.0, 254.0) as u8 + 1;
    let bound = code_of(timeout);
    if reached { code.max(bound) } else { code.min(bound - 1) }
}

/// The least code of a level that has reached a timeout.
fn code_of(timeout: u32) -> u8 {
    ((f64::from(timeout.max(1)) / LOWEST).ln() / STEP).ceil().clamp(1.0, 254.0) as u8 + 1
}

fn place(hour: i64) -> usize {
    hour.rem_euclid(HOURS as i64) as usize
}

fn hour(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::HOUR.nanos())
}

fn start(hour: i64) -> Timestamp {
    Timestamp::EPOCH + Span::HOUR * hour
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn counts(pairs: &[(usize, u32)]) -> [u32; BINS] {
        let mut counts = [0; BINS];
        pairs.iter().for_each(|(i, n)| counts[*i] = *n);
        counts
    }

    #[test]
    fn the_level_is_the_99th_percentile_within_its_bucket() {
        // 4 % lie above 0.25 s, a quarter of a percent above 0.5 s: 1 % is half way down, in logarithms.
        let (ln, reached) = level(&counts(&[(0, 3_840), (6, 150), (7, 10)]), 1).unwrap();
        assert!((ln.exp() - (0.25f64 * 0.5).sqrt()).abs() < 1e-9 && !reached);
        assert_eq!(level(&counts(&[(0, 49)]), 1), None);
    }

    #[test]
    fn from_one_timeout_in_a_hundred_on_the_timeout_is_reached_and_more_of_them_lie_further_beyond() {
        let (ln, reached) = level(&counts(&[(0, 990), (12, 10)]), 2).unwrap();
        assert!((ln.exp() - 2.0).abs() < 1e-9 && reached);
        // Eight times as many: 8^(2/3) = 4 times as high.
        let (ln, _) = level(&counts(&[(0, 920), (12, 80)]), 2).unwrap();
        assert!((ln.exp() - 8.0).abs() < 1e-9);
        assert!(!level(&counts(&[(0, 991), (12, 9)]), 2).unwrap().1);
    }

    #[test]
    fn a_code_never_rounds_over_the_timeout() {
        for timeout in [1, 2, 3, 5, 10, 12, 30, 60] {
            let ln = f64::from(timeout).ln();
            assert!(encode(ln - 1e-9, false, timeout) < code_of(timeout));
            assert!(encode(ln, true, timeout) >= code_of(timeout));
        }
    }
}
