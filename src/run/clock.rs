//! The program's one clock: wall time that never goes back.
//!
//! Dates come from the wall, lengths from the monotonic clock. A wall that is set back is not followed: cooldowns and
//! watches would begin anew. A wall that is ahead (a suspended machine, a first synchronisation) is followed at once:
//! what was promised "until nine o'clock" means the wall's nine.

use crate::units::Timestamp;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How far the wall must be ahead before it is believed more than the monotonic clock.
const AHEAD: i64 = 5_000_000_000;

/// A clock that all tasks share.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Anchor>>);

#[derive(Clone, Copy, Debug)]
struct Anchor {
    wall: i64,
    at: Instant,
}

impl Clock {
    /// A clock that agrees with the wall now.
    pub fn start() -> Self {
        Clock(Arc::new(Mutex::new(Anchor { wall: wall_now(), at: monotonic_now() })))
    }

    /// The present moment: never earlier than any moment that was told before.
    pub fn now(&self) -> Timestamp {
        let mut anchor = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Timestamp::from_nanos(read(&mut anchor, wall_now(), monotonic_now()))
    }
}

fn read(anchor: &mut Anchor, wall: i64, at: Instant) -> i64 {
    let elapsed = i64::try_from(at.saturating_duration_since(anchor.at).as_nanos()).unwrap_or(i64::MAX);
    let now = anchor.wall.saturating_add(elapsed);
    if wall > now.saturating_add(AHEAD) {
        *anchor = Anchor { wall, at };
        return wall;
    }
    now
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
fn monotonic_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn anchor() -> (Anchor, Instant) {
        let at = monotonic_now();
        (Anchor { wall: 1_000_000_000_000, at }, at)
    }

    #[test]
    fn a_wall_that_is_set_back_is_not_followed() {
        let (mut a, at) = anchor();
        assert_eq!(read(&mut a, 0, at + Duration::from_secs(3)), 1_003_000_000_000);
        assert_eq!(read(&mut a, 0, at + Duration::from_secs(9)), 1_009_000_000_000);
    }

    #[test]
    fn a_wall_that_is_far_ahead_is_followed_and_time_goes_on_from_there() {
        let (mut a, at) = anchor();
        assert_eq!(read(&mut a, 5_000_000_000_000, at + Duration::from_secs(1)), 5_000_000_000_000);
        assert_eq!(read(&mut a, 5_000_000_000_000, at + Duration::from_secs(2)), 5_001_000_000_000);
    }

    #[test]
    fn small_differences_do_not_make_time_jump() {
        let (mut a, at) = anchor();
        assert_eq!(read(&mut a, 1_004_000_000_000, at + Duration::from_secs(1)), 1_001_000_000_000);
    }
}
