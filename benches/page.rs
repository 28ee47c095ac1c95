//! Speed of the parser of `/metrics/probes`, on a page of 110 pods with a liveness and a readiness probe each: with one
//! pod of ours, with all of them ours, and beside a plain parse (split lines, split labels, a map) of the same page.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use probe_tuner::observe::page;
use probe_tuner::units::Uid;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;

const PODS: u128 = 110;
const EDGES: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];

fn name(pod: u128) -> (String, String) {
    (format!("team-{}", pod % 7), format!("checkout-{}-fd9b8467d-{:05x}", pod % 23, pod * 7919))
}

/// A page as the kubelet writes it: durations first, then counters, labels in the order of the alphabet.
fn generated() -> String {
    let mut page = String::from(
        "# HELP prober_probe_duration_seconds [ALPHA] Duration in seconds for a probe response.\n# TYPE prober_probe_duration_seconds histogram\n",
    );
    for pod in 0..PODS {
        let (namespace, name) = name(pod);
        for kind in ["Liveness", "Readiness"] {
            let labels = format!(r#"container="app",namespace="{namespace}",pod="{name}",probe_type="{kind}""#);
            for (i, edge) in EDGES.iter().enumerate() {
                writeln!(page, "prober_probe_duration_seconds_bucket{{{labels},le=\"{edge}\"}} {}", 40_000 + i * 900)
                    .unwrap();
            }
            writeln!(page, "prober_probe_duration_seconds_sum{{{labels}}} 812.2258613").unwrap();
            writeln!(page, "prober_probe_duration_seconds_count{{{labels}}} 49900").unwrap();
        }
    }
    page += "# HELP prober_probe_total [BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.\n# TYPE prober_probe_total counter\n";
    for pod in 0..PODS {
        let (namespace, name) = name(pod);
        let uid = Uid::from_bits(pod);
        for kind in ["Liveness", "Readiness"] {
            for result in ["failed", "successful"] {
                writeln!(page, r#"prober_probe_total{{container="app",namespace="{namespace}",pod="{name}",pod_uid="{uid}",probe_type="{kind}",result="{result}"}} 49900"#).unwrap();
            }
        }
    }
    page
}

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
    let page = generated();
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
