//! Evidence as bytes: what must outlive the daemon, and nothing about pods, which are listed again anyway.
//!
//! `PTE`, a version byte, then fields in a fixed order: numbers as LEB128 (signed ones zigzagged), rates as IEEE 754
//! little-endian, lists with their length first. A quiet probe takes about 200 bytes. Lengths are checked against the
//! bounds of `evidence` before anything is allocated, floats must be numbers, and what follows the end is an error: a
//! hostile ConfigMap costs its own length and no more.

mod aside;
mod hours;
mod tables;

use super::calendar::{Bin, HOURS, Ring};
use super::habits::{Habits, Stall};
use super::load::{Load, LoadThen};
use super::restart::{Cause, Company, Failing, NeighboursThen, RESTARTS, RestartRecord};
use super::season::Season;
use super::seen::{Older, Regime, Seen};
use super::start::{STARTS, Start};
use super::{Evidence, MAX_PROBES};
use crate::probe::{Handler, ProbeKind, Settings};
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::ProbeId;
use thiserror::Error;

const MAGIC: &[u8; 3] = b"PTE";
/// Version 2 knows which restarts cured nothing, how pods begin, where replicas ail, and the levels of the hours; 3 knows
/// how their spells end, and what the neighbours of a restart said; 4 what shadow checks saw and how often containers were
/// throttled; 5 how many half-hours come a day, and how checks fail; 6 what rollouts left of a restart, and how
/// stalls go together. Every earlier one is still read; tests hold bytes of each.
const VERSION: u8 = 6;
/// Kubernetes' own bound on names.
const NAME: usize = 253;
/// Most bins of a ring that are believed.
const BINS: usize = 64;
/// Hours from the epoch beyond which no ring stands: a thousand centuries.
const MOST_HOURS: u64 = 1_000_000_000;
/// No count and no sum of seconds is larger: thirty million years of a pod's life. Written by us none comes near it; a
/// larger one is taken for this, so that sums, products and quotients of what was read stay numbers.
const MOST: f64 = 1e15;
/// Most of other short lists.
const FEW: usize = 16;

/// Why bytes are no evidence. Nothing of them is used then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// They do not begin as evidence does.
    #[error("not evidence of probe-tuner: it begins with {found:02x?}, wanted \"PTE\"")]
    Foreign {
        /// The first bytes, at most three.
        found: Vec<u8>,
    },
    /// Written by a later release.
    #[error(
        "evidence of format {found}, this release reads up to {VERSION}\nhint: run the release that wrote it, or delete it and begin anew"
    )]
    Newer {
        /// Its version.
        found: u8,
    },
    /// Cut off or damaged.
    #[error("evidence is damaged at byte {at}: {wanted} wanted")]
    Damaged {
        /// Where, in bytes from the start.
        at: usize,
        /// What should stand there.
        wanted: &'static str,
    },
}

impl Evidence {
    /// As bytes that [`Evidence::decode`] reads: same evidence, same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(512));
        w.0.extend_from_slice(MAGIC);
        w.0.push(VERSION);
        w.option(self.version, |w, v| w.0.extend_from_slice(&v.to_le_bytes()));
        w.list(&self.declared, |w, (id, s)| {
            w.probe_id(id);
            w.settings(*s);
        });
        for t in [self.version_since, self.first, self.last_rollout, self.last_change, self.last_fact] {
            w.time(t);
        }
        w.0.push(u8::from(self.begun));
        w.number(u64::from(self.rollouts));
        w.number(u64::from(self.replicas));
        w.list(&self.probes, Writer::seen);
        w.list(&self.restarts, Writer::restart);
        w.ring(&self.calendar.hours);
        w.time(self.calendar.until);
        w.load(&self.load);
        w.0
    }

    /// Reads what [`Evidence::encode`] wrote, of this or an earlier format.
    ///
    /// # Errors
    /// See [`DecodeError`]. Never panics, and never allocates more than a few times the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Evidence, DecodeError> {
        let Some(([a, b, c, version], _)) = bytes.split_first_chunk::<4>() else {
            return Err(DecodeError::Foreign { found: bytes.iter().take(3).copied().collect() });
        };
        if [*a, *b, *c] != *MAGIC {
            return Err(DecodeError::Foreign { found: vec![*a, *b, *c] });
        }
        if !(1..=VERSION).contains(version) {
            return Err(DecodeError::Newer { found: *version });
        }
        let mut r = Reader { bytes, at: 4, version: *version };
        let mut e = Evidence::new();
        e.version = r.option(|r| r.array::<8>("a version").map(u64::from_le_bytes))?;
        e.declared = r.list(MAX_PROBES * 4, "declared probes", |r| Ok((r.probe_id()?, r.settings()?)))?;
        for slot in [&mut e.version_since, &mut e.first, &mut e.last_rollout, &mut e.last_change, &mut e.last_fact] {
            *slot = r.time()?;
        }
        e.begun = r.flag()?;
        e.rollouts = r.small()?;
        e.replicas = r.small()?;
        e.probes = r.list(MAX_PROBES, "probes", Reader::seen)?;
        e.restarts = r.list(RESTARTS, "restarts", Reader::restart)?;
        e.calendar.hours = r.ring()?;
        e.calendar.restored = true;
        e.calendar.until = r.time()?;
        e.load = r.since(2, Load::default(), Reader::load)?;
        if r.at == bytes.len() { Ok(e) } else { Err(r.damaged("the end")) }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn signed(&mut self, n: i64) {
        self.number(((n << 1) ^ (n >> 63)) as u64);
    }

    fn float(&mut self, x: f32) {
        self.0.extend_from_slice(&x.to_le_bytes());
    }

    fn double(&mut self, x: f64) {
        self.0.extend_from_slice(&x.to_le_bytes());
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn time(&mut self, at: Option<Timestamp>) {
        self.option(at, |w, t| w.signed(t.nanos()));
    }

    fn uid_time(&mut self, seen: Option<(Uid, Timestamp)>) {
        self.option(seen, |w, (uid, at)| {
            w.0.extend_from_slice(&uid.bits().to_le_bytes());
            w.signed(at.nanos());
        });
    }

    fn name(&mut self, name: &Name) {
        self.number(name.len() as u64);
        self.0.extend_from_slice(name.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| write(self, item));
    }

    fn probe_id(&mut self, id: &ProbeId) {
        self.name(&id.container);
        self.0.push(id.kind as u8);
    }

    fn settings(&mut self, s: Settings) {
        [s.period(), s.timeout(), s.threshold()].into_iter().for_each(|n| self.number(u64::from(n)));
    }

    fn seen(&mut self, s: &Seen) {
        // Every field by name, so that a new one cannot be forgotten.
        let Seen {
            id,
            handler,
            this,
            past,
            hour,
            watched,
            last_sample,
            pod_seconds,
            interval,
            calm,
            refusals,
            regimes,
            outage,
            together,
            reset_at,
            older,
            starts,
            begun,
            usual,
            slow_together,
            ailing,
            spells,
            merged,
            told,
            habits,
            season,
            shadow,
        } = s;
        self.probe_id(id);
        self.0.push(*handler as u8);
        self.epoch(this);
        self.epoch(past);
        self.signed(*hour);
        self.double(watched.0);
        self.double(watched.1);
        self.time(*last_sample);
        self.double(*pod_seconds);
        self.option(*interval, |w, i| w.signed(i.nanos()));
        self.number(u64::from(*calm));
        self.option(refusals.0, Writer::signed);
        self.float(refusals.1);
        for r in regimes {
            self.uid_time(r.last);
            self.option(r.day, Writer::signed);
            self.float(r.days);
        }
        self.uid_time(outage.0);
        [outage.1, *together, *reset_at].into_iter().for_each(|t| self.time(t));
        self.list(older, |w, o| {
            w.float(o.tolerance);
            w.0.push(o.edges);
            w.float(o.weight);
        });
        self.list(&starts.recent, |w, s| {
            w.float(s.seconds);
            w.0.push(u8::from(s.cut_off));
        });
        self.number(u64::from(starts.total));
        self.float(starts.longest);
        self.number(u64::from(*merged));
        self.float(begun.0);
        self.float(begun.1);
        usual.iter().for_each(|n| self.float(*n));
        self.time(*slow_together);
        self.option(ailing.0.as_ref(), Writer::name);
        self.number(u64::from(ailing.1));
        self.time(ailing.2);
        self.season(season);
        self.float(spells.0);
        self.float(spells.1);
        self.float(told.0);
        self.float(told.1);
        self.habits(habits);
        self.option(shadow.as_deref(), Writer::shadow);
    }

    fn habits(&mut self, habits: &Habits) {
        let Habits { company, again, last } = habits;
        [company.0, company.1, again.0, again.1].into_iter().for_each(|n| self.float(n));
        self.option(*last, |w, s| {
            w.signed(s.at.nanos());
            w.0.extend_from_slice(&s.pod.bits().to_le_bytes());
            w.0.extend_from_slice(&[u8::from(s.company), u8::from(s.again)]);
        });
    }

    fn restart(&mut self, r: &RestartRecord) {
        let RestartRecord {
            at,
            pod,
            pod_name,
            node,
            container,
            cause,
            confidence,
            settings,
            failing,
            company,
            relapsed,
            ailed,
            neighbours,
            lived,
            load,
            kept,
            weight,
        } = r;
        self.signed(at.nanos());
        self.0.extend_from_slice(&pod.bits().to_le_bytes());
        self.name(pod_name);
        self.option(node.as_ref(), Writer::name);
        self.name(container);
        self.0.extend_from_slice(&[
            *cause as u8,
            *failing as u8,
            *company as u8,
            u8::from(*relapsed),
            u8::from(*ailed),
        ]);
        self.double(*confidence);
        self.double(*weight);
        self.option(*neighbours, |w, n| {
            w.0.push(u8::from(n.slow));
            w.float(n.chance);
        });
        self.option(*settings, Writer::settings);
        self.option(*lived, |w, l| w.signed(l.nanos()));
        [load.node, load.pod].into_iter().for_each(|l| self.option(l, Writer::float));
        self.float(*kept);
    }

    fn ring(&mut self, ring: &Ring) {
        self.signed(ring.newest);
        self.list(&ring.bins, |w, b| {
            w.float(b.pod_seconds);
            w.float(b.unready_seconds);
            w.number(u64::from(b.probe_restarts));
            w.number(u64::from(b.other_restarts));
        });
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    version: u8,
}

type Read<T> = Result<T, DecodeError>;

impl Reader<'_> {
    fn damaged(&self, wanted: &'static str) -> DecodeError {
        DecodeError::Damaged { at: self.at, wanted }
    }

    /// What formats from `version` on hold; `before` in earlier ones.
    fn since<T>(&mut self, version: u8, before: T, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.version < version { Ok(before) } else { read(self) }
    }

    fn array<const N: usize>(&mut self, wanted: &'static str) -> Read<[u8; N]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (array, _) = rest.split_first_chunk::<N>().ok_or(DecodeError::Damaged { at: self.at, wanted })?;
        self.at += N;
        Ok(*array)
    }

    fn byte(&mut self, wanted: &'static str) -> Read<u8> {
        self.array::<1>(wanted).map(|[b]| b)
    }

    fn flag(&mut self) -> Read<bool> {
        match self.byte("0 or 1")? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.damaged("0 or 1")),
        }
    }

    fn number(&mut self) -> Read<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let b = self.byte("a number")?;
            n |= u64::from(b & 0x7f).checked_shl(shift).unwrap_or(0);
            if b < 0x80 {
                return Ok(n);
            }
        }
        Err(self.damaged("a number of at most 64 bits"))
    }

    fn small(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| self.damaged("a number of at most 32 bits"))
    }

    fn signed(&mut self) -> Read<i64> {
        let n = self.number()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A number that is not negative; infinite only where a cut-off end may be.
    fn float(&mut self) -> Read<f32> {
        let x = f32::from_le_bytes(self.array("a number")?);
        if x.is_nan() || x < 0.0 { Err(self.damaged("a number not below zero")) } else { Ok(x) }
    }

    fn finite(&mut self) -> Read<f32> {
        let x = self.float()?;
        if x.is_finite() { Ok(x.min(MOST as f32)) } else { Err(self.damaged("a finite number")) }
    }

    fn double(&mut self) -> Read<f64> {
        let x = f64::from_le_bytes(self.array("a number")?);
        if x.is_finite() && x >= 0.0 { Ok(x.min(MOST)) } else { Err(self.damaged("a finite number not below zero")) }
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    fn list<T>(
        &mut self,
        most: usize,
        wanted: &'static str,
        mut read: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let n = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        // Every item takes a byte at least, so a length beyond what is left is a lie.
        if n > most || n > self.bytes.len() - self.at {
            return Err(self.damaged(wanted));
        }
        (0..n).map(|_| read(self)).collect()
    }

    fn time(&mut self) -> Read<Option<Timestamp>> {
        self.option(|r| Ok(Timestamp::from_nanos(r.signed()?)))
    }

    fn uid(&mut self) -> Read<Uid> {
        Ok(Uid::from_bits(u128::from_le_bytes(self.array("a uid")?)))
    }

    fn uid_time(&mut self) -> Read<Option<(Uid, Timestamp)>> {
        self.option(|r| Ok((r.uid()?, Timestamp::from_nanos(r.signed()?))))
    }

    fn name(&mut self) -> Read<Name> {
        let n = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let end = self.at.checked_add(n).filter(|_| n <= NAME).ok_or(self.damaged("a name"))?;
        let text = self.bytes.get(self.at..end).ok_or(self.damaged("a name"))?;
        let text = std::str::from_utf8(text).map_err(|_| self.damaged("a name in UTF-8"))?;
        self.at = end;
        Ok(Name::from(text))
    }

    fn one_of<T: Copy>(&mut self, all: &[T], wanted: &'static str) -> Read<T> {
        let i = usize::from(self.byte(wanted)?);
        all.get(i).copied().ok_or(self.damaged(wanted))
    }

    fn probe_id(&mut self) -> Read<ProbeId> {
        Ok(ProbeId { container: self.name()?, kind: self.one_of(&ProbeKind::ALL, "a kind of probe")? })
    }

    fn settings(&mut self) -> Read<Settings> {
        let (p, t, k) = (self.small()?, self.small()?, self.small()?);
        Settings::new(p, t, k).ok_or(self.damaged("numbers of a probe"))
    }

    fn seen(&mut self) -> Read<Seen> {
        const HANDLERS: [Handler; 4] = [Handler::Http, Handler::Tcp, Handler::Grpc, Handler::Exec];
        let id = self.probe_id()?;
        let mut s = Seen::new(id, self.one_of(&HANDLERS, "a kind of check")?);
        s.this = self.epoch()?;
        s.past = self.epoch()?;
        s.hour = self.signed()?;
        s.watched = (self.double()?, self.double()?);
        s.last_sample = self.time()?;
        s.pod_seconds = self.double()?;
        s.interval = self.option(|r| Ok(Span::from_nanos(r.signed()?)))?;
        s.calm = self.small()?;
        s.refusals = (self.option(Reader::signed)?, self.finite()?);
        for r in &mut s.regimes {
            *r = Regime { last: self.uid_time()?, day: self.option(Reader::signed)?, days: self.finite()? };
        }
        s.outage = (self.uid_time()?, self.time()?);
        s.together = self.time()?;
        s.reset_at = self.time()?;
        s.older = self.list(FEW, "older restarts", |r| {
            Ok(Older {
                tolerance: r.finite()?,
                edges: r.one_of(&[0, 1, 2, 3, 4], "a count of edges")?,
                weight: r.finite()?,
            })
        })?;
        s.starts.recent = self.list(STARTS, "starts", |r| Ok(Start { seconds: r.finite()?, cut_off: r.flag()? }))?;
        s.starts.total = self.small()?;
        s.starts.longest = self.finite()?;
        s.merged = self.small()?;
        s.begun = self.since(2, (0.0, 0.0), |r| Ok((r.finite()?, r.finite()?)))?;
        for n in &mut s.usual {
            *n = self.since(2, 0.0, Reader::finite)?;
        }
        s.slow_together = self.since(2, None, Reader::time)?;
        s.ailing = self.since(2, (None, 0, None), |r| Ok((r.option(Reader::name)?, r.small()?, r.time()?)))?;
        s.season = self.since(2, Season::default(), Reader::season)?;
        s.spells = self.since(3, (0.0, 0.0), |r| Ok((r.finite()?, r.finite()?)))?;
        s.told = self.since(5, (0.0, 0.0), |r| Ok((r.finite()?, r.finite()?)))?;
        s.habits = self.since(6, Habits::default(), Reader::habits)?;
        s.shadow = self.since(4, None, |r| Ok(r.option(Reader::shadow)?.map(Box::new)))?;
        Ok(s)
    }

    fn habits(&mut self) -> Read<Habits> {
        let (company, again) = ((self.finite()?, self.finite()?), (self.finite()?, self.finite()?));
        let last = self.option(|r| {
            let at = Timestamp::from_nanos(r.signed()?);
            Ok(Stall { at, pod: r.uid()?, company: r.flag()?, again: r.flag()? })
        })?;
        Ok(Habits { company, again, last })
    }

    fn restart(&mut self) -> Read<RestartRecord> {
        let at = Timestamp::from_nanos(self.signed()?);
        let (pod, pod_name) = (self.uid()?, self.name()?);
        let (node, container) = (self.option(Reader::name)?, self.name()?);
        let cause = self.one_of(&Cause::ALL, "a cause")?;
        let failing = self.one_of(&[Failing::Slow, Failing::Fast, Failing::Untold], "a way of failing")?;
        let company = self.one_of(&[Company::Alone, Company::Beside, Company::Shared], "a company")?;
        let relapsed = self.since(2, false, Reader::flag)?;
        let ailed = self.since(3, false, Reader::flag)?;
        let (confidence, weight) = (self.double()?, self.double()?);
        let neighbours = self.since(3, None, |r| r.option(Reader::neighbours))?;
        let settings = self.option(Reader::settings)?;
        let lived = self.option(|r| Ok(Span::from_nanos(r.signed()?)))?;
        let load = self.since(2, LoadThen::default(), |r| {
            Ok(LoadThen { node: r.option(Reader::finite)?, pod: r.option(Reader::finite)? })
        })?;
        let kept = self.since(6, 1.0, Reader::finite)?;
        Ok(RestartRecord {
            at,
            pod,
            pod_name,
            node,
            container,
            cause,
            confidence: confidence.min(1.0),
            settings,
            failing,
            company,
            relapsed,
            ailed,
            neighbours,
            lived,
            load,
            kept: kept.clamp(0.0, 1.0),
            weight: weight.min(1.0),
        })
    }

    fn neighbours(&mut self) -> Read<NeighboursThen> {
        let (slow, chance) = (self.flag()?, self.finite()?);
        Ok(NeighboursThen { slow, chance: chance.clamp(f32::MIN_POSITIVE, 1.0) })
    }

    fn ring(&mut self) -> Read<Ring> {
        let newest = self.signed()?;
        let bins = self.list(BINS, "hours", |r| {
            Ok(Bin {
                pod_seconds: r.finite()?,
                unready_seconds: r.finite()?,
                probe_restarts: u16::try_from(r.number()?).unwrap_or(u16::MAX),
                other_restarts: u16::try_from(r.number()?).unwrap_or(u16::MAX),
            })
        })?;
        // A ring of another length would be read past its end.
        if !(bins.is_empty() || bins.len() == HOURS) || newest.unsigned_abs() > MOST_HOURS {
            return Err(self.damaged("the hours of a whole ring"));
        }
        Ok(Ring { newest, bins, since: None })
    }
}
