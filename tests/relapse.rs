//! What a restart cured, and what it did not: the difference between a fault of the container and one of its node.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::decide::Urgency;
use probe_tuner::evidence::{Cause, Edge, Evidence};
use probe_tuner::observation::Sample;
use probe_tuner::probe::ProbeKind;
use probe_tuner::units::{Span, Timestamp};
use support::fixtures::{liveness, renumbered, workload};
use support::stage::{Answer, Stage, well};

/// Replica 1 hangs for two checks and is killed for it, then answers as `after` says for ten minutes.
fn hang(after: f64) -> impl Fn(usize, i64) -> Answer {
    move |i, t| match t {
        _ if i != 1 => well(i, t),
        60..=84 => Answer::After(60.0),
        85..700 => Answer::After(after),
        _ => well(i, t),
    }
}

#[test]
fn a_restart_that_cured_the_container_was_hardly_false() {
    let mut s = Stage::settled();
    s.play(Span::MINUTE * 30, hang(0.004));
    assert_eq!(s.evidence.restarts().len(), 1);
    assert!(!s.evidence.restarts()[0].relapsed);
    assert!(s.last_weight() < 0.05, "{}", s.last_weight());
}

#[test]
fn a_restart_after_which_answers_are_as_slow_as_no_hundredth_was_before_cured_nothing() {
    let mut s = Stage::settled();
    // A fifth of a second is far below any timeout, and fifty times the usual.
    s.play(Span::MINUTE * 30, hang(0.2));
    assert!(s.evidence.restarts()[0].relapsed);
    assert!(s.last_weight() > 0.3, "{}", s.last_weight());
}

#[test]
fn pods_that_always_begin_slowly_do_not_make_a_restart_look_false() {
    let mut s = Stage::of(renumbered(workload("shop", "web"), "10/12/2"));
    s.starts = 20;
    for _ in 0..4 {
        s.play(Span::HOUR * 26, well);
        s.rollout();
        s.play(Span::MINUTE * 10, |_, t| Answer::After(if t < 400 { 0.2 } else { 0.004 }));
    }
    s.play(Span::HOUR * 26, well);
    s.play(Span::MINUTE * 30, hang(0.2));
    assert!(s.evidence.restarts()[0].relapsed);
    assert!(s.last_weight() < 0.1, "{}", s.last_weight());
}

/// For half an hour replica `who` alone stalls for six seconds every half minute.
fn loud(who: usize) -> impl Fn(usize, i64) -> Answer {
    move |i, t| if i == who && t < 1800 && t % 40 < 10 { Answer::After(6.0) } else { well(i, t) }
}

fn slow_runs(s: &Stage) -> f64 {
    s.evidence.seen(&liveness()).unwrap().this().table(Edge::Five).extents().iter().map(|e| f64::from(e.count)).sum()
}

#[test]
fn slowness_of_one_replica_again_and_again_is_no_evidence_about_the_others() {
    let mut s = Stage::settled();
    for _ in 0..4 {
        s.play(Span::HOUR * 12, loud(1));
    }
    assert!(slow_runs(&s) < 25.0, "{}", slow_runs(&s));
}

#[test]
fn slowness_that_wanders_from_node_to_node_is_evidence() {
    let mut s = Stage::settled();
    for who in [1, 3, 2, 4] {
        s.play(Span::HOUR * 12, loud(who));
    }
    assert!(slow_runs(&s) > 60.0, "{}", slow_runs(&s));
}

#[test]
fn no_rollout_of_our_own_begins_within_an_hour_of_a_slowness_of_all() {
    let mut s = Stage::of(renumbered(workload("shop", "web"), "10/10/2"));
    s.starts = 20;
    s.play(Span::HOUR * 30, well);
    // All stall for half a minute, again and again: two replicas at a time are killed for it.
    for _ in 0..6 {
        s.play(Span::HOUR * 2, |i, t| if i < 3 && t < 40 { Answer::After(60.0) } else { well(i, t) });
    }
    let later = s.judge();
    assert_eq!(later.urgency, Urgency::OwnRollout, "{}", later.message);
    // Now they are slow together, though within their timeout.
    s.play(Span::MINUTE * 5, |_, _| Answer::After(2.0));
    let amid = s.judge();
    assert_eq!((amid.urgency, amid.wanted), (Urgency::WithNextRollout, later.wanted), "{}", amid.message);
}

#[test]
fn evidence_of_format_1_is_still_read() {
    // Six days of short spells of refusals in five pods, as the first release wrote them.
    let old = Evidence::decode(include_bytes!("data/evidence/format-1.bin")).unwrap();
    let id = probe_tuner::workload::ProbeId { container: "app".into(), kind: ProbeKind::Liveness };
    let seen = old.seen(&id).unwrap();
    assert_eq!(old.restarts().len(), 1);
    assert_eq!(old.rollouts(), (1, Some(Timestamp::from_seconds(1_768_037_760))));
    assert!((seen.refusals() - 23.839).abs() < 1e-3);
    assert_eq!(seen.watched(), Span::from_seconds(518_385));
    // What it did not know yet is unknown, and written anew it is of this format.
    assert_eq!((seen.slow_together(), old.restarts()[0].relapsed), (None, false));
    let new = Evidence::decode(&old.encode()).unwrap();
    assert_eq!((new.encode(), new.seen(&id)), (old.encode(), Some(seen)));
    assert_eq!(old.encode()[3], 6);
}

#[test]
fn evidence_of_format_2_is_still_read() {
    // Eight days of five pods with loud neighbours: three were killed, two of them in vain.
    let old = Evidence::decode(include_bytes!("data/evidence/format-2.bin")).unwrap();
    let id = probe_tuner::workload::ProbeId { container: "app".into(), kind: ProbeKind::Liveness };
    let seen = old.seen(&id).unwrap();
    assert_eq!(old.restarts().iter().filter(|r| r.relapsed).count(), 2);
    assert_eq!(old.rollouts(), (1, Some(Timestamp::from_seconds(1_768_132_800))));
    assert_eq!(seen.watched(), Span::from_seconds(691_185));
    assert!(old.restarts().iter().all(|r| !r.ailed) && !seen.cured());
    let new = Evidence::decode(&old.encode()).unwrap();
    assert_eq!((new.encode(), new.seen(&id)), (old.encode(), Some(seen)));
    assert_eq!(old.encode()[3], 6);
}

#[test]
fn what_all_workloads_are_like_is_expected_of_one_that_nobody_knows() {
    let seen = |answer: fn(usize, i64) -> Answer| {
        let mut s = Stage::of(renumbered(workload("shop", "web"), "10/12/2"));
        s.play(Span::HOUR * 30, answer);
        s
    };
    let calm: Vec<Stage> = (0..60).map(|_| seen(well)).collect();
    let slow: Vec<Stage> = (0..60)
        .map(|_| seen(|i, t| if (t + 500 * i as i64) % 2500 < 10 { Answer::After(1.5) } else { well(i, t) }))
        .collect();
    let learnt = |stages: &[Stage]| {
        let now = stages[0].now;
        probe_tuner::model::learn(stages.iter().map(|s| s.evidence.seen(&liveness()).unwrap()), now)
    };
    let (after_calm, after_slow) = (learnt(&calm), learnt(&slow));
    assert!(after_calm < 250.0 && after_slow > 600.0, "{after_calm} {after_slow}");
    assert!((30.0..=3000.0).contains(&after_calm) && (30.0..=3000.0).contains(&after_slow));
    // A new one is judged by it, and what it shows itself soon weighs more.
    let new = seen(well);
    let of = |prior: f64, s: &Stage| {
        let seen = s.evidence.seen(&liveness()).unwrap();
        probe_tuner::model::believe_under(&s.evidence, seen, prior, s.now).tail(Edge::One).rate()
    };
    assert!(of(after_calm, &new) < of(after_slow, &new));
    assert!(of(after_slow, &new) < 0.2 * after_slow, "{}", of(after_slow, &new));
}

#[test]
fn what_a_blind_timeout_was_too_short_for_does_not_loosen_the_one_that_took_its_place() {
    // All are slower than a second for two minutes: at 10/1/3 every replica is killed.
    let mut s = Stage::of(renumbered(workload("shop", "web"), "10/1/3"));
    s.starts = 20;
    s.play(Span::HOUR * 25, well);
    s.play(Span::MINUTE * 10, |_, t| Answer::After(if t < 120 { 1.8 } else { 0.004 }));
    assert!(s.evidence.restarts().len() >= 5);
    s.workload = renumbered(s.workload.clone(), "10/12/2");
    s.rollout();
    for _ in 0..3 {
        s.play(Span::HOUR * 24, |_, t| Answer::After(if t % 7200 < 120 { 1.8 } else { 0.004 }));
    }
    let j = s.judge();
    assert!(j.wanted.stall_tolerance() <= 24, "{} {}", j.wanted, j.message);
}

#[test]
fn what_is_told_late_of_the_life_before_is_no_relapse_of_the_next() {
    // Events come at once, counters half a minute later, as from a store that is asked now and then.
    let mut s = Stage::settled();
    let (uid, t) = (s.replicas[1].uid, s.now);
    s.evidence.killing(t + Span::SECOND * 40, uid, &"app".into(), ProbeKind::Liveness);
    let mut counters = s.replicas[1].counters;
    for (after, ok, failed) in [(15, 0, 1), (30, 0, 1), (45, 1, 0), (60, 1, 0)] {
        counters.failed += failed;
        counters.successful += ok;
        counters.count += ok;
        counters.buckets.iter_mut().for_each(|b| *b += ok);
        let sample = Sample { pod: uid, probe: liveness(), counters };
        s.evidence.sample(t + Span::SECOND * after, &sample);
    }
    assert_eq!(s.evidence.restarts().len(), 1);
    assert!(!s.evidence.restarts()[0].relapsed);
}

#[test]
fn a_slow_answer_within_the_grace_period_of_a_kill_is_no_relapse() {
    // What answers may still be the life before, or its caches fill.
    let mut s = Stage::settled();
    let killed = hang(0.004);
    s.starts = 5;
    s.play(Span::MINUTE * 30, |i, t| if i == 1 && (85..108).contains(&t) { Answer::After(1.8) } else { killed(i, t) });
    assert_eq!(s.evidence.restarts().len(), 1);
    assert!(!s.evidence.restarts()[0].relapsed);
}

#[test]
fn refusals_that_end_in_a_kill_are_no_spells() {
    let mut s = Stage::settled();
    // A pod that has crashed refuses until it is killed: eight times, hours apart.
    for n in 0..8 {
        s.play(Span::HOUR * 4, |i, t| if i == n % 3 && t < 25 { Answer::Refused } else { well(i, t) });
    }
    assert_eq!(s.evidence.restarts().len(), 8);
    let refusals = |s: &Stage| s.evidence.seen(&liveness()).unwrap().refusals();
    assert_eq!(refusals(&s), 0.0);
    // One that answers again by itself was a spell.
    s.play(Span::HOUR, |i, t| if i == 1 && t < 9 { Answer::Refused } else { well(i, t) });
    assert!(refusals(&s) > 0.9, "{}", refusals(&s));
}

#[test]
fn a_life_that_is_killed_again_before_it_could_answer_was_not_cured() {
    // A stall of a minute: killed, back after five seconds, killed again.
    let mut s = Stage::settled();
    s.starts = 5;
    s.play(Span::MINUTE * 30, |i, t| if i == 1 && t < 60 { Answer::After(60.0) } else { well(i, t) });
    let restarts = s.evidence.restarts();
    assert!(restarts.len() > 1, "{restarts:?}");
    let (last, before) = restarts.split_last().unwrap();
    assert!(before.iter().all(|r| r.relapsed) && !last.relapsed, "{restarts:?}");
}

#[test]
fn refusals_that_come_and_go_all_the_time_are_told_while_they_do() {
    let mut s = Stage::settled();
    // Every other check is refused for three hours: no quarter of a minute is without one.
    s.play(Span::HOUR * 3, |_, t| if t % 20 < 10 { Answer::Refused } else { Answer::After(0.004) });
    let refusals = s.evidence.seen(&liveness()).unwrap().refusals();
    assert!(refusals > 5.5, "{refusals}");
}

#[test]
fn a_kill_that_is_told_after_its_restart_is_watched_like_one_that_was_told_before() {
    // The status is quicker than the event, and nothing else tells why the container ended.
    let mut s = Stage::settled();
    s.exit(1, 143, "Error");
    s.play(Span::SECOND * 20, well);
    let uid = s.replicas[1].uid;
    s.evidence.killing(s.now, uid, &"app".into(), ProbeKind::Liveness);
    s.play(Span::MINUTE * 12, |i, t| if i == 1 { Answer::After(0.2) } else { well(i, t) });
    let restarts = s.evidence.restarts();
    assert_eq!(restarts.iter().map(|r| (r.cause, r.relapsed)).collect::<Vec<_>>(), [(Cause::LivenessKill, true)]);
}
