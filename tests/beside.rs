//! Readiness and startup beside liveness, decided from what a simulated world shows of them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use probe_tuner::change::{Change, Verdict};
use probe_tuner::engine::{Engine, Rules};
use probe_tuner::evidence::Cause;
use probe_tuner::observation::{Fact, Observation};
use probe_tuner::probe::{ProbeKind, Settings};
use probe_tuner::reason::Reason;
use probe_tuner::sim::{Family, Fleet, Length, MONDAY, Nature, Refusals, Setup, Twist, World};
use probe_tuner::units::{Span, Uid};

fn s(text: &str) -> Settings {
    text.parse().unwrap()
}

struct Played {
    engine: Engine,
    uid: Uid,
    /// When each change of our own began, in days, and what it was.
    changes: Vec<(f64, Change)>,
    /// What rode on each of the owner's rollouts.
    rides: Vec<Vec<(ProbeKind, Settings)>>,
}

impl Played {
    /// Lets a workload live before an engine whose plans it obeys.
    fn days(mut setup: Setup, days: f64) -> Played {
        setup.listen = true;
        let uid = setup.uid;
        let mut fleet = Fleet::new(vec![World::new(setup)]);
        let mut engine = Engine::new(Rules::default(), MONDAY);
        engine.observe(Observation { at: MONDAY, fact: Fact::Fence { holds: true } });
        let (mut changes, mut rides, mut facts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut now, end) = (MONDAY, MONDAY + Span::round_from_secs_f64(days * 86_400.0));
        while now < end {
            let until = (now + Span::SECOND * 15).min(end);
            while fleet.advance(until, &mut facts).is_some() {
                let numbers = engine.riding(uid, fleet.worlds()[0].now());
                fleet.world_mut(0).unwrap().ride(&numbers);
                rides.push(numbers.into_iter().map(|(id, to)| (id.kind, to)).collect());
            }
            now = until;
            facts.drain(..).for_each(|o| engine.observe(o));
            for change in engine.turn(now).changes {
                let outcome = fleet.obey(&change);
                let fact = Fact::Outcome { workload: uid, change: change.id, outcome };
                engine.observe(Observation { at: now, fact });
                changes.push((now.since(MONDAY).as_days_f64(), change));
            }
        }
        Played { engine, uid, changes, rides }
    }

    /// What is wished of a probe now, and why.
    fn wish(&self, kind: ProbeKind) -> (Settings, Reason, String) {
        let view = self.engine.view(self.uid).unwrap();
        let j = view.judgements.iter().find(|j| j.probe.kind == kind).unwrap();
        (j.wanted, j.reason, j.message.clone())
    }
}

/// A calm workload with readiness at these numbers, whose owner rolls out after a day and a half.
fn calm(liveness: &str, readiness: &str) -> Setup {
    let nature = Nature { readiness: Some(s(readiness)), rollouts: vec![1.5], ..Nature::quiet() };
    let mut setup = Setup::of("calm", nature, 1, 2.0);
    setup.settings = s(liveness);
    setup
}

#[test]
fn readiness_goes_along_when_liveness_leaves_a_blind_timeout() {
    let played = Played::days(calm("10/1/3", "10/1/3"), 2.0);
    assert_eq!(played.rides, [[(ProbeKind::Liveness, s("10/12/2")), (ProbeKind::Readiness, s("5/6/2"))]]);
    assert!(played.changes.is_empty());
}

#[test]
fn a_blind_readiness_probe_is_left_for_the_most_patient_timeout_that_gives_up_before_liveness() {
    let (wanted, reason, message) = Played::days(calm("10/12/2", "10/1/2"), 1.2).wish(ProbeKind::Readiness);
    assert_eq!((wanted, reason), (s("5/6/2"), Reason::Loosen), "{message}");
    // Where its owner's tolerance is more than twice as large, two people would have to approve it.
    let (stays, reason, message) = Played::days(calm("10/1/3", "10/1/4"), 1.2).wish(ProbeKind::Readiness);
    assert_eq!((stays, reason), (s("10/1/4"), Reason::NeedsApproval), "{message}");
}

#[test]
fn a_storm_is_answered_for_both_in_one_patch_and_slow_hours_do_not_take_it_back() {
    // At 10/1/3 the slow hours of all restart every replica, again and again; then they go on under the new numbers.
    let played = Played::days(Setup::new(Family::Unready, 8, 28.0), 3.2);
    let (_, first) = &played.changes[0];
    assert_eq!(first.reason, Reason::Storm);
    let steps: Vec<(ProbeKind, Settings)> = first.steps.iter().map(|s| (s.probe.kind, s.to)).collect();
    assert_eq!(steps, [(ProbeKind::Liveness, s("10/12/2")), (ProbeKind::Readiness, s("5/6/2"))]);
    assert_eq!(played.changes.len(), 1);
    let memory = played.engine.view(played.uid).unwrap().memory;
    let ended: Vec<Verdict> = memory.past.iter().map(|p| p.verdict).collect();
    assert!(!ended.contains(&Verdict::Reverted), "{ended:?}");
}

#[test]
fn readiness_is_not_loosened_for_what_is_slow_on_all_replicas() {
    let mut setup = Setup::new(Family::Unready, 2, 28.0);
    (setup.settings, setup.readiness) = (s("10/20/3"), Some(s("5/6/2")));
    let played = Played::days(setup, 28.0);
    let seen =
        |kind| played.engine.evidence(played.uid).unwrap().probes().iter().find(|p| p.id().kind == kind).unwrap();
    assert!(seen(ProbeKind::Readiness).slow_together().is_some());
    let all = played.rides.iter().flatten().filter(|(kind, _)| *kind == ProbeKind::Readiness);
    assert_eq!(all.map(|(_, to)| *to).collect::<Vec<_>>(), []);
}

/// Starts of 35 to 60 s behind a startup probe that allows `budget`, with a fault every other day.
fn starting(budget: &str, rollouts: Vec<f64>) -> Setup {
    let start = Length::Uniform { from: 35.0, to: 60.0 };
    let nature = Nature { start, startup: Some(s(budget)), rollouts, faults: 40.0, ..Nature::quiet() };
    let mut setup = Setup::of("starting", nature, 3, 14.0);
    setup.settings = s("10/12/2");
    setup
}

#[test]
fn a_startup_probe_that_cuts_off_most_starts_is_given_twice_the_time_until_they_come_through() {
    // Refused for 35 s at least: 30 s are never enough, and nobody can tell what would be.
    let played = Played::days(starting("10/1/3", vec![4.5, 7.5, 10.5, 13.5]), 14.0);
    let budgets = played.rides.iter().flatten().filter(|(kind, _)| *kind == ProbeKind::Startup);
    let budgets: Vec<u32> = budgets.map(|(_, to)| to.threshold() * to.period()).collect();
    assert_eq!(budgets[0], 60, "{budgets:?}");
    assert!((60..=120).contains(budgets.last().unwrap()), "{budgets:?}");
    // No timeout of a startup check is longer than its period.
    assert!(played.rides.iter().flatten().all(|(k, to)| *k != ProbeKind::Startup || to.timeout() <= to.period()));
}

#[test]
fn a_budget_that_is_long_enough_is_worth_a_rollout_where_kills_cost_more() {
    // No rollout of the owner is in sight, and 45 s cut off most starts.
    let played = Played::days(starting("9/5/5", Vec::new()), 14.0);
    let own: Vec<(ProbeKind, Settings, Settings)> =
        played.changes.iter().flat_map(|(_, c)| c.steps.iter().map(|s| (s.probe.kind, s.from, s.to))).collect();
    let [(ProbeKind::Startup, from, to)] = own[..] else { panic!("{own:?}") };
    assert_eq!(from, s("9/5/5"));
    assert!(to.threshold() * to.period() >= 70 && to.stall_tolerance() <= 2 * from.stall_tolerance(), "{to}");
    // And it was for the better.
    let past = played.engine.view(played.uid).unwrap().memory.past;
    assert!(past.iter().all(|p| p.verdict == Verdict::Verified), "{past:?}");
}

#[test]
fn pods_that_cannot_start_because_what_they_depend_on_is_away_get_no_rollout_of_ours() {
    // They start within 8 s, but for the hour in which a shared dependency refuses: then startup kills them all, again and
    // again.
    let start = Length::Uniform { from: 5.0, to: 8.0 };
    let length = Length::Uniform { from: 3_000.0, to: 4_000.0 };
    let refusals = Some(Refusals { per_day: 0.3, length });
    let nature =
        Nature { start, startup: Some(s("10/1/3")), refusals, twist: Twist::SharedRefusals, ..Nature::quiet() };
    let mut setup = Setup::of("dependent", nature, 3, 14.0);
    setup.settings = s("10/12/2");
    let played = Played::days(setup, 14.0);
    let restarts = played.engine.evidence(played.uid).unwrap().restarts();
    assert!(restarts.iter().filter(|r| r.cause == Cause::StartupKill).count() >= 10, "{restarts:?}");
    let startup = played.changes.iter().flat_map(|(_, c)| &c.steps).filter(|s| s.probe.kind == ProbeKind::Startup);
    assert_eq!(startup.map(|s| s.to).collect::<Vec<_>>(), []);
}
