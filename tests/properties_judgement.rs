//! What holds for every history: bounds, caution, order, and that what is missing is not zero.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::decide::Urgency;
use probe_tuner::evidence::{Edge, Evidence};
use probe_tuner::policy::Bounds;
use probe_tuner::units::Span;
use proptest::prelude::*;
use support::fixtures::{liveness, renumbered, settings, workload};
use support::stage::{Answer, Stage, well};

/// A day and a half of calm, then hours in which checks are slow or refused as the numbers say.
fn history(numbers: &str, replicas: u32, trouble: &[(u8, u8, u16)], events: bool, sick: Option<usize>) -> Stage {
    let mut w = renumbered(workload("shop", "web"), numbers);
    w.replicas = replicas;
    let mut s = Stage::of(w);
    s.events = events;
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
    s
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
    fn evidence_is_the_same_after_its_bytes(n in numbers(), t in trouble(), events in any::<bool>()) {
        let s = history(n, 5, &t, events, None);
        let bytes = s.evidence.encode();
        prop_assert_eq!(Evidence::decode(&bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Evidence::decode(&bytes);
        bytes.splice(0..0, *b"PTE\x01");
        let _ = Evidence::decode(&bytes);
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
