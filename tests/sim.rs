//! The simulator against what is known without it: closed formulas, measured tables, and its own promises.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::change::{Change, Intent, Outcome, Step};
use probe_tuner::observation::{Fact, Observation};
use probe_tuner::probe::Settings;
use probe_tuner::reason::Reason;
use probe_tuner::sim::{Family, Length, MONDAY, Nature, Pause, Setup, Stalls, Truth, World};
use probe_tuner::units::{Span, Timestamp};

fn s(text: &str) -> Settings {
    text.parse().unwrap()
}

fn end_of(setup: &Setup) -> Timestamp {
    setup.start + Span::round_from_secs_f64(setup.days * 86_400.0)
}

/// Plays a setup to its end under fixed numbers.
fn play(setup: Setup) -> (World, Vec<Observation>) {
    let end = end_of(&setup);
    let (mut world, mut facts) = (World::new(setup), Vec::new());
    while world.advance(end, &mut facts) == Pause::Rollout {}
    (world, facts)
}

fn truth(family: Family, seed: u64, days: f64, settings: &str) -> Truth {
    let mut setup = Setup::new(family, seed, days);
    setup.settings = s(settings);
    play(setup).0.truth().clone()
}

#[test]
fn exponential_stalls_restart_as_often_as_the_formula_says() {
    // (p(A) − p(A+P))/P with p(y) = λ·6·e^(−y/6), one stall in 600 s, 10/4/2: 6.80 a day.
    let nature = Nature {
        stalls: vec![Stalls { most: 144.0, share: |_| 1.0, length: Length::Exponential { mean: 6.0 } }],
        faults: 0.0,
        ..Nature::quiet()
    };
    let mut setup = Setup::of("exponential", nature, 1, 200.0);
    setup.settings = s("10/4/2");
    let (world, _) = play(setup);
    let a_day = world.truth().false_restarts.len() as f64 / 1000.0;
    assert!((a_day / 6.80 - 1.0).abs() < 0.04, "{a_day}");
}

#[test]
fn a_hang_is_found_in_the_stall_tolerance_and_half_a_period_and_a_crash_in_its_own() {
    let nature = Nature { faults: 2000.0, ..Nature::quiet() };
    let mut setup = Setup::of("faulty", nature, 1, 28.0);
    setup.settings = s("5/15/2");
    let (world, _) = play(setup);
    let mean = |hang: bool| {
        let found: Vec<f64> =
            world.truth().detections.iter().filter(|d| d.hang == hang).map(|d| d.after.as_secs_f64()).collect();
        assert!(found.len() > 150, "{}", found.len());
        found.iter().sum::<f64>() / found.len() as f64
    };
    let longest = world.truth().detections.iter().map(|d| d.after.as_secs_f64()).fold(0.0, f64::max);
    assert!((mean(true) - 32.5).abs() < 0.4, "{}", mean(true));
    assert!((mean(false) - 7.5).abs() < 0.4, "{}", mean(false));
    assert!(longest <= 35.01, "{longest}");
    assert!(world.truth().false_restarts.is_empty());
}

#[test]
fn fixed_settings_restart_as_often_as_the_measured_table_says() {
    // False restarts in 24 runs of 28 days of five pods; both sides are counts, so four deviations of their
    // difference are allowed.
    for (family, settings, expected) in [
        (Family::Light, "10/10/2", 0.0),
        (Family::Gc, "10/10/2", 18.0),
        (Family::Gc, "10/12/2", 0.0),
        (Family::Noisy, "10/10/2", 72.0),
        (Family::Noisy, "10/15/2", 35.0),
        (Family::Shift, "10/10/2", 32.0),
        (Family::Blips, "10/10/2", 16.0),
        (Family::EventLoop, "10/10/2", 0.0),
    ] {
        let found: usize = (2000..2012).map(|seed| truth(family, seed, 28.0, settings).false_restarts.len()).sum();
        let (found, expected) = (found as f64, expected / 2.0);
        let allowed = 4.0 * (found + expected / 2.0 + 1.0).sqrt();
        assert!((found - expected).abs() <= allowed, "{family:?} at {settings}: {found} against {expected}");
    }
}

#[test]
fn a_slow_exec_check_at_one_second_is_a_storm_and_at_ten_is_none() {
    assert!(truth(Family::ExecSlow, 1, 7.0, "10/1/3").false_restarts.len() > 200);
    assert!(truth(Family::ExecSlow, 1, 7.0, "10/10/2").false_restarts.len() < 5);
}

#[test]
fn what_happens_does_not_depend_on_who_listens() {
    for family in [Family::Gc, Family::Cfs, Family::Noisy, Family::FlakyDep] {
        let run = |listen: bool| {
            let mut setup = Setup::new(family, 7, 4.0);
            (setup.settings, setup.listen) = (s("5/2/2"), listen);
            play(setup)
        };
        let ((deaf, none), (heard, facts)) = (run(false), run(true));
        assert_eq!(deaf.truth().false_restarts, heard.truth().false_restarts, "{family:?}");
        assert_eq!(deaf.truth().detections, heard.truth().detections, "{family:?}");
        assert!(none.is_empty() && facts.len() > 100_000);
        assert!(facts.is_sorted_by_key(|o| o.at), "{family:?}: facts come in the order of time");
    }
}

#[test]
fn the_same_seed_gives_the_same_facts_and_another_seed_others() {
    let run = |seed| {
        let mut setup = Setup::new(Family::Gc, seed, 1.0);
        setup.listen = true;
        play(setup).1
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn two_settings_meet_the_same_stalls() {
    // Whatever restarts at the more patient numbers restarts at the less patient ones as well.
    for seed in 0..6 {
        let strict = truth(Family::Noisy, seed, 14.0, "10/10/2");
        let patient = truth(Family::Noisy, seed, 14.0, "10/20/3");
        assert!(patient.false_restarts.len() <= strict.false_restarts.len(), "seed {seed}");
    }
}

#[test]
fn counters_hold_successes_within_the_timeout_only_and_grow_while_the_pod_lives() {
    let mut setup = Setup::new(Family::Cfs, 5, 3.0);
    (setup.settings, setup.listen) = (s("10/1/3"), true);
    let (world, facts) = play(setup);
    assert!(!world.truth().false_restarts.is_empty());
    let mut last = std::collections::BTreeMap::new();
    for o in &facts {
        let Fact::Sample(sample) = &o.fact else { continue };
        let c = sample.counters;
        assert_eq!(c.buckets[7], c.count, "nothing above one second is ever seen at a timeout of one second");
        assert_eq!(c.count, c.successful);
        assert!(c.buckets.is_sorted());
        if let Some(before) = last.insert(sample.pod, c) {
            assert!(c.successful >= before.successful && c.failed >= before.failed);
        }
    }
    // Day 2.4 brought a rollout: ten pods in all.
    assert_eq!(last.len(), 10);
}

#[test]
fn numbers_ride_on_the_users_rollout_and_reach_every_pod() {
    let mut setup = Setup::new(Family::Light, 1, 5.0);
    (setup.listen, setup.nature.faults) = (true, 0.0);
    let (mut world, mut facts) = (World::new(setup), Vec::new());
    let end = MONDAY + Span::DAY * 5;
    assert_eq!(world.advance(end, &mut facts), Pause::Rollout);
    assert_eq!(world.now(), MONDAY + Span::round_from_secs_f64(3.4 * 86_400.0));
    let probe = world.probe().clone();
    world.ride(&[(probe, s("10/12/2"))]);
    facts.clear();
    assert_eq!(world.advance(end, &mut facts), Pause::Reached);
    let made: Vec<Settings> = facts
        .iter()
        .filter_map(|o| match &o.fact {
            Fact::Pod(pod) if pod.ready => Some(pod.probes[0].settings),
            _ => None,
        })
        .collect();
    assert_eq!(made, [s("10/12/2"); 5]);
    assert_eq!(world.workload().version, 1);
    assert!(world.workload().at_rest() && world.truth().own_rollouts.is_empty());
}

#[test]
fn a_change_is_obeyed_once_and_contested_when_it_presumes_what_is_not() {
    let mut world = World::new(Setup::new(Family::Flat, 1, 2.0));
    let declared = world.workload();
    let change = |from: &str, generation| Change {
        id: 1,
        workload: declared.uid,
        address: declared.address.clone(),
        generation,
        intent: Intent::Tune,
        steps: vec![Step { probe: declared.probes[0].id.clone(), from: s(from), to: s("10/12/2") }],
        reason: Reason::Loosen,
        message: String::new(),
    };
    world.advance(MONDAY + Span::HOUR, &mut Vec::new());
    assert!(matches!(world.obey(&change("10/1/3", 1)), Outcome::Contested { .. }));
    assert_eq!(world.obey(&change("30/10/5", 1)), Outcome::Applied { generation: 2 });
    assert!(!world.workload().at_rest());
    assert!(matches!(world.obey(&change("10/12/2", 1)), Outcome::Contested { .. }));
    world.advance(MONDAY + Span::HOUR * 2, &mut Vec::new());
    assert!(world.workload().at_rest());
    assert_eq!((world.settings(), world.truth().own_rollouts.len()), (s("10/12/2"), 1));
}

#[test]
fn failures_beyond_the_event_limit_come_late_but_are_all_counted() {
    let mut setup = Setup::new(Family::FlakyDep, 11, 14.0);
    setup.listen = true;
    let (_, facts) = play(setup);
    let (mut events, mut killing) = (0u64, 0);
    let mut last = std::collections::BTreeMap::new();
    for o in &facts {
        match &o.fact {
            Fact::Unhealthy { count, .. } => events += u64::from(*count),
            Fact::Killing { .. } => killing += 1,
            Fact::Sample(sample) => {
                last.insert(sample.pod, sample.counters.failed);
            }
            _ => {}
        }
    }
    let failures: u64 = last.values().sum();
    assert!(events <= failures && events * 10 > failures, "{events} of {failures}");
    assert!(killing > 0);
}
