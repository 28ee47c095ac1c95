//! One turn over 1,000 and 10,000 workloads of five pods with two probes each, after an hour of scrapes: a turn in
//! which nothing is due, one in which every workload is judged anew, and the intake of one scrape of all of them. The
//! reference in the same run is one walk over a sorted map of as many entries.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

#[path = "../tests/support/fixtures.rs"]
mod fixtures;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use fixtures::{liveness, settings, workload};
use probe_tuner::engine::{Engine, Rules};
use probe_tuner::observation::{Counters, Fact, Observation, Sample};
use probe_tuner::probe::{Handler, ProbeKind};
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Container, Pod, Probe, ProbeId, Workload};
use std::collections::BTreeMap;
use std::hint::black_box;

const PODS: u128 = 5;

fn readiness() -> ProbeId {
    ProbeId { container: "app".into(), kind: ProbeKind::Readiness }
}

fn workloads(n: u128) -> Vec<Workload> {
    let each = |i: u128| {
        let mut w = workload(&format!("ns-{}", i / 20), &format!("web-{i}"));
        w.uid = Uid::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1);
        w.probes.push(Probe {
            id: readiness(),
            handler: Handler::Http,
            settings: settings("10/1/3"),
            initial_delay: Span::ZERO,
        });
        w
    };
    (0..n).map(each).collect()
}

fn pod(w: &Workload, i: u128) -> Pod {
    Pod {
        uid: Uid::from_bits(w.uid.bits().wrapping_add(i + 1)),
        name: format!("{}-{i}", w.address.name).into(),
        workload: w.uid,
        node: Some(format!("node-{}", w.uid.bits() % 200).into()),
        probes: w.probes.clone(),
        containers: vec![Container {
            name: "app".into(),
            running_since: Some(Timestamp::EPOCH),
            ready: true,
            started: true,
            restarts: 0,
            last_end: None,
        }],
        terminating: false,
        created: Timestamp::EPOCH,
        ready: true,
    }
}

/// What the kubelets say at scrape `n`: one check in 50 is slower than a second.
fn scrape(all: &[Workload], n: u64) -> Vec<Observation> {
    let at = Timestamp::EPOCH + Span::SECOND * 15 * i64::try_from(n).unwrap();
    let checks = n * 3 / 2;
    let counters = Counters { successful: checks, failed: checks / 50, buckets: [checks; 11], count: checks };
    let samples = all.iter().flat_map(|w| (0..PODS).map(move |i| Uid::from_bits(w.uid.bits().wrapping_add(i + 1))));
    let sample = |pod, probe| Observation { at, fact: Fact::Sample(Sample { pod, probe, counters }) };
    samples.flat_map(|pod| [sample(pod, liveness()), sample(pod, readiness())]).collect()
}

/// An engine that has watched for an hour.
fn watched(all: &[Workload]) -> (Engine, Timestamp) {
    let mut engine = Engine::new(Rules::default(), Timestamp::EPOCH);
    for w in all {
        engine.observe(Observation { at: Timestamp::EPOCH, fact: Fact::Workload(Box::new(w.clone())) });
        for i in 0..PODS {
            engine.observe(Observation { at: Timestamp::EPOCH, fact: Fact::Pod(Box::new(pod(w, i))) });
        }
    }
    let mut now = Timestamp::EPOCH;
    for n in 1..=240 {
        for o in scrape(all, n) {
            now = o.at;
            engine.observe(o);
        }
    }
    let turn = engine.turn(now);
    assert!(turn.changes.is_empty());
    (engine, now)
}

fn turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn");
    group.sample_size(10);
    for n in [1_000u128, 10_000] {
        let all = workloads(n);
        let (mut engine, mut now) = watched(&all);
        group.bench_function(BenchmarkId::new("quiet", n), |b| b.iter(|| black_box(engine.turn(now).news.len())));
        group.bench_function(BenchmarkId::new("all judged anew", n), |b| {
            b.iter(|| {
                now = now + Span::MINUTE * 15;
                black_box(engine.turn(now).news.len())
            });
        });
        let mut next = 241;
        group.bench_function(BenchmarkId::new("intake of one scrape", n), |b| {
            b.iter_batched(
                || {
                    next += 1;
                    scrape(&all, next)
                },
                |facts| facts.into_iter().for_each(|o| engine.observe(o)),
                BatchSize::LargeInput,
            );
        });
        let map: BTreeMap<Uid, u64> = all.iter().map(|w| (w.uid, 1)).collect();
        group.bench_function(BenchmarkId::new("reference: one walk over a map", n), |b| {
            b.iter(|| black_box(map.values().sum::<u64>()))
        });
    }
    group.finish();
}

criterion_group!(benches, turn);
criterion_main!(benches);
