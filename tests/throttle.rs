//! Throttling: a container that stands still for want of CPU needs CPU, and no number of a probe. What is not read of it
//! is unknown and changes nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::decide::{Prices, Urgency, explain};
use probe_tuner::engine::{Engine, Rules};
use probe_tuner::evidence::Evidence;
use probe_tuner::observation::{Fact, Observation, Throttling};
use probe_tuner::probe::ProbeKind;
use probe_tuner::reason::Reason;
use probe_tuner::units::{Name, Span, Timestamp, Uid};
use probe_tuner::workload::{Pod, Probe, ProbeId};
use proptest::prelude::*;
use support::fixtures::{liveness, renumbered, settings, workload};
use support::stage::{Answer, Stage, well};

/// The CFS counters of each replica, told by the minute.
struct Counted {
    periods: Vec<u64>,
    throttled: Vec<f64>,
}

impl Counted {
    fn new(s: &Stage) -> Self {
        Counted { periods: vec![0; s.replicas.len()], throttled: vec![0.0; s.replicas.len()] }
    }

    /// A minute goes by: 600 periods a replica, of which such a share is throttled; `None`: nobody is told.
    fn minute(&mut self, s: &mut Stage, share: impl Fn(usize) -> Option<f64>) {
        for i in 0..self.periods.len() {
            self.periods[i] += 600;
            self.throttled[i] += 600.0 * share(i).unwrap_or(0.0);
            if share(i).is_some() {
                self.tell(s, i);
            }
        }
    }

    fn tell(&self, s: &mut Stage, i: usize) {
        let (pod, container) = (s.replicas[i].uid, "app".into());
        let (periods, throttled) = (self.periods[i], self.throttled[i] as u64);
        s.evidence.throttling(s.now, &Throttling { pod, container, periods, throttled });
    }
}

/// Minutes of checks in which replicas are throttled so much.
fn live(s: &mut Stage, counted: &mut Counted, minutes: i64, share: impl Fn(usize) -> Option<f64>) {
    for _ in 0..minutes {
        s.play(Span::MINUTE, well);
        counted.minute(s, &share);
    }
}

/// A day and a half of calm at these numbers.
fn calm(numbers: &str) -> Stage {
    let mut s = Stage::of(renumbered(workload("shop", "web"), numbers));
    s.play(Span::HOUR * 36, well);
    s
}

fn since(s: &Stage) -> Option<Timestamp> {
    s.evidence.throttled_since(&Name::from("app"), s.now)
}

const MISSING: &str = "CPU is what is missing";

#[test]
fn hours_of_throttling_on_most_pods_are_said_whatever_is_decided() {
    let mut s = calm("10/12/2");
    let mut counted = Counted::new(&s);
    let most = |i: usize| Some(if i < 3 { 0.5 } else { 0.0 });
    live(&mut s, &mut counted, 119, most);
    assert!(!s.judge().message.contains(MISSING), "not for hours yet: {}", s.judge().message);
    live(&mut s, &mut counted, 61, most);
    assert_eq!(since(&s), Some(s.now - Span::HOUR * 3));
    let j = s.judge();
    assert_eq!((j.wanted, j.urgency), (j.current, Urgency::Hold));
    assert!(
        j.message.ends_with(
            "; container app has been throttled in more than 30 % of its CPU periods on most pods for 3 h: CPU is what is missing, by its own limit"
        ),
        "{}",
        j.message
    );
    let e = explain(&s.evidence, &s.workload, &s.memory, &Prices::default(), s.now).remove(0);
    let throttled = e.load.throttled.unwrap();
    assert!((throttled.share - 0.3).abs() < 0.01, "three of five pods at a half: {throttled:?}");
    assert_eq!(throttled.lasts, Some(Span::HOUR * 3));
    assert!(e.account.unwrap().starved.unwrap().contains(MISSING));
}

#[test]
fn one_pod_alone_or_a_little_of_each_is_no_starvation() {
    for share in [[0.9, 0.9, 0.0, 0.0, 0.0], [0.29; 5]] {
        let mut s = calm("10/12/2");
        let mut counted = Counted::new(&s);
        live(&mut s, &mut counted, 300, |i| Some(share[i]));
        assert_eq!(since(&s), None, "{share:?}");
        assert!(s.evidence.load().throttled()[0].day(s.now).unwrap().seen > 80_000);
    }
}

#[test]
fn throttling_that_is_over_is_over_within_minutes_and_silence_ends_it() {
    let mut s = calm("10/12/2");
    let mut counted = Counted::new(&s);
    live(&mut s, &mut counted, 240, |_| Some(0.8));
    assert!(since(&s).is_some());
    let (mut ended, mut silent) = (s.evidence.clone(), s.evidence.clone());
    // Most of ten minutes without any.
    std::mem::swap(&mut s.evidence, &mut ended);
    live(&mut s, &mut counted, 16, |_| Some(0.0));
    assert_eq!(since(&s), None);
    // Nobody is told for an hour.
    std::mem::swap(&mut s.evidence, &mut silent);
    s.play(Span::HOUR * 2, well);
    assert_eq!(since(&s), None);
}

#[test]
fn pods_of_which_nobody_is_told_are_not_throttled() {
    let mut s = calm("10/12/2");
    let mut counted = Counted::new(&s);
    live(&mut s, &mut counted, 240, |i| (i < 2).then_some(0.9));
    assert_eq!(since(&s), None, "two of five");
    live(&mut s, &mut counted, 240, |i| (i < 3).then_some(0.9));
    assert!(since(&s).is_some(), "three of five");
}

#[test]
fn counters_that_fall_begin_anew_and_a_long_silence_is_unknown() {
    let mut s = calm("10/12/2");
    let app = |s: &Stage| s.evidence.load().throttled().first().and_then(|t| t.day(s.now));
    let tell = |s: &mut Stage, minutes: i64, periods: u64, throttled: u64| {
        s.now = s.now + Span::MINUTE * minutes;
        let (pod, container) = (s.replicas[0].uid, "app".into());
        s.evidence.throttling(s.now, &Throttling { pod, container, periods, throttled });
        app(s).map(|h| (h.seen, h.periods, h.throttled_periods))
    };
    assert_eq!(tell(&mut s, 1, 1_000, 900), None, "nobody knows what was before");
    assert_eq!(tell(&mut s, 5, 4_000, 900), Some((300, 3_000, 0)));
    // The container began anew: 50 periods of it are seen, and since when nobody knows.
    assert_eq!(tell(&mut s, 5, 50, 50), Some((300, 3_000, 0)));
    assert_eq!(tell(&mut s, 5, 3_050, 50), Some((600, 6_000, 0)));
    assert_eq!(tell(&mut s, 16, 12_000, 9_000), Some((600, 6_000, 0)));
    assert_eq!(tell(&mut s, 14, 20_000, 10_000), Some((600 + 840, 14_000, 1_000)));
    // The same page again, and a container of which no probe is watched.
    assert_eq!(tell(&mut s, 0, 20_000, 10_000), Some((1_440, 14_000, 1_000)));
    let (pod, container) = (s.replicas[0].uid, "proxy".into());
    s.evidence.throttling(s.now, &Throttling { pod, container, periods: 1, throttled: 0 });
    assert_eq!(s.evidence.load().throttled().len(), 1);
}

/// Stalls of 40 s on three of five pods, every two hours of a night: at 10/12/2 each restarts them.
fn stalled(throttled: bool) -> Stage {
    let mut s = calm("10/12/2");
    s.starts = 20;
    s.memory.owners = vec![(liveness(), settings("10/8/2"))];
    let mut counted = Counted::new(&s);
    for _ in 0..6 {
        s.play(Span::MINUTE, |i, t| if i < 3 && t < 40 { Answer::After(60.0) } else { well(i, t) });
        live(&mut s, &mut counted, 119, |_| throttled.then_some(0.7));
    }
    s
}

#[test]
fn what_is_told_of_containers_beyond_the_tenth_is_dropped_and_counted() {
    let mut w = workload("shop", "web");
    let probe = |i: usize| Probe {
        id: ProbeId { container: format!("app-{i}").into(), kind: ProbeKind::Liveness },
        ..w.probes[0].clone()
    };
    w.probes = (0..12).map(probe).collect();
    let pod = Pod {
        uid: Uid::from_bits(7),
        name: "web-7".into(),
        workload: w.uid,
        node: Some("node-1".into()),
        probes: w.probes.clone(),
        containers: Vec::new(),
        terminating: false,
        created: Timestamp::EPOCH,
        ready: true,
    };
    let (uid, mut engine) = (w.uid, Engine::new(Rules::default(), Timestamp::EPOCH));
    let mut learn = |at, fact| engine.observe(Observation { at, fact });
    learn(Timestamp::EPOCH, Fact::Workload(Box::new(w.clone())));
    learn(Timestamp::EPOCH, Fact::Pod(Box::new(pod.clone())));
    for minute in 0..3 {
        for p in &w.probes {
            let (container, periods) = (p.id.container.clone(), 600 * minute);
            let told = Throttling { pod: pod.uid, container, periods, throttled: periods };
            learn(Timestamp::EPOCH + Span::MINUTE * 5 * minute as i64, Fact::Throttling(told));
        }
    }
    let e = engine.evidence(uid).unwrap();
    assert_eq!((e.load().throttled().len(), e.dropped().throttling), (10, 2 * 2));
    // And so they are on the metrics page, each once.
    for turn in 1..3 {
        let _ = engine.turn(Timestamp::EPOCH + Span::HOUR * turn);
        assert_eq!(engine.dropped(), 4);
    }
}

#[test]
fn a_throttled_workload_is_given_more_patience_once_and_then_told_what_is_missing() {
    let (mut starved, free) = (stalled(true), stalled(false));
    let j = free.judge();
    assert!(j.wanted.stall_tolerance() > 24 && j.reason == Reason::Loosen, "{} {}", j.wanted, j.message);
    // Its owner's own numbers were already loosened.
    let j = starved.judge();
    assert_eq!((j.wanted, j.reason), (j.current, Reason::Starved), "{}", j.message);
    assert!(j.message.contains(MISSING) && j.message.contains("false restarts a pod-year expected"), "{}", j.message);
    // They were not: once it may.
    starved.memory.owners.clear();
    let j = starved.judge();
    assert!(j.wanted.stall_tolerance() > 24 && j.reason == Reason::Loosen, "{} {}", j.wanted, j.message);
    assert!(j.message.contains(MISSING), "{}", j.message);
}

#[test]
fn what_was_throttled_survives_the_daemon_and_merges_in_any_order() {
    let mut s = calm("10/12/2");
    let mut counted = Counted::new(&s);
    live(&mut s, &mut counted, 200, |_| Some(0.8));
    let back = Evidence::decode(&s.evidence.encode()).unwrap();
    assert_eq!(back.load(), s.evidence.load());
    assert_eq!(back.throttled_since(&"app".into(), s.now), since(&s), "whoever explains sees what the daemon saw");
    let mut other = Stage::numbered(renumbered(workload("shop", "web"), "10/12/2"), 101);
    other.play(Span::HOUR * 37, well);
    let mut counted = Counted::new(&other);
    live(&mut other, &mut counted, 100, |_| Some(0.1));
    let (mut a, mut b) = (s.evidence.clone(), other.evidence.clone());
    a.merge(other.evidence.clone());
    b.merge(s.evidence.clone());
    assert_eq!(a.load(), b.load());
    let seen = |e: &Evidence| e.load().throttled()[0].day(s.now).unwrap().seen;
    assert_eq!(seen(&a), seen(&s.evidence) + seen(&other.evidence));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Minutes between two readings, periods and throttled ones between them (fewer than 30 %), or a new start.
    #[test]
    fn with_whatever_gaps_and_new_starts_throttling_below_the_mark_changes_nothing(
        told in prop::collection::vec((1i64..40, 0u64..2_000, 0.0f64..0.3, 0u8..8, 0usize..5), 1..120),
    ) {
        let mut s = calm("10/1/3");
        let without = s.judge();
        let (at, mut counters) = (s.now, [(0u64, 0u64); 5]);
        for (minutes, periods, share, anew, i) in told {
            s.now = s.now + Span::MINUTE * minutes;
            counters[i] = if anew == 0 { (0, 0) } else { counters[i] };
            counters[i].0 += periods;
            counters[i].1 += (periods as f64 * share) as u64;
            let (pod, container) = (s.replicas[i].uid, "app".into());
            s.evidence.throttling(s.now, &Throttling { pod, container, periods: counters[i].0, throttled: counters[i].1 });
            prop_assert_eq!(since(&s), None);
        }
        prop_assert_eq!(s.judge_at(at), without);
    }

    /// However it was throttled: two hours after the last word nobody knows, and nothing follows from it.
    #[test]
    fn throttling_of_which_nobody_is_told_any_more_changes_nothing(
        shares in prop::collection::vec((0.0f64..1.0, any::<bool>()), 1..6),
    ) {
        let (mut s, mut without) = (calm("10/12/2"), calm("10/12/2"));
        let mut counted = Counted::new(&s);
        for (share, told) in shares {
            live(&mut s, &mut counted, 60, |_| told.then_some(share));
            without.play(Span::HOUR, well);
        }
        s.play(Span::HOUR * 2, well);
        without.play(Span::HOUR * 2, well);
        prop_assert_eq!(since(&s), None);
        prop_assert_eq!(s.judge(), without.judge());
    }
}
