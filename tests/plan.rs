//! What may be changed now, and what holds the rest: one gate a test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use probe_tuner::change::{Intent, Past, Stage, Step, Verdict};
use probe_tuner::decide::{Judgement, Urgency};
use probe_tuner::memory::{InFlight, Memory};
use probe_tuner::plan::{self, Gate, Limits, Plan, Standing, Wish};
use probe_tuner::policy::{Mode, Unreadable, Window};
use probe_tuner::probe::ProbeKind;
use probe_tuner::reason::Reason;
use probe_tuner::units::{Span, Timestamp};
use probe_tuner::workload::{Unpatchable, Workload, WorkloadKind};
use support::fixtures::{change, liveness, minute, settings, wish, workload};

const NOW: Timestamp = Timestamp::from_seconds(40 * 86_400);

/// One workload, what is remembered of it, and what it wishes.
struct Case {
    workload: Workload,
    memory: Memory,
    judgements: Vec<Judgement>,
    revert: Option<&'static str>,
}

fn case(namespace: &str, name: &str, urgency: Urgency) -> Case {
    let workload = workload(namespace, name);
    let judgements = vec![wish(&workload, "10/12/2", urgency)];
    Case { workload, memory: Memory::default(), judgements, revert: None }
}

fn make(cases: &[Case], fence: bool) -> Plan {
    let wishes = cases.iter().map(|c| Wish {
        workload: &c.workload,
        memory: &c.memory,
        judgements: &c.judgements,
        revert: c.revert,
    });
    plan::make(wishes, &Limits::default(), Standing { started: minute(0), fence, remembers: true }, NOW)
}

#[track_caller]
fn held(case: Case, reason: Reason) -> String {
    let uid = case.workload.uid;
    let plan = make(&[case], true);
    assert!(plan.changes.is_empty(), "{:?}", plan.changes);
    match &plan.gates[&uid] {
        Gate::Held(r, words) if *r == reason => words.clone(),
        other => panic!("wanted {reason:?}, found {other:?}"),
    }
}

fn with(f: impl FnOnce(&mut Case)) -> Case {
    let mut c = case("shop", "web", Urgency::Storm);
    f(&mut c);
    c
}

fn flight(w: &Workload, stage: Stage) -> InFlight {
    InFlight {
        change: change(w, "10/12/2"),
        stage,
        since: NOW - Span::MINUTE,
        applied: Some(NOW - Span::MINUTE),
        generation: Some(2),
        version: 1,
    }
}

fn past(at: Timestamp, verdict: Verdict) -> Past {
    Past {
        at,
        steps: vec![Step { probe: liveness(), from: settings("10/1/3"), to: settings("10/10/2") }],
        intent: Intent::Tune,
        verdict,
    }
}

#[test]
fn a_storm_that_nothing_holds_is_planned_with_its_numbers_and_generation() {
    let plan = make(&[case("shop", "web", Urgency::Storm)], true);
    let [c] = &plan.changes[..] else { panic!("{plan:?}") };
    assert_eq!((c.generation, c.intent, c.reason), (1, Intent::Tune, Reason::Storm));
    assert_eq!(c.steps, [Step { probe: liveness(), from: settings("10/1/3"), to: settings("10/12/2") }]);
}

#[test]
fn the_same_wish_has_the_same_name_and_another_generation_another() {
    let name = |generation| {
        let mut c = case("shop", "web", Urgency::Storm);
        c.workload.generation = generation;
        make(&[c], true).changes[0].id
    };
    assert_eq!(name(1), name(1));
    assert_ne!(name(1), name(2));
}

#[test]
fn a_mode_below_auto_writes_nothing() {
    for mode in [Mode::Off, Mode::Recommend, Mode::Piggyback, Mode::Canary] {
        let words = held(with(|c| c.workload.permission.mode = mode), Reason::RecommendOnly);
        assert!(words.contains(mode.word()), "{words}");
    }
}

#[test]
fn skip_is_obeyed_and_its_reason_shown() {
    let words = held(with(|c| c.workload.permission.skip = Some("owned by payments".into())), Reason::Skipped);
    assert!(words.contains("owned by payments"), "{words}");
}

#[test]
fn a_freeze_holds_until_its_moment_and_not_longer() {
    held(with(|c| c.workload.permission.freeze_until = Some(NOW + Span::SECOND)), Reason::Frozen);
    assert_eq!(make(&[with(|c| c.workload.permission.freeze_until = Some(NOW))], true).changes.len(), 1);
}

#[test]
fn a_pause_holds_and_says_what_to_type() {
    let words = held(with(|c| c.workload.permission.paused = true), Reason::Paused);
    assert!(words.contains("probe-tuner resume"), "{words}");
}

#[test]
fn an_annotation_that_cannot_be_read_holds_and_shows_a_right_one() {
    let unreadable = Unreadable {
        key: "probe-tuner.io/window".into(),
        value: "noon".into(),
        wanted: "Mon-Fri 09:00-17:00".into(),
        on_namespace: false,
    };
    let words = held(with(|c| c.workload.permission.unreadable = vec![unreadable]), Reason::Unreadable);
    assert!(
        words.contains("probe-tuner.io/window") && words.contains("noon") && words.contains("Mon-Fri 09:00-17:00"),
        "{words}"
    );
}

#[test]
fn nothing_is_planned_while_the_fence_does_not_refuse() {
    let plan = make(&[case("shop", "web", Urgency::Storm)], false);
    assert!(plan.changes.is_empty());
    assert!(matches!(plan.gates.values().next().unwrap(), Gate::Held(Reason::NoFence, _)));
}

#[test]
fn what_would_need_two_approvals_is_not_even_asked_for() {
    let far = |c: &mut Case| c.judgements[0].wanted = settings("10/30/2");
    let words = held(
        with(|c| {
            far(c);
            c.workload.probes[0].settings = settings("5/1/3");
            c.judgements[0].current = settings("5/1/3");
            c.workload.permission.approvals = true;
        }),
        Reason::NeedsApproval,
    );
    assert!(words.contains("double"), "{words}");
    held(with(|c| c.workload.permission.protected = true), Reason::NeedsApproval);
}

#[test]
fn nothing_is_planned_before_the_records_of_an_earlier_life_are_read() {
    let c = case("shop", "web", Urgency::Storm);
    let wishes =
        std::iter::once(Wish { workload: &c.workload, memory: &c.memory, judgements: &c.judgements, revert: None });
    let plan =
        plan::make(wishes, &Limits::default(), Standing { started: minute(0), fence: true, remembers: false }, NOW);
    assert!(matches!(plan.gates.values().next().unwrap(), Gate::Held(Reason::WarmUp, _)), "{plan:?}");
}

#[test]
fn workloads_that_cannot_be_patched_are_left_with_the_reason() {
    for (why, fragment) in [
        (Unpatchable::Kind(WorkloadKind::StatefulSet), "StatefulSet"),
        (Unpatchable::Paused, "paused"),
        (Unpatchable::Progressing, "under way"),
        (Unpatchable::Recreate, "Recreate"),
        (Unpatchable::ScaledToZero, "zero"),
        (Unpatchable::OwnedBy("Rollout/web".into()), "Rollout/web"),
        (Unpatchable::Pipeline("argocd".into()), "argocd"),
    ] {
        let words = held(with(|c| c.workload.unpatchable = vec![why.clone()]), Reason::Unpatchable);
        assert!(words.contains(fragment), "{words}");
    }
}

#[test]
fn outside_the_owners_window_even_a_storm_waits() {
    let window = Window { open: false, changes_at: Some(NOW + Span::HOUR) };
    let words = held(with(|c| c.workload.permission.window = Some(window)), Reason::OutsideWindow);
    assert!(words.contains("1h"), "{words}");
}

#[test]
fn what_is_not_worth_a_rollout_waits_for_the_owners() {
    held(case("shop", "web", Urgency::WithNextRollout), Reason::WaitsForRollout);
}

#[test]
fn a_daemon_that_has_just_started_changes_nothing() {
    let c = case("shop", "web", Urgency::Storm);
    let wishes = [&c].into_iter().map(|c| Wish {
        workload: &c.workload,
        memory: &c.memory,
        judgements: &c.judgements,
        revert: None,
    });
    let standing = Standing { started: NOW - Span::MINUTE * 9, fence: true, remembers: true };
    let plan = plan::make(wishes, &Limits::default(), standing, NOW);
    assert!(matches!(plan.gates.values().next().unwrap(), Gate::Held(Reason::WarmUp, _)), "{plan:?}");
}

#[test]
fn a_change_that_is_watched_is_not_stacked_upon() {
    held(with(|c| c.memory.in_flight = Some(flight(&c.workload, Stage::Watching))), Reason::Verifying);
}

#[test]
fn theirs_stand_where_somebody_put_other_numbers() {
    held(with(|c| c.memory.contested = vec![(liveness(), settings("10/1/3"))]), Reason::Contested);
}

#[test]
fn rest_after_a_change_doubles_with_each_revert() {
    let after = |urgency, reverts, minutes: i64| {
        let mut c = case("shop", "web", urgency);
        c.memory.reverts = reverts;
        c.memory.rested_since = Some(NOW - Span::MINUTE * minutes);
        make(&[c], true).changes.len()
    };
    assert_eq!((after(Urgency::OwnRollout, 0, 29), after(Urgency::OwnRollout, 0, 30)), (0, 1));
    assert_eq!((after(Urgency::OwnRollout, 1, 59), after(Urgency::OwnRollout, 1, 60)), (0, 1));
    assert_eq!((after(Urgency::Storm, 0, 0), after(Urgency::Storm, 0, 1)), (0, 1));
}

#[test]
fn three_rollouts_in_a_week_are_for_a_person_to_judge() {
    let spent = |ages: [i64; 3]| {
        with(|c| c.memory.past = ages.iter().map(|d| past(NOW - Span::DAY * *d, Verdict::Verified)).collect())
    };
    held(spent([6, 4, 1]), Reason::Flapping);
    assert_eq!(make(&[spent([8, 4, 1])], true).changes.len(), 1);
}

#[test]
fn three_reverts_in_a_row_are_for_a_person_to_judge() {
    held(with(|c| c.memory.reverts = 3), Reason::Flapping);
}

#[test]
fn a_refused_change_was_no_rollout_and_spends_no_budget() {
    let c = with(|c| c.memory.past = (1..=3).map(|d| past(NOW - Span::DAY * d, Verdict::Refused)).collect());
    assert_eq!(make(&[c], true).changes.len(), 1);
}

#[test]
fn one_rollout_runs_in_a_namespace_and_the_greater_saving_goes_first() {
    let mut cases = [case("shop", "api", Urgency::Storm), case("shop", "web", Urgency::Storm)];
    cases[0].judgements[0].now.as_mut().unwrap().loss = 1000.0;
    let plan = make(&cases, true);
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(&*plan.changes[0].address.name, "web");
    assert!(
        matches!(&plan.gates[&cases[0].workload.uid], Gate::Held(Reason::InFlight, words) if words.contains("shop"))
    );
}

#[test]
fn a_change_that_is_only_watched_leaves_its_namespace_free() {
    let mut watched = case("shop", "api", Urgency::Hold);
    watched.memory.in_flight = Some(flight(&watched.workload, Stage::Watching));
    assert_eq!(make(&[watched, case("shop", "web", Urgency::Storm)], true).changes.len(), 1);
    let mut rolling = case("shop", "api", Urgency::Hold);
    rolling.memory.in_flight = Some(flight(&rolling.workload, Stage::Patched));
    assert_eq!(make(&[rolling, case("shop", "web", Urgency::Storm)], true).changes.len(), 0);
}

#[test]
fn the_cluster_has_a_budget_for_rollouts_under_way() {
    let cases: Vec<Case> = (0..5).map(|i| case(&format!("ns-{i}"), "web", Urgency::Storm)).collect();
    let plan = make(&cases, true);
    assert_eq!(plan.changes.len(), Limits::default().in_flight);
    assert_eq!(plan.gates.values().filter(|g| matches!(g, Gate::Held(Reason::RolloutBudget, _))).count(), 2);
}

#[test]
fn the_cluster_has_a_budget_for_rollouts_an_hour() {
    let mut cases: Vec<Case> = (0..4).map(|i| case(&format!("ns-{i}"), "web", Urgency::Hold)).collect();
    for c in &mut cases {
        c.memory.past = (1..=2).map(|m| past(NOW - Span::MINUTE * m, Verdict::Verified)).collect();
    }
    cases.push(case("other", "web", Urgency::Storm));
    assert!(make(&cases, true).changes.is_empty());
    for c in &mut cases {
        c.memory.past = Vec::new();
    }
    assert_eq!(make(&cases, true).changes.len(), 1);
}

#[test]
fn the_cluster_has_a_budget_for_rollouts_a_day() {
    let mut cases: Vec<Case> = (0..8).map(|i| case(&format!("ns-{i}"), "web", Urgency::Hold)).collect();
    for c in &mut cases {
        c.memory.past = (2..=4).map(|h| past(NOW - Span::HOUR * h, Verdict::Verified)).collect();
    }
    cases.push(case("other", "web", Urgency::Storm));
    assert!(make(&cases, true).changes.is_empty());
    cases[0].memory.past.pop();
    assert_eq!(make(&cases, true).changes.len(), 1);
}

#[test]
fn a_way_back_goes_before_all_and_waits_for_no_budget_and_no_window() {
    let mut worse = case("shop", "web", Urgency::Hold);
    worse.memory.in_flight = Some(flight(&worse.workload, Stage::Watching));
    worse.memory.reverts = 2;
    worse.workload.permission.window = Some(Window { open: false, changes_at: None });
    worse.revert = Some("5 restarts after it, 0 before");
    let mut cases: Vec<Case> = (0..3).map(|i| case(&format!("ns-{i}"), "web", Urgency::Storm)).collect();
    cases.push(worse);
    let plan = make(&cases, true);
    assert_eq!((plan.changes[0].intent, plan.changes[0].reason), (Intent::Revert, Reason::Reverted));
    assert_eq!(plan.changes[0].steps[0].from, settings("10/12/2"));
    assert_eq!(plan.changes[0].steps[0].to, settings("10/1/3"));
}

#[test]
fn a_way_back_that_did_not_arrive_is_the_same_way_again() {
    let mut again = with(|c| c.memory.in_flight = Some(flight(&c.workload, Stage::Intended)));
    let f = again.memory.in_flight.as_mut().unwrap();
    f.change.intent = Intent::Revert;
    f.change.steps = vec![Step { probe: liveness(), from: settings("10/12/2"), to: settings("10/1/3") }];
    again.revert = Some("the patch did not arrive");
    assert_eq!(make(&[again], true).changes[0].steps[0].to, settings("10/1/3"));
}

#[test]
fn a_pause_holds_even_a_way_back() {
    let mut worse = with(|c| c.memory.in_flight = Some(flight(&c.workload, Stage::Watching)));
    worse.revert = Some("worse");
    worse.workload.permission.paused = true;
    held(worse, Reason::Paused);
}

#[test]
fn a_way_back_may_be_stacked_on_the_rollout_that_is_stuck_by_us() {
    let mut stuck = with(|c| c.memory.in_flight = Some(flight(&c.workload, Stage::Patched)));
    stuck.revert = Some("the rollout did not finish in time");
    stuck.workload.unpatchable = vec![Unpatchable::Progressing];
    assert_eq!(make(&[stuck], true).changes[0].intent, Intent::Revert);
}

#[test]
fn numbers_ride_only_where_riding_is_allowed() {
    let c = case("shop", "web", Urgency::WithNextRollout);
    let ride = |w: &Workload, m: &Memory| plan::riding(w, m, &c.judgements, NOW);
    assert_eq!(ride(&c.workload, &c.memory), [(liveness(), settings("10/12/2"))]);
    let mut w = c.workload.clone();
    w.permission.mode = Mode::Recommend;
    assert_eq!(ride(&w, &c.memory), []);
    let mut w = c.workload.clone();
    w.permission.skip = Some("".into());
    assert_eq!(ride(&w, &c.memory), []);
}

#[test]
fn what_two_people_would_have_to_approve_does_not_hold_back_a_storm() {
    let mut c = case("shop", "web", Urgency::Storm);
    let mut startup = wish(&c.workload, "20/1/10", Urgency::WithNextRollout);
    startup.probe.kind = ProbeKind::Startup;
    c.judgements.push(startup);
    let plan = make(&[c], true);
    let steps: Vec<ProbeKind> = plan.changes[0].steps.iter().map(|s| s.probe.kind).collect();
    assert_eq!(steps, [ProbeKind::Liveness]);
    // What is no risky change goes along.
    let mut c = case("shop", "web", Urgency::Storm);
    let mut readiness = wish(&c.workload, "5/6/2", Urgency::WithNextRollout);
    readiness.probe.kind = ProbeKind::Readiness;
    c.judgements.push(readiness);
    assert_eq!(make(&[c], true).changes[0].steps.len(), 2);
}

/// Wishes for the liveness and the readiness of one container, from numbers to numbers.
fn pair(liveness: [&str; 2], urgency: Urgency, readiness: [&str; 2]) -> Case {
    let mut c = case("shop", "web", urgency);
    c.workload.probes[0].settings = settings(liveness[0]);
    let wished = |[from, to]: [&str; 2], urgency, kind| {
        let mut j = wish(&c.workload, to, urgency);
        (j.current, j.probe.kind) = (settings(from), kind);
        j
    };
    c.judgements = vec![
        wished(liveness, urgency, ProbeKind::Liveness),
        wished(readiness, Urgency::WithNextRollout, ProbeKind::Readiness),
    ];
    c
}

#[test]
fn liveness_does_not_go_without_the_readiness_that_must_go_along() {
    // 30 s to 24 s is near. Beside them 15 s of readiness are too many, and 7 s are less than half of those.
    let words = held(pair(["10/10/3", "10/12/2"], Urgency::OwnRollout, ["5/5/3", "5/2/2"]), Reason::NeedsApproval);
    assert!(words.contains("halve"), "{words}");
    // Where the most urgent wish is another's, both wait and hold nobody back.
    let mut c = pair(["10/10/3", "10/12/2"], Urgency::OwnRollout, ["5/5/3", "5/2/2"]);
    let mut other = wish(&workload("shop", "other"), "10/12/2", Urgency::Storm);
    other.probe.container = "beside".into();
    c.judgements.push(other);
    let plan = make(&[c], true);
    let steps: Vec<&str> = plan.changes[0].steps.iter().map(|s| &*s.probe.container).collect();
    assert_eq!(steps, ["beside"]);
}

#[test]
fn a_liveness_that_may_go_alone_does_not_wait_for_readiness() {
    // The first gives up sooner than liveness before and after; the second does not today, which is made no worse.
    for readiness in [["5/5/2", "5/4/1"], ["10/5/3", "5/2/2"]] {
        let plan = make(&[pair(["10/1/3", "10/12/2"], Urgency::Storm, readiness)], true);
        let steps: Vec<ProbeKind> = plan.changes[0].steps.iter().map(|s| s.probe.kind).collect();
        assert_eq!(steps, [ProbeKind::Liveness], "{readiness:?}");
    }
}
