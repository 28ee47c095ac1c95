//! Speed of the parser of `/metrics/probes`, on a page of 110 pods with a liveness and a readiness probe each: with one
//! pod of ours, with all of them ours, and beside a plain parse (split lines, split labels, a map) of the same page.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

#[path = "../tests/support/page.rs"]
mod generated;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use generated::{generated, name};
use probe_tuner::observe::page;
use probe_tuner::units::Uid;
use std::collections::BTreeMap;
use std::hint::black_box;

const PODS: u128 = 110;
/// The plain way: every label of every line into a map.
fn plain(page: &str) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    for line in page.lines().filter(|l| !l.starts_with('#')) {
        let (name, rest) = line.split_once('{').unwrap();
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        let labels: BTreeMap<&str, &str> = labels.split(',').filter_map(|l| l.split_once('=')).collect();
        values.insert(format!("{name}{labels:?}"), value.parse().unwrap());
    }
    values
}

fn page_parse(c: &mut Criterion) {
    let page = generated(PODS);
    let all: BTreeMap<(String, String), Uid> = (0..PODS).map(|pod| (name(pod), Uid::from_bits(pod))).collect();
    let pods: std::collections::HashMap<&str, std::collections::HashMap<&str, Uid>> = all.iter().fold(
        Default::default(),
        |mut pods: std::collections::HashMap<&str, std::collections::HashMap<_, _>>, ((ns, pod), uid)| {
            pods.entry(ns).or_default().insert(pod, *uid);
            pods
        },
    );
    let (one_ns, one_pod) = name(3);
    let mut group = c.benchmark_group("page");
    group.throughput(Throughput::Bytes(page.len() as u64));
    group.bench_function("one pod of 110 is ours", |b| {
        b.iter(|| {
            page::read(black_box(page.as_bytes()), |ns, pod| {
                (ns == one_ns && pod == one_pod).then(|| Uid::from_bits(3))
            })
            .unwrap()
        });
    });
    group.bench_function("all 110 pods are ours", |b| {
        b.iter(|| page::read(black_box(page.as_bytes()), |ns, pod| pods.get(ns)?.get(pod).copied()).unwrap());
    });
    group.sample_size(20);
    group.bench_function("plain parse", |b| b.iter(|| plain(black_box(&page))));
    group.finish();
}

criterion_group!(benches, page_parse);
criterion_main!(benches);
