//! What holds for every history: bounds, caution, order, and that what is missing is not zero.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::decide::{Expectation, Judgement, Urgency};
use probe_tuner::evidence::{Company, Edge, Evidence};
use probe_tuner::model::{Belief, believe};
use probe_tuner::policy::Bounds;
use probe_tuner::probe::Settings;
use probe_tuner::reason::Reason;
use probe_tuner::units::{Span, Uid};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use support::fixtures::{liveness, renumbered, settings, workload};
use support::stage::{Answer, Stage, well};

/// A day and a half of calm, then hours in which checks are slow or refused as the numbers say.
fn history(numbers: &str, replicas: u32, trouble: &[(u8, u8, u16)], events: bool, sick: Option<usize>) -> Stage {
    let mut w = renumbered(workload("shop", "web"), numbers);
    w.replicas = replicas;
    let mut s = Stage::of(w);
    s.events = events;
    suffer(&mut s, trouble, sick);
    s
}

/// See [`history`].
fn suffer(s: &mut Stage, trouble: &[(u8, u8, u16)], sick: Option<usize>) {
    s.play(Span::HOUR * 36, well);
    for &(who, how, long) in trouble {
        s.play(Span::MINUTE * 20, |i, t| {
            let hit = sick.map_or(usize::from(who) % 8 > i, |sick| i == sick);
            match (hit && (60..60 + i64::from(long % 400)).contains(&t), how % 4) {
                (true, 0) => Answer::Refused,
                (true, 1) => Answer::After(2.0 + f64::from(how) / 16.0),
                (true, _) => Answer::After(60.0),
                _ => well(i, t),
            }
        });
    }
}

/// The decision, without the names of pods in its words.
fn decision(j: &Judgement) -> (Settings, Urgency, Reason) {
    (j.wanted, j.urgency, j.reason)
}

/// Whether two decisions are the same, and what today's and the wanted numbers would do the same but for such a share.
fn alike(a: &Judgement, b: &Judgement, share: f64) -> bool {
    let close = |a: f64, b: f64| (a - b).abs() <= share * a.abs().max(b.abs());
    let each = |a: Option<Expectation>, b: Option<Expectation>| match (a, b) {
        (Some(a), Some(b)) => close(a.false_restarts, b.false_restarts) && close(a.loss, b.loss),
        (a, b) => a.is_none() && b.is_none(),
    };
    decision(a) == decision(b) && each(a.now, b.now) && each(a.then, b.then)
}

fn trouble() -> impl Strategy<Value = Vec<(u8, u8, u16)>> {
    prop::collection::vec(any::<(u8, u8, u16)>(), 0..8)
}

fn numbers() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["10/1/3", "10/5/3", "10/10/2", "10/12/2", "5/5/2", "30/10/5", "7/3/2"])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_wish_lies_within_bounds_and_never_below_five_seconds(
        n in numbers(), t in trouble(), events in any::<bool>(), least in 1u32..12, most in 12u32..31,
    ) {
        let mut s = history(n, 5, &t, events, None);
        s.workload.permission.bounds = Bounds { timeout: (least, most), ..Bounds::FENCE };
        let j = s.judge();
        if j.wanted != j.current {
            prop_assert!(s.workload.permission.bounds.contain(j.wanted));
            prop_assert!(j.wanted.timeout() >= 5 && j.wanted.threshold() >= 2);
            prop_assert!(j.urgency > Urgency::Hold);
        }
        prop_assert_eq!(&j, &s.judge());
    }

    #[test]
    fn without_a_restart_tolerance_never_grows_and_before_a_change_of_version_it_never_falls(
        n in numbers(), t in trouble(),
    ) {
        let s = history(n, 5, &t, true, None);
        let j = s.judge();
        let (old, new) = (j.current.stall_tolerance(), j.wanted.stall_tolerance());
        prop_assert!(new >= old.min(24), "{:?}", j);
        if s.evidence.restarts().is_empty() {
            prop_assert!(new <= old.max(24), "{:?}", j);
            prop_assert!(j.urgency <= Urgency::WithNextRollout, "{:?}", j);
        }
    }

    #[test]
    fn one_replica_alone_never_makes_a_rollout_nor_loosens_beyond_ignorance(
        n in numbers(), t in trouble(), sick in 0usize..5,
    ) {
        let j = history(n, 5, &t, true, Some(sick)).judge();
        prop_assert!(j.urgency <= Urgency::WithNextRollout, "{:?}", j);
        prop_assert!(j.wanted.stall_tolerance() <= j.current.stall_tolerance().max(24), "{:?}", j);
    }

    #[test]
    fn replicas_in_another_order_give_the_same_decision(
        n in numbers(), t in trouble(), order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let mut shuffled = Stage::ordered(renumbered(workload("shop", "web"), n), order);
        suffer(&mut shuffled, &t, None);
        let (a, b) = (history(n, 5, &t, true, None).judge(), shuffled.judge());
        // Sums of floats know an order.
        prop_assert!(alike(&a, &b, 1e-5), "{:?}\n{:?}", a, b);
    }

    #[test]
    fn a_page_that_is_read_twice_before_another_check_gives_the_same_decision(n in numbers(), t in trouble()) {
        let mut twice = Stage::of(renumbered(workload("shop", "web"), n));
        twice.again = true;
        suffer(&mut twice, &t, None);
        let (a, b) = (history(n, 5, &t, true, None).judge(), twice.judge());
        // Around a restart a second more or less was looked at.
        prop_assert!(alike(&a, &b, 1e-3), "{:?}\n{:?}", a, b);
    }

    #[test]
    fn once_a_wish_is_granted_and_nothing_new_is_seen_nothing_more_is_wished(n in numbers(), t in trouble()) {
        let mut s = history(n, 5, &t, true, None);
        s.memory.owners.push((liveness(), settings(n)));
        let granted = |s: &mut Stage| {
            let wanted = s.judge().wanted;
            s.workload = renumbered(s.workload.clone(), &wanted.to_string());
            s.evidence.workload(s.now, &s.workload);
            wanted
        };
        let storm = s.judge().urgency == Urgency::Storm;
        let mut wanted = granted(&mut s);
        // A blind timeout, and a storm, are left for the ignorance setting whatever is known; what is known then has its
        // say, and rides.
        if storm || settings(n).timeout() < 5 {
            prop_assert!(s.judge().urgency <= Urgency::WithNextRollout);
            wanted = granted(&mut s);
        }
        let j = s.judge();
        prop_assert_eq!((j.wanted, j.urgency), (wanted, Urgency::Hold), "{:?}", j);
    }

    #[test]
    fn evidence_is_the_same_after_its_bytes(n in numbers(), t in trouble(), events in any::<bool>()) {
        let mut s = history(n, 5, &t, events, None);
        s.rollout();
        s.play(Span::HOUR, |i, t| if t % 700 < 20 { Answer::After(0.4 + i as f64) } else { well(i, t) });
        let bytes = s.evidence.encode();
        let back = Evidence::decode(&bytes).unwrap();
        prop_assert_eq!(back.seen(&liveness()), s.evidence.seen(&liveness()));
        prop_assert_eq!(back.restarts(), s.evidence.restarts());
        prop_assert!(bytes.len() < 6_000, "{} bytes", bytes.len());
        prop_assert_eq!(back.encode(), bytes);
    }

    #[test]
    fn survival_never_rises_and_rates_fall_with_tolerance(n in numbers(), t in trouble()) {
        let s = history(n, 5, &t, true, None);
        let seen = s.evidence.seen(&liveness()).unwrap();
        let belief = probe_tuner::model::believe(&s.evidence, seen, s.now);
        for edge in Edge::ALL {
            let tail = belief.tail(edge);
            prop_assert!((tail.survival(tail.start()) - 1.0).abs() < 1e-9);
            let mut last = 1.0 + 1e-12;
            for y in 1..120 {
                let now = tail.survival(f64::from(y));
                prop_assert!(now <= last + 1e-12);
                last = now;
            }
        }
        for (tight, loose) in [("10/5/2", "10/6/2"), ("10/5/2", "10/5/3"), ("10/10/2", "10/30/2"), ("5/1/2", "5/2/2")] {
            let (a, b) = (belief.rate(settings(tight)).mean, belief.rate(settings(loose)).mean);
            prop_assert!(b <= a + 1e-9, "{tight} {a}, {loose} {b}");
        }
    }
}

/// The posterior loss as the policy has it (its section 7), reckoned anew.
fn loss(s: &Stage, belief: &Belief, of: Settings) -> f64 {
    let seen = s.evidence.seen(&liveness()).unwrap();
    let (p, t) = (f64::from(of.period()), f64::from(of.timeout()));
    let (stall, refusal) = (of.stall_tolerance() as f64, of.refusal_tolerance() as f64);
    let carrying = 12.0 * (2.0 / 3.0 * (stall + p / 2.0) + 1.0 / 3.0 * (refusal + p / 2.0) + 25.0 / p);
    let looked = 0.5 + seen.watched().as_years_f64();
    let calm = f64::from(s.evidence.calm_changes(seen));
    carrying
        + 120.0 * belief.mean(of)
        + 210.0 * (0.5 * t.powf(-1.2) + seen.regimes(belief.edge(of.timeout()))) / looked
        + 60.0 / refusal / looked
        + 50.0 / (1.0 + calm).powi(2) * (stall / 10.0).powf(-1.5)
}

#[test]
fn no_allowed_candidate_has_a_smaller_posterior_loss() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut moved = 0;
    for run in 0..24 {
        let n = ["10/10/2", "10/12/2", "10/15/2", "10/30/2", "5/5/2", "7/10/3"][run % 6];
        let mut s = Stage::of(renumbered(workload("shop", "web"), n));
        s.workload.permission.approvals = true;
        // A change of version that was lived through, or none.
        for _ in 0..run % 3 {
            s.play(Span::HOUR * 30, well);
            s.rollout();
        }
        s.play(Span::HOUR * 36, well);
        for _ in 0..rng.random_range(0..6) {
            let (hit, seconds) = (rng.random_range(1..6), f64::from(rng.random_range(2..60u32)) / 5.0);
            let long = rng.random_range(5..60i64);
            s.play(Span::HOUR, |i, t| if i < hit && t < long { Answer::After(seconds) } else { well(i, t) });
        }
        let j = s.judge();
        let free = s.evidence.restarts().is_empty() || j.reason == Reason::Loosen;
        if !free || !matches!(j.reason, Reason::InPlace | Reason::Loosen | Reason::Tighten) {
            continue;
        }
        let (now, seen) = (s.now, s.evidence.seen(&liveness()).unwrap());
        let (belief, current) = (believe(&s.evidence, seen, now), settings(n));
        let (stall, refusal) = (current.stall_tolerance(), current.refusal_tolerance());
        let calm = s.evidence.calm_changes(seen);
        // By the documented rule: kills that today's timeout could have met, one pod's lonely ones once.
        let (mut shared, mut alone) = (0.0, BTreeMap::<Uid, f64>::new());
        for (r, weight) in s.evidence.restarts().iter().zip(belief.weights()) {
            let met = r.settings.is_some_and(|k| Edge::visible(k.timeout()) >= Edge::visible(current.timeout()));
            match r.company {
                _ if !met || !r.failing.slow() => {}
                Company::Shared => shared += weight,
                _ => {
                    let most = alone.entry(r.pod).or_default();
                    *most = most.max(*weight);
                }
            }
        }
        let loosens = shared + alone.values().sum::<f64>() >= 1.2;
        let mut least: Option<(bool, f64, Settings)> = None;
        for p in [5, 7, 10] {
            for t in [5, 6, 7, 8, 10, 12, 15, 20, 25, 30] {
                for k in [2, 3] {
                    let c = Settings::new(p, t, k).unwrap();
                    let fits = c.stall_tolerance() <= stall.max(60)
                        && (loosens || c.stall_tolerance() <= stall.max(24))
                        && (calm > 0 || c.stall_tolerance() >= stall.min(24))
                        && c.refusal_tolerance() <= refusal.max(10);
                    let over = belief.mean(c) > 1.0;
                    if fits && (!over || belief.mean(c) <= belief.mean(current)) {
                        let at = (over, loss(&s, &belief, c), c);
                        least = least.filter(|l| (l.0, l.1) <= (at.0, at.1)).or(Some(at));
                    }
                }
            }
        }
        let today = loss(&s, &belief, current);
        let wanted = least.filter(|l| l.1 < 0.95 * today).map_or(current, |l| l.2);
        assert_eq!(j.wanted, wanted, "run {run}: {} {:?}; {least:?} against {today}", j.message, j.reason);
        moved += u32::from(wanted != current);
    }
    assert!(moved >= 5, "only {moved} moved");
}

#[test]
fn tolerances_and_detection_never_fall_when_a_number_grows() {
    let all = |s: Settings| {
        let hang = (s.worst_hang_detection() as f64).max(s.mean_hang_detection());
        [
            s.stall_tolerance() as f64,
            s.refusal_tolerance() as f64,
            hang,
            s.mean_hang_detection(),
            s.mean_crash_detection(),
        ]
    };
    for (p, t, k) in (1..31).flat_map(|p| (1..31).flat_map(move |t| (1..6).map(move |k| (p, t, k)))) {
        let less = all(Settings::new(p, t, k).unwrap());
        for more in [(p + 1, t, k), (p, t + 1, k), (p, t, k + 1)] {
            let more = all(Settings::new(more.0, more.1, more.2).unwrap());
            assert!(less.iter().zip(more).all(|(a, b)| *a <= b), "{p}/{t}/{k}: {less:?} {more:?}");
        }
    }
}

#[test]
fn checks_that_succeed_add_exposure_and_nothing_else() {
    let mut s = history("10/10/2", 5, &[(5, 1, 200), (3, 9, 90), (7, 33, 50)], true, None);
    let told = |s: &Stage, edge| {
        let epoch = s.evidence.seen(&liveness()).unwrap().this();
        let counts: f64 = epoch.table(edge).extents().iter().map(|e| f64::from(e.count)).sum();
        (counts, epoch.table(edge).clusters_from(0.0), epoch.exposure(edge))
    };
    s.play(Span::MINUTE * 5, well);
    let before = Edge::ALL.map(|edge| told(&s, edge));
    assert!(before[0].0 > 0.0 || before[1].0 > 0.0, "{before:?}");
    s.play(Span::HOUR * 5, well);
    for (edge, (count, clusters, exposure)) in Edge::ALL.into_iter().zip(before) {
        let now = told(&s, edge);
        // In five hours of 45 days' half-life 0.3 % fade.
        assert!(now.0 <= count && now.0 >= 0.996 * count, "{edge:?}: {count} {}", now.0);
        assert!(now.1 <= clusters && now.1 >= 0.996 * clusters, "{edge:?}: {clusters} {}", now.1);
        assert!(now.2 > exposure, "{edge:?}: {exposure} {}", now.2);
    }
}

#[test]
fn of_two_that_recover_in_one_scrape_neither_is_sick_for_having_been_heard_first() {
    let trouble = [(121, 0, 301), (1, 0, 301), (73, 0, 323), (164, 76, 311), (242, 22, 333)];
    let told = |order| {
        let mut s = Stage::ordered(renumbered(workload("shop", "web"), "30/10/5"), order);
        suffer(&mut s, &trouble, None);
        s.evidence.seen(&liveness()).unwrap().this().clone()
    };
    assert_eq!(told(vec![0, 1, 2, 3, 4]), told(vec![4, 3, 0, 1, 2]));
}
