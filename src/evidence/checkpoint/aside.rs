//! What shadow checks saw, and how often containers were throttled, as bytes.

use super::super::shadow::{LONGEST, Long, Period, Shadow, Side};
use super::super::throttle::{CONTAINERS, Hour, THROTTLED_HOURS, Throttled};
use super::{Read, Reader, Writer};
use crate::units::{Span, Timestamp};

impl Writer {
    pub(super) fn shadow(&mut self, s: &Shadow) {
        let Shadow { counts, unhealthy, longest, hour, day, periods, visible, differs } = s;
        counts.iter().chain([unhealthy]).for_each(|n| self.float(*n));
        self.list(longest, |w, l| {
            w.option(l.latency, |w, l| w.signed(l.nanos()));
            w.signed(l.at.nanos());
        });
        self.signed(*hour);
        self.signed(*day);
        for Side { all, beyond } in periods.iter().flat_map(|Period { ours, theirs }| [ours, theirs]) {
            [all, beyond].into_iter().for_each(|n| self.number(u64::from(*n)));
        }
        self.number(*visible as u64);
        self.option(*differs, |w, (since, (ours, theirs))| {
            w.signed(since.nanos());
            w.double(ours);
            w.double(theirs);
        });
    }

    pub(super) fn throttled(&mut self, t: &Throttled) {
        let Throttled { container, newest, hours } = t;
        self.name(container);
        self.signed(*newest);
        for Hour { seen, throttled, periods, throttled_periods } in hours {
            let all = [u64::from(*seen), u64::from(*throttled), *periods, *throttled_periods];
            all.into_iter().for_each(|n| self.number(n));
        }
    }
}

impl Reader<'_> {
    pub(super) fn shadow(&mut self) -> Read<Shadow> {
        let mut s = Shadow::new(Timestamp::EPOCH);
        for n in s.counts.iter_mut().chain([&mut s.unhealthy]) {
            *n = self.finite()?;
        }
        s.longest = self.list(LONGEST, "long checks", |r| {
            let latency = r.option(|r| Ok(Span::from_nanos(r.signed()?)))?;
            Ok(Long { latency, at: Timestamp::from_nanos(r.signed()?) })
        })?;
        s.hour = self.day()?;
        s.day = self.day()?;
        for side in s.periods.iter_mut().flat_map(|Period { ours, theirs }| [ours, theirs]) {
            let all = self.small()?;
            *side = Side { all, beyond: self.small()?.min(all) };
        }
        s.visible = self.one_of(&[0, 1, 2, 3, 4], "edges in sight")?;
        if s.visible == 0 {
            return Err(self.damaged("an edge in sight"));
        }
        s.differs = self.option(|r| {
            let since = Timestamp::from_nanos(r.signed()?);
            Ok((since, (r.double()?.min(1.0), r.double()?.min(1.0))))
        })?;
        Ok(s)
    }

    pub(super) fn throttled(&mut self) -> Read<Vec<Throttled>> {
        let all = self.list(CONTAINERS, "throttled containers", |r| {
            let mut t = Throttled::new(r.name()?);
            t.newest = r.day()?;
            for hour in &mut t.hours {
                let seen = r.small()?;
                *hour = Hour { seen, throttled: r.small()?.min(seen), periods: r.number()?, throttled_periods: 0 };
                hour.throttled_periods = r.number()?.min(hour.periods);
            }
            Ok(t)
        })?;
        // They are looked up by name.
        let ordered = all.windows(2).all(|w| w[0].container < w[1].container);
        if ordered { Ok(all) } else { Err(self.damaged("containers in the order of their names")) }
    }

    /// The number of an hour or a day: far from both ends, so that some more or less is still one.
    fn day(&mut self) -> Read<i64> {
        Ok(self.signed()?.clamp(-(1 << 40), 1 << 40))
    }
}

const _: () = assert!(THROTTLED_HOURS == 24, "another number of hours is another format");
