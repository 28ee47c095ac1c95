//! What the workloads on one node tell about each other's restarts.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::engine::{Engine, Rules};
use probe_tuner::evidence::{Evidence, NeighboursThen, RestartRecord};
use probe_tuner::model::believe;
use probe_tuner::observation::{Fact, Observation};
use probe_tuner::sim::{Family, Fleet, MONDAY, Node, Setup, World};
use probe_tuner::units::{Span, Uid};
use support::fixtures::{liveness, renumbered, workload};
use support::stage::{Answer, Stage, well};

/// Workloads with loud neighbours on the same six nodes, watched by one engine for so many days: their restarts.
fn watched(workloads: u128, days: i64) -> Vec<Vec<RestartRecord>> {
    let nodes = Node::several(5, 6);
    let world = |i: u128| {
        let mut setup = Setup::new(Family::Noisy, i as u64, days as f64);
        (setup.uid, setup.nodes, setup.listen) = (Uid::from_bits((i + 1) << 64), nodes.clone(), true);
        setup.settings = "10/12/2".parse().unwrap();
        World::new(setup)
    };
    let mut fleet = Fleet::new((0..workloads).map(world).collect());
    let mut engine = Engine::new(Rules::default(), MONDAY);
    let (mut now, mut facts) = (MONDAY, Vec::new());
    while now < MONDAY + Span::DAY * days {
        now = now + Span::SECOND * 15;
        while fleet.advance(now, &mut facts).is_some() {}
        facts.drain(..).for_each(|fact: Observation| engine.observe(fact));
        let _ = engine.turn(now);
    }
    let of = |i: u128| engine.evidence(Uid::from_bits((i + 1) << 64)).map_or(Vec::new(), |e| e.restarts().to_vec());
    (0..workloads).map(of).collect()
}

#[test]
fn restarts_by_a_stall_of_the_node_are_told_from_others_by_whom_else_it_slowed() {
    let restarts = watched(5, 30);
    let told: Vec<&RestartRecord> = restarts.iter().flatten().filter(|r| r.neighbours.is_some()).collect();
    let slow = |relapsed: bool| {
        let of: Vec<_> = told.iter().filter(|r| r.relapsed == relapsed).collect();
        (of.iter().filter(|r| r.neighbours.unwrap().slow).count(), of.len())
    };
    // What a restart did not cure was the node's: nearly always others felt it. A fault that it cured was the pod's.
    let ((in_vain, of_those), (cured, of_these)) = (slow(true), slow(false));
    assert!(of_those >= 3 && of_these >= 10, "{of_those} {of_these}");
    assert!(3 * in_vain >= 2 * of_those && 2 * cured <= of_these, "{in_vain}/{of_those} {cured}/{of_these}");
    assert!(told.iter().all(|r| r.neighbours.unwrap().chance < 0.2));
}

#[test]
fn where_no_other_workload_is_watched_nothing_is_said_of_neighbours() {
    let restarts = watched(1, 30);
    assert!(!restarts[0].is_empty());
    assert!(restarts[0].iter().all(|r| r.neighbours.is_none()));
}

#[test]
fn a_restart_weighs_more_beside_slow_neighbours_and_less_beside_others() {
    let mut s = Stage::of(renumbered(workload("shop", "web"), "10/12/2"));
    s.starts = 20;
    s.play(Span::HOUR * 26, well);
    s.play(Span::MINUTE * 30, |i, t| if i == 1 && t < 25 { Answer::After(60.0) } else { well(i, t) });
    let weight = |e: &Evidence| believe(e, e.seen(&liveness()).unwrap(), s.now).weights()[0];
    let (at, node) = (s.evidence.restarts()[0].at, s.evidence.restarts()[0].node.clone().unwrap());
    let told = |slow| {
        let mut e = s.evidence.clone();
        e.neighbours_said(&node, at, Some(NeighboursThen { slow, chance: 0.02 }));
        e
    };
    let (alone, slow, well) = (weight(&s.evidence), weight(&told(true)), weight(&told(false)));
    assert!(slow > 4.0 * alone && well < alone, "{slow} {alone} {well}");
    // That others were slow is not taken back, and outlives the daemon.
    let mut e = Evidence::decode(&told(true).encode()).unwrap();
    e.neighbours_said(&node, at, Some(NeighboursThen { slow: false, chance: 0.02 }));
    assert_eq!(e.restarts()[0].neighbours, Some(NeighboursThen { slow: true, chance: 0.02 }));
}

#[test]
fn neighbours_do_not_change_what_a_fact_of_one_workload_means_for_another_otherwise() {
    // The same world beside others and alone: the same restarts, apart from what the neighbours said and the load of the node.
    let bare = |mut r: RestartRecord| {
        (r.neighbours, r.pod, r.load) = (None, Uid::from_bits(0), Default::default());
        r
    };
    let (beside, alone) = (watched(3, 12).swap_remove(0), watched(1, 12).swap_remove(0));
    assert_eq!(beside.into_iter().map(bare).collect::<Vec<_>>(), alone.into_iter().map(bare).collect::<Vec<_>>());
}

#[test]
fn an_observation_of_an_unknown_pod_tells_nobody_anything() {
    let mut engine = Engine::new(Rules::default(), MONDAY);
    let fact = Fact::Killing { pod: Uid::from_bits(9), container: "app".into(), kind: liveness().kind };
    engine.observe(Observation { at: MONDAY, fact });
    assert_eq!(engine.dropped(), 1);
}
