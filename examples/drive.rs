//! Drives the engine with facts of one's own: binned scrapes of one workload, its restarts, its user's rollouts.
//! `cargo run --release --example drive`. What each fact means, and what may be missing: `docs/reference/drive.md`.

use probe_tuner::engine::{Engine, Rules};
use probe_tuner::observation::{Counters, EDGES, Fact, Observation, Sample};
use probe_tuner::probe::{Handler, ProbeKind, Settings};
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Address, Container, Pod, Probe, ProbeId, Workload, WorkloadKind};
use probe_tuner::{change::Outcome, sim::allow_all};

const WEB: Uid = Uid::from_bits(1 << 64);

/// One workload of three pods: each its uid, counters, failures in a row, restarts.
struct Mine {
    engine: Engine,
    settings: Settings,
    generation: i64,
    version: u64,
    pods: Vec<(Uid, Counters, u32, u32)>,
}

fn main() {
    let start = Timestamp::from_seconds(1_767_571_200);
    let (engine, settings) = (Engine::new(Rules::default(), start), Settings::KUBERNETES_DEFAULT);
    let mut mine = Mine { engine, settings, generation: 0, version: 0, pods: Vec::new() };
    // Without this, numbers only ride: no change of our own is planned.
    mine.tell(start, Fact::Fence { holds: true });
    mine.roll_out(start, settings);
    for n in 1..=4 * 5760i64 {
        let now = start + Span::SECOND * (15 * n);
        // Once a day the user rolls out a new version: what rides on it?
        if n % 5760 == 5000 {
            let rides = mine.engine.riding(WEB, now);
            mine.version += 1;
            mine.roll_out(now, rides.first().map_or(mine.settings, |(_, to)| *to));
        }
        (0..3).for_each(|i| mine.check(now, n, i));
        // Does the engine want a rollout of its own? Obey, and say so.
        for change in mine.engine.turn(now).changes {
            mine.roll_out(now, change.steps[0].to);
            let outcome = Outcome::Applied { generation: mine.generation };
            mine.tell(now, Fact::Outcome { workload: WEB, change: change.id, outcome });
        }
    }
    mine.engine.views().for_each(|view| println!("{}: {}", view.reason.code(), view.message));
}

impl Mine {
    fn tell(&mut self, at: Timestamp, fact: Fact) {
        self.engine.observe(Observation { at, fact });
    }
    /// One check: three in four are answered within 5 ms, one within a second; twice a day five take 8 s.
    fn check(&mut self, now: Timestamp, n: i64, i: usize) {
        let took = if (n + 900 * i as i64) % 2880 < 5 { 8.0 } else { [0.004, 0.004, 0.003, 0.9][(n % 4) as usize] };
        let (pod, c, in_a_row, restarts) = &mut self.pods[i];
        if took <= f64::from(self.settings.timeout()) {
            (*in_a_row, c.successful, c.count) = (0, c.successful + 1, c.count + 1);
            c.buckets.iter_mut().zip(EDGES).filter(|(_, edge)| took <= *edge).for_each(|(bucket, _)| *bucket += 1);
        } else {
            (*in_a_row, c.failed) = (*in_a_row + 1, c.failed + 1);
        }
        let sample = Sample { pod: *pod, probe: probe(self.settings).id, counters: *c };
        if *in_a_row >= self.settings.threshold() {
            // So many failures in a row: the kubelet kills the container and starts it again.
            (*in_a_row, *restarts) = (0, *restarts + 1);
            let again = describe(*pod, self.settings, now, *restarts);
            self.tell(now, again);
        }
        self.tell(now, Fact::Sample(sample));
    }

    /// The workload declares these numbers from now on, and new pods that run them take the place of the old ones.
    fn roll_out(&mut self, now: Timestamp, to: Settings) {
        println!("generation {}, version {}: {to}", self.generation + 1, self.version);
        (self.settings, self.generation) = (to, self.generation + 1);
        let address = Address { namespace: "mine".into(), kind: WorkloadKind::Deployment, name: "web".into() };
        let (uid, generation, version, permission) = (WEB, self.generation, self.version, allow_all());
        let (replicas, probes, sidecars, unpatchable) = (3, vec![probe(to)], vec![], vec![]);
        let w = Workload { uid, address, generation, replicas, version, probes, sidecars, permission, unpatchable };
        self.tell(now, Fact::Workload(Box::new(w)));
        let new = (1..=3).map(|i| (Uid::from_bits(generation as u128 * 10 + i), Counters::default(), 0, 0));
        let gone = std::mem::replace(&mut self.pods, new.collect());
        (1..=3).for_each(|i| self.tell(now, describe(Uid::from_bits(generation as u128 * 10 + i), to, now, 0)));
        gone.iter().for_each(|(pod, ..)| self.tell(now, Fact::PodGone(*pod)));
    }
}

fn probe(settings: Settings) -> Probe {
    let id = ProbeId { container: "app".into(), kind: ProbeKind::Liveness };
    Probe { id, handler: Handler::Http, settings, initial_delay: Span::ZERO }
}

/// A pod whose container has (re)started at `since`.
fn describe(uid: Uid, settings: Settings, since: Timestamp, restarts: u32) -> Fact {
    let (name, running_since, ready, probes) = ("app".into(), Some(since), true, vec![probe(settings)]);
    let containers = vec![Container { name, running_since, ready, started: true, restarts, last_end: None }];
    let (name, workload, node, terminating, created) = ("web".into(), WEB, None, false, since);
    Fact::Pod(Box::new(Pod { uid, name, workload, node, probes, containers, terminating, created, ready }))
}
