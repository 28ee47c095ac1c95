//! Versions of the program: what the one before says of the next, and what it does not.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::evidence::{Edge, Evidence};
use probe_tuner::model::believe;
use probe_tuner::units::Span;
use support::fixtures::{liveness, settings};
use support::stage::{Answer, Stage, well};

/// False restarts a pod-year that are expected at 10/12/2.
fn expected(s: &Stage) -> f64 {
    let seen = s.evidence.seen(&liveness()).unwrap();
    believe(&s.evidence, seen, s.now).slow(settings("10/12/2")).mean
}

/// What the restarts of the list are still worth, the oldest first.
fn kept(e: &Evidence) -> Vec<f32> {
    e.restarts().iter().map(|r| r.kept).collect()
}

/// A hang of one replica a day, each another one.
fn hangs(s: &mut Stage, days: usize) {
    for n in 0..days {
        s.play(Span::HOUR * 24, |i, t| match t {
            3_600..3_620 if i == n % 3 => Answer::After(60.0),
            _ => well(i, t),
        });
    }
}

/// Some replica takes 11 s, once in each of so many hours.
fn slow(s: &mut Stage, hours: usize) {
    for n in 0..hours {
        s.play(Span::HOUR, |i, t| if i == n % 3 && t < 12 { Answer::After(11.0) } else { well(i, t) });
    }
}

#[test]
fn restarts_of_the_version_before_are_no_stalls_of_one_that_stalls_otherwise() {
    let after = |hangs_before| {
        let mut s = Stage::settled();
        hangs(&mut s, hangs_before);
        s.rollout();
        slow(&mut s, 5);
        assert!(s.evidence.seen(&liveness()).unwrap().differs_at(Edge::Ten));
        expected(&s)
    };
    let (none, ten) = (after(0), after(10));
    // Ten restarts in days of pods are not ten in the hours of the new version.
    assert!((ten / none - 1.0).abs() < 0.2, "{none} {ten}");
}

#[test]
fn a_restart_is_worth_as_much_after_rollouts_as_what_else_was_seen_before_them() {
    let mut s = Stage::settled();
    hangs(&mut s, 2);
    assert_eq!(kept(&s.evidence), [1.0, 1.0]);
    // One change made nothing worse before: the next is four times in five as the last, then five times in six.
    for wanted in [5.0 / 6.0, 5.0 / 6.0 * 6.0 / 7.0] {
        let seen = s.evidence.seen(&liveness()).unwrap();
        let before = seen.this().exposure(Edge::One) + seen.past().exposure(Edge::One);
        s.rollout();
        let seen = s.evidence.seen(&liveness()).unwrap();
        let share = seen.past().exposure(Edge::One) / before;
        kept(&s.evidence).into_iter().for_each(|k| assert!((f64::from(k) - wanted).abs() < 1e-6, "{k} {wanted}"));
        assert!(share < 1.0 && share > 0.8, "{share}");
        s.play(Span::HOUR * 26, well);
    }
}

#[test]
fn when_the_past_is_forgotten_its_restarts_are_too_and_those_of_the_version_since_are_not() {
    let mut s = Stage::settled();
    hangs(&mut s, 3);
    s.rollout();
    slow(&mut s, 5);
    hangs(&mut s, 1);
    assert!(s.evidence.seen(&liveness()).unwrap().differs());
    s.rollout();
    assert_eq!(kept(&s.evidence), [0.0, 0.0, 0.0, 0.8]);
    let back = Evidence::decode(&s.evidence.encode()).unwrap();
    assert_eq!(kept(&back), kept(&s.evidence));
}

#[test]
fn what_a_version_is_worth_to_the_next_grows_with_each_change_that_made_nothing_worse() {
    let mut s = Stage::settled();
    let mut last = 0.0;
    for _ in 0..4 {
        let exposure = |s: &Stage| {
            let seen = s.evidence.seen(&liveness()).unwrap();
            seen.this().exposure(Edge::One) + seen.past().exposure(Edge::One)
        };
        let before = exposure(&s);
        s.rollout();
        let share = exposure(&s) / before;
        assert!(share > last && share < 1.0, "{last} {share}");
        last = share;
        s.play(Span::HOUR * 26, well);
    }
}
