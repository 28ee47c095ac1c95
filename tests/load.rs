//! The load that a workload was seen at: coverage, and a word beside each restart. It moves no number.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::evidence::{Evidence, Load};
use probe_tuner::observation::Usage;
use probe_tuner::units::{Span, Timestamp};
use support::fixtures::workload;
use support::stage::{Stage, node, well};

fn usage(until: Timestamp, cores: f64) -> Usage {
    Usage { until, cores, working_set: 0 }
}

/// Plays minutes in which the node of replica 0 is busy with so many of its 16 cores, and replica 0 with a quarter of one.
fn play(s: &mut Stage, minutes: i64, cores: f64) {
    for _ in 0..minutes {
        s.play(Span::MINUTE, well);
        s.evidence.node_usage(s.now, &node(0), &usage(s.now, cores), Some(16.0));
        s.evidence.pod_usage(s.now, s.replicas[0].uid, &usage(s.now, 0.25));
    }
}

fn stage() -> Stage {
    Stage::of(workload("shop", "web"))
}

#[test]
fn what_load_was_seen_for_how_long_and_what_never_is_known() {
    let mut s = stage();
    play(&mut s, 31, 4.0);
    play(&mut s, 10, 11.84);
    let load: &Load = s.evidence.load();
    let (seconds, highest) = (load.nodes().seconds(), load.nodes().highest().unwrap());
    assert!((seconds[2] - 1_800.0).abs() < 1.0 && (seconds[7] - 600.0).abs() < 1.0, "{seconds:?}");
    assert_eq!(seconds[8..], [0.0, 0.0], "nothing above 0.8 was ever seen");
    assert!((highest.0 - 0.74).abs() < 1e-6);
    assert_eq!(highest.1, s.now - Span::MINUTE * 9);
    assert!((load.pods().seconds()[5] - 2_400.0).abs() < 1.0, "{:?}", load.pods());
}

#[test]
fn a_silence_and_a_node_without_our_pods_are_no_coverage() {
    let mut s = stage();
    play(&mut s, 2, 4.0);
    s.now = s.now + Span::MINUTE * 30;
    play(&mut s, 1, 4.0);
    s.evidence.node_usage(s.now, &"elsewhere".into(), &usage(s.now, 15.9), Some(16.0));
    // Cores that nobody told say nothing.
    s.evidence.node_usage(s.now, &node(0), &usage(s.now, 15.9), None);
    let nodes = s.evidence.load().nodes();
    assert!((nodes.seconds().iter().sum::<f64>() - 60.0).abs() < 1.0, "{nodes:?}");
    assert!((nodes.highest().unwrap().0 - 0.25).abs() < 1e-6);
}

#[test]
fn a_restart_carries_the_load_of_its_moment_as_far_as_it_is_fresh() {
    let mut s = stage();
    play(&mut s, 5, 14.0);
    s.exit(0, 1, "Error");
    s.now = s.now + Span::MINUTE * 11;
    s.exit(0, 1, "Error");
    s.exit(1, 1, "Error");
    let loads: Vec<_> = s.evidence.restarts().iter().map(|r| (r.load.node, r.load.pod)).collect();
    assert_eq!(loads, [(Some(0.875), Some(0.25)), (None, None), (None, None)]);
}

#[test]
fn load_survives_the_daemon_and_merges_in_any_order() {
    let mut s = stage();
    play(&mut s, 5, 14.0);
    s.exit(0, 1, "Error");
    let back = Evidence::decode(&s.evidence.encode()).unwrap();
    assert_eq!((back.load(), back.restarts()), (s.evidence.load(), s.evidence.restarts()));
    let mut other = stage();
    play(&mut other, 90, 6.0);
    let (mut a, mut b) = (s.evidence.clone(), other.evidence.clone());
    a.merge(other.evidence.clone());
    b.merge(s.evidence.clone());
    assert_eq!(a.load(), b.load());
    assert!((a.load().nodes().highest().unwrap().0 - 0.875).abs() < 1e-6);
}

#[test]
fn load_alone_moves_no_number() {
    let (mut loaded, mut unloaded) = (stage(), stage());
    for _ in 0..60 * 27 {
        loaded.play(Span::MINUTE, well);
        unloaded.play(Span::MINUTE, well);
        loaded.evidence.node_usage(loaded.now, &node(0), &usage(loaded.now, 13.0), Some(16.0));
        loaded.evidence.pod_usage(loaded.now, loaded.replicas[0].uid, &usage(loaded.now, 3.0));
    }
    assert_eq!(loaded.judge(), unloaded.judge());
}
