//! Evidence of several observers: whoever is merged first, the belief is the same as if one had seen it all.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::evidence::{Edge, Evidence};
use probe_tuner::model::believe;
use probe_tuner::units::Span;
use proptest::prelude::*;
use support::fixtures::{liveness, renumbered, settings, workload};
use support::stage::{Answer, Stage, well};

/// What an observer saw who watched five replicas of its own for some hours: now and then a stall, now and then a refusal.
fn watched(hours: i64, every: i64, long: f64, first: u128) -> Evidence {
    let mut s = Stage::numbered(renumbered(workload("shop", "web"), "10/12/2"), first);
    s.starts = 20;
    s.play(Span::HOUR * hours, |i, t| match (t + 131 * i as i64) % every {
        0..=9 => Answer::After(long),
        100..=105 if every % 2 == 0 => Answer::Refused,
        _ => well(i, t),
    });
    s.evidence
}

fn merged(parts: &[&Evidence]) -> Evidence {
    let mut all = Evidence::new();
    parts.iter().for_each(|e| all.merge((*e).clone()));
    all
}

/// Everything that a judgement looks at: figures, and what has no rounding.
fn essence(e: &Evidence) -> (Vec<f64>, String) {
    let seen = e.seen(&liveness()).unwrap();
    let belief = believe(e, seen, seen.last_heard().unwrap());
    let numbers = ["5/5/2", "7/7/2", "10/10/2", "10/12/2", "10/1/3", "5/30/2"];
    let mut figures: Vec<f64> = numbers.iter().map(|s| belief.mean(settings(s))).collect();
    for edge in Edge::ALL {
        let t = seen.this().table(edge);
        let runs: f64 = t.extents().iter().map(|x| f64::from(x.count)).sum();
        figures.extend([runs, t.clusters_from(0.0), seen.this().exposure(edge)]);
    }
    let restarts: Vec<_> = e.restarts().iter().map(|r| (r.at, r.pod, r.company)).collect();
    (figures, format!("{restarts:?} {} {} {}", e.pods(), seen.watched(), seen.pod_time()))
}

/// Counts are single floats: six digits, and sums of them.
#[track_caller]
fn same(a: &Evidence, b: &Evidence) {
    let ((a, exact), (b, as_exact)) = (essence(a), essence(b));
    assert_eq!(exact, as_exact);
    for (x, y) in a.iter().zip(&b) {
        assert!((x - y).abs() <= 1e-4 * x.abs().max(1e-9), "{a:?}\n{b:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn in_whatever_order_and_pairs_it_is_merged_the_belief_is_the_same(
        each in prop::collection::vec((2i64..30, 300i64..5_000, 0.5f64..40.0), 3..=3),
    ) {
        let parts: Vec<Evidence> =
            each.iter().zip(0u128..).map(|(&(h, every, long), i)| watched(h, every, long, 1 + 100 * i)).collect();
        let [a, b, c] = [&parts[0], &parts[1], &parts[2]];
        let one = merged(&[a, b, c]);
        same(&merged(&[c, a, b]), &one);
        same(&merged(&[b, a, c]), &one);
        same(&merged(&[a, &merged(&[b, c])]), &one);
        let bytes = one.encode();
        prop_assert_eq!(Evidence::decode(&bytes).unwrap().encode(), bytes);
    }
}

#[test]
fn what_two_observers_saw_of_different_pods_counts_as_what_one_saw_of_all() {
    let (a, b) = (watched(24, 700, 6.0, 1), watched(24, 700, 6.0, 101));
    let both = merged(&[&a, &b]);
    let (one, two) = (a.seen(&liveness()).unwrap(), both.seen(&liveness()).unwrap());
    let exposure = |s: &probe_tuner::evidence::Seen| s.this().exposure(Edge::Ten);
    assert!((exposure(two) / exposure(one) - 2.0).abs() < 1e-6);
    assert_eq!((both.pods(), a.pods()), (10, 5));
    // Both were there at the same time: nobody watched for two days.
    assert_eq!(two.watched(), one.watched());
}

#[test]
fn an_observer_of_the_version_before_knows_the_past() {
    let old = watched(48, 700, 6.0, 1);
    let mut s = Stage::numbered(renumbered(workload("shop", "web"), "10/12/2"), 101);
    s.play(Span::HOUR * 60, well);
    s.rollout();
    s.play(Span::HOUR * 2, well);
    let new = s.evidence;
    for both in [merged(&[&old, &new]), merged(&[&new, &old])] {
        let seen = both.seen(&liveness()).unwrap();
        let slow = |e: &probe_tuner::evidence::Epoch| e.table(Edge::Five).extents().len();
        assert_eq!(slow(seen.this()), 0);
        assert!(slow(seen.past()) > 0);
        assert!((seen.this().exposure(Edge::One) - 5.0 * 7200.0).abs() < 400.0);
    }
}

#[test]
fn nothing_and_something_is_something() {
    let a = watched(24, 700, 30.0, 1);
    let mut left = Evidence::new();
    left.merge(a.clone());
    let mut right = a.clone();
    right.merge(Evidence::new());
    assert_eq!((left.encode(), right.encode()), (a.encode(), a.encode()));
}
