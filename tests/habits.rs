//! How stalls usually go says what a restart beside them was.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::units::Span;
use support::fixtures::liveness;
use support::stage::{Answer, Stage, well};

/// Ten days in which each replica stalls for 13 s, four times a day: each at an hour of its own or all at once; and is slow
/// again after five minutes or not.
fn stalls(together: bool, again: bool) -> Stage {
    let mut s = Stage::settled();
    for _ in 0..40 {
        s.play(Span::HOUR * 6, |i, t| match if together { t } else { t - 3_600 * i as i64 } {
            600..610 => Answer::After(13.0),
            900..910 if again => Answer::After(1.5),
            _ => well(i, t),
        });
    }
    s
}

/// What a lonely restart weighs that is well ever after.
fn lonely(mut s: Stage) -> f64 {
    s.play(Span::HOUR, |i, t| if i == 1 && (600..645).contains(&t) { Answer::After(60.0) } else { well(i, t) });
    s.last_weight()
}

#[test]
fn a_restart_that_is_well_ever_after_is_twice_as_likely_false_where_stalls_pass_for_good() {
    let odds = |again| {
        let weight = lonely(stalls(false, again));
        weight / (1.0 - weight)
    };
    let (once, again) = (odds(false), odds(true));
    assert!(once > 1.8 * again && once < 2.0 * again, "{once} {again}");
}

#[test]
fn stalls_are_counted_with_what_came_beside_and_after_them() {
    for (together, again) in [(false, false), (true, false), (false, true), (true, true)] {
        let s = stalls(together, again);
        let habits = s.evidence.seen(&liveness()).unwrap().habits();
        let most = |(with, without): (f64, f64)| (with > 20.0, without > 20.0);
        assert_eq!(most(habits.company()), (together, !together), "{habits:?}");
        assert_eq!(most(habits.again()), (again, !again), "{habits:?}");
    }
}
