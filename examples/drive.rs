//! Drives the engine with facts of one's own: binned scrapes of one workload, its restarts, its user's rollouts.
//!
//! `cargo run --release --example drive`. Put your own simulator, or your own history, in place of `scrape`.

use probe_tuner::engine::{Engine, Rules};
use probe_tuner::observation::{Counters, Fact, FailureClass, Observation, Sample};
use probe_tuner::probe::{Handler, ProbeKind, Settings};
use probe_tuner::sim::allow_all;
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Address, Container, Pod, Probe, ProbeId, Workload, WorkloadKind};

const PODS: u128 = 3;

fn main() {
    let start = Timestamp::from_seconds(1_767_571_200);
    let id = ProbeId { container: "app".into(), kind: ProbeKind::Liveness };
    let mut settings = Settings::KUBERNETES_DEFAULT;
    let mut engine = Engine::new(Rules::default(), start);
    let tell = |engine: &mut Engine, at, fact| engine.observe(Observation { at, fact });

    // Where the API server refuses what it must, changes are planned. Then: what is declared, and its pods.
    tell(&mut engine, start, Fact::Fence { holds: true });
    tell(&mut engine, start, Fact::Workload(Box::new(workload(&id, settings, 1, 1))));
    for pod in 1..=PODS {
        tell(&mut engine, start, Fact::Pod(Box::new(describe(pod, &id, settings, start, 0))));
    }

    let mut counters = [Counters::default(); PODS as usize];
    let mut restarts = [0; PODS as usize];
    let (mut generation, mut version) = (1, 1);
    for n in 1..=2 * 5760i64 {
        let now = start + Span::SECOND * (15 * n);
        for (i, c) in counters.iter_mut().enumerate() {
            let pod = Uid::from_bits(i as u128 + 1);
            let slow = scrape(n, i, c);
            tell(&mut engine, now, Fact::Sample(Sample { pod, probe: id.clone(), counters: *c }));
            if slow > 0 {
                let (container, kind, class) = (id.container.clone(), id.kind, FailureClass::Slow);
                tell(&mut engine, now, Fact::Unhealthy { pod, container, kind, class, count: slow });
            }
            // As many failures in a row as the threshold: the kubelet kills the container and starts it again.
            if slow >= settings.threshold() {
                restarts[i] += 1;
                let (container, kind) = (id.container.clone(), id.kind);
                tell(&mut engine, now, Fact::Killing { pod, container, kind });
                let again = describe(i as u128 + 1, &id, settings, now, restarts[i]);
                tell(&mut engine, now, Fact::Pod(Box::new(again)));
            }
        }
        // The user rolls out once a day: what rides?
        let rides = if n % 5760 == 5000 { engine.riding(Uid::from_bits(1 << 64), now) } else { Vec::new() };
        let turn = engine.turn(now);
        let own = turn.changes.into_iter().flat_map(|c| c.steps).map(|s| (s.probe, s.to));
        for (probe, to) in rides.into_iter().chain(own) {
            println!("{:>8}  {probe}: {settings} → {to}", now.since(start).to_string());
            settings = to;
            generation += 1;
            version += u64::from(n % 5760 == 5000);
            tell(&mut engine, now, Fact::Workload(Box::new(workload(&id, settings, generation, version))));
        }
    }
    for view in engine.views() {
        println!("{}: {} ({}: {})", view.address, settings, view.reason.code(), view.message);
    }
}

/// Your own world: one check more a pod, most answered within 5 ms; every 1000th window three that were not.
fn scrape(n: i64, pod: usize, c: &mut Counters) -> u32 {
    let slow = if (n + pod as i64 * 7) % 1000 == 0 { 3 } else { 0 };
    c.failed += u64::from(slow);
    c.successful += 1;
    c.count += 1;
    c.buckets.iter_mut().for_each(|b| *b += 1);
    slow
}

fn probe(id: &ProbeId, settings: Settings) -> Vec<Probe> {
    vec![Probe { id: id.clone(), handler: Handler::Http, settings, initial_delay: Span::ZERO }]
}

fn workload(id: &ProbeId, settings: Settings, generation: i64, version: u64) -> Workload {
    let address = Address { namespace: "mine".into(), kind: WorkloadKind::Deployment, name: "web".into() };
    let (uid, probes, permission) = (Uid::from_bits(1 << 64), probe(id, settings), allow_all());
    Workload {
        uid,
        address,
        generation,
        replicas: 3,
        version,
        probes,
        permission,
        sidecars: vec![],
        unpatchable: vec![],
    }
}

fn describe(pod: u128, id: &ProbeId, settings: Settings, since: Timestamp, restarts: u32) -> Pod {
    let (name, running_since) = (id.container.clone(), Some(since));
    let app = Container { name, running_since, ready: true, started: true, restarts, last_end: None };
    let (name, node) = (format!("web-{pod}").into(), Some(format!("node-{pod}").into()));
    let (uid, workload, probes) = (Uid::from_bits(pod), Uid::from_bits(1 << 64), probe(id, settings));
    Pod { uid, name, workload, node, probes, containers: vec![app], terminating: false, created: since, ready: true }
}
