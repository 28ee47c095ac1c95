//! After a change: when it is good, when it is worse, and what ends the watch. Evidence is filled by pods as a watch
//! tells of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use probe_tuner::change::{self, Intent, Stage};
use probe_tuner::evidence::Evidence;
use probe_tuner::memory::InFlight;
use probe_tuner::observation::{Counters, FailureClass, Sample};
use probe_tuner::policy::Mode;
use probe_tuner::probe::ProbeKind;
use probe_tuner::units::{Name, Span, Timestamp, Uid};
use probe_tuner::verify::{self, Step, Terms, Why};
use probe_tuner::workload::{Container, Ended, Pod, Probe, ProbeId, Unpatchable, Workload};
use support::fixtures::{change, renumbered, settings, workload};

/// The moment of the patch: a day has been watched before.
const APPLIED: Timestamp = Timestamp::from_seconds(2 * 86_400);
const WATCHED: Timestamp = Timestamp::from_seconds(2 * 86_400 + 60);

fn pod(w: &Workload, n: u128, restarts: u32, at: Timestamp, ready: bool) -> Pod {
    let ended = Ended { code: 143, reason: "Error".into(), started: None, finished: Some(at) };
    let container = Container {
        name: "app".into(),
        running_since: Some(at),
        ready,
        started: true,
        restarts,
        last_end: (restarts > 0).then_some(ended),
    };
    Pod {
        uid: Uid::from_bits(n + 1),
        name: format!("web-{n}").into(),
        workload: w.uid,
        node: Some("node-1".into()),
        probes: w.probes.clone(),
        containers: vec![container],
        terminating: false,
        created: Timestamp::EPOCH,
        ready,
    }
}

/// A history of five pods: at which moments each next restart by a liveness probe was seen, in which hours pod 0 was
/// unready, and from when until when no readiness check of two others was answered.
struct History {
    workload: Workload,
    kills: Vec<Timestamp>,
    unready: Vec<(Timestamp, Timestamp)>,
    silent: Option<(Timestamp, Timestamp)>,
}

impl History {
    fn new() -> Self {
        History { workload: workload("shop", "web"), kills: Vec::new(), unready: Vec::new(), silent: None }
    }

    fn told(&self, until: Timestamp) -> Evidence {
        let mut e = Evidence::new();
        let app: Name = "app".into();
        let mut at = APPLIED - Span::DAY;
        e.workload(at, &self.workload);
        let (mut kills, mut restarts) = (self.kills.iter().peekable(), [0u32; 5]);
        let (mut next, mut counters) = (0, [Counters::default(); 5]);
        while at <= until {
            while let Some(kill) = kills.next_if(|k| **k <= at) {
                let i = next % 5;
                next += 1;
                restarts[i] += 1;
                let uid = Uid::from_bits(u128::try_from(i).unwrap() + 1);
                e.unhealthy(*kill, uid, &app, ProbeKind::Liveness, FailureClass::Slow, 3);
                e.killing(*kill, uid, &app, ProbeKind::Liveness);
            }
            for (i, restarts) in restarts.iter().enumerate() {
                let ready = i != 0 || !self.unready.iter().any(|(from, to)| *from <= at && at < *to);
                e.pod(at, &pod(&self.workload, u128::try_from(i).unwrap(), *restarts, at, ready));
            }
            for (i, c) in counters.iter_mut().enumerate().filter(|_| self.workload.probe(&readiness()).is_some()) {
                if (1..=2).contains(&i) && self.silent.is_some_and(|(from, to)| from <= at && at < to) {
                    c.failed += 10;
                } else {
                    (c.successful, c.count) = (c.successful + 12, c.count + 12);
                    c.buckets.iter_mut().for_each(|b| *b += 12);
                }
                let pod = Uid::from_bits(u128::try_from(i).unwrap() + 1);
                e.sample(at, &Sample { pod, probe: readiness(), counters: *c });
            }
            at = at + Span::MINUTE;
        }
        e
    }
}

fn readiness() -> ProbeId {
    ProbeId { container: "app".into(), kind: ProbeKind::Readiness }
}

fn flight(stage: Stage) -> InFlight {
    let w = workload("shop", "web");
    let since = if stage == Stage::Watching { WATCHED } else { APPLIED };
    let (applied, generation) = if stage == Stage::Intended { (None, None) } else { (Some(APPLIED), Some(2)) };
    InFlight { change: change(&w, "10/12/2"), stage, since, applied, generation, version: 1 }
}

fn patched() -> Workload {
    renumbered(workload("shop", "web"), "10/12/2")
}

fn next(f: &InFlight, w: &Workload, e: &Evidence, now: Timestamp) -> Step {
    verify::next(f, w, e, &Terms::default(), now)
}

fn hours(n: i64) -> Span {
    Span::HOUR * n
}

#[test]
fn an_intent_whose_numbers_stand_was_applied_and_one_whose_old_numbers_stand_was_not() {
    let e = Evidence::new();
    let f = flight(Stage::Intended);
    assert_eq!(next(&f, &patched(), &e, APPLIED), Step::WasApplied);
    let untouched = workload("shop", "web");
    assert_eq!(next(&f, &untouched, &e, APPLIED + Span::MINUTE), Step::Wait);
    assert_eq!(next(&f, &untouched, &e, APPLIED + Span::MINUTE * 10), Step::WasNotApplied);
    assert_eq!(next(&f, &renumbered(untouched, "7/1/3"), &e, APPLIED), Step::Contested);
}

#[test]
fn a_status_of_the_generation_before_the_patch_contradicts_nothing() {
    // The watch has not shown the patch yet: its old numbers are old news, not somebody's veto.
    let f = flight(Stage::Patched);
    assert_eq!(next(&f, &workload("shop", "web"), &Evidence::new(), APPLIED), Step::Wait);
    // However long: a watch that is broken is no reason to take anything back.
    assert_eq!(next(&f, &workload("shop", "web"), &Evidence::new(), APPLIED + hours(5)), Step::Wait);
}

#[test]
fn the_watch_begins_when_the_rollout_has_finished_and_not_before() {
    let mut w = patched();
    w.unpatchable = vec![Unpatchable::Progressing];
    let f = flight(Stage::Patched);
    assert_eq!(next(&f, &w, &Evidence::new(), APPLIED + Span::MINUTE), Step::Wait);
    assert_eq!(next(&f, &w, &Evidence::new(), APPLIED + Span::MINUTE * 30), Step::Worse(Why::Stuck));
    assert_eq!(next(&f, &patched(), &Evidence::new(), APPLIED + Span::MINUTE), Step::RolledOut);
}

#[test]
fn a_way_back_that_is_slow_is_waited_for() {
    let mut w = patched();
    w.unpatchable = vec![Unpatchable::Progressing];
    let mut f = flight(Stage::Patched);
    f.change.intent = Intent::Revert;
    assert_eq!(next(&f, &w, &Evidence::new(), APPLIED + hours(5)), Step::Wait);
}

#[test]
fn numbers_that_somebody_else_put_there_end_the_watch() {
    let w = renumbered(patched(), "10/1/3");
    assert_eq!(next(&flight(Stage::Watching), &w, &Evidence::new(), WATCHED + hours(1)), Step::Contested);
}

#[test]
fn another_version_on_top_ends_the_watch_without_a_verdict() {
    let mut w = patched();
    w.generation += 1;
    w.version = 2;
    assert_eq!(next(&flight(Stage::Watching), &w, &Evidence::new(), WATCHED + hours(1)), Step::Superseded);
}

#[test]
fn a_persons_stop_ends_the_watch_and_a_pause_does_not() {
    let stopped = |f: &dyn Fn(&mut Workload)| {
        let mut w = patched();
        f(&mut w);
        next(&flight(Stage::Watching), &w, &History::new().told(WATCHED), WATCHED + Span::MINUTE)
    };
    assert_eq!(stopped(&|w| w.permission.mode = Mode::Recommend), Step::Stopped);
    assert_eq!(stopped(&|w| w.permission.skip = Some("".into())), Step::Stopped);
    assert_eq!(stopped(&|w| w.permission.freeze_until = Some(WATCHED + Span::DAY)), Step::Stopped);
    assert_eq!(stopped(&|w| w.permission.paused = true), Step::Wait);
}

#[test]
fn a_quiet_day_after_a_quiet_day_is_good() {
    let now = WATCHED + Span::DAY;
    assert!(matches!(next(&flight(Stage::Watching), &patched(), &History::new().told(now), now), Step::Good(_)));
}

#[test]
fn a_day_in_which_nothing_was_seen_verifies_nothing() {
    let now = WATCHED + Span::DAY;
    let unseen = History::new().told(APPLIED);
    assert_eq!(next(&flight(Stage::Watching), &patched(), &unseen, now), Step::Wait);
    assert_eq!(next(&flight(Stage::Watching), &patched(), &unseen, now + Span::DAY), Step::Superseded);
}

#[test]
fn fewer_restarts_than_in_the_storm_before_are_good() {
    let mut h = History::new();
    h.kills = (1..=6).map(|m| APPLIED - Span::MINUTE * (7 - m)).collect();
    h.kills.extend([WATCHED + hours(3), WATCHED + hours(9)]);
    let now = WATCHED + Span::DAY;
    match next(&flight(Stage::Watching), &patched(), &h.told(now), now) {
        Step::Good(c) => assert_eq!((c.before.probe_restarts, c.after.probe_restarts), (6, 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_restart_after_a_change_is_no_verdict() {
    let mut h = History::new();
    h.kills = vec![WATCHED + hours(3)];
    let now = WATCHED + Span::DAY;
    assert!(matches!(next(&flight(Stage::Watching), &patched(), &h.told(now), now), Step::Good(_)));
}

#[test]
fn more_restarts_than_before_are_worse_at_the_end_of_the_watch() {
    let mut h = History::new();
    h.kills = vec![APPLIED - hours(5), WATCHED + hours(3), WATCHED + hours(9)];
    let now = WATCHED + Span::DAY;
    assert!(matches!(next(&flight(Stage::Watching), &patched(), &h.told(now), now), Step::Worse(Why::Restarts(_))));
    let early = WATCHED + hours(10);
    assert_eq!(next(&flight(Stage::Watching), &patched(), &h.told(early), early), Step::Wait);
}

#[test]
fn a_loop_of_restarts_is_worse_long_before_the_end() {
    let mut h = History::new();
    h.kills = (1..=8).map(|m| WATCHED + Span::MINUTE * 4 * m).collect();
    let now = WATCHED + hours(1);
    assert!(matches!(next(&flight(Stage::Watching), &patched(), &h.told(now), now), Step::Worse(Why::Restarts(_))));
}

#[test]
fn longer_unready_than_before_is_worse() {
    let mut h = History::new();
    h.unready = vec![(WATCHED + hours(1), WATCHED + hours(3))];
    let now = WATCHED + hours(4);
    assert!(matches!(next(&flight(Stage::Watching), &patched(), &h.told(now), now), Step::Worse(Why::Unready(_))));
    // As long as before is no worse.
    h.unready.push((APPLIED - hours(3), APPLIED - hours(1)));
    assert_eq!(next(&flight(Stage::Watching), &patched(), &h.told(now), now), Step::Wait);
}

/// What comes of a change of readiness numbers after which pods were unready for longer, while two replicas were silent
/// together for so long.
fn silent_together(from: &str, to: &str, silent: Span) -> Step {
    let mut h = History::new();
    h.workload.probes.push(Probe { id: readiness(), settings: settings(to), ..h.workload.probes[0].clone() });
    h.unready = vec![(WATCHED + hours(1), WATCHED + hours(3))];
    h.silent = Some((WATCHED + hours(1), WATCHED + hours(1) + silent));
    let mut f = flight(Stage::Watching);
    f.change.steps = vec![change::Step { probe: readiness(), from: settings(from), to: settings(to) }];
    let now = WATCHED + hours(4);
    let patched = Workload { generation: 2, ..h.workload.clone() };
    next(&f, &patched, &h.told(now), now)
}

#[test]
fn slowness_of_several_that_the_former_readiness_gave_up_on_too_is_not_held_against_the_new() {
    let minutes = |n| Span::MINUTE * n;
    // Blind above 1 s, and half a minute is more than it tolerates.
    assert_eq!(silent_together("10/1/3", "5/6/2", minutes(1)), Step::Wait);
    assert_eq!(silent_together("10/5/3", "5/6/2", minutes(1)), Step::Wait);
    // More patient than before in all.
    assert_eq!(silent_together("10/6/2", "10/8/3", minutes(1)), Step::Wait);
    // One that tolerates more than half a minute gives up on what lasts for more than two.
    assert_eq!(silent_together("10/1/9", "5/6/2", minutes(10)), Step::Wait);
}

#[test]
fn slowness_of_several_that_the_former_readiness_lived_through_is_held_against_a_tighter_one() {
    let worse = |from, to, minutes| {
        let step = silent_together(from, to, Span::MINUTE * minutes);
        assert!(matches!(step, Step::Worse(Why::Unready(_))), "{from} to {to}: {step:?}");
    };
    // It answered between 5 and 10 s, which the former timeout waited for.
    worse("10/10/2", "5/6/2", 1);
    // Silence of a minute, which the former patience outlasted.
    worse("10/1/9", "5/6/2", 1);
    worse("30/6/6", "5/6/2", 10);
}

#[test]
fn the_seconds_in_which_pods_start_are_no_trend() {
    let mut h = History::new();
    h.unready = vec![(WATCHED, WATCHED + Span::SECOND)];
    let terms = Terms { watch_for: Span::MINUTE, ..Terms::default() };
    let now = WATCHED + Span::SECOND * 20;
    assert_eq!(verify::next(&flight(Stage::Watching), &patched(), &h.told(now), &terms, now), Step::Wait);
}
