//! Pod-time, unready time and restarts by the minute (the last hour) and by the hour (the last two days), for the
//! judge who compares the time after a change with the time before it.

use super::restart::{RESTARTS, RestartRecord};
use crate::units::{Span, Timestamp};

/// Minutes kept: an hour and the one that is running, so that tests may verify in minutes.
const MINUTES: usize = 64;
/// Hours kept: a day before a change, a day after it, and what lies between.
pub(super) const HOURS: usize = 56;
/// A silence longer than this is not lived time: nobody was looking.
const SILENCE: Span = Span::from_nanos(300 * 1_000_000_000);

/// What happened between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// Pod-time: every pod that was there and not being deleted, starting ones included.
    pub pod_time: Span,
    /// Restarts by liveness or startup probes.
    pub probe_restarts: u32,
    /// Restarts by anything else.
    pub other_restarts: u32,
    /// Pod-time without condition Ready.
    pub unready: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Bin {
    pub(super) pod_seconds: f32,
    pub(super) unready_seconds: f32,
    pub(super) probe_restarts: u16,
    pub(super) other_restarts: u16,
}

/// A ring of equal bins; the newest has number `newest`.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Ring {
    pub(super) bins: Vec<Bin>,
    pub(super) newest: i64,
    /// The first number that was ever filled in this life.
    pub(super) since: Option<i64>,
}

impl Ring {
    pub(super) fn bin(&mut self, number: i64, length: usize) -> Option<&mut Bin> {
        if self.bins.is_empty() {
            self.bins = vec![Bin::default(); length];
            self.newest = number;
            self.since = Some(number);
        }
        let span = i64::try_from(length).expect("a ring is short");
        if number > self.newest {
            for gone in (self.newest + 1).max(number - span + 1)..=number {
                self.bins[place(gone, length)] = Bin::default();
            }
            self.newest = number;
        }
        (number > self.newest - span).then(|| &mut self.bins[place(number, length)])
    }

    pub(super) fn get(&self, number: i64) -> Option<&Bin> {
        let span = i64::try_from(self.bins.len()).expect("a ring is short");
        (span > 0 && number <= self.newest && number > self.newest - span)
            .then(|| &self.bins[place(number, self.bins.len())])
    }

    pub(super) fn oldest(&self) -> i64 {
        self.newest - i64::try_from(self.bins.len()).expect("a ring is short") + 1
    }
}

fn place(number: i64, length: usize) -> usize {
    usize::try_from(number.rem_euclid(i64::try_from(length).expect("a ring is short")))
        .expect("a remainder is not negative")
}

/// Integrates levels over time.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Calendar {
    pub(super) minutes: Ring,
    pub(super) hours: Ring,
    /// Until when the levels have been integrated.
    pub(super) until: Option<Timestamp>,
    /// It was read back: the hours reach further than the minutes.
    pub(super) restored: bool,
}

impl Calendar {
    /// Lives on to `at` with so many pods, so many of them unready. Cheap when no time has passed.
    pub(super) fn advance(&mut self, at: Timestamp, pods: u32, unready: u32) {
        let Some(from) = self.until else {
            self.until = Some(at);
            return;
        };
        if at <= from {
            return;
        }
        self.until = Some(at);
        if at.since(from) > SILENCE || pods == 0 {
            return;
        }
        let mut start = from;
        while start < at {
            let end = at.min(Timestamp::from_nanos((minute(start) + 1) * Span::MINUTE.nanos()));
            let seconds = end.since(start).as_secs_f64() as f32;
            for (ring, number, length) in
                [(&mut self.minutes, minute(start), MINUTES), (&mut self.hours, hour(start), HOURS)]
            {
                if let Some(bin) = ring.bin(number, length) {
                    bin.pod_seconds += seconds * pods as f32;
                    bin.unready_seconds += seconds * unready as f32;
                }
            }
            start = end;
        }
    }

    pub(super) fn restart(&mut self, at: Timestamp, by_probe: bool) {
        for (ring, number, length) in [(&mut self.minutes, minute(at), MINUTES), (&mut self.hours, hour(at), HOURS)] {
            if let Some(bin) = ring.bin(number, length) {
                let count = if by_probe { &mut bin.probe_restarts } else { &mut bin.other_restarts };
                *count = count.saturating_add(1);
            }
        }
    }

    /// It turns out that a probe did the restart counted at this moment.
    pub(super) fn explained(&mut self, at: Timestamp) {
        for (ring, number, length) in [(&mut self.minutes, minute(at), MINUTES), (&mut self.hours, hour(at), HOURS)] {
            if let Some(bin) = ring.bin(number, length).filter(|b| b.other_restarts > 0) {
                bin.other_restarts -= 1;
                bin.probe_restarts = bin.probe_restarts.saturating_add(1);
            }
        }
    }

    /// Sums bins that overlap `[from, to)`: minutes where they are still kept for all of it, else hours. A bin that
    /// overlaps in part counts with that part of its time. Its restarts are those of `exact` in that part: in a storm
    /// they come minutes before the change that answers them, and half an hour would hide them. Where `exact` no longer
    /// reaches back so far, a bin's restarts count if half of it lies inside.
    pub(super) fn tally(&self, from: Timestamp, to: Timestamp, exact: &[RestartRecord]) -> Tally {
        // After a restart of the daemon the hours are remembered and the minutes before it are not.
        let known = self.minutes.since.filter(|_| self.restored).is_none_or(|since| minute(from) >= since);
        let (ring, width) = if known && minute(from) >= self.minutes.oldest() && !self.minutes.bins.is_empty() {
            (&self.minutes, Span::MINUTE)
        } else {
            (&self.hours, Span::HOUR)
        };
        let mut tally = Tally::default();
        if to <= from || ring.bins.is_empty() {
            return tally;
        }
        let number = |t: Timestamp| t.nanos().div_euclid(width.nanos());
        for n in number(from).max(ring.oldest())..=number(to).min(ring.newest) {
            let Some(bin) = ring.get(n) else { continue };
            let start = Timestamp::from_nanos(n * width.nanos());
            let overlap = to.min(start + width).since(from.max(start)).as_secs_f64() / width.as_secs_f64();
            if overlap <= 0.0 {
                continue;
            }
            tally.pod_time += Span::round_from_secs_f64(f64::from(bin.pod_seconds) * overlap);
            tally.unready += Span::round_from_secs_f64(f64::from(bin.unready_seconds) * overlap);
            let (begin, end) = (from.max(start), to.min(start + width));
            let reaches = exact.len() < RESTARTS || exact.first().is_some_and(|r| r.at <= begin);
            if overlap < 1.0 && reaches {
                for r in exact.iter().filter(|r| begin <= r.at && r.at < end) {
                    let count = if r.cause.by_probe() { &mut tally.probe_restarts } else { &mut tally.other_restarts };
                    *count += 1;
                }
            } else if overlap >= 0.5 {
                tally.probe_restarts += u32::from(bin.probe_restarts);
                tally.other_restarts += u32::from(bin.other_restarts);
            }
        }
        tally
    }

    pub(super) fn heap(&self) -> usize {
        (self.minutes.bins.capacity() + self.hours.bins.capacity()) * size_of::<Bin>()
    }
}

fn minute(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::MINUTE.nanos())
}

fn hour(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::HOUR.nanos())
}

#[cfg(test)]
mod tests {
    use super::super::restart::{Cause, Company, Failing};
    use super::*;
    use crate::units::Uid;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_seconds(60 * minutes)
    }

    fn killed(at: Timestamp) -> RestartRecord {
        RestartRecord {
            kept: 1.0,
            at,
            pod: Uid::from_bits(1),
            pod_name: "web-1".into(),
            node: None,
            container: "app".into(),
            cause: Cause::LivenessKill,
            confidence: 1.0,
            settings: None,
            failing: Failing::Slow,
            company: Company::Alone,
            relapsed: false,
            ailed: false,
            neighbours: None,
            lived: None,
            load: Default::default(),
            weight: 0.06,
        }
    }

    #[test]
    fn the_restarts_that_led_to_a_change_count_as_before_it_however_late_one_asks() {
        let mut calendar = Calendar::default();
        // Two hours of five pods, two restarts in the minutes before a change at 02:06, none after it.
        for minute in 0..=126 {
            calendar.advance(at(minute), 5, 0);
        }
        let records = [killed(at(124)), killed(at(125))];
        for r in &records {
            calendar.restart(r.at, true);
        }
        let change = at(126);
        for later in [1, 20, 45, 90, 300, 1200] {
            let mut asked = calendar.clone();
            for minute in 127..=126 + later {
                asked.advance(at(minute), 5, 0);
            }
            let before = asked.tally(change - Span::MINUTE * later, change, &records);
            let after = asked.tally(change + Span::SECOND * 5, at(126 + later), &records);
            let led = if later == 1 { 1 } else { 2 };
            assert_eq!((before.probe_restarts, after.probe_restarts), (led, 0), "{later} min later");
        }
    }
}
