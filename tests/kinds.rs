//! Readiness and startup probes in the simulated world: what the kubelet would do, and what was really so.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::change::{Change, Intent, Outcome, Step};
use probe_tuner::observation::{Fact, Observation};
use probe_tuner::probe::{ProbeKind, Settings};
use probe_tuner::reason::Reason;
use probe_tuner::sim::{Family, Length, Losses, MONDAY, Nature, Pause, Setup, Stalls, World};
use probe_tuner::units::{Span, Timestamp};
use probe_tuner::workload::{Pod, ProbeId};

fn s(text: &str) -> Settings {
    text.parse().unwrap()
}

fn play(mut setup: Setup, listen: bool) -> (World, Vec<Observation>) {
    setup.listen = listen;
    let end = setup.start + Span::round_from_secs_f64(setup.days * 86_400.0);
    let (mut world, mut facts) = (World::new(setup), Vec::new());
    while world.advance(end, &mut facts) == Pause::Rollout {}
    (world, facts)
}

fn calm() -> Nature {
    Nature { faults: 0.0, ..Nature::quiet() }
}

/// What was told of pods, in order.
fn pods(facts: &[Observation]) -> impl Iterator<Item = (Timestamp, &Pod)> {
    facts.iter().filter_map(|o| if let Fact::Pod(pod) = &o.fact { Some((o.at, &**pod)) } else { None })
}

fn id(kind: ProbeKind) -> ProbeId {
    ProbeId { container: "app".into(), kind }
}

fn mean(of: impl Iterator<Item = f64>) -> (f64, usize) {
    let all: Vec<f64> = of.collect();
    (all.iter().sum::<f64>() / all.len() as f64, all.len())
}

#[test]
fn a_world_with_liveness_alone_is_what_it_was_before_there_were_other_kinds() {
    // FNV-1a over what was told and what was so, of eight runs; computed when liveness was the only kind.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |n: i64| {
        for byte in n.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for family in [Family::Gc, Family::ColdStart, Family::FlakyDep, Family::Leak] {
        for (listen, losses) in [(true, Losses::USUAL), (false, Losses::default())] {
            let mut setup = Setup::new(family, 11, 6.0);
            setup.losses = losses;
            let (world, facts) = play(setup, listen);
            for o in &facts {
                eat(o.at.nanos());
                match &o.fact {
                    Fact::Pod(pod) => {
                        let app = &pod.containers[0];
                        eat(pod.uid.bits() as i64 ^ i64::from(app.restarts) << 2);
                        eat(i64::from(app.started) << 1 | i64::from(pod.ready));
                        eat(app.running_since.map_or(-1, Timestamp::nanos));
                    }
                    Fact::Sample(sample) => {
                        let c = sample.counters;
                        [c.successful, c.failed, c.count].iter().chain(&c.buckets).for_each(|n| eat(*n as i64));
                    }
                    Fact::Unhealthy { count, .. } => eat(i64::from(*count)),
                    _ => {}
                }
            }
            let truth = world.truth();
            truth.false_restarts.iter().for_each(|(at, i)| eat(at.nanos() ^ *i as i64));
            truth.detections.iter().for_each(|d| eat(d.at.nanos() ^ d.after.nanos()));
        }
    }
    assert_eq!(format!("{hash:016x}"), "5f4cada1873a946b");
}

#[test]
fn a_startup_probe_that_is_too_short_cuts_every_start_off_and_the_waits_grow() {
    // Refused for a minute, and killed after 21 to 30 s: the rollout never gets beyond its first pod.
    let mut nature = calm();
    nature.start = Length::Uniform { from: 60.0, to: 61.0 };
    (nature.startup, nature.rollouts) = (Some(s("10/1/3")), vec![0.01]);
    let (world, facts) = play(Setup::of("loop", nature, 1, 0.1), true);
    let kills: Vec<f64> = world.truth().startup_kills.iter().map(|(at, _)| at.since(MONDAY).as_secs_f64()).collect();
    let gaps: Vec<f64> = kills.windows(2).map(|w| w[1] - w[0]).collect();
    // The waits double from 10 s to 300, each counted from the end before: the first four are over when they begin.
    for (gap, wait) in gaps.iter().zip([0.0, 0.0, 0.0, 0.0, 40.0, 80.0, 160.0, 300.0]) {
        assert!((20.0..=31.0).contains(&(gap - wait)), "{gap} with a wait of {wait}: {gaps:?}");
    }
    assert!(kills.len() > 12 && world.is_rolling() && world.truth().false_restarts.is_empty());
    assert!((20.0..=31.0).contains(&world.truth().longest_start));
    assert!(world.truth().starts.iter().all(|(_, s)| *s >= 60.0) && world.truth().missing.is_empty());
    let told: Vec<&Pod> = pods(&facts).map(|(_, pod)| pod).filter(|p| p.containers[0].restarts > 3).collect();
    assert!(!told.is_empty() && told.iter().all(|p| !p.containers[0].started && !p.ready));
    let killing = facts.iter().filter(|o| matches!(&o.fact, Fact::Killing { kind: ProbeKind::Startup, .. }));
    // Of the events only 25 and then one in five minutes come through, those of failed checks among them.
    assert!((1..kills.len()).contains(&killing.count()));
    // Five old pods serve on, and nothing but startup is ever asked of the new one.
    let new = told[0].uid;
    let asked = facts.iter().filter_map(|o| if let Fact::Sample(s) = &o.fact { Some(s) } else { None });
    assert!(asked.clone().filter(|s| s.pod == new).all(|s| s.probe.kind == ProbeKind::Startup));
}

#[test]
fn liveness_and_readiness_begin_when_startup_has_succeeded_and_the_pod_takes_over_when_it_is_ready() {
    let mut nature = calm();
    nature.start = Length::Uniform { from: 58.0, to: 62.0 };
    (nature.startup, nature.readiness, nature.rollouts) = (Some(s("10/1/12")), Some(s("5/2/2")), vec![0.01]);
    let (world, facts) = play(Setup::of("gate", nature, 1, 0.1), true);
    assert!(!world.is_rolling() && world.truth().startup_kills.is_empty());
    let missing = &world.truth().missing;
    assert_eq!(missing.len(), 5);
    // A start of a minute, seen at the next tick of ten seconds, and readiness at once.
    assert!(missing.iter().all(|m| (60.0..75.0).contains(&m.as_secs_f64())), "{missing:?}");
    let first = pods(&facts).find(|(_, p)| p.created > MONDAY).unwrap().1.uid;
    let states: Vec<(bool, bool)> =
        pods(&facts).filter(|(_, p)| p.uid == first).map(|(_, p)| (p.containers[0].started, p.ready)).collect();
    assert_eq!(states, [(false, false), (false, false), (true, false), (true, true)]);
    let started = pods(&facts).find(|(_, p)| p.uid == first && p.containers[0].started).unwrap().0;
    let of = |kind: ProbeKind| {
        let samples = facts.iter().filter_map(move |o| match &o.fact {
            Fact::Sample(s) if s.pod == first && s.probe.kind == kind => Some((o.at, s.counters)),
            _ => None,
        });
        samples.collect::<Vec<_>>()
    };
    for kind in [ProbeKind::Liveness, ProbeKind::Readiness] {
        assert!(of(kind).iter().all(|(at, c)| *at >= started && c.failed == 0), "{kind:?}");
    }
    // Refused once in ten seconds, then answered once, and never asked again.
    let startup = of(ProbeKind::Startup);
    assert!(startup.iter().all(|(_, c)| c.successful <= 1 && (1..=7).contains(&c.failed)));
    assert_eq!(startup.last().unwrap().1.successful, 1);
}

#[test]
fn readiness_takes_a_true_fault_out_of_service_in_its_own_tolerance_and_half_a_period() {
    let nature = Nature { faults: 2000.0, readiness: Some(s("5/5/2")), ..Nature::quiet() };
    let mut setup = Setup::of("faulty", nature, 1, 28.0);
    setup.settings = s("10/12/3");
    let (world, _) = play(setup, false);
    let truth = world.truth();
    for (hang, expected) in [(true, 12.5), (false, 7.5)] {
        let out = truth.out_of_service.iter().filter(|d| d.hang == hang);
        let (found, n) = mean(out.map(|d| d.after.as_secs_f64()));
        assert!((found - expected).abs() < 0.4 && n > 150, "{found} of {n}");
    }
    // And liveness kills in its own time: 36 + 5 s of a hang.
    let (killed, _) = mean(truth.detections.iter().filter(|d| d.hang).map(|d| d.after.as_secs_f64()));
    assert!((killed - 41.0).abs() < 0.6, "{killed}");
    assert!(truth.removals.is_empty() && truth.false_restarts.is_empty());
}

#[test]
fn a_stall_longer_than_readiness_tolerates_removes_a_healthy_pod_until_it_answers_again() {
    // Stalls of 25 to 30 s: 10/5/2 tolerates 15 s of them, liveness 10/15/3 45 s.
    let stalls = Stalls { most: 12.0, share: |_| 1.0, length: Length::Uniform { from: 25.0, to: 30.0 } };
    let nature = Nature { stalls: vec![stalls], readiness: Some(s("10/5/2")), ..calm() };
    let mut setup = Setup::of("stalls", nature, 1, 14.0);
    setup.settings = s("10/15/3");
    let (world, facts) = play(setup, true);
    let truth = world.truth();
    assert!(truth.false_restarts.is_empty());
    assert!(truth.removals.len() > 600, "{}", truth.removals.len());
    // Out after 15 to 25 s, and back with the first check that outlives the stall, which rarely meets another.
    let mut lasted: Vec<f64> = truth.removals.iter().filter_map(|r| r.lasted).map(|l| l.as_secs_f64()).collect();
    lasted.sort_by(f64::total_cmp);
    assert!(lasted[0] > 0.0 && lasted[lasted.len() * 98 / 100] < 16.0, "{lasted:?}");
    let told = pods(&facts).filter(|(_, p)| !p.ready).count();
    assert_eq!(told, truth.removals.len());
}

#[test]
fn what_is_out_of_service_presses_on_the_others() {
    // Latency grows with load. At 10/1/3 the slow hours of all take every pod out.
    let mut setup = Setup::new(Family::Unready, 3, 9.0);
    setup.settings = s("10/20/3");
    let (world, _) = play(setup.clone(), false);
    let (alone, together) = world.truth().removed();
    assert!(together >= 5 && alone < together, "{alone} {together}");
    let out: f64 = world.truth().removals.iter().filter_map(|r| r.lasted).map(|l| l.as_secs_f64()).sum();
    assert!(out > 3600.0, "{out}");
    // A timeout that the slow hours keep within leaves them in.
    setup.readiness = Some(s("10/10/2"));
    assert!(play(setup, false).0.truth().removals.len() < world.truth().removals.len());
}

#[test]
fn what_happens_to_all_kinds_does_not_depend_on_who_listens() {
    for family in Family::KINDS {
        let run = |listen| play(Setup::new(family, 5, 5.0), listen);
        let ((deaf, none), (heard, facts)) = (run(false), run(true));
        let (a, b) = (deaf.truth(), heard.truth());
        assert_eq!((&a.false_restarts, &a.detections), (&b.false_restarts, &b.detections), "{family:?}");
        assert_eq!((&a.removals, &a.out_of_service), (&b.removals, &b.out_of_service), "{family:?}");
        let sum = |spans: &[Span]| spans.iter().map(|s| s.nanos()).sum::<i64>();
        assert_eq!((&a.startup_kills, sum(&a.missing)), (&b.startup_kills, sum(&b.missing)), "{family:?}");
        assert!(none.is_empty() && facts.is_sorted_by_key(|o| o.at), "{family:?}");
    }
}

#[test]
fn a_plan_may_change_all_kinds_at_once_and_is_contested_if_any_of_them_is_not_what_it_presumes() {
    let mut world = World::new(Setup::new(Family::EveryKind, 1, 2.0));
    let declared = world.workload();
    let kinds: Vec<ProbeKind> = declared.probes.iter().map(|p| p.id.kind).collect();
    assert_eq!(kinds, ProbeKind::ALL);
    assert!(ProbeKind::ALL.iter().all(|k| declared.permission.covers("app", *k)));
    let step = |kind, from: &str, to: &str| Step { probe: id(kind), from: s(from), to: s(to) };
    let change = |readiness: &str| Change {
        id: 1,
        workload: declared.uid,
        address: declared.address.clone(),
        generation: 1,
        intent: Intent::Tune,
        steps: vec![
            step(ProbeKind::Liveness, "10/1/3", "10/12/2"),
            step(ProbeKind::Readiness, readiness, "5/6/2"),
            step(ProbeKind::Startup, "10/1/9", "20/1/10"),
        ],
        reason: Reason::Loosen,
        message: String::new(),
    };
    assert!(matches!(world.obey(&change("10/2/3")), Outcome::Contested { .. }));
    assert_eq!(world.obey(&change("10/1/3")), Outcome::Applied { generation: 2 });
    world.advance(MONDAY + Span::DAY, &mut Vec::new());
    let numbers: Vec<String> = world.numbers().declared().map(|(_, s)| s.to_string()).collect();
    assert_eq!(numbers, ["10/12/2", "5/6/2", "20/1/10"]);
    assert!(!world.is_rolling());
    world.ride(&[(id(ProbeKind::Readiness), s("7/5/2"))]);
    assert_eq!(world.numbers().readiness, Some(s("7/5/2")));
}

#[test]
fn starts_take_as_long_for_every_policy_and_longer_each_day() {
    let starts = |startup: &str, growth: f64| {
        let mut setup = Setup::new(Family::SlowStart, 9, 28.0);
        (setup.startup, setup.nature.faults, setup.nature.growth) = (Some(s(startup)), 0.0, growth);
        play(setup, false).0.truth().starts.iter().map(|(_, s)| *s).collect::<Vec<f64>>()
    };
    let (short, long) = (starts("10/1/60", 0.0), starts("30/1/60", 0.0));
    assert_eq!((short.len(), &short), (20, &long));
    assert_ne!(short, starts("10/1/6", 0.0), "one that was cut off is drawn again");
    // The last of four rollouts began on day 23.4.
    let grown = starts("10/1/60", 0.01);
    assert!((grown[19] / short[19] - 1.234).abs() < 0.01, "{}", grown[19] / short[19]);
    let quantile = Length::Lognormal { median: 60.0, sigma: 0.4 }.quantile(0.99).unwrap();
    assert!((quantile - 152.153).abs() < 0.01, "{quantile}");
}
