//! Times of the week in which changes may start: `Mon-Fri 09:00-17:00 Europe/Berlin`, several parted by `;`.
//!
//! Days are single (`Mon`), listed (`Mon,Wed`) or ranged (`Mon-Fri`, `Sat-Mon` over the week's end). An end before its
//! start lies on the next day; `24:00` is an end. The zone is a name of the IANA database and is never left out: a time
//! whose zone one has to guess is not permission. Where the clock is put forward over a start or an end, that moment is
//! taken as much later.

use super::moment;
use crate::policy::Window;
use crate::units::{Span, Timestamp};
use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

/// Most slots that one annotation may hold: more than two a day are a mistake.
const MOST_SLOTS: usize = 16;

/// Minutes in a day.
const DAY: u16 = 24 * 60;

/// How far ahead the next change is looked for. The pattern is the same each week, so what has not changed in eight
/// days never does.
const HORIZON: Span = Span::from_seconds(8 * 86_400);

/// One slot of the week, in its own zone.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Monday first.
    days: [bool; 7],
    /// Minutes of the day; an end at or before the start is the next day's.
    start: u16,
    end: u16,
    zone: TimeZone,
}

/// Reads a whole annotation; `None` if any part of it cannot be read.
pub(super) fn parse(text: &str) -> Option<Vec<Slot>> {
    let parts: Vec<&str> = text.split(';').map(str::trim).collect();
    // A closing `;` is not a mistake; an empty part in the middle is.
    let parts = match parts.split_last() {
        Some((&"", before)) if !before.is_empty() => before,
        _ => &parts[..],
    };
    if parts.len() > MOST_SLOTS {
        return None;
    }
    parts.iter().map(|part| slot(part)).collect()
}

fn slot(text: &str) -> Option<Slot> {
    let mut words = text.split_ascii_whitespace();
    let (on, hours, zone) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let (start, end) = hours.split_once('-')?;
    let (start, end) = (minute(start)?, minute(end)?);
    // "09:00-09:00" may be meant as all day or as nothing: not ours to choose.
    if start == end || start == DAY {
        return None;
    }
    Some(Slot { days: days(on)?, start, end, zone: TimeZone::get(zone).ok()? })
}

/// `Mon`, `Mon-Fri`, `Mon,Wed`, `Mon-Wed,Fri`.
fn days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].iter().position(|d| *d == name);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days[at] = true;
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Some(days)
}

/// `HH:MM`, two digits each, up to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

/// Whether all of `groups` are open at `now` (each is when any of its slots is), and when that changes.
pub(super) fn at(groups: &[Vec<Slot>], now: Timestamp) -> Window {
    let mut open = groups.iter().map(|slots| intervals(slots, now));
    let first = open.next().unwrap_or_default();
    let open = open.fold(first, |a, b| intersection(&a, &b));
    let current = open.iter().find(|(start, end)| *start <= now && now < *end);
    let changes_at = match current {
        Some((_, end)) => Some(*end),
        None => open.iter().map(|(start, _)| *start).find(|start| *start > now),
    };
    Window { open: current.is_some(), changes_at: changes_at.filter(|at| *at <= now + HORIZON) }
}

/// When any slot is open, from two days before `now` to nine after it: ordered, apart from one another.
fn intervals(slots: &[Slot], now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let mut found: Vec<(Timestamp, Timestamp)> = slots.iter().flat_map(|slot| slot.intervals(now)).collect();
    found.sort_unstable();
    let mut merged: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(found.len());
    for (start, end) in found {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn intersection(a: &[(Timestamp, Timestamp)], b: &[(Timestamp, Timestamp)]) -> Vec<(Timestamp, Timestamp)> {
    let mut both = Vec::new();
    for x in a {
        both.extend(b.iter().map(|y| (x.0.max(y.0), x.1.min(y.1))).filter(|(start, end)| start < end));
    }
    both
}

impl Slot {
    fn intervals(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let Ok(instant) = jiff::Timestamp::from_nanosecond(i128::from(now.nanos())) else { return Vec::new() };
        let today = instant.to_zoned(self.zone.clone()).date();
        let begin = |offset: i64| {
            let date = today.checked_add(offset.days()).ok()?;
            let on = self.days[weekday(date)];
            on.then(|| Some((self.moment(date, self.start)?, self.moment(date, self.ends_at())?))).flatten()
        };
        (-2..=9).filter_map(begin).filter(|(start, end)| start < end).collect()
    }

    /// The end in minutes from the start's midnight.
    fn ends_at(&self) -> u16 {
        if self.end <= self.start { self.end + DAY } else { self.end }
    }

    fn moment(&self, date: Date, minute: u16) -> Option<Timestamp> {
        let date = date.checked_add(i64::from(minute / DAY).days()).ok()?;
        let (hour, minute) = (i8::try_from(minute % DAY / 60).ok()?, i8::try_from(minute % 60).ok()?);
        let there = date.at(hour, minute, 0, 0).to_zoned(self.zone.clone()).ok()?;
        Some(moment(there.timestamp()))
    }
}

fn weekday(date: Date) -> usize {
    match date.weekday() {
        Weekday::Monday => 0,
        Weekday::Tuesday => 1,
        Weekday::Wednesday => 2,
        Weekday::Thursday => 3,
        Weekday::Friday => 4,
        Weekday::Saturday => 5,
        Weekday::Sunday => 6,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn t(text: &str) -> Timestamp {
        moment(text.parse().unwrap())
    }

    #[track_caller]
    fn check(windows: &[&str], now: &str, open: bool, changes_at: Option<&str>) {
        let groups: Vec<_> = windows.iter().map(|w| parse(w).unwrap()).collect();
        assert_eq!(at(&groups, t(now)), Window { open, changes_at: changes_at.map(t) }, "{windows:?} at {now}");
    }

    // 2026-11-23 is a Monday.

    #[test]
    fn a_window_opens_and_closes_in_its_own_zone() {
        let berlin = ["Mon-Fri 09:00-17:00 Europe/Berlin"];
        check(&berlin, "2026-11-25T07:59:59Z", false, Some("2026-11-25T08:00:00Z"));
        check(&berlin, "2026-11-25T08:00:00Z", true, Some("2026-11-25T16:00:00Z"));
        check(&berlin, "2026-11-25T16:00:00Z", false, Some("2026-11-26T08:00:00Z"));
        check(&berlin, "2026-11-27T16:00:00Z", false, Some("2026-11-30T08:00:00Z"));
    }

    #[test]
    fn an_end_before_its_start_lies_on_the_next_day() {
        let night = ["Fri 22:00-04:00 UTC"];
        check(&night, "2026-11-28T03:00:00Z", true, Some("2026-11-28T04:00:00Z"));
        check(&night, "2026-11-28T04:00:00Z", false, Some("2026-12-04T22:00:00Z"));
        check(&night, "2026-11-27T03:00:00Z", false, Some("2026-11-27T22:00:00Z"));
    }

    #[test]
    fn days_are_listed_ranged_and_may_pass_the_weeks_end() {
        check(&["Mon,Wed 09:00-10:00 UTC"], "2026-11-23T10:00:00Z", false, Some("2026-11-25T09:00:00Z"));
        check(&["Sat-Mon 09:00-10:00 UTC"], "2026-11-22T10:00:00Z", false, Some("2026-11-23T09:00:00Z"));
        check(&["Mon-Tue,Fri 09:00-10:00 UTC"], "2026-11-24T10:00:00Z", false, Some("2026-11-27T09:00:00Z"));
    }

    #[test]
    fn of_several_slots_any_opens_and_touching_ones_are_one() {
        let two = ["Mon 09:00-12:00 UTC; Mon 12:00-13:00 UTC;"];
        check(&two, "2026-11-23T11:00:00Z", true, Some("2026-11-23T13:00:00Z"));
    }

    #[test]
    fn of_namespace_and_workload_both_must_be_open() {
        let both = ["Mon-Fri 09:00-17:00 UTC", "Wed 16:00-20:00 UTC"];
        check(&both, "2026-11-25T15:00:00Z", false, Some("2026-11-25T16:00:00Z"));
        check(&both, "2026-11-25T16:30:00Z", true, Some("2026-11-25T17:00:00Z"));
        check(&["Mon 09:00-10:00 UTC", "Tue 09:00-10:00 UTC"], "2026-11-25T15:00:00Z", false, None);
    }

    #[test]
    fn a_window_that_is_always_open_never_changes() {
        check(&["Mon-Sun 00:00-24:00 Europe/Berlin"], "2026-11-25T15:00:00Z", true, None);
    }

    #[test]
    fn a_clock_put_forward_moves_a_start_that_does_not_exist() {
        // 2026-03-29: 02:00 becomes 03:00 in Berlin.
        check(&["Sun 02:30-05:00 Europe/Berlin"], "2026-03-29T00:00:00Z", false, Some("2026-03-29T01:30:00Z"));
        check(&["Sun 02:30-05:00 Europe/Berlin"], "2026-03-29T01:30:00Z", true, Some("2026-03-29T03:00:00Z"));
    }

    #[test]
    fn what_is_not_quite_a_window_is_none() {
        for wrong in [
            "",
            ";",
            "Mon-Fri",
            "Mon-Fri 09:00-17:00",
            "Mon-Fri 9:00-17:00 UTC",
            "Mon-Fri 09:00-17:60 UTC",
            "Mon-Fri 09:00-24:01 UTC",
            "Mon-Fri 24:00-09:00 UTC",
            "Mon-Fri 09:00-09:00 UTC",
            "Mon-Fri 09:00 UTC",
            "mon-fri 09:00-17:00 UTC",
            "Mon-Fry 09:00-17:00 UTC",
            "Mon,,Fri 09:00-17:00 UTC",
            "Mon-Fri 09:00-17:00 Europe/Atlantis",
            "Mon-Fri 09:00-17:00 Europe/Berlin extra",
            "Mon 09:00-17:00 UTC;;Tue 09:00-17:00 UTC",
        ] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
        assert!(parse(&"Mon 09:00-17:00 UTC;".repeat(17)).is_none());
    }
}
