//! A recording of real health checks, played end to end.

use crate::units::NANOS;
use std::sync::Arc;

/// One recorded check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When it was started, in nanoseconds from the recording's start.
    pub at: i64,
    /// How long until its answer, in nanoseconds; `None`: none within the recorder's patience.
    pub latency: Option<i64>,
    /// Whether the answer was healthy.
    pub ok: bool,
    /// Cores used by the pod over the last second; `None`: unknown.
    pub cores: Option<f32>,
}

/// A recording: at least one row, ordered by start. Many replicas may share it, each at an offset of its own.
#[derive(Clone, Debug)]
pub struct Recording {
    rows: Arc<[Row]>,
    lasts: i64,
    /// For each second, the index of the last row not after it: a look-up touches a second's rows only.
    seconds: Arc<[u32]>,
}

impl Recording {
    /// A recording of these rows; `None` if there is none or their starts fall.
    pub fn new(rows: Vec<Row>) -> Option<Recording> {
        let last = rows.last()?.at;
        if !rows.is_sorted_by_key(|r| r.at) || rows[0].at < 0 {
            return None;
        }
        let lasts = last + 1;
        let seconds = (0..=last / NANOS)
            .map(|s| {
                let after = rows.partition_point(|r| r.at <= s * NANOS);
                u32::try_from(after.saturating_sub(1)).unwrap_or(u32::MAX)
            })
            .collect();
        Some(Recording { rows: rows.into(), lasts, seconds })
    }

    /// How long one round of it is, in seconds.
    pub fn seconds(&self) -> f64 {
        self.lasts as f64 / 1e9
    }

    fn row(&self, at: i64) -> &Row {
        let at = at.rem_euclid(self.lasts);
        let mut i = usize::try_from(at / NANOS).ok().and_then(|s| self.seconds.get(s)).map_or(0, |i| *i as usize);
        while self.rows.get(i + 1).is_some_and(|r| r.at <= at) {
            i += 1;
        }
        &self.rows[i]
    }

    /// What a check started at `at` would have seen: latency in nanoseconds (`i64::MAX` for none) and whether healthy.
    pub(super) fn at(&self, at: i64) -> (i64, bool) {
        let row = self.row(at);
        match row.latency {
            Some(latency) => (latency, row.ok),
            None => (i64::MAX, true),
        }
    }

    /// Cores used around `at`.
    pub(super) fn cores(&self, at: i64) -> Option<f64> {
        self.row(at).cores.map(f64::from)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn row(millis: i64, latency: Option<i64>) -> Row {
        Row { at: millis * 1_000_000, latency: latency.map(|l| l * 1_000_000), ok: true, cores: None }
    }

    #[test]
    fn a_check_sees_the_last_row_before_it_and_the_recording_begins_again_after_its_end() {
        let played = Recording::new(vec![row(0, Some(1)), row(2500, Some(2)), row(4000, None)]).unwrap();
        let at = |millis: i64| played.at(millis * 1_000_000).0;
        assert_eq!((at(0), at(2499), at(2500), at(3999)), (1_000_000, 1_000_000, 2_000_000, 2_000_000));
        assert_eq!(at(4000), i64::MAX);
        assert_eq!(at(4001), 1_000_000);
        assert!(Recording::new(Vec::new()).is_none());
    }
}
