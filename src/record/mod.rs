//! The trace of recorded health checks, format version 1: bytes become rows, rows become bytes.
//!
//! **Takes** the bytes of a trace, from anybody. **Gives** a [`Trace`] whose moments never fall and whose numbers are
//! finite, or all mistakes at once, each with its line, column, value found and value wanted. **Never** opens a file,
//! guesses at a row that it cannot read, or passes one over in silence.
//!
//! The format stands in `docs/reference/trace.md`.

mod read;
mod write;

pub use read::{LONGEST_LINE, MOST_MISTAKES, MOST_ROWS, Mistake, Mistakes, read};
pub use write::{header, line, write};

use crate::probe::Answer;
use crate::units::Span;

/// One health check, watched to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When it started, from the start of the trace; not negative.
    pub at: Span,
    /// What it met. An unhealthy answer has its latency; [`Answer::Never`] is none within 30 s.
    pub answer: Answer,
    /// What the machine did over the second before.
    pub load: Load,
}

/// Load over the last second; what was not recorded is unknown, never zero. All finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Share of all the node's cores in use, in `[0, 1]`.
    pub node_cpu: Option<f64>,
    /// Cores used by the pod.
    pub pod_cores: Option<f64>,
    /// Share of CFS periods in which the pod was throttled, in `[0, 1]`.
    pub throttled: Option<f64>,
}

/// Which of the optional columns a trace has, even if all their values are unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// `node_cpu`.
    pub node_cpu: bool,
    /// `pod_cores`.
    pub pod_cores: bool,
    /// `throttled`.
    pub throttled: bool,
}

/// A recorded trace: at least one row, in order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    rows: Vec<Row>,
    columns: Columns,
}

impl Trace {
    /// A trace of these rows; `None` where there is none, a moment is negative or falls, or a number is negative or not
    /// finite.
    pub fn new(rows: Vec<Row>, columns: Columns) -> Option<Self> {
        let sound = |row: &Row| {
            let latency = match row.answer {
                Answer::Healthy(l) | Answer::Unhealthy(l) => l,
                Answer::Never => Span::ZERO,
            };
            let load = [row.load.node_cpu, row.load.pod_cores, row.load.throttled];
            row.at >= Span::ZERO
                && latency >= Span::ZERO
                && load.into_iter().flatten().all(|x| x.is_finite() && x >= 0.0)
        };
        let sound = !rows.is_empty() && rows.iter().all(sound) && rows.is_sorted_by_key(|r| r.at);
        sound.then_some(Trace { rows, columns })
    }

    /// The rows, in order of time; never empty.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Which optional columns it has.
    pub fn columns(&self) -> Columns {
        self.columns
    }

    /// Its length: the last row's moment.
    pub fn seconds(&self) -> Span {
        self.rows.last().map_or(Span::ZERO, |r| r.at)
    }

    /// The median time from one row to the next (of an even number the mean of the middle two); zero for a single row.
    pub fn median_step(&self) -> Span {
        let mut steps: Vec<i64> = self.rows.windows(2).map(|w| (w[1].at - w[0].at).nanos()).collect();
        steps.sort_unstable();
        let middle = steps.len() / 2;
        Span::from_nanos(match steps.len() {
            0 => 0,
            n if n % 2 == 1 => steps[middle],
            _ => i64::midpoint(steps[middle - 1], steps[middle]),
        })
    }
}
