//! What holds for whole engines in weeks of random weather: no rollout of our own without a restart, none too near to
//! another, none too many, and no going back and forth.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::change::{Intent, Outcome};
use probe_tuner::engine::{Engine, Rules};
use probe_tuner::observation::{Fact, Observation};
use probe_tuner::probe::Settings;
use probe_tuner::reason::Reason;
use probe_tuner::sim::{Family, Fleet, MONDAY, Setup, World};
use probe_tuner::units::{Span, Timestamp};

/// One change of numbers: when, to which, and whether it was a rollout of our own (and if so why).
#[derive(Clone, Copy, Debug)]
struct Moved {
    at: Timestamp,
    to: Settings,
    own: Option<(Intent, Reason)>,
}

/// Weeks of a family under an engine: what it changed, and when a container was restarted by its probe.
fn weeks(family: Family, seed: u64, start: &str, days: i64) -> (Vec<Moved>, Vec<Timestamp>) {
    let mut setup = Setup::new(family, seed, days as f64);
    (setup.settings, setup.listen) = (start.parse().unwrap(), true);
    let mut moved = vec![Moved { at: MONDAY, to: setup.settings, own: None }];
    let mut fleet = Fleet::new(vec![World::new(setup)]);
    let mut engine = Engine::new(Rules::default(), MONDAY);
    engine.observe(Observation { at: MONDAY, fact: Fact::Fence { holds: true } });
    let (mut now, mut facts) = (MONDAY, Vec::new());
    while now < MONDAY + Span::DAY * days {
        now = now + Span::SECOND * 15;
        while let Some(i) = fleet.advance(now, &mut facts) {
            let (uid, at) = (fleet.worlds()[i].setup().uid, fleet.worlds()[i].now());
            let numbers = engine.riding(uid, at);
            moved.extend(numbers.iter().map(|(_, to)| Moved { at, to: *to, own: None }));
            fleet.world_mut(i).unwrap().ride(&numbers);
        }
        facts.drain(..).for_each(|fact| engine.observe(fact));
        for change in engine.turn(now).changes {
            let outcome = fleet.obey(&change);
            if matches!(outcome, Outcome::Applied { .. }) {
                moved.push(Moved { at: now, to: change.steps[0].to, own: Some((change.intent, change.reason)) });
            }
            let fact = Fact::Outcome { workload: change.workload, change: change.id, outcome };
            engine.observe(Observation { at: now, fact });
        }
    }
    let truth = fleet.worlds()[0].truth();
    let mut restarts: Vec<_> = truth.false_restarts.iter().map(|(at, _)| *at).collect();
    restarts.extend(truth.detections.iter().map(|d| d.at));
    restarts.sort();
    (moved, restarts)
}

const FAMILIES: [Family; 6] =
    [Family::Noisy, Family::Gc, Family::Shift, Family::FlakyDep, Family::Cfs, Family::ExecSlow];

#[test]
fn in_weeks_of_any_weather_our_own_rollouts_follow_restarts_and_never_go_back_and_forth() {
    let mut own_rollouts = 0;
    for (i, family) in FAMILIES.into_iter().enumerate() {
        for start in ["10/1/3", "5/1/3"] {
            let (moved, restarts) = weeks(family, 4_400 + i as u64, start, 15);
            let between = |from: Timestamp, to: Timestamp| restarts.iter().any(|at| from <= *at && *at <= to);
            let told = format!("{family:?} from {start}: {moved:?}");
            let own: Vec<_> = moved.windows(2).filter(|w| w[1].own.is_some()).collect();
            for pair in &own {
                let (before, this) = (pair[0], pair[1]);
                let (intent, reason) = this.own.unwrap();
                if intent == Intent::Tune {
                    assert!(between(before.at, this.at), "without a restart: {this:?} of {told}");
                    let apart = if reason == Reason::Storm { Span::MINUTE } else { Span::MINUTE * 30 };
                    assert!(this.at.since(before.at) >= apart || before.own.is_none(), "too near: {this:?} of {told}");
                }
                let week = own.iter().filter(|o| o[1].at <= this.at && this.at.since(o[1].at) < Span::DAY * 7);
                let tunes = week.filter(|o| matches!(o[1].own, Some((Intent::Tune, _)))).count();
                assert!(tunes <= 3, "{tunes} in a week: {told}");
            }
            for three in moved.windows(3).filter(|m| m[0].to == m[2].to && m[1].to != m[0].to) {
                let soon = three[2].at.since(three[1].at) < Span::DAY * 7;
                assert!(!soon || between(three[1].at, three[2].at), "back and forth: {three:?}");
            }
            own_rollouts += own.len();
        }
    }
    assert!(own_rollouts > 0, "nothing was tried");
}
