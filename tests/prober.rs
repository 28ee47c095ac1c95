//! The prober's model held to what the kubelet really did.
//!
//! `tests/data/kubelet-truth` holds timelines of the kubelet's own code. Given a case's header and the moment of its
//! first check, the model must find the same number of checks, each gap between two of them within 25 ms, and every
//! kill at the same check. Moments that no prober decides are given: manual triggers, and the starts of a container in
//! CrashLoopBackOff.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use probe_tuner::probe::{Answer, Outcome, ProbeKind, Prober, Verdict};
use probe_tuner::units::{Span, Timestamp};
use std::path::{Path, PathBuf};

#[path = "support/kubelet.rs"]
mod kubelet;
use kubelet::{Checks, Timeline, largest_gap_difference, played};

/// The largest difference of one gap.
const GAP: Span = Span::from_millis(25);

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kubelet-truth")
}

fn case(name: &str) -> Timeline {
    Timeline::read(&recordings().join(format!("{name}.jsonl")))
}

/// The model's run of a recorded case, over the time that was recorded.
fn model(name: &str) -> Checks {
    let case = case(name);
    // Two files were recorded for longer, to their last line; one breaks off a second early.
    let last = case.last();
    let end = if name == "c16-edge" { last + Span::SECOND } else { last.max(Span::from_seconds(180)) };
    played(&case, &recordings(), end)
}

#[test]
fn the_model_finds_every_check_and_every_kill_of_the_recorded_kubelet() {
    let mut names: Vec<String> = std::fs::read_dir(recordings())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".jsonl").map(str::to_owned))
        .collect();
    names.sort();
    let (mut worst, mut checks, mut wrong) = (Span::ZERO, 0, Vec::new());
    for name in &names {
        let (recorded, model) = (case(name).recorded(), model(name));
        checks += recorded.starts.len();
        match largest_gap_difference(&recorded, &model) {
            Some(difference) => {
                println!(
                    "{name:22} {:4} checks, largest difference {:.1} ms",
                    model.starts.len(),
                    difference.nanos() as f64 / 1e6
                );
                worst = worst.max(difference);
            }
            None => {
                wrong.push(format!("{name}: {} checks recorded, {} played", recorded.starts.len(), model.starts.len()))
            }
        }
        if recorded.kills != model.kills {
            wrong.push(format!("{name}: kills after {:?} checks recorded, {:?} played", recorded.kills, model.kills));
        }
    }
    println!("{} cases, {checks} checks, largest difference {:.1} ms", names.len(), worst.nanos() as f64 / 1e6);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(names.len(), 24, "cases");
    assert!(worst <= GAP, "a gap differs by {worst}");
}

/// A liveness prober of a container that runs from 0 on, with ticks at 0, P, 2P, ….
fn liveness(settings: &str) -> Prober {
    let mut prober = Prober::new(ProbeKind::Liveness, settings.parse().unwrap(), Timestamp::EPOCH);
    prober.container_started(Timestamp::EPOCH);
    prober
}

fn at_ms(ms: i64) -> Timestamp {
    Timestamp::EPOCH + Span::from_millis(ms)
}

/// The starts, in milliseconds, of one check for each of these answers.
fn starts(prober: &mut Prober, answers: &[Answer]) -> Vec<i64> {
    answers.iter().map(|a| prober.ask(*a).unwrap().start.nanos() / 1_000_000).collect()
}

const FAST: Answer = Answer::Healthy(Span::from_millis(10));
const REFUSED: Answer = Answer::Unhealthy(Span::ZERO);

#[test]
fn the_grid_keeps_its_phase_through_a_restart() {
    for checks in [case("c02-hang").recorded(), model("c02-hang")] {
        let (before, after) = checks.starts.split_at(checks.kills[0]);
        let whole = (after[0] - before[0]).nanos() as f64 / 2e9;
        assert!((whole - whole.round()).abs() < 0.01, "{whole} periods");
    }
}

#[test]
fn a_hang_is_asked_back_to_back_where_the_timeout_exceeds_the_period() {
    for checks in [case("c03-t-gt-p-hang").recorded(), model("c03-t-gt-p-hang")] {
        let last = &checks.starts[checks.kills[0] - 3..checks.kills[0]];
        for gap in last.windows(2).map(|w| w[1] - w[0]) {
            assert!((gap - Span::from_seconds(3)).nanos().abs() < GAP.nanos(), "{gap}");
        }
    }
}

#[test]
fn after_a_check_that_outlasts_the_period_one_kept_tick_fires_and_the_old_grid_resumes() {
    let slow = Answer::Healthy(Span::from_millis(2500));
    let mut prober = liveness("1/3/3");
    assert_eq!(starts(&mut prober, &[FAST, slow, slow, FAST, FAST]), [0, 1000, 3500, 6000, 7000]);
    let mut prober = liveness("1/3/3");
    assert_eq!(starts(&mut prober, &[FAST, slow, FAST, FAST, FAST]), [0, 1000, 3500, 4000, 5000]);
}

#[test]
fn a_tick_at_the_moment_a_check_starts_is_not_kept_and_one_at_its_end_starts_the_next() {
    let whole = Answer::Healthy(Span::from_seconds(2));
    let mut prober = liveness("1/3/3");
    // From 0 to 2: the ticks at 1 and 2 fold into one, at 2, which is also the start: the next is 3.
    assert_eq!(starts(&mut prober, &[whole, FAST, FAST]), [0, 2000, 3000]);
}

#[test]
fn an_answer_exactly_at_the_timeout_is_in_time_and_a_nanosecond_later_it_is_not() {
    let timeout = Span::SECOND;
    assert_eq!(Answer::Healthy(timeout).within(timeout), (timeout, Outcome::Success));
    assert_eq!(Answer::Healthy(timeout + Span::from_nanos(1)).within(timeout), (timeout, Outcome::Failure));
    assert_eq!(Answer::Unhealthy(timeout * 2).within(timeout), (timeout, Outcome::Failure));
    assert_eq!(Answer::Never.within(timeout), (timeout, Outcome::Failure));
}

#[test]
fn failures_counted_survive_the_apps_own_exit() {
    let mut prober = liveness("2/1/5");
    for _ in 0..3 {
        assert_eq!(prober.ask(REFUSED).unwrap().verdict, None);
    }
    prober.container_exited(at_ms(5_000));
    assert_eq!(prober.next_start(), None, "nothing runs");
    prober.container_started(at_ms(5_500));
    assert_eq!(prober.ask(REFUSED).unwrap().start, at_ms(6_000));
    assert_eq!(prober.ask(REFUSED).unwrap().verdict, Some(Verdict::Kill));
}

#[test]
fn a_kill_by_this_very_prober_starts_the_count_at_zero() {
    let mut prober = liveness("2/1/2");
    prober.ask(REFUSED);
    assert_eq!(prober.ask(REFUSED).unwrap().verdict, Some(Verdict::Kill));
    prober.container_started(at_ms(3_000));
    assert_eq!(prober.ask(REFUSED).unwrap().verdict, None);
    assert_eq!(prober.ask(REFUSED).unwrap().verdict, Some(Verdict::Kill));
}

#[test]
fn nothing_is_asked_while_a_container_is_being_stopped() {
    // SIGTERM is ignored for its grace of 4 s.
    for checks in [case("c14-sigkill").recorded(), model("c14-sigkill")] {
        let gap = checks.starts[checks.kills[0]] - checks.starts[checks.kills[0] - 1];
        assert!(gap >= Span::from_millis(5_000), "{gap}");
    }
    let mut prober = liveness("2/1/1");
    assert_eq!(prober.ask(REFUSED).unwrap().verdict, Some(Verdict::Kill));
    assert_eq!(prober.next_start(), None);
}

#[test]
fn errors_neither_extend_a_run_of_failures_nor_end_it() {
    let mut prober = liveness("2/1/2");
    for (at, outcome, verdict) in [
        (0, Outcome::Failure, None),
        (2_000, Outcome::Dropped, None),
        (4_000, Outcome::Dropped, None),
        (6_000, Outcome::Failure, Some(Verdict::Kill)),
    ] {
        assert_eq!(prober.next_start(), Some(at_ms(at)));
        prober.start(at_ms(at));
        assert_eq!(prober.answered(at_ms(at + 5), outcome), verdict, "at {at} ms");
    }
}

#[test]
fn one_success_ends_a_run_of_failures() {
    let mut prober = liveness("1/1/3");
    for _ in 0..50 {
        for answer in [Answer::Never, Answer::Never, FAST] {
            assert_eq!(prober.ask(answer).unwrap().verdict, None);
        }
    }
}

#[test]
fn a_manual_trigger_asks_at_once_and_starts_the_grid_anew() {
    let mut prober = Prober::new(ProbeKind::Readiness, "10/1/3".parse().unwrap(), at_ms(700));
    prober.container_started(Timestamp::EPOCH);
    prober.trigger(at_ms(12));
    assert_eq!(starts(&mut prober, &[REFUSED, REFUSED]), [12, 10_012]);
    prober.trigger(at_ms(13_000));
    assert_eq!(starts(&mut prober, &[FAST, FAST]), [13_000, 23_000]);
}

#[test]
fn losing_readiness_and_its_trigger_move_the_grid_by_that_moment() {
    let mut prober = Prober::new(ProbeKind::Readiness, "10/1/2".parse().unwrap(), Timestamp::EPOCH);
    prober.container_started(Timestamp::EPOCH);
    assert_eq!(prober.ask(FAST).unwrap().verdict, Some(Verdict::Ready));
    assert_eq!(prober.ask(REFUSED).unwrap().verdict, None);
    assert_eq!(prober.ask(REFUSED).unwrap().verdict, Some(Verdict::Unready));
    prober.trigger(at_ms(20_012));
    assert_eq!(starts(&mut prober, &[REFUSED, FAST]), [20_012, 30_012]);
    assert!(prober.ready());
}

#[test]
fn a_trigger_during_a_check_waits_for_its_end() {
    let mut prober = Prober::new(ProbeKind::Readiness, "10/5/2".parse().unwrap(), Timestamp::EPOCH);
    prober.container_started(Timestamp::EPOCH);
    prober.start(Timestamp::EPOCH);
    prober.trigger(at_ms(1_000));
    assert_eq!(prober.next_start(), None);
    prober.answered(at_ms(3_000), Outcome::Failure);
    assert_eq!(starts(&mut prober, &[REFUSED, REFUSED]), [3_000, 13_000]);
}

#[test]
fn a_new_container_is_not_ready_and_needs_its_successes() {
    let mut prober =
        Prober::new(ProbeKind::Readiness, "10/1/3".parse().unwrap(), Timestamp::EPOCH).success_threshold(2);
    prober.container_started(Timestamp::EPOCH);
    assert_eq!(prober.ask(FAST).unwrap().verdict, None);
    assert_eq!(prober.ask(FAST).unwrap().verdict, Some(Verdict::Ready));
    prober.container_exited(at_ms(15_000));
    prober.container_started(at_ms(16_000));
    assert!(!prober.ready());
    // The kubelet does not forget the last result over a restart: the first success is enough.
    assert_eq!(prober.ask(FAST).unwrap().verdict, Some(Verdict::Ready));
}

#[test]
fn the_others_wait_for_the_startup_probe_in_each_container() {
    let mut prober = Prober::new(ProbeKind::Liveness, "3/1/1".parse().unwrap(), Timestamp::EPOCH).behind_startup();
    prober.container_started(at_ms(100));
    assert_eq!(prober.next_start(), None);
    prober.startup_succeeded(at_ms(6_010));
    assert_eq!(
        prober.ask(REFUSED).unwrap(),
        probe_tuner::probe::Check {
            start: at_ms(9_000),
            end: at_ms(9_000),
            outcome: Outcome::Failure,
            verdict: Some(Verdict::Kill),
        }
    );
    prober.container_started(at_ms(9_500));
    assert_eq!(prober.next_start(), None, "the new container has to start up again");
}

#[test]
fn a_startup_probe_is_asked_no_more_after_its_verdict() {
    for (answers, verdict) in [(vec![REFUSED, FAST], Verdict::Started), (vec![REFUSED, REFUSED], Verdict::Kill)] {
        let mut prober = Prober::new(ProbeKind::Startup, "1/1/2".parse().unwrap(), Timestamp::EPOCH);
        prober.container_started(Timestamp::EPOCH);
        let last = answers.iter().map(|a| prober.ask(*a).unwrap()).last().unwrap();
        assert_eq!((last.verdict, prober.next_start()), (Some(verdict), None));
        prober.container_started(at_ms(5_500));
        assert_eq!(prober.next_start(), Some(at_ms(6_000)));
    }
}

#[test]
fn the_initial_delay_counts_from_the_whole_second_of_the_containers_start() {
    let ticks = Timestamp::from_nanos(192_000_000);
    let mut prober = Prober::new(ProbeKind::Liveness, "3/1/3".parse().unwrap(), ticks).initial_delay(5);
    prober.container_started(at_ms(199));
    assert_eq!(starts(&mut prober, &[FAST, FAST]), [6_192, 9_192]);
    // Started at 10.9: delayed to 15, not to 15.9.
    let mut prober = Prober::new(ProbeKind::Liveness, "3/1/3".parse().unwrap(), ticks).initial_delay(5);
    prober.container_started(at_ms(10_900));
    assert_eq!(starts(&mut prober, &[FAST]), [15_192]);
}

#[test]
fn the_shortest_grace_that_reaches_a_container_is_two_seconds() {
    // The probe says 1 s, and the app ignores SIGTERM: killed 2 s after the verdict.
    let case = case("c19-probe-grace");
    let (kill, start) = (case.moments("kill")[0], case.moments("start")[1]);
    assert!((start - kill - Span::from_seconds(2)).nanos().abs() < GAP.nanos(), "{}", start - kill);
}
