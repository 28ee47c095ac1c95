//! The levels of the hours with what was foretold of them, and the load that was seen, as bytes.

use super::super::load::{Covered, Load};
use super::super::season::{Basis, Foretold, HOURS, JUDGED, Judged, Record, Season};
use super::{Read, Reader, Writer};
use crate::units::{Span, Timestamp};

impl Writer {
    pub(super) fn season(&mut self, s: &Season) {
        let Season { counts, hour, timeout, levels, first, reached, pending, judged, record } = s;
        counts.iter().for_each(|n| self.number(u64::from(*n)));
        self.signed(*hour);
        self.number(u64::from(*timeout));
        self.number(levels.len() as u64);
        self.0.extend_from_slice(levels);
        self.option(*first, Writer::signed);
        self.option(*reached, Writer::signed);
        self.option(pending.as_ref(), Writer::foretold);
        self.list(judged, |w, j| {
            w.foretold(&j.foretold);
            w.time(j.reached);
        });
        let Record { hits, misses, surprises } = record;
        [hits, misses, surprises].into_iter().for_each(|n| self.number(u64::from(*n)));
    }

    fn foretold(&mut self, f: &Foretold) {
        let Foretold { made, at, within, timeout, probability, basis } = f;
        [made.nanos(), at.nanos(), within.nanos()].into_iter().for_each(|n| self.signed(n));
        self.number(u64::from(*timeout));
        self.float(*probability);
        self.option(if let Basis::Trend(growth) = basis { Some(*growth) } else { None }, Writer::float);
    }

    pub(super) fn load(&mut self, load: &Load) {
        let Load { nodes, pods, throttled, hour } = load;
        self.signed(*hour);
        for Covered { seconds, highest } in [nodes, pods] {
            seconds.iter().for_each(|s| self.float(*s));
            self.option(*highest, |w, (load, at)| {
                w.float(load);
                w.signed(at.nanos());
            });
        }
        self.list(throttled, Writer::throttled);
    }
}

impl Reader<'_> {
    pub(super) fn season(&mut self) -> Read<Season> {
        let mut s = Season::default();
        for n in &mut s.counts {
            *n = self.small()?;
        }
        // Far from both ends, so that a week more or less is still an hour.
        s.hour = self.signed()?.clamp(-(1 << 40), 1 << 40);
        s.timeout = self.small()?;
        s.levels = self.list(HOURS, "levels of hours", |r| r.byte("a level"))?;
        if !s.levels.is_empty() && s.levels.len() != HOURS {
            return Err(self.damaged("levels of three weeks"));
        }
        s.first = self.option(Reader::signed)?;
        s.reached = self.option(Reader::signed)?;
        s.pending = self.option(Reader::foretold)?;
        s.judged = self.list(JUDGED, "forecasts", |r| Ok(Judged { foretold: r.foretold()?, reached: r.time()? }))?;
        s.record = Record { hits: self.small()?, misses: self.small()?, surprises: self.small()? };
        Ok(s)
    }

    fn foretold(&mut self) -> Read<Foretold> {
        let made = Timestamp::from_nanos(self.signed()?);
        let at = Timestamp::from_nanos(self.signed()?);
        let within = Span::from_nanos(self.signed()?.clamp(0, Span::DAY.nanos()));
        let (timeout, probability) = (self.small()?, self.finite()?.min(1.0));
        let basis = self.option(Reader::finite)?.map_or(Basis::Season, Basis::Trend);
        Ok(Foretold { made, at, within, timeout, probability, basis })
    }

    pub(super) fn load(&mut self) -> Read<Load> {
        let mut load = Load { hour: self.signed()?, ..Load::default() };
        for covered in [&mut load.nodes, &mut load.pods] {
            for s in &mut covered.seconds {
                *s = self.finite()?;
            }
            covered.highest = self.option(|r| Ok((r.finite()?, Timestamp::from_nanos(r.signed()?))))?;
        }
        load.throttled = self.since(4, Vec::new(), Reader::throttled)?;
        Ok(load)
    }
}
