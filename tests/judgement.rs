//! Histories, played into the judgement: what moves a number, and above all what does not.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::change::{Intent, Past, Step, Verdict};
use probe_tuner::decide::{Judgement, Prices, Urgency, judge};
use probe_tuner::evidence::{Cause, Company, Edge, Evidence, Failing};
use probe_tuner::memory::Memory;
use probe_tuner::observation::{Sample, Usage};
use probe_tuner::policy::Bounds;
use probe_tuner::probe::ProbeKind;
use probe_tuner::reason::Reason;
use probe_tuner::units::{PerPodYear, Span, Uid};
use support::fixtures::{liveness, renumbered, settings, workload};
use support::stage::{Answer, Stage, node, well};

fn stage(numbers: &str) -> Stage {
    Stage::of(renumbered(workload("shop", "web"), numbers))
}

#[track_caller]
fn holds(j: &Judgement, reason: Reason) {
    assert_eq!((j.reason, j.urgency, j.wanted), (reason, Urgency::Hold, j.current), "{}", j.message);
}

/// Slow on some replicas from `from` on for `long` seconds.
fn stalls(who: impl Fn(usize) -> bool, from: i64, long: i64) -> impl Fn(usize, i64) -> Answer {
    move |i, t| if who(i) && (from..from + long).contains(&t) { Answer::After(40.0) } else { well(i, t) }
}

fn refuses(who: impl Fn(usize) -> bool, from: i64, long: i64) -> impl Fn(usize, i64) -> Answer {
    move |i, t| if who(i) && (from..from + long).contains(&t) { Answer::Refused } else { well(i, t) }
}

#[test]
fn one_scrape_says_nothing_and_today_s_numbers_stand() {
    let mut s = stage("10/1/3");
    s.play(Span::SECOND * 15, well);
    let j = s.judge();
    holds(&j, Reason::ThinEvidence);
    assert!(j.message.contains("of 24 h seen"), "{}", j.message);
    assert_eq!((j.now, j.confidence), (None, 0.0));
}

#[test]
fn less_than_a_day_of_evidence_is_too_thin_for_a_number() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR * 20, well);
    let j = s.judge();
    holds(&j, Reason::ThinEvidence);
    assert!(j.message.starts_with("19 h of 24 h seen, 5 of 5 pods read; ready in 4 h"), "{}", j.message);
}

#[test]
fn a_blind_timeout_is_left_with_the_next_rollout() {
    let mut s = stage("10/1/3");
    s.play(Span::HOUR * 25, well);
    let j = s.judge();
    assert_eq!((j.wanted, j.urgency, j.reason), (settings("10/12/2"), Urgency::WithNextRollout, Reason::Loosen));
    assert!(
        j.message.contains("10/12/2 tolerates 24 s instead of 21 s and sees latencies up to 12 s"),
        "{}",
        j.message
    );
    assert!(j.then.unwrap().upper >= j.then.unwrap().false_restarts);
}

#[test]
fn timeouts_that_restart_two_replicas_are_a_storm_and_are_answered_at_once() {
    let mut s = stage("10/1/3");
    s.play(Span::MINUTE * 4, stalls(|i| i < 4, 60, 60));
    let j = s.judge();
    assert_eq!((j.wanted, j.urgency, j.reason), (settings("10/12/2"), Urgency::Storm, Reason::Storm), "{}", j.message);
    assert!(j.message.starts_with("liveness 10/1/3 restarted 4 pods in"), "{}", j.message);
}

#[test]
fn where_containers_truly_break_every_day_two_at_once_are_no_storm_and_three_are() {
    let mut s = stage("10/8/2");
    s.starts = 20;
    for n in 0..8 {
        s.play(Span::HOUR * 20, stalls(|i| i == n % 4, 60, 25));
    }
    assert_eq!(s.evidence.restarts().len(), 8);
    s.play(Span::MINUTE * 4, stalls(|i| i < 2, 60, 25));
    assert_eq!((s.evidence.restarts().len(), s.judge().reason == Reason::Storm), (10, false), "{}", s.judge().message);
    s.play(Span::MINUTE * 4, stalls(|i| i == 2, 60, 25));
    assert_eq!((s.evidence.restarts().len(), s.judge().reason), (11, Reason::Storm), "{}", s.judge().message);
    // Of one that nobody has seen break, two are enough; and whatever broke before, half of the replicas.
    let mut s = stage("10/8/2");
    s.play(Span::MINUTE * 4, stalls(|i| i < 2, 60, 25));
    assert_eq!(s.judge().reason, Reason::Storm, "{}", s.judge().message);
}

#[test]
fn a_replica_that_was_ill_yesterday_does_not_make_today_s_storm_an_accident() {
    let mut s = stage("10/8/2");
    s.starts = 20;
    s.play(Span::HOUR * 12, stalls(|i| i == 4, 60, 400));
    assert!(s.evidence.restarts().len() > 6, "{}", s.evidence.restarts().len());
    s.play(Span::HOUR * 12, well);
    s.play(Span::MINUTE * 4, stalls(|i| i < 2, 60, 25));
    assert_eq!(s.judge().reason, Reason::Storm, "{}", s.judge().message);
}

#[test]
fn both_of_two_replicas_are_a_storm_however_often_one_breaks() {
    let mut w = renumbered(workload("shop", "web"), "10/8/2");
    w.replicas = 2;
    let mut s = Stage::of(w);
    s.starts = 20;
    for n in 0..8 {
        s.play(Span::HOUR * 20, stalls(|i| i == n % 2, 60, 25));
    }
    s.play(Span::MINUTE * 4, stalls(|_| true, 60, 25));
    assert_eq!(s.judge().reason, Reason::Storm, "{}", s.judge().message);
}

#[test]
fn the_only_replica_must_be_restarted_three_times_to_be_a_storm() {
    let mut w = renumbered(workload("shop", "web"), "10/1/3");
    w.replicas = 1;
    let mut s = Stage::of(w);
    s.play(Span::MINUTE * 4, stalls(|_| true, 10, 60));
    assert_ne!(s.judge().urgency, Urgency::Storm);
    s.play(Span::MINUTE * 4, stalls(|_| true, 10, 60));
    assert_eq!(s.judge().urgency, Urgency::Storm, "{}", s.judge().message);
}

#[test]
fn without_events_restarts_never_make_a_storm() {
    let mut s = stage("10/1/3");
    s.events = false;
    s.play(Span::MINUTE * 4, stalls(|i| i < 4, 60, 60));
    // The counters of the scrape after it tell what ended a life where no event did.
    assert!(
        s.evidence.restarts().iter().take(4).all(|r| r.cause == Cause::LivenessKill),
        "{:?}",
        s.evidence.restarts()
    );
    assert_ne!(s.judge().urgency, Urgency::Storm);
}

#[test]
fn kills_of_which_no_event_is_left_are_a_storm_once_the_scrape_after_them_tells() {
    let mut s = stage("10/1/3");
    (s.unsaid, s.starts) = (true, 40);
    s.play(Span::MINUTE * 4, stalls(|i| i < 4, 60, 60));
    let kills = s.evidence.restarts();
    assert!(kills.len() == 4 && kills.iter().all(|r| r.cause == Cause::LivenessKill), "{kills:?}");
    assert!(kills.iter().all(|r| r.failing == Failing::Slow), "{kills:?}");
    assert_eq!(s.judge().urgency, Urgency::Storm, "{}", s.judge().message);
    let tally = s.evidence.tally(s.now - Span::HOUR, s.now);
    assert_eq!((tally.probe_restarts, tally.other_restarts), (4, 0));
}

#[test]
fn pods_that_a_rollout_has_not_reached_ask_for_no_rollout_of_their_own() {
    let mut s = stage("10/1/3");
    s.play(Span::HOUR * 30, well);
    let moved = renumbered(s.workload.clone(), "10/12/2");
    s.evidence.workload(s.now, &moved);
    // The old pods still stall and die of 10/1/3.
    for _ in 0..4 {
        s.play(Span::MINUTE * 10, stalls(|i| i < 4, 60, 60));
    }
    assert!(s.evidence.restarts().len() >= 8);
    s.workload = moved;
    let j = s.judge_at(s.now + Span::HOUR);
    assert!(j.urgency < Urgency::OwnRollout, "{}", j.message);
}

#[test]
fn restarts_by_refusals_are_no_storm() {
    let mut s = stage("10/1/3");
    s.play(Span::MINUTE * 4, refuses(|i| i < 4, 60, 60));
    assert_ne!(s.judge().urgency, Urgency::Storm);
}

#[test]
fn a_storm_before_the_last_change_of_numbers_is_over() {
    let mut s = stage("10/1/3");
    s.play(Span::MINUTE * 4, stalls(|i| i < 4, 60, 60));
    s.workload = renumbered(s.workload.clone(), "10/5/3");
    s.evidence.workload(s.now, &s.workload);
    holds(&s.judge(), Reason::ThinEvidence);
}

#[test]
fn a_storm_that_would_more_than_double_the_owners_tolerance_takes_what_lies_within() {
    let mut s = stage("5/1/3");
    s.play(Span::MINUTE * 4, stalls(|i| i < 4, 60, 60));
    let j = s.judge();
    assert_eq!((j.wanted, j.urgency), (settings("10/10/2"), Urgency::Storm), "{}", j.message);
    assert!(j.message.contains("NEEDS_APPROVAL"), "{}", j.message);
    s.workload.permission.approvals = true;
    assert_eq!(s.judge().wanted, settings("10/12/2"));
}

#[test]
fn a_protected_workload_is_not_moved_without_approvals() {
    let mut s = stage("10/1/3");
    s.workload.permission.protected = true;
    s.play(Span::MINUTE * 4, stalls(|i| i < 4, 60, 60));
    holds(&s.judge(), Reason::NeedsApproval);
}

#[test]
fn a_sick_replica_never_moves_a_number() {
    for (numbers, reason) in [("10/10/2", Reason::SickReplica), ("10/1/3", Reason::SickReplica)] {
        let mut s = stage(numbers);
        s.play(Span::HOUR * 30, well);
        for _ in 0..6 {
            s.play(Span::MINUTE * 9, stalls(|i| i == 2, 360, 100));
        }
        assert!(s.evidence.restarts().len() >= 6, "{:?}", s.evidence.restarts().len());
        let j = s.judge();
        holds(&j, reason);
        assert!(j.message.contains("web-3") && j.message.contains("node-2"), "{}", j.message);
    }
}

#[test]
fn an_oom_kill_never_moves_a_number() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR * 30, well);
    for _ in 0..10 {
        s.exit(1, 137, "OOMKilled");
        s.exit(3, 137, "OOMKilled");
        s.play(Span::MINUTE, well);
    }
    holds(&s.judge(), Reason::Oom);
}

#[test]
fn an_own_exit_never_moves_a_number() {
    let mut s = stage("10/1/3");
    s.play(Span::HOUR * 30, well);
    for i in 0..5 {
        s.exit(i, 1, "Error");
        s.play(Span::MINUTE, well);
    }
    holds(&s.judge(), Reason::Crash);
}

#[test]
fn a_dependency_that_fails_for_all_never_moves_a_number() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR * 30, well);
    s.play(Span::MINUTE * 5, refuses(|_| true, 30, 100));
    assert!(s.evidence.restarts().len() >= 5);
    holds(&s.judge(), Reason::Synchronous);
    s.play(Span::HOUR * 25, well);
    let j = s.judge();
    assert!(j.wanted.refusal_tolerance() <= 10, "{:?} {}", j.wanted, j.message);
}

#[test]
fn a_rollout_never_moves_a_number_by_itself() {
    let mut s = stage("10/12/2");
    for _ in 0..3 {
        s.play(Span::HOUR * 9, well);
        s.rollout();
    }
    s.play(Span::MINUTE * 10, well);
    assert_eq!(s.judge().wanted, settings("10/12/2"), "{}", s.judge().message);
}

#[test]
fn missing_scrapes_are_a_gap_and_no_evidence() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR * 30, well);
    let before = s.judge();
    for _ in 0..10 {
        s.now = s.now + Span::SECOND * 15;
        (0..3).for_each(|i| s.evidence.scrape_missed(s.now, &node(i)));
    }
    let j = s.judge();
    holds(&j, Reason::DataGap);
    assert_eq!(j.now.unwrap().false_restarts, before.now.unwrap().false_restarts);
}

#[test]
fn counters_that_went_back_without_a_new_pod_are_a_gap_and_no_negative_count() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR * 30, well);
    for r in &mut s.replicas {
        r.counters = Default::default();
    }
    s.play(Span::SECOND * 30, well);
    holds(&s.judge(), Reason::DataGap);
    s.play(Span::MINUTE * 12, well);
    assert_ne!(s.judge().reason, Reason::DataGap);
}

#[test]
fn slowness_of_minutes_on_several_replicas_is_not_tuned_away() {
    let mut s = stage("10/10/9");
    s.play(Span::HOUR * 30, well);
    s.play(Span::MINUTE * 20, stalls(|i| i < 3, 60, 75));
    assert_ne!(s.judge().reason, Reason::Sustained);
    let mut s = stage("10/10/30");
    s.play(Span::HOUR * 30, well);
    s.play(Span::MINUTE * 20, stalls(|i| i < 3, 60, 200));
    holds(&s.judge(), Reason::Sustained);
}

#[test]
fn three_rollouts_of_our_own_in_a_week_are_flapping() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR * 30, well);
    let step = Step { probe: liveness(), from: settings("10/5/2"), to: settings("10/10/2") };
    for hours in [3, 30, 90] {
        s.memory.past.push(Past {
            at: s.now - Span::HOUR * hours,
            steps: vec![step.clone()],
            intent: Intent::Tune,
            verdict: Verdict::Verified,
        });
    }
    holds(&s.judge(), Reason::Flapping);
}

#[test]
fn budget_and_detection_bound_that_exclude_each_other_change_nothing_and_show_both_ends() {
    let mut s = stage("10/12/2");
    s.workload.permission.false_restart_budget = PerPodYear::new(0.01).unwrap();
    s.workload.permission.detect_within = Some(Span::SECOND * 12);
    s.play(Span::HOUR * 30, well);
    let j = s.judge();
    holds(&j, Reason::BoundConflict);
    assert!(j.message.contains("keeps the budget") && j.message.contains("12s"), "{}", j.message);
}

#[test]
fn a_full_node_is_named_where_more_patience_would_hide_it() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR * 30, well);
    for hours in 0..4 {
        s.now = s.now + Span::HOUR;
        let usage = Usage { until: s.now, cores: 3.9, working_set: 1 };
        s.evidence.node_usage(s.now, &node(0), &usage, Some(4.0));
        assert_eq!(s.evidence.starved_since(s.now).is_some(), hours >= 0);
    }
    let usage = Usage { until: s.now, cores: 0.5, working_set: 1 };
    s.evidence.node_usage(s.now, &node(0), &usage, Some(4.0));
    assert_eq!(s.evidence.starved_since(s.now), None);
}

#[test]
fn kills_within_minutes_of_a_start_ask_for_a_startup_probe() {
    let mut s = stage("10/1/3");
    s.play(Span::HOUR * 30, well);
    s.rollout();
    s.play(Span::MINUTE * 3, stalls(|i| i == 1, 5, 40));
    let j = s.judge();
    assert_eq!((j.reason, j.wanted), (Reason::ColdStart, settings("10/12/2")), "{}", j.message);
}

#[test]
fn nothing_is_tightened_before_a_change_of_version_was_lived_through() {
    let mut s = stage("10/12/2");
    s.play(Span::DAY * 7, well);
    assert_eq!(s.judge().wanted, settings("10/12/2"), "{}", s.judge().message);
    s.rollout();
    s.play(Span::DAY * 7, well);
    let j = s.judge();
    assert_eq!((j.reason, j.urgency), (Reason::Tighten, Urgency::WithNextRollout), "{}", j.message);
    assert!(j.wanted.timeout() >= 5 && j.wanted.stall_tolerance() < 24, "{}", j.wanted);
    assert!(j.then.unwrap().loss < j.now.unwrap().loss);
}

#[test]
fn the_owners_bounds_and_detection_bound_are_kept() {
    let mut s = stage("10/12/2");
    s.workload.permission.bounds = Bounds { period: (10, 20), timeout: (8, 30), threshold: (2, 5) };
    s.play(Span::DAY * 3, well);
    s.rollout();
    s.play(Span::DAY * 3, well);
    let j = s.judge();
    assert!(s.workload.permission.bounds.contain(j.wanted), "{}", j.wanted);
    assert_eq!(j.wanted, settings("10/8/2"));
}

#[test]
fn numbers_that_were_tightened_hold_once_they_are_taken() {
    let mut s = stage("10/12/2");
    s.play(Span::DAY * 3, well);
    s.rollout();
    s.play(Span::DAY * 3, well);
    let j = s.judge();
    assert_ne!(j.wanted, j.current);
    s.workload = renumbered(s.workload.clone(), &j.wanted.to_string());
    let again = s.judge();
    assert_eq!((again.wanted, again.urgency), (j.wanted, Urgency::Hold), "{}", again.message);
}

#[test]
fn spells_of_refusals_of_single_replicas_are_met_with_the_threshold() {
    let mut s = stage("10/12/2");
    s.play(Span::HOUR * 30, well);
    for round in 0..8 {
        s.play(Span::HOUR * 3, refuses(move |i| i == round % 5, 100, 10));
    }
    let j = s.judge();
    assert!(j.wanted.refusal_tolerance() >= 14, "{} {}", j.wanted, j.message);
    assert_eq!(j.urgency, Urgency::WithNextRollout);
}

#[test]
fn failures_of_which_nothing_tells_are_taken_for_what_checks_of_the_probe_nearly_always_do() {
    let above_ten = |told: i64, mixed: bool| {
        let mut s = stage("10/12/3");
        for _ in 0..told {
            s.play(Span::HOUR, |i, t| match t {
                60..=69 if i == 1 => Answer::Refused,
                70..=79 if i == 1 && mixed => Answer::After(60.0),
                _ => well(i, t),
            });
        }
        // Too long ago for what was told then to stand for it.
        s.play(Span::HOUR, well);
        s.events = false;
        s.play(Span::HOUR, refuses(|i| i == 2, 60, 9));
        let seen = s.evidence.seen(&liveness()).unwrap();
        (seen.this().table(Edge::Ten).extents().len(), seen.this().table(Edge::Fast).extents().len())
    };
    assert_eq!(above_ten(5, false), (1, 1));
    assert_eq!(above_ten(25, false), (0, 1));
    // Spells in which checks also timed out are spells of both.
    assert_ne!(above_ten(25, true).0, 0);
}

#[test]
fn samples_of_a_pod_that_shuts_down_are_ignored() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR, well);
    let pod_time = s.judge().seen;
    let replica = &s.replicas[0];
    let mut pod = support::stage::pod_of(&s, 0);
    pod.terminating = true;
    let mut counters = replica.counters;
    s.evidence.pod(s.now, &pod);
    for _ in 0..20 {
        s.now = s.now + Span::SECOND * 15;
        counters.failed += 2;
        s.evidence.sample(s.now, &Sample { pod: pod.uid, probe: liveness(), counters });
    }
    assert_eq!(s.judge().seen, pod_time);
    assert_eq!(s.evidence.seen(&liveness()).unwrap().this().table(Edge::Fast).extents(), []);
}

#[test]
fn a_pod_that_comes_back_under_its_name_does_not_lend_its_counts() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR, well);
    let mut pod = support::stage::pod_of(&s, 0);
    let mut counters = s.replicas[0].counters;
    s.evidence.pod_gone(s.now, pod.uid);
    pod.uid = Uid::from_bits(77);
    s.evidence.pod(s.now, &pod);
    // The duration series has no pod_uid and goes on; the totals begin anew.
    counters.successful = 1;
    counters.failed = 0;
    s.evidence.sample(s.now, &Sample { pod: pod.uid, probe: liveness(), counters });
    s.now = s.now + Span::SECOND * 15;
    counters.successful += 1;
    counters.count += 1;
    counters.buckets.iter_mut().for_each(|b| *b += 1);
    s.evidence.sample(s.now, &Sample { pod: pod.uid, probe: liveness(), counters });
    let seen = s.evidence.seen(&liveness()).unwrap();
    assert!(Edge::ALL.iter().all(|e| seen.this().table(*e).extents().is_empty()));
    assert_eq!(seen.reset_at(), None);
}

#[test]
fn a_restart_in_company_is_told_from_a_lonely_one() {
    let mut s = stage("10/10/2");
    s.play(Span::HOUR, well);
    s.play(Span::MINUTE * 10, stalls(|i| i == 1, 30, 30));
    assert_eq!(s.evidence.restarts()[0].company, Company::Alone);
    s.play(Span::MINUTE * 10, |i, t| match i {
        1 if (30..60).contains(&t) => Answer::After(40.0),
        3 if (60..80).contains(&t) => Answer::After(3.0),
        _ => well(i, t),
    });
    assert_eq!(s.evidence.restarts().last().unwrap().company, Company::Beside);
    s.play(Span::MINUTE * 10, stalls(|i| i < 2, 30, 30));
    assert!(s.evidence.restarts().iter().rev().take(2).all(|r| r.company == Company::Shared));
}

#[test]
fn readiness_as_patient_as_liveness_is_reported_and_not_tightened_too_early() {
    let mut w = renumbered(workload("shop", "web"), "10/12/2");
    let mut probe = w.probes[0].clone();
    probe.id.kind = ProbeKind::Readiness;
    probe.settings = settings("10/1/3");
    w.probes.push(probe);
    let mut s = Stage::of(w);
    s.play(Span::HOUR * 30, well);
    let all = judge(&s.evidence, &s.workload, &Memory::default(), &Prices::default(), s.now);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].wanted, settings("10/1/3"), "{}", all[1].message);
}

#[test]
fn where_the_owners_bounds_leave_no_readiness_before_liveness_no_approval_is_asked_for() {
    let mut w = workload("shop", "web");
    let mut probe = w.probes[0].clone();
    probe.id.kind = ProbeKind::Readiness;
    w.probes.push(probe);
    // The least, 5/8/2, tolerates 16 s: more than half of liveness' 24 s.
    w.permission.bounds.timeout = (8, 60);
    let mut s = Stage::of(w);
    s.play(Span::HOUR * 30, well);
    let all = judge(&s.evidence, &s.workload, &Memory::default(), &Prices::default(), s.now);
    assert_eq!(all[0].wanted, settings("10/12/2"), "{}", all[0].message);
    assert_eq!((all[1].wanted, all[1].reason), (settings("10/1/3"), Reason::InPlace), "{}", all[1].message);
}

#[test]
fn damaged_bytes_are_refused_with_their_place_and_never_believed_in_part() {
    let mut s = stage("10/1/3");
    s.play(Span::HOUR, stalls(|i| i < 3, 60, 100));
    let bytes = s.evidence.encode();
    for cut in 0..bytes.len() {
        assert!(Evidence::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut newer = bytes.clone();
    newer[3] = 9;
    assert!(Evidence::decode(&newer).unwrap_err().to_string().contains("format 9"));
    assert!(Evidence::decode(b"nothing").unwrap_err().to_string().contains("wanted \"PTE\""));
}

#[test]
fn the_tally_of_a_window_has_its_pod_time_and_its_restarts() {
    let mut s = stage("10/1/3");
    let begin = s.now;
    s.play(Span::MINUTE * 30, stalls(|i| i < 2, 60, 35));
    let t = s.evidence.tally(begin, s.now);
    assert_eq!((t.probe_restarts, t.other_restarts), (2, 0));
    assert!((t.pod_time.as_secs_f64() - 5.0 * 1800.0).abs() < 80.0, "{}", t.pod_time);
    let later = s.evidence.tally(begin + Span::MINUTE * 10, s.now);
    assert_eq!(later.probe_restarts, 0);
    assert_eq!(s.evidence.tally(s.now, begin), Default::default());
}

#[test]
fn what_went_before_a_restart_of_the_daemon_is_counted_by_the_hour_and_not_missing() {
    let mut s = stage("10/1/3");
    s.play(Span::HOUR * 2, stalls(|i| i < 2, 5_400, 35));
    let change = s.now;
    // The minutes of an earlier life are not kept, only its hours.
    let earlier = Evidence::decode(&s.evidence.encode()).unwrap();
    let workload = s.workload.clone();
    s.evidence.resume(s.now, earlier, &workload);
    s.play(Span::MINUTE * 20, well);
    let before = s.evidence.tally(change - Span::MINUTE * 40, change);
    assert_eq!((before.probe_restarts, before.other_restarts), (2, 0));
    assert!((before.pod_time.as_secs_f64() - 5.0 * 2400.0).abs() < 80.0, "{}", before.pod_time);
    // Of this life the minutes are there.
    let after = s.evidence.tally(change, s.now);
    assert!((after.pod_time.as_secs_f64() - 5.0 * 1200.0).abs() < 80.0, "{}", after.pod_time);
}
