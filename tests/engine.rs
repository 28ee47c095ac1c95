//! The life of a change through the engine's one face, and what a restart, an opt-out or a lost answer does to it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::change::{Intent, Outcome, Stage, Verdict};
use probe_tuner::engine::{Engine, Rules, View};
use probe_tuner::memory::{InFlight, Memory};
use probe_tuner::observation::{Counters, Fact, Observation, Sample};
use probe_tuner::policy::Mode;
use probe_tuner::reason::Reason;
use probe_tuner::store::tunings::Tunings;
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Container, Pod, Workload};
use support::fixtures::{change, liveness, renumbered, settings, workload};

const START: Timestamp = Timestamp::from_seconds(86_400);

struct Told {
    engine: Engine,
    now: Timestamp,
    workload: Workload,
}

impl Told {
    /// An engine that has heard this workload and remembers this of it.
    fn new(w: &Workload, memory: Option<Memory>) -> Self {
        let mut told = Told { engine: Engine::new(Rules::default(), START), now: START, workload: w.clone() };
        told.fact(Fact::Fence { holds: true });
        if let Some(memory) = memory {
            told.fact(Fact::Remembered { workload: w.uid, memory: Box::new(memory) });
        }
        told.fact(Fact::Workload(Box::new(w.clone())));
        told
    }

    fn fact(&mut self, fact: Fact) {
        self.engine.observe(Observation { at: self.now, fact });
    }

    fn outcome(&mut self, change: u64, outcome: Outcome) {
        self.fact(Fact::Outcome { workload: self.workload.uid, change, outcome });
    }

    fn later(&mut self, span: Span) {
        self.now = self.now + span;
    }

    fn view(&self) -> View {
        self.engine.view(self.workload.uid).unwrap()
    }
}

/// A change from 10/1/3 to 10/12/2 at this stage, begun an hour before the start.
fn flight(stage: Stage, intent: Intent) -> Memory {
    let mut c = change(&workload("shop", "web"), "10/12/2");
    c.intent = intent;
    if intent == Intent::Revert {
        c.steps[0].from = settings("10/12/2");
        c.steps[0].to = settings("10/1/3");
        c.message = "back to the former numbers: 9 restarts".into();
    }
    let since = START - Span::HOUR;
    let in_flight = InFlight { change: c, stage, since, applied: Some(since), generation: Some(2), version: 1 };
    Memory { in_flight: Some(in_flight), owners: vec![(liveness(), settings("10/1/3"))], ..Memory::default() }
}

fn tuned() -> Workload {
    renumbered(workload("shop", "web"), "10/12/2")
}

#[test]
fn a_change_that_an_earlier_life_sent_is_gone_on_with_and_not_sent_again() {
    let mut t = Told::new(&tuned(), Some(flight(Stage::Intended, Intent::Tune)));
    let turn = t.engine.turn(t.now);
    assert!(turn.changes.is_empty());
    assert_eq!(t.view().memory.in_flight.unwrap().stage, Stage::Patched);
    assert!(t.engine.turn(t.now).changes.is_empty());
    assert_eq!(t.view().memory.in_flight.unwrap().stage, Stage::Watching);
}

#[test]
fn nothing_is_written_over_a_record_that_was_not_read_yet() {
    let mut t = Told::new(&tuned(), None);
    t.fact(Fact::Records { read: false });
    assert!(t.engine.turn(t.now).news.is_empty());
    let uid = t.workload.uid;
    t.fact(Fact::Remembered { workload: uid, memory: Box::new(flight(Stage::Watching, Intent::Tune)) });
    t.fact(Fact::Records { read: true });
    assert_eq!(t.engine.turn(t.now).news, [uid]);
    assert!(t.view().memory.in_flight.is_some());
}

#[test]
fn a_workload_whose_record_cannot_be_read_is_left_alone_and_so_is_the_record() {
    let mut t = Told::new(&workload("shop", "web"), None);
    t.fact(Fact::Illegible { workload: t.workload.uid });
    assert!(t.engine.turn(t.now).news.is_empty());
    t.fact(Fact::Workload(Box::new(tuned())));
    assert!(t.engine.turn(t.now).news.is_empty());
    assert!(!t.view().memory.contested.is_empty());
}

#[test]
fn a_stop_closes_the_change_at_once_and_says_what_to_type_to_undo_it() {
    let mut t = Told::new(&tuned(), Some(flight(Stage::Watching, Intent::Tune)));
    let mut w = tuned();
    w.permission.mode = Mode::Recommend;
    t.fact(Fact::Workload(Box::new(w)));
    let turn = t.engine.turn(t.now);
    assert_eq!(turn.ended[0].past.verdict, Verdict::Abandoned);
    let view = t.view();
    assert!(view.memory.in_flight.is_none());
    assert!(
        view.message.contains("kubectl patch deployment web -n shop") && view.message.contains("\"timeoutSeconds\":1"),
        "{}",
        view.message
    );
}

#[test]
fn who_is_switched_off_and_on_again_is_no_stranger() {
    let mut t = Told::new(&tuned(), Some(Memory { reverts: 2, ..flight(Stage::Watching, Intent::Tune) }));
    let mut w = tuned();
    w.permission.mode = Mode::Off;
    t.fact(Fact::Workload(Box::new(w.clone())));
    t.fact(Fact::WorkloadGone(w.uid));
    assert_eq!(t.engine.turn(t.now).news, [w.uid]);
    assert_eq!(t.engine.forget_gone(), [w.uid]);
    t.fact(Fact::Workload(Box::new(tuned())));
    let memory = t.view().memory;
    assert_eq!((memory.reverts, memory.past.len(), memory.owners.len()), (2, 1, 1));
}

#[test]
fn a_workload_that_is_deleted_leaves_no_last_word() {
    let mut t = Told::new(&tuned(), None);
    assert_eq!(t.engine.turn(t.now).news.len(), 1);
    t.fact(Fact::WorkloadGone(t.workload.uid));
    assert!(t.engine.turn(t.now).news.is_empty());
    assert_eq!(t.engine.forget_gone().len(), 1);
}

#[test]
fn a_way_back_that_a_scaling_crossed_is_asked_for_again_and_not_given_up() {
    let mut t = Told::new(&tuned(), Some(flight(Stage::Intended, Intent::Revert)));
    t.outcome(1, Outcome::Contested { found: "generation 3".into() });
    assert!(t.engine.turn(t.now).changes.is_empty(), "not at once");
    t.later(Span::MINUTE * 2);
    let turn = t.engine.turn(t.now);
    let [c] = &turn.changes[..] else { unreachable!("{turn:?}") };
    assert_eq!((c.intent, c.reason, c.steps[0].to), (Intent::Revert, Reason::Reverted, settings("10/1/3")));
    assert_eq!(c.message, "back to the former numbers: 9 restarts");
    t.outcome(c.id, Outcome::Withheld { reason: Reason::Refused, why: "503".into() });
    assert!(t.engine.turn(t.now).changes.is_empty());
    t.later(Span::MINUTE * 2);
    assert_eq!(t.engine.turn(t.now).changes.len(), 1);
}

#[test]
fn a_way_back_that_is_refused_leaves_the_workload_to_a_person() {
    let mut t = Told::new(&tuned(), Some(flight(Stage::Intended, Intent::Revert)));
    t.outcome(1, Outcome::Refused { why: "a policy of the owner".into() });
    let turn = t.engine.turn(t.now);
    assert!(turn.changes.is_empty());
    let view = t.view();
    assert_eq!(view.phase.name(), "Degraded");
    assert!(view.message.contains("a policy of the owner"), "{}", view.message);
}

#[test]
fn a_way_back_that_is_taken_counts_and_records_what_it_took_back() {
    let mut t = Told::new(&tuned(), Some(flight(Stage::Intended, Intent::Revert)));
    t.outcome(1, Outcome::Applied { generation: 3 });
    t.fact(Fact::Workload(Box::new(renumbered(tuned(), "10/1/3"))));
    t.engine.turn(t.now).ended.iter().for_each(|e| assert_ne!(e.past.verdict, Verdict::Contested));
    let memory = t.view().memory;
    assert_eq!(memory.reverts, 1);
    let verdicts: Vec<_> = memory.past.iter().map(|p| (p.intent, p.verdict)).collect();
    assert_eq!(verdicts, [(Intent::Tune, Verdict::Reverted), (Intent::Revert, Verdict::Verified)]);
}

#[test]
fn numbers_that_another_hand_put_back_stand_until_somebody_edits_them_again() {
    let mut t = Told::new(&tuned(), Some(flight(Stage::Watching, Intent::Tune)));
    t.fact(Fact::Workload(Box::new(renumbered(tuned(), "10/1/3"))));
    assert_eq!(t.engine.turn(t.now).ended[0].past.verdict, Verdict::Contested);
    assert_eq!(t.view().reason, Reason::Contested);
    t.fact(Fact::Workload(Box::new(renumbered(renumbered(tuned(), "10/1/3"), "10/2/3"))));
    assert!(t.engine.turn(t.now).changes.is_empty());
    assert!(t.view().memory.contested.is_empty());
}

#[test]
fn a_second_turn_without_news_has_none() {
    let mut t = Told::new(&workload("shop", "web"), None);
    assert_eq!(t.engine.turn(t.now).news.len(), 1);
    let again = t.engine.turn(t.now);
    assert!(again.changes.is_empty() && again.news.is_empty() && again.ended.is_empty());
}

/// Pods that answer at once, each 15 s for so many hours from `begin`; the last counters.
fn quiet(told: &mut Told, pods: &[Uid], hours: i64) -> u64 {
    let mut checks = 0;
    for _ in 0..hours * 240 {
        told.later(Span::SECOND * 15);
        checks += 1;
        for pod in pods {
            told.fact(sample(*pod, checks));
        }
    }
    checks
}

fn sample(pod: Uid, successful: u64) -> Fact {
    let counters = Counters { successful, failed: 0, buckets: [successful; 11], count: successful };
    Fact::Sample(Sample { pod, probe: liveness(), counters })
}

fn running(w: &Workload, uid: Uid, at: Timestamp) -> Fact {
    Fact::Pod(Box::new(Pod {
        uid,
        name: format!("web-{}", uid.bits()).into(),
        workload: w.uid,
        node: Some("node".into()),
        probes: w.probes.clone(),
        containers: vec![Container {
            name: "app".into(),
            running_since: Some(at),
            ready: true,
            started: true,
            restarts: 0,
            last_end: None,
        }],
        terminating: false,
        created: at,
        ready: true,
    }))
}

#[test]
fn a_past_that_comes_late_takes_the_place_of_the_minutes_watched_meanwhile_and_the_pods_stay_watched() {
    let w = workload("shop", "web");
    let pods = [Uid::from_bits(1), Uid::from_bits(2)];
    let mut past = Told::new(&w, None);
    pods.iter().for_each(|uid| past.fact(running(&w, *uid, START)));
    let checks = quiet(&mut past, &pods, 30);
    let bytes = past.engine.evidence(w.uid).unwrap().encode();

    // A daemon that began half an hour before the past ends and hears of it then.
    let mut late = Told::new(&w, None);
    late.now = past.now - Span::MINUTE * 30;
    pods.iter().for_each(|uid| late.fact(running(&w, *uid, START)));
    for n in (0..120).rev() {
        late.later(Span::SECOND * 15);
        pods.iter().for_each(|uid| late.fact(sample(*uid, checks - n)));
    }
    assert_eq!(late.now, past.now);
    late.fact(Fact::RememberedEvidence { workload: w.uid, bytes });
    let seen = |told: &Told| told.engine.evidence(w.uid).unwrap().seen(&liveness()).unwrap().pod_time();
    assert_eq!(seen(&late), seen(&past), "neither lost nor counted twice");
    late.later(Span::SECOND * 15);
    pods.iter().for_each(|uid| late.fact(sample(*uid, checks + 1)));
    assert_eq!(seen(&late), seen(&past) + Span::SECOND * 30, "the next scrape goes on from the last one");
    assert_eq!(late.engine.dropped(), 0);
    let evidence = late.engine.evidence(w.uid).unwrap();
    assert_eq!((evidence.pods(), evidence.rollouts().0, evidence.dropped().strangers), (2, 0, 0));
}

#[test]
fn shadow_checks_that_see_something_else_than_the_kubelet_are_shown_until_they_agree_again() {
    let w = workload("shop", "web");
    let pod = Uid::from_bits(1);
    let mut told = Told::new(&w, None);
    told.fact(running(&w, pod, START));
    let ask = |told: &mut Told, times: u32, latency: Span| {
        for _ in 0..times {
            let probe = liveness();
            told.fact(Fact::ShadowCheck { pod, probe, latency: Some(latency), healthy: true });
        }
    };
    ask(&mut told, 1, Span::from_millis(4));
    let checks = quiet(&mut told, &[pod], 1);
    drop(told.engine.turn(told.now));
    assert_eq!(told.view().differing, []);
    ask(&mut told, 249, Span::SECOND * 3);
    told.later(Span::MINUTE * 16);
    let turn = told.engine.turn(told.now);
    assert_eq!(turn.news, [w.uid]);
    let view = told.view();
    assert_eq!(
        (view.differing.len(), &view.differing[0].probe, view.differing[0].shares),
        (1, &liveness(), (0.996, 0.0))
    );
    let (_, status) = Tunings::new().request(&view, told.now).unwrap().unwrap();
    let condition = status.conditions.iter().find(|c| c.type_ == "ShadowChecksDiffer").unwrap();
    assert!(
        condition.message.starts_with("app/liveness: 99.6 % of ours were slow or not healthy, 0.0 % of the kubelets'"),
        "{condition:?}"
    );
    // Two days later both see the same.
    told.later(Span::DAY * 3);
    told.fact(sample(pod, checks));
    for n in 1..=300 {
        told.later(Span::SECOND * 15);
        told.fact(sample(pod, checks + n));
    }
    ask(&mut told, 250, Span::from_millis(4));
    told.later(Span::MINUTE * 16);
    assert_eq!(told.engine.turn(told.now).news, [w.uid]);
    assert_eq!(told.view().differing, []);
}
