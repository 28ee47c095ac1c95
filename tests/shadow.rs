//! What shadow checks may do to a judgement: nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::evidence::{Agreement, Evidence};
use probe_tuner::units::Span;
use support::fixtures::{liveness, workload};
use support::stage::{Answer, Stage};

/// Five replicas for a day and an hour, with a stall of 4 s each 1,201 s, as both ways see it; with or without
/// checks of our own, each pod in its turn, one in 15 s.
fn lived(shadow: bool) -> Stage {
    let stalls = |t: i64| t % 1_201 < 4;
    let mut s = Stage::of(workload("shop", "web"));
    for quarter in 0..(25 * 240) {
        s.play(Span::SECOND * 15, |_, t| Answer::After(if stalls(quarter * 15 + t) { 4.0 } else { 0.004 }));
        let (i, t) = (quarter as usize % s.replicas.len(), quarter * 15 + 15);
        if shadow {
            let latency = Span::from_millis(if stalls(t) { 4_000 } else { 4 });
            s.evidence.shadow_check(s.now, s.replicas[i].uid, &liveness(), Some(latency), true);
        }
    }
    s
}

#[test]
fn shadow_checks_are_shown_and_move_no_number() {
    let (with, without) = (lived(true), lived(false));
    let shown = with.evidence.seen(&liveness()).unwrap().shadow().unwrap();
    assert!(shown.checks() > 5_900.0 && shown.above()[9] == 0.0, "{shown:?}");
    // 75 stalls of 4 s, met by one check in 15 s: about 20, above 2.5 s and not above 5 s.
    assert!((15.0..=25.0).contains(&shown.above()[8]), "{:?}", shown.above());
    assert_eq!(shown.agreement(), Agreement::Agree);
    assert_eq!(shown.longest().first().map(|l| l.latency), Some(Some(Span::from_millis(4_000))));
    assert_eq!(without.evidence.seen(&liveness()).unwrap().shadow(), None);
    assert_eq!(with.judge(), without.judge());
    // A restarted daemon goes on, and whoever explains sees what it saw.
    let read = Evidence::decode(&with.evidence.encode()).unwrap();
    assert_eq!(read.seen(&liveness()).unwrap().shadow(), Some(shown));
}

#[test]
fn what_two_observers_checked_is_merged_in_any_order() {
    let (a, b) = (lived(true).evidence, lived(true).evidence);
    let shadow = |e: &Evidence| e.seen(&liveness()).unwrap().shadow().cloned().unwrap();
    let (mut both, mut other) = (a.clone(), Evidence::new());
    both.merge(b.clone());
    other.merge(b);
    other.merge(a.clone());
    assert_eq!(shadow(&both), shadow(&other));
    assert!((shadow(&both).checks() / shadow(&a).checks() - 2.0).abs() < 1e-4);
    assert_eq!(shadow(&both).agreement(), Agreement::Agree);
}

#[test]
fn what_a_pod_that_nobody_knows_or_that_is_starting_answered_is_not_counted() {
    let mut s = Stage::of(workload("shop", "web"));
    let latency = Some(Span::SECOND);
    s.evidence.shadow_check(s.now, probe_tuner::units::Uid::from_bits(99), &liveness(), latency, true);
    assert_eq!(s.evidence.dropped().strangers, 1);
    // A container that was killed starts again for so long; its own end tells of it.
    s.starts = 30;
    s.play(Span::SECOND * 40, |i, _| if i == 0 { Answer::After(9.0) } else { Answer::After(0.004) });
    s.evidence.shadow_check(s.now, s.replicas[0].uid, &liveness(), latency, true);
    assert_eq!(s.evidence.seen(&liveness()).unwrap().shadow(), None);
    s.evidence.shadow_check(s.now, s.replicas[1].uid, &liveness(), latency, true);
    let seen = s.evidence.seen(&liveness()).unwrap().shadow().unwrap();
    assert_eq!((seen.checks(), seen.agreement()), (1.0, Agreement::NotYet { have: (1, 0) }));
}
