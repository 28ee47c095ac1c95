//! Evidence of several observers: whoever is merged first, the belief is the same as if one had seen it all.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::evidence::{Cause, Company, Edge, Evidence, NeighboursThen};
use probe_tuner::model::believe;
use probe_tuner::probe::ProbeKind;
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Container, Ended, Pod};
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

/// A pod of the workload, as its status tells it.
fn status(uid: u128, at: Timestamp, restarts: u32, end: Option<Ended>) -> Pod {
    Pod {
        uid: Uid::from_bits(uid),
        name: format!("web-{uid}").into(),
        workload: workload("shop", "web").uid,
        node: Some("node".into()),
        probes: workload("shop", "web").probes,
        containers: vec![Container {
            name: "app".into(),
            running_since: Some(at),
            ready: true,
            started: true,
            restarts,
            last_end: end,
        }],
        terminating: false,
        created: Timestamp::EPOCH,
        ready: true,
    }
}

fn ended(code: i32, started: Timestamp, finished: Timestamp) -> Option<Ended> {
    Some(Ended { reason: "Error".into(), code, started: Some(started), finished: Some(finished) })
}

/// A life of the daemon in which all went well until `second`.
fn until(second: i64) -> Evidence {
    let mut life = Evidence::new();
    life.workload(Timestamp::EPOCH, &workload("shop", "web"));
    life.pod(Timestamp::EPOCH, &status(1, Timestamp::EPOCH, 0, None));
    life.pod(Timestamp::from_seconds(second), &status(1, Timestamp::EPOCH, 0, None));
    life
}

/// What the next life goes on with, after it has gone through checkpoint.
fn resumed(mut next: Evidence, at: Timestamp, earlier: &Evidence) -> Vec<(i64, Cause, f64)> {
    next.resume(at, Evidence::decode(&earlier.encode()).unwrap(), &workload("shop", "web"));
    let tally = next.tally(Timestamp::EPOCH, at + Span::HOUR);
    assert_eq!((tally.probe_restarts + tally.other_restarts) as usize, next.restarts().len());
    next.restarts().iter().map(|r| (r.at.floor_seconds(), r.cause, r.confidence)).collect()
}

#[test]
fn a_kill_told_to_one_life_of_the_daemon_and_inferred_by_the_next_is_one_restart() {
    let at = Timestamp::from_seconds;
    let mut earlier = until(1000);
    earlier.killing(at(1000), Uid::from_bits(1), &"app".into(), ProbeKind::Liveness);
    let mut next = until(1010);
    next.pod(at(1030), &status(1, at(1029), 1, ended(137, at(0), at(1028))));
    assert_eq!(resumed(next.clone(), at(1040), &earlier), [(1000, Cause::LivenessKill, 0.99)]);
    // A life that began after the kill is another's, and so is one long after it.
    next.pod(at(1060), &status(1, at(1059), 2, ended(1, at(1029), at(1058))));
    let both = [(1000, Cause::LivenessKill, 0.99), (1060, Cause::Crash, 0.9)];
    assert_eq!(resumed(next, at(1070), &earlier), both);
    let mut later = until(1010);
    later.pod(at(1601), &status(1, at(1600), 1, ended(1, at(0), at(1600))));
    assert_eq!(resumed(later, at(1610), &earlier).len(), 2);
    let mut of_another = until(1010);
    of_another.pod(at(1010), &status(2, at(0), 0, None));
    of_another.pod(at(1030), &status(2, at(1029), 1, ended(137, at(0), at(1028))));
    assert_eq!(resumed(of_another, at(1040), &earlier).len(), 2);
}

#[test]
fn a_restart_that_one_life_of_the_daemon_could_not_explain_is_the_kill_that_the_next_is_told() {
    let at = Timestamp::from_seconds;
    let mut earlier = until(1000);
    earlier.pod(at(1000), &status(1, at(1000), 1, ended(137, at(0), at(999))));
    assert_eq!(earlier.restarts()[0].cause, Cause::Unknown);
    let told = |second| {
        let mut next = until(second);
        next.killing(at(second), Uid::from_bits(1), &"app".into(), ProbeKind::Liveness);
        next
    };
    assert_eq!(resumed(told(1060), at(1070), &earlier), [(1060, Cause::LivenessKill, 0.99)]);
    assert_eq!(resumed(told(1181), at(1190), &earlier).len(), 2, "no event is so late");
    // It comes in the company of another, which neither life alone could see.
    earlier.pod(at(1000), &status(2, at(0), 0, None));
    earlier.killing(at(1000), Uid::from_bits(2), &"app".into(), ProbeKind::Liveness);
    let mut next = told(1060);
    next.resume(at(1070), earlier, &workload("shop", "web"));
    assert!(next.restarts().iter().all(|r| (r.company, r.weight) == (Company::Shared, 1.0)), "{:?}", next.restarts());
}

#[test]
fn of_one_restart_all_that_any_observer_saw_around_it_is_kept_in_whatever_order() {
    let start = stage_with_a_kill();
    let at = start.restarts()[0].at;
    let node = start.restarts()[0].node.clone().unwrap();
    let said = |slow| {
        let mut e = start.clone();
        e.neighbours_said(&node, at, Some(NeighboursThen { slow, chance: 0.1 }));
        e
    };
    let (well, slow) = (said(false), said(true));
    for parts in [[&well, &slow, &start], [&slow, &start, &well], [&start, &well, &slow]] {
        let all = merged(&parts);
        assert_eq!(all.restarts().len(), 1);
        assert_eq!(all.restarts()[0].neighbours, Some(NeighboursThen { slow: true, chance: 0.1 }));
    }
}

/// One pod of five was killed.
fn stage_with_a_kill() -> Evidence {
    let mut s = Stage::of(renumbered(workload("shop", "web"), "10/12/2"));
    s.play(Span::HOUR, well);
    s.play(Span::MINUTE * 20, |i, t| if i == 1 && t < 25 { Answer::After(60.0) } else { well(i, t) });
    s.evidence
}
