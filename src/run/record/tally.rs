//! What a recording has seen so far, in a bounded number of words.

use crate::ask::{Asked, Reply};
use crate::units::Span;
use std::fmt;
use std::time::Duration;

/// Bins of the latencies: from 10 µs on each is 1.5 % wider than the one before, up to 30 s.
const BINS: usize = 1024;
const LEAST: f64 = 10e-6;
const WIDTH: f64 = 1.015;

/// Counts of a recording.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Checks started.
    pub started: usize,
    /// Rows written.
    pub rows: usize,
    /// Answers that were healthy.
    pub healthy: usize,
    /// Answers that were not.
    pub unhealthy: usize,
    /// Checks without an answer within the patience.
    pub silent: usize,
    /// Checks that were due and not started.
    pub skipped: u64,
    /// Checks under way when the recording was stopped: they have no row.
    pub left_out: usize,
    /// How long it took.
    pub lasted: Duration,
    /// What the last check that was not healthy met.
    pub last: Option<Reply>,
    longest: Span,
    bins: Box<[u32; BINS]>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            started: 0,
            rows: 0,
            healthy: 0,
            unhealthy: 0,
            silent: 0,
            skipped: 0,
            left_out: 0,
            lasted: Duration::ZERO,
            last: None,
            longest: Span::ZERO,
            bins: Box::new([0; BINS]),
        }
    }
}

impl Tally {
    pub(super) fn count(&mut self, asked: &Asked) {
        match &asked.reply {
            Reply::Healthy => self.healthy += 1,
            Reply::Silent => self.silent += 1,
            _ => self.unhealthy += 1,
        }
        if asked.reply != Reply::Healthy {
            self.last = Some(asked.reply.clone());
        }
        if asked.reply != Reply::Silent {
            self.longest = self.longest.max(asked.took);
            let bin = (asked.took.as_secs_f64() / LEAST).max(1.0).ln() / WIDTH.ln();
            let bin = (bin as usize).min(BINS - 1);
            self.bins[bin] = self.bins[bin].saturating_add(1);
        }
    }

    /// The latency that this share of all answers does not exceed, within 1.5 %; `None` without an answer.
    pub fn quantile(&self, share: f64) -> Option<Span> {
        let answers = self.healthy + self.unhealthy;
        let rank = (share * answers as f64).ceil().max(1.0) as u64;
        let mut sum = 0;
        let bin = self.bins.iter().position(|n| {
            sum += u64::from(*n);
            sum >= rank
        })?;
        let upper = Span::round_from_secs_f64(LEAST * WIDTH.powi(i32::try_from(bin + 1).unwrap_or(i32::MAX)));
        Some(upper.min(self.longest))
    }

    /// The longest latency of an answer.
    pub fn longest(&self) -> Span {
        self.longest
    }
}

/// One line for a terminal.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { started, healthy, unhealthy, silent, .. } = self;
        write!(f, "{started} checks: {healthy} healthy, {unhealthy} not, {silent} without an answer")?;
        if let (Some(p50), Some(p99)) = (self.quantile(0.5), self.quantile(0.99)) {
            write!(f, "; p50 {}, p99 {}, longest {}", Ms(p50), Ms(p99), Ms(self.longest))?;
        }
        Ok(())
    }
}

/// A latency with three digits.
struct Ms(Span);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_secs_f64() * 1e3;
        match ms {
            ..10.0 => write!(f, "{ms:.2} ms"),
            ..100.0 => write!(f, "{ms:.1} ms"),
            ..1000.0 => write!(f, "{ms:.0} ms"),
            _ => write!(f, "{:.2} s", ms / 1e3),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies_within_a_bin() {
        let mut tally = Tally::default();
        for ms in 1..=1000 {
            tally.count(&Asked { took: Span::from_millis(ms), reply: Reply::Healthy, reached: true });
        }
        tally.count(&Asked { took: Span::from_seconds(30), reply: Reply::Silent, reached: true });
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = tally.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((ms..=ms * WIDTH).contains(&found), "{share}: {found}");
        }
        assert_eq!((tally.longest(), tally.silent), (Span::SECOND, 1));
        assert_eq!(Tally::default().quantile(0.5), None);
    }

    #[test]
    fn a_line_says_what_was_seen() {
        let mut tally = Tally { started: 3, ..Tally::default() };
        tally.count(&Asked { took: Span::from_nanos(1_234_000), reply: Reply::Healthy, reached: true });
        tally.count(&Asked { took: Span::from_millis(52), reply: Reply::Status(503), reached: true });
        assert_eq!(
            tally.to_string(),
            "3 checks: 1 healthy, 1 not, 0 without an answer; p50 1.24 ms, p99 52.0 ms, longest 52.0 ms"
        );
    }
}
