//! CrashLoopBackOff as the kubelet counts it: 10 s doubling to 300 s, forgotten after ten minutes.
//!
//! The order of events matters (`kubernetes/kubernetes:pkg/kubelet/kuberuntime/kuberuntime_manager.go`, `doBackOff`,
//! and `client-go/util/flowcontrol/backoff.go`): a kill by the liveness probe and the restart happen in one sync, whose
//! pod status was taken before the kill, so the wait is counted from the exit *before* this one. The first two kills
//! cost no wait, and once the wait has reached its cap every second restart is at once.

use crate::units::NANOS;

/// The first wait and the longest.
const FIRST: i64 = 10 * NANOS;
const LONGEST: i64 = 300 * NANOS;

/// What the kubelet remembers of one container's restarts. Moments are nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    /// The present wait and when it was last raised.
    entry: Option<(i64, i64)>,
    /// The exit that the last status showed.
    exited: Option<i64>,
}

impl Backoff {
    /// How long after its end the container is started again. `own` is an exit by itself, which the status shows
    /// before the restart; a kill by the probe is not shown yet.
    pub(super) fn wait(&mut self, end: i64, own: bool) -> i64 {
        let shown = if own { Some(end) } else { self.exited };
        self.exited = Some(end);
        let Some(shown) = shown else { return 0 };
        let mut start = end;
        if let Some((wait, _)) = self.entry.filter(|&(_, raised)| shown - raised <= 2 * LONGEST)
            && end - shown < wait
        {
            // In back-off: the next sync sees this exit and counts from it.
            start = end + wait;
        }
        self.entry = match self.entry {
            Some((wait, raised)) if shown - raised <= 2 * LONGEST => Some(((2 * wait).min(LONGEST), start)),
            _ => Some((FIRST, start)),
        };
        start - end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The waits, in seconds, of a container that lives `life` seconds each time.
    fn waits(life: i64, own: bool, n: usize) -> Vec<i64> {
        let (mut backoff, mut now) = (Backoff::default(), 0);
        (0..n)
            .map(|_| {
                now += life * NANOS;
                let wait = backoff.wait(now, own);
                now += wait;
                wait / NANOS
            })
            .collect()
    }

    #[test]
    fn own_exits_wait_ten_seconds_doubling_to_five_minutes() {
        assert_eq!(waits(3, true, 8), [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn the_first_two_liveness_kills_cost_no_wait_and_at_the_cap_every_second_is_at_once() {
        let seen = waits(5, false, 12);
        assert_eq!(seen[..8], [0, 0, 10, 20, 40, 80, 160, 300]);
        assert!(seen[8..].contains(&0) && seen[8..].contains(&300), "{seen:?}");
    }

    #[test]
    fn ten_quiet_minutes_are_forgiven() {
        assert!(waits(1200, false, 20).iter().all(|w| *w == 0));
    }
}
