//! A trace laid out for playing: what a check started at any moment would have met.

use crate::probe::Answer;
use crate::record::Trace;
use crate::units::Span;

/// A latency longer than any timeout.
const NEVER: i64 = i64::MAX;

/// A trace played once, or end to end until a time is over. Moments are nanoseconds from its start.
pub struct Tape {
    at: Vec<i64>,
    latency: Vec<i64>,
    healthy: Vec<bool>,
    /// The load rule's column, as shares; unknown is `None`.
    node_cpu: Option<Vec<Option<f64>>>,
    /// From one round's start to the next's; without end where there is one round.
    round: i64,
    /// Checks start while their moment is not past this one.
    pub end: i64,
}

/// Rows that a prober notices: unhealthy ones, and those slower than a given time. The others are `quiet`: a check of a
/// quiet row succeeds and is over before the next tick, so that nothing but its count depends on it.
pub struct Noise {
    /// Stretches of such rows within a round, half open, in order; the last may reach into the next round.
    stretches: Vec<(i64, i64)>,
    /// Whether the first row is noisy, which counts for every moment before it too.
    from_the_start: bool,
    round: i64,
}

/// A place in a [`Noise`], which only moves forward.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    shift: i64,
    stretch: usize,
}

impl Tape {
    /// Lays out a trace. With `lasting`, round m starts at m·(length + median step) and the tape ends then; a trace that
    /// has no length of its own is played once.
    pub fn new(trace: &Trace, lasting: Option<Span>) -> Self {
        let rows = trace.rows();
        let cell = |answer: Answer| match answer {
            Answer::Healthy(after) => (after.nanos(), true),
            Answer::Unhealthy(after) => (after.nanos(), false),
            Answer::Never => (NEVER, false),
        };
        let (latency, healthy) = rows.iter().map(|r| cell(r.answer)).unzip();
        let length = (trace.seconds() + trace.median_step()).nanos();
        Tape {
            at: rows.iter().map(|r| r.at.nanos()).collect(),
            latency,
            healthy,
            node_cpu: trace.columns().node_cpu.then(|| rows.iter().map(|r| r.load.node_cpu).collect()),
            round: if lasting.is_some() && length > 0 { length } else { NEVER },
            end: lasting.unwrap_or(trace.seconds()).nanos(),
        }
    }

    /// What a check started at `t` meets: its latency and whether the answer is healthy. The last row not after `t`;
    /// before the first row, the first.
    #[inline]
    pub fn answer(&self, t: i64) -> (i64, bool) {
        let row = self.row(t);
        (self.latency[row], self.healthy[row])
    }

    fn row(&self, t: i64) -> usize {
        let (round, within) = if t < self.round { (0, t) } else { (t / self.round, t % self.round) };
        match self.at.partition_point(|at| *at <= within) {
            0 if round > 0 => self.at.len() - 1,
            n => n.saturating_sub(1),
        }
    }

    /// The stretches in which a prober that waits `patience` (the smaller of period and timeout) notices something.
    pub fn noise(&self, patience: i64) -> Noise {
        let noisy = |row: usize| !self.healthy[row] || self.latency[row] > patience;
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        for row in (0..self.at.len()).filter(|row| noisy(*row)) {
            let from = self.at[row];
            let to = match self.at.get(row + 1) {
                Some(to) => *to,
                None => self.round.saturating_add(self.at[0]),
            };
            match stretches.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                // Of rows of one moment only the last is ever met.
                _ if from == to => {}
                _ => stretches.push((from, to)),
            }
        }
        // Moments before the first row meet it: of several at one moment the very first.
        let from_the_start = self.at[0] > 0 && noisy(0);
        if from_the_start && stretches.first().is_none_or(|s| s.0 > self.at[0]) {
            stretches.insert(0, (self.at[0], self.at[0]));
        }
        Noise { stretches, from_the_start, round: self.round }
    }

    /// The mean of the load over the rows of `[from, to)`, `from` ≥ 0; `None` where none is known.
    pub fn mean_node_cpu(&self, from: i64, to: i64) -> Option<f64> {
        let values = self.node_cpu.as_ref()?;
        let (mut sum, mut known) = (0.0, 0.0);
        let mut add = |from: i64, to: i64, times: i64| {
            let [first, past] = [from, to].map(|t| self.at.partition_point(|at| *at < t));
            for value in values[first..past.max(first)].iter().flatten() {
                sum += value * times as f64;
                known += times as f64;
            }
        };
        let [(first, from), (last, to)] = [from, to].map(|t| (t / self.round, t % self.round));
        if first == last {
            add(from, to, 1);
        } else {
            add(from, self.round, 1);
            add(0, self.round, last - first - 1);
            add(0, to, 1);
        }
        (known > 0.0).then(|| sum / known)
    }

    /// Whether the load is recorded at all.
    pub fn knows_node_cpu(&self) -> bool {
        self.node_cpu.is_some()
    }

    /// The ⌈q·n⌉-th smallest of the n latencies that there are, in nanoseconds.
    pub fn latency_quantile(&self, percent: usize) -> Option<i64> {
        let mut known: Vec<i64> = self.latency.iter().copied().filter(|l| *l != NEVER).collect();
        known.sort_unstable();
        known.get((known.len() * percent).div_ceil(100).checked_sub(1)?).copied()
    }
}

impl Noise {
    /// The place for moments from `t` on.
    pub fn cursor(&self, t: i64) -> Cursor {
        // The round before: its last stretch may reach into this one.
        let shift = (t / self.round - 1).max(0).saturating_mul(self.round);
        Cursor { shift, stretch: self.stretches.partition_point(|(_, to)| to.saturating_add(shift) <= t) }
    }

    /// Where the stretch begins that holds `t` or is the next after it; `i64::MAX` where none comes.
    #[inline]
    pub fn next(&self, cursor: &mut Cursor, t: i64) -> i64 {
        loop {
            let Some((from, to)) = self.stretches.get(cursor.stretch) else {
                if self.round == i64::MAX || self.stretches.is_empty() {
                    return i64::MAX;
                }
                // A round may be much shorter than a period.
                let far = cursor.shift.saturating_add(2 * self.round) <= t;
                *cursor = if far { self.cursor(t) } else { Cursor { shift: cursor.shift + self.round, stretch: 0 } };
                continue;
            };
            if to.saturating_add(cursor.shift) <= t {
                cursor.stretch += 1;
                continue;
            }
            let first = cursor.shift == 0 && cursor.stretch == 0 && self.from_the_start;
            return if first { i64::MIN } else { from + cursor.shift };
        }
    }
}
