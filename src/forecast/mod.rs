//! When a probe's timeout will be reached: from the season of the week, and from what grows from day to day.
//!
//! **Takes** a probe's [`Season`] (the level of each hour of the last three weeks), its timeout T and the time. **Gives**
//! the first moment within a week at which one check in a hundred will run into T (from growth: by which
//! that is as likely as not), if that is to be expected with a probability of [`LIKELY`] or more, at least [`AHEAD`] ahead. **Never** moves a number: a forecast serves the warning and
//! the explanation, and `decide` does not see this room. How often forecasts were right is counted in the season itself.
//!
//! With levels in logarithms, what is expected of an hour is the lower median of the same hour of the weeks before, not
//! above the last of them; from a trend, each is first moved by the daily growth. Growth is a seasonal Theil–Sen slope over
//! the midmeans of the last fourteen days, working days against working days, weekends against weekends; it counts only where nine
//! pairs of days in ten agree on its sign, which a single step does not bring about, and from four standard errors on.
//! Sources: Sen (1968), JASA 63:1379; Hirsch, Slack, Smith (1982), Water Resources Research 18:107.

use crate::evidence::{Basis, EPISODE, Evidence, Foretold, Season, WEEK, WEEKS};
use crate::units::{Span, Timestamp};
use crate::workload::ProbeId;

/// What is less probable is no forecast.
pub const LIKELY: f64 = 0.8;
/// What is nearer is no forecast.
pub const AHEAD: Span = Span::from_nanos(40 * 60 * 1_000_000_000);
/// Days seen before a trend is believed.
pub const TREND_FROM: usize = 3;
/// Days seen before a season is believed: a week, and a day to hold it against.
pub const SEASON_FROM: usize = 8;
/// Days of a trend.
const TREND_DAYS: usize = 14;
/// Hours known of a day before it counts.
const DAY_KNOWN: usize = 12;
/// Share of the hours since the first that must be known.
const KNOWN: f64 = 0.7;
/// Share of the pairs of days that must agree on a trend's sign.
const AGREE: f64 = 0.9;
/// A slope of fewer standard errors is none.
const ERRORS_AWAY: f64 = 4.0;
/// A recurrence that chance brings about more often than this in a week is no season.
const CHANCE: f64 = 0.01;
/// Hours without news after which nothing is foretold.
const SILENCE: i64 = 3;
/// Past errors of which the spread is known.
const ERRORS: usize = 20;
const HOURS: usize = WEEKS * WEEK;

/// Looks ahead for one probe and writes the forecast down; says which, if there is a new one.
///
/// While one is under way no other is made. A search goes through three weeks of hours, so ask once an
/// hour.
pub fn look(evidence: &mut Evidence, probe: &ProbeId, timeout: u32, now: Timestamp) -> Option<Foretold> {
    let season = evidence.seen(probe)?.season();
    if season.pending().is_some() {
        return None;
    }
    let foretold = foresee(season, timeout, now)?;
    evidence.foretell(probe, foretold);
    Some(foretold)
}

/// When the timeout will be reached for the first time within a week; `None` if nothing says so.
pub fn foresee(season: &Season, timeout: u32, now: Timestamp) -> Option<Foretold> {
    let newest = season.newest()?;
    if now.nanos().div_euclid(Span::HOUR.nanos()) - newest > SILENCE {
        return None;
    }
    let past = Past::of(season, newest, timeout)?;
    let trend = past.trend();
    let step = if past.days >= SEASON_FROM { WEEK } else { 24 };
    let errors = past.errors(step, trend);
    if errors.len() < ERRORS {
        return None;
    }
    let lately = past.lately(step, trend).min(0.0);
    let goal = f64::from(timeout).ln();
    let furthest = if trend.is_some() && past.days < SEASON_FROM { (24 * past.days).min(WEEK) } else { WEEK };
    let mut reached = season.last_reached();
    // A timeout that was reached within a day needs no growth to be reached.
    let trend = trend.filter(|_| reached.is_none_or(|last| newest - last >= 24));
    // By growth: the chance that it was not reached yet, and the hour from which on that is less than even.
    let (mut not_yet, mut even) = (1.0, None);
    for ahead in 1..=furthest {
        let hour = newest + ahead as i64;
        let above = |expected: f64| share_from(&errors, goal - expected);
        let seasonal = past.days >= SEASON_FROM && past.recurs(ahead);
        let by_season = past.expected(ahead, step, None).filter(|_| seasonal).map_or(0.0, |e| above(e + lately));
        if let Some(growth) = trend
            && let Some(expected) = past.expected(ahead, step, Some(growth))
        {
            // What is reached now and then without growth is not foretold by it.
            not_yet *= 1.0 - (above(expected) - past.often).max(0.0);
            even = even.or((not_yet <= 0.5).then_some(hour));
        }
        let (hour, probability, basis, within) = match (trend, even) {
            _ if by_season >= LIKELY => (hour, by_season, Basis::Season, Span::HOUR),
            (Some(growth), Some(even)) if 1.0 - not_yet >= LIKELY && hour - even <= 24 => {
                (even, 1.0 - not_yet, Basis::Trend(growth.exp_m1() as f32), Span::DAY)
            }
            _ => continue,
        };
        let at = Timestamp::EPOCH + Span::HOUR * hour;
        // It goes on, or comes again: no news.
        if reached.replace(hour).is_some_and(|last| hour - last <= EPISODE) || at.since(now) < AHEAD {
            continue;
        }
        return Some(Foretold { made: now, at, within, timeout, probability: probability as f32, basis });
    }
    None
}

/// Levels of the past, by hours back from the newest.
struct Past {
    newest: i64,
    /// Not a number where unknown.
    levels: [f64; HOURS],
    reached: [bool; HOURS],
    /// Days since the first hour that is known.
    days: usize,
    /// Share of the known hours that reached T.
    often: f64,
}

impl Past {
    /// `None` while too little is known.
    fn of(season: &Season, newest: i64, timeout: u32) -> Option<Past> {
        let mut past = Past { newest, levels: [f64::NAN; HOURS], reached: [false; HOURS], days: 0, often: 0.0 };
        let (mut known, mut oldest, mut reached) = (0, 0, 0);
        for back in 0..HOURS {
            let hour = newest - back as i64;
            let Some(level) = season.level(hour) else { continue };
            past.levels[back] = level;
            past.reached[back] = season.reached(hour, timeout) == Some(true);
            known += 1;
            oldest = back;
            reached += usize::from(past.reached[back]);
        }
        past.days = (oldest + 1) / 24;
        past.often = reached as f64 / known.max(1) as f64;
        (past.days >= TREND_FROM && known as f64 >= KNOWN * (oldest + 1) as f64).then_some(past)
    }

    fn level(&self, back: usize) -> Option<f64> {
        self.levels.get(back).copied().filter(|l| !l.is_nan())
    }

    /// What is expected `ahead` hours after the newest, from the hours whole steps before: without growth the lower median,
    /// but not above the last; with growth a day the median of those of two weeks, each moved by it.
    fn expected(&self, ahead: usize, step: usize, growth: Option<f64>) -> Option<f64> {
        self.expected_at(step as i64 - ahead as i64, step, growth)
    }

    /// The same; `first` is how far back from the newest the first of those hours lies.
    fn expected_at(&self, first: i64, step: usize, growth: Option<f64>) -> Option<f64> {
        let mut values = [0.0; 14];
        let (mut n, mut last) = (0, None);
        for k in 1..=values.len() {
            let Ok(back) = usize::try_from(first + ((k - 1) * step) as i64) else { continue };
            if k * step > if growth.is_some() { TREND_DAYS * 24 } else { HOURS } {
                break;
            }
            let Some(level) = self.level(back) else { continue };
            values[n] = level + growth.unwrap_or(0.0) * (k * step) as f64 / 24.0;
            n += 1;
            if last.is_none() {
                last = Some(level);
            }
        }
        let values = &mut values[..n];
        values.sort_by(f64::total_cmp);
        let median = *values.get(n.checked_sub(1)? / 2)?;
        Some(if growth.is_some() { median } else { median.min(last?) })
    }

    /// By how much the hours of the last two weeks lay above what would have been expected of them, ascending.
    fn errors(&self, step: usize, growth: Option<f64>) -> Vec<f64> {
        let of = |back: usize| Some(self.level(back)? - self.expected_at((back + step) as i64, step, growth)?);
        let mut errors: Vec<f64> = (0..TREND_DAYS * 24).filter_map(of).collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    /// The same of the last day alone, its median: what has become better since counts.
    fn lately(&self, step: usize, growth: Option<f64>) -> f64 {
        let of = |back: usize| Some(self.level(back)? - self.expected_at((back + step) as i64, step, growth)?);
        median((0..24).filter_map(of).collect()).unwrap_or(0.0)
    }

    /// Whether T was reached at this hour of the week, or of the day, too often for chance, and the last time too.
    fn recurs(&self, ahead: usize) -> bool {
        let among = |step: usize, most: usize| {
            let places = (1..=most).filter_map(|k| (k * step).checked_sub(ahead)).filter(|b| self.level(*b).is_some());
            places.fold((0, 0), |(n, hits), back| (n + 1, hits + u32::from(self.reached[back])))
        };
        if !self.reached.get(WEEK - ahead).is_some_and(|r| *r) {
            return false;
        }
        let (weeks, days) = (among(WEEK, WEEKS), among(24, TREND_DAYS + 7));
        at_least(weeks, self.often) * (WEEK as f64) < CHANCE || at_least(days, self.often) * 24.0 < CHANCE
    }

    /// Growth a day, of the logarithm; `None` unless it rises, day by day.
    fn trend(&self) -> Option<f64> {
        let today = (self.newest + 1).div_euclid(24);
        let mut days: Vec<(i64, f64)> = Vec::with_capacity(TREND_DAYS);
        let mut within = Vec::with_capacity(TREND_DAYS * 24);
        for day in today - TREND_DAYS as i64..today {
            let hours = (0..24).filter_map(|h| self.level(usize::try_from(self.newest - (day * 24 + h)).ok()?));
            let hours: Vec<f64> = hours.collect();
            if hours.len() >= DAY_KNOWN {
                let middle = midmean(hours.clone());
                within.extend(hours.iter().map(|h| (h - middle).abs()));
                days.push((day, middle));
            }
        }
        let mut slopes = Vec::with_capacity(TREND_DAYS * TREND_DAYS / 2);
        for (i, (day, level)) in days.iter().enumerate() {
            let before = days[..i].iter().filter(|(other, _)| weekend(*other) == weekend(*day));
            slopes.extend(before.map(|(other, l)| (level - l) / (day - other) as f64));
        }
        let rising = slopes.iter().filter(|s| **s > 0.0).count();
        if days.len() < TREND_FROM || slopes.len() < TREND_FROM || (rising as f64) < AGREE * slopes.len() as f64 {
            return None;
        }
        let slope = median(slopes)?;
        (slope >= ERRORS_AWAY * slope_error(&days, slope, median(within)?)).then_some(slope)
    }
}

/// The standard error of a slope over days: by how far they lie off the line, and no less than by how far the
/// hours of a day usually lie off their middle (`1.4826·1.2533/√24` of that for independent hours, 0.38).
fn slope_error(days: &[(i64, f64)], slope: f64, within: f64) -> f64 {
    let n = days.len() as f64;
    let mean = days.iter().map(|(d, _)| *d as f64).sum::<f64>() / n;
    let spread: f64 = days.iter().map(|(d, _)| (*d as f64 - mean).powi(2)).sum();
    let off: Vec<f64> = days.iter().map(|(d, level)| level - slope * *d as f64).collect();
    let middle = off.iter().sum::<f64>() / n;
    let off = (off.iter().map(|o| (o - middle).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    off.max(0.38 * within) / spread.sqrt().max(1e-9)
}

/// Whether a day, counted from the epoch (a Thursday), is a Saturday or a Sunday.
fn weekend(day: i64) -> bool {
    matches!((day + 3).rem_euclid(7), 5 | 6)
}

/// The share of ascending values that are at least `least`.
fn share_from(values: &[f64], least: f64) -> f64 {
    let below = values.partition_point(|v| *v < least);
    (values.len() - below) as f64 / values.len().max(1) as f64
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The mean of the middle half: levels stand on a grid of 5 %, and a median would stand on it too.
fn midmean(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let middle = &values[quarter..values.len() - quarter];
    middle.iter().sum::<f64>() / middle.len().max(1) as f64
}

/// `P(≥ hits of n)` of a binomial.
fn at_least((n, hits): (u32, u32), p: f64) -> f64 {
    if hits == 0 {
        return 1.0;
    }
    let mut term = (1.0 - p).powi(n as i32);
    let mut below = 0.0;
    for k in 0..hits.min(n + 1) {
        below += term;
        term *= f64::from(n - k) / f64::from(k + 1) * p / (1.0 - p).max(1e-12);
    }
    (1.0 - below).max(0.0)
}
