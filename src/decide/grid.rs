//! The candidates: whole settings, few enough to try them all.

use crate::policy::Bounds;
use crate::probe::{Handler, Settings};

const PERIODS: [u32; 3] = [5, 7, 10];
const EXEC_PERIODS: [u32; 3] = [10, 15, 20];
/// Below five seconds bursts of stalls of 3 to 5 s, which no week shows, half as many false restarts again.
const TIMEOUTS: [u32; 10] = [5, 6, 7, 8, 10, 12, 15, 20, 25, 30];
/// One for stalls, which are tolerated by the timeout; three where spells of refusals are seen. Never one.
const THRESHOLDS: [u32; 2] = [2, 3];
const READINESS_TIMEOUTS: [u32; 7] = [2, 3, 5, 6, 7, 8, 10];

/// Least timeout that is ever set on a liveness probe, in seconds.
pub(super) const LEAST_TIMEOUT: u32 = 5;
/// Largest stall tolerance that is ever chosen for a liveness probe, in seconds, unless what is there is looser still.
pub(super) const MOST_TOLERANCE: u64 = 60;
/// What an unknown workload holds: the best single setting in hindsight over all kinds of workload.
pub(super) const IGNORANCE: (u32, u32, u32) = (10, 12, 2);

/// Liveness candidates: the grid, moved into the owner's bounds. Sorted, without doubles; may be empty.
///
/// Far above [`MOST_TOLERANCE`] there are such as come nearer to it: half of 130 s is as far as one may go unapproved.
pub(super) fn liveness(handler: Handler, bounds: &Bounds, current: Settings) -> Vec<Settings> {
    let most = MOST_TOLERANCE.max(current.stall_tolerance());
    let periods = if handler == Handler::Exec { EXEC_PERIODS } else { PERIODS };
    let mut all = inside(&periods, &TIMEOUTS, bounds);
    all.retain(|s| s.timeout() >= LEAST_TIMEOUT && s.threshold() >= 2 && s.stall_tolerance() <= most);
    all
}

/// Readiness candidates: `A_s ≥ 3 s`, `P ≥ 5`.
pub(super) fn readiness(handler: Handler, bounds: &Bounds) -> Vec<Settings> {
    let periods = if handler == Handler::Exec { EXEC_PERIODS } else { PERIODS };
    let mut all = inside(&periods, &READINESS_TIMEOUTS, bounds);
    all.retain(|s| s.period() >= 5 && s.stall_tolerance() >= 3);
    all
}

fn inside(periods: &[u32], timeouts: &[u32], bounds: &Bounds) -> Vec<Settings> {
    let clamp = |n: u32, (least, most): (u32, u32)| n.max(least).min(most);
    let mut all = Vec::with_capacity(periods.len() * timeouts.len() * THRESHOLDS.len());
    for &p in periods {
        for &t in timeouts {
            for k in THRESHOLDS {
                let s = Settings::new(clamp(p, bounds.period), clamp(t, bounds.timeout), clamp(k, bounds.threshold));
                all.extend(s.filter(|s| bounds.contain(*s)));
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn candidates_move_into_the_owners_bounds() {
        let bounds = Bounds { period: (15, 20), timeout: (1, 9), threshold: (3, 5) };
        let all = liveness(Handler::Http, &bounds, Settings::KUBERNETES_DEFAULT);
        assert!(!all.is_empty());
        assert!(all.iter().all(|s| bounds.contain(*s) && s.timeout() >= LEAST_TIMEOUT), "{all:?}");
    }

    #[test]
    fn bounds_that_forbid_every_sane_timeout_leave_no_candidate() {
        let bounds = Bounds { timeout: (1, 4), ..Bounds::FENCE };
        assert_eq!(liveness(Handler::Http, &bounds, Settings::KUBERNETES_DEFAULT), []);
        assert_eq!(
            liveness(Handler::Http, &Bounds { threshold: (1, 1), ..Bounds::FENCE }, Settings::KUBERNETES_DEFAULT),
            []
        );
    }

    #[test]
    fn only_where_there_is_more_already_does_a_candidate_tolerate_more_than_a_minute() {
        let most = |current: &str| {
            let all = liveness(Handler::Http, &Bounds::FENCE, current.parse().unwrap());
            all.iter().map(|s| s.stall_tolerance()).max().unwrap()
        };
        assert_eq!((most("10/1/3"), most("30/10/5")), (60, 90));
    }
}
